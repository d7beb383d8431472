//! Synapse 1.33.0.

use harness::prelude::*;

notes!("1.33.0": account_validity_templates);

/// Pages about an account's validity are templates that can say until when it is valid, and following a link twice is no
/// longer an error.
///
/// A link is followed on the release that sent it: a token used under 1.32 is forgotten.
fn account_validity_templates() -> Scenario {
    let renewal = || {
        Probe::from(|hs: Live| async move {
            let alice = hs.user("alice").await?;
            let address = hs.email("alice");
            let seen = hs.mail("mail").to(&address).await?.len();
            alice.post("/_matrix/client/unstable/account_validity/send_mail", &json!({})).await?.ok()?;
            let link = hs.mail("mail").next_to(&address, seen).await?.link()?;
            let first = hs.browser("main").open(&link).await?;
            let until = expiration(&hs).await?;
            hs.remember("expiration", &until);
            let second = hs.browser("main").open(&link).await?;
            let stranger = hs.anonymous().get("/_matrix/client/unstable/account_validity/renew?token=zzz").await?;
            Ok(json!({
                "first": { "status": first.status(), "page": first.text() },
                "second": { "status": second.status(), "page": second.text() },
                "valid as long after the second": expiration(&hs).await? == until,
                "unknown token": stranger.status(),
            }))
        })
    };
    let pages = |first: Value, second: (u16, Value)| {
        json!({
            "first": { "status": 200, "page": first },
            "second": { "status": second.0, "page": second.1 },
            "valid as long after the second": true,
            "unknown token": 404,
        })
    };
    let column = |query: &str| format!("{query} = 'token_used_ts_ms'");
    let own_pages = json!({
        "account_validity": { "template_dir": "/data/templates", "account_renewed_html_path": "renewed.html" },
    });
    let not_used_twice = || (404, contains("Invalid renewal token."));
    let until_a_day = || (200, matches(r"Your account is valid until \d\d-\d\d-\d{4}\."));
    let validity = json!({ "enabled": true, "period": "6w", "renew_at": "1w" });
    Scenario::for_note("Account Validity HTML templates can now display a user's expiration date")
        .hop("1.32.2", "1.33.0")
        .mail()
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .variant("upstream's templates")
        .config(json!({ "account_validity": validity }))
        .fact(
            "the column that says when a token was used",
            sql(per_database(
                column("SELECT name FROM pragma_table_info('account_validity') WHERE name"),
                column(
                    "SELECT column_name::text AS name FROM information_schema.columns \
                     WHERE table_name = 'account_validity' AND column_name",
                ),
            )),
        )
        .until("1.33.0", json!([]))
        .since("1.33.0", json!([{ "name": "token_used_ts_ms" }]))
        .fact(
            "the delta that adds it",
            sql("SELECT file FROM applied_schema_deltas WHERE file LIKE '%account_validity_token_used_ts_ms%'"),
        )
        .until("1.33.0", json!([]))
        .since("1.33.0", json!([{ "file": "59/12account_validity_token_used_ts_ms.sql" }]))
        .fact("pages of a renewal", renewal())
        .until("1.33.0", pages(contains("Your account has been successfully renewed."), not_used_twice()))
        .since("1.33.0", pages(matches(r"successfully renewed and is valid until \d\d-\d\d-\d{4}\."), until_a_day()))
        .variant("the operator's templates")
        .config(json!({ "account_validity": validity }))
        .config(own_pages.clone())
        .file("templates/renewed.html", "RENEWED until={{ expiration_ts }}")
        .file("templates/account_previously_renewed.html", "BEFORE until={{ expiration_ts }}")
        .fact("pages of a renewal", renewal())
        .until("1.33.0", pages(json!("RENEWED until={{ expiration_ts }}"), not_used_twice()))
        .since("1.33.0", pages(json!("RENEWED until={expiration}"), (200, json!("BEFORE until={expiration}"))))
        .variant("an operator's page from before")
        .config(json!({ "account_validity": validity }))
        .config(own_pages)
        .file("templates/renewed.html", "RENEWED")
        .fact("pages of a renewal", renewal())
        .until("1.33.0", pages(json!("RENEWED"), not_used_twice()))
        // What the directory lacks is taken from upstream's.
        .since("1.33.0", pages(json!("RENEWED"), until_a_day()))
        .step("both pages as templates")
        .change(|deployment| {
            let year = "{{ expiration_ts | format_ts(\"%Y\") }}";
            deployment
                .file("templates/renewed.html", format!("RENEWED until {year}"))
                .file("templates/account_previously_renewed.html", format!("BEFORE until {year}"));
        })
        .now("pages of a renewal", pages(matches(r"^RENEWED until 20\d\d$"), (200, matches(r"^BEFORE until 20\d\d$"))))
}

/// Until when alice's account is valid, in milliseconds.
async fn expiration(hs: &Live) -> Result<String> {
    let query = hs.fill("SELECT expiration_ts_ms FROM account_validity WHERE user_id = '{alice}'")?;
    let rows = hs.sql(&query).await?;
    Ok(rows[0]["expiration_ts_ms"].to_string())
}
