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
            let (first, second) = (hs.browser("main").open(&link).await?, hs.browser("main").open(&link).await?);
            let stranger = hs.anonymous().get("/_matrix/client/unstable/account_validity/renew?token=zzz").await?;
            Ok(json!({
                "first": { "status": first.status(), "page": first.text() },
                "second": { "status": second.status(), "page": second.text() },
                "unknown token": stranger.status(),
            }))
        })
    };
    let pages = |first: Value, second: (u16, Value)| {
        json!({
            "first": { "status": 200, "page": first },
            "second": { "status": second.0, "page": second.1 },
            "unknown token": 404,
        })
    };
    let validity = json!({ "enabled": true, "period": "6w", "renew_at": "1w" });
    Scenario::for_note("Account Validity HTML templates can now display a user's expiration date")
        .hop("1.32.2", "1.33.0")
        .mail()
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .variant("upstream's templates")
        .config(json!({ "account_validity": validity }))
        .fact("pages of a renewal", renewal())
        .until(
            "1.33.0",
            pages(contains("Your account has been successfully renewed."), (404, contains("Invalid renewal token."))),
        )
        .since(
            "1.33.0",
            pages(
                matches(r"successfully renewed and is valid until \d\d-\d\d-\d{4}\."),
                (200, matches(r"Your account is valid until \d\d-\d\d-\d{4}\.")),
            ),
        )
        .variant("the operator's templates")
        .config(json!({ "account_validity": validity }))
        .config(json!({
            "account_validity": { "template_dir": "/data/templates", "account_renewed_html_path": "renewed.html" },
        }))
        .file("templates/renewed.html", "RENEWED until={{ expiration_ts }}")
        .file("templates/account_previously_renewed.html", "BEFORE until={{ expiration_ts }}")
        .fact("pages of a renewal", renewal())
        .until("1.33.0", pages(json!("RENEWED until={{ expiration_ts }}"), (404, contains("Invalid renewal token."))))
        .since("1.33.0", pages(matches(r"^RENEWED until=\d{13}$"), (200, matches(r"^BEFORE until=\d{13}$"))))
}
