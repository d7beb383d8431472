//! Synapse 1.33.0.

use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Page, prelude::*};

notes!("1.33.0": account_validity_templates);

/// Pages about an account's validity are templates that can say until when it is valid, and following a link twice is no
/// longer an error.
///
/// A link is followed on the release that sent it: a token used under 1.32 is forgotten.
fn account_validity_templates() -> Scenario {
    let column = |query: &str| format!("{query} = 'token_used_ts_ms'");
    let own_pages = json!({
        "account_validity": { "template_dir": "/data/templates", "account_renewed_html_path": "renewed.html" },
    });
    let pages = "pages of a renewal";
    let invalid = || page(404, contains("Invalid renewal token."));
    let until_the_day = || page(200, contains("Your account is valid until {day}."));
    let renewed = || page(200, contains("Your account has been successfully renewed."));
    let renewed_until = || page(200, contains("successfully renewed and is valid until {day}."));
    Scenario::for_note("Account Validity HTML templates can now display a user's expiration date")
        .on_both()
        .hop("1.32.2", "1.33.0")
        .mail()
        .config(json!({ "account_validity": { "enabled": true, "period": "6w", "renew_at": "1w" } }))
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .fact(pages, renewal())
        .variant("upstream's templates", |it| {
            it.fact(
                "the column that says when a token was used",
                sql(per_database(
                    column("SELECT name FROM pragma_table_info('account_validity') WHERE name"),
                    column(
                        "SELECT column_name::text AS name FROM information_schema.columns \
                         WHERE table_name = 'account_validity' AND column_name",
                    ),
                )),
            )
            .changes(json!([]), json!([{ "name": "token_used_ts_ms" }]))
            .fact(
                "the delta that adds it",
                sql("SELECT file FROM applied_schema_deltas WHERE file LIKE '%account_validity_token_used_ts_ms%'"),
            )
            .changes(json!([]), json!([{ "file": "59/12account_validity_token_used_ts_ms.sql" }]))
            .fact(pages, renewal())
            .changes(shown([renewed(), invalid()]), shown([renewed_until(), until_the_day()]))
            .fact("a link that was followed on 1.32.2", |hs: Live| async move {
                Ok(seen(&hs.browser("main").open(&hs.recall("followed")?).await?))
            })
            .always(invalid())
        })
        .variant("the operator's templates", |it| {
            it.config(own_pages.clone())
                .file("templates/renewed.html", "RENEWED until={{ expiration_ts }}")
                .file("templates/account_previously_renewed.html", "BEFORE until={{ expiration_ts }}")
                .fact(pages, renewal())
                .changes(
                    shown([page(200, "RENEWED until={{ expiration_ts }}"), invalid()]),
                    shown([page(200, "RENEWED until={expiration}"), page(200, "BEFORE until={expiration}")]),
                )
        })
        .variant("an operator's page from before", |it| {
            let year = "{{ expiration_ts | format_ts(\"%d-%m-%Y\") }}";
            it.config(own_pages)
                .file("templates/renewed.html", "RENEWED")
                .fact(pages, renewal())
                // What the directory lacks is taken from upstream's.
                .changes(shown([page(200, "RENEWED"), invalid()]), shown([page(200, "RENEWED"), until_the_day()]))
                .step("both pages as templates", |it| {
                    it.file("templates/renewed.html", format!("RENEWED until {year}"))
                        .file("templates/account_previously_renewed.html", format!("BEFORE until {year}"))
                        .now(pages, shown([page(200, "RENEWED until {day}"), page(200, "BEFORE until {day}")]))
                })
        })
        .variant("an operator's page under its default name", |it| {
            it.config(json!({ "account_validity": { "template_dir": "/data/templates" } }))
                .file("templates/account_renewed.html", "RENEWED")
                .fact(pages, renewal())
                .changes(shown([renewed(), invalid()]), shown([page(200, "RENEWED"), until_the_day()]))
        })
}

fn page(status: u16, text: impl Into<Value>) -> Value {
    json!({ "status": status, "page": text.into() })
}

/// What [`renewal`] shows: the link is followed twice, and the account is valid for as long as the first time gave it.
fn shown([first, second]: [Value; 2]) -> Value {
    json!({
        "first": first,
        "days that it is valid": 42,
        "second": second,
        "days after the second": 42,
        "unknown token": page(404, contains("Invalid renewal token.")),
    })
}

/// Alice's account, of whose six weeks most are over, is renewed by a mail's link, which is followed twice. The day until
/// which it is valid then is `{day}`.
fn renewal() -> Probe {
    Probe::from(|hs: Live| async move {
        let (alice, address) = (hs.user("alice").await?, hs.email("alice"));
        let over = "UPDATE account_validity SET expiration_ts_ms = expiration_ts_ms - 2600000000 WHERE user_id";
        hs.execute(&format!("{over} = '{}'", alice.id())).await?;
        let seen_mails = hs.mail("mail").to(&address).await?.len();
        alice.post("/_matrix/client/unstable/account_validity/send_mail", &json!({})).await?.ok()?;
        let link = hs.mail("mail").next_to(&address, seen_mails).await?.link()?;
        if hs.recall("followed").is_err() {
            hs.remember("followed", &link);
        }
        let first = hs.browser("main").open(&link).await?;
        let until = expiration(&hs).await?;
        hs.remember("expiration", &until.to_string());
        let day = format!("import time; print(time.strftime('%d-%m-%Y', time.localtime({until} / 1000)))");
        hs.remember("day", hs.python(&day).await?.trim());
        let second = hs.browser("main").open(&link).await?;
        let stranger =
            hs.browser("main").open("http://hs.test/_matrix/client/unstable/account_validity/renew?token=zzz").await?;
        Ok(json!({
            "first": seen(&first),
            "days that it is valid": days_from_now(until)?,
            "second": seen(&second),
            "days after the second": days_from_now(expiration(&hs).await?)?,
            "unknown token": seen(&stranger),
        }))
    })
}

fn seen(shown: &Page) -> Value {
    page(shown.status(), shown.text())
}

/// Until when alice's account is valid, in milliseconds.
async fn expiration(hs: &Live) -> Result<u64> {
    let query = hs.fill("SELECT expiration_ts_ms FROM account_validity WHERE user_id = '{alice}'")?;
    Ok(hs.sql(&query).await?[0]["expiration_ts_ms"].as_u64().unwrap_or_default())
}

/// Whole days, if it is that but for an hour; else in milliseconds.
fn days_from_now(milliseconds: u64) -> Result<u64> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let left = milliseconds.saturating_sub(now);
    let days = (left + DAY / 24) / DAY;
    Ok(if left.abs_diff(days * DAY) < DAY / 24 { days } else { left })
}
