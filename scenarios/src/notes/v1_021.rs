//! Synapse 1.21.0.

use harness::prelude::*;

notes!("1.21.0": synapse_client_prefix, password_reset_confirmation_template, saml_error_template);

const OLD: &str = "/_matrix/client/unstable/password_reset/email/submit_token";
const NEW: &str = "/_synapse/client/password_reset/email/submit_token";

/// The link in a mail that resets a password leads below `/_synapse/client`, which a reverse proxy has to let through.
///
/// Upstream: PR 8004.
fn synapse_client_prefix() -> Scenario {
    let old_rule = [("^/_matrix", "main")];
    let new_rule = [("^(/_matrix|/_synapse/client)", "main")];
    let nginx_refuses = || json!({ "link": NEW, "page": 404, "password": not_set() });
    let works = |link: &str| json!({ "link": link, "page": 200, "password": set() });
    Scenario::for_note("Forwarding `/_synapse/client` through your reverse proxy")
        .disagreement(
            "all workers can handle `/_synapse/client/password_reset/email/submit_token`",
            "no worker serves it; nginx that sends it to one makes the link a 404",
        )
        .hop("1.20.1", "1.21.0")
        .mail()
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .variant("one process", |it| {
            it.proxy("nginx with the old rule", old_rule)
                .proxy("nginx with the new rule", new_rule)
                .seed(|hs| async move {
                    for name in ["mailed before", "also mailed before"] {
                        let link = Reset::begin(&hs).await?.link;
                        hs.remember(name, link.split_once('?').map_or("", |(_, query)| query));
                    }
                    Ok(())
                })
                .fact("nginx with the old rule", reset("nginx with the old rule"))
                .changes(works(OLD), nginx_refuses())
                .fact("nginx with the new rule", reset("nginx with the new rule"))
                .changes(works(OLD), works(NEW))
                .fact("a link mailed by 1.20.1", get(&format!("{OLD}?{{mailed before}}")))
                .changes(status(200), unrecognized())
                .since("1.74.0", not_found())
                .fact("its query at the new path", |hs: Live| async move {
                    let query = hs.recall("also mailed before")?;
                    let mut answers = json!({});
                    for (how, query) in
                        [("with another token", query.replace("token=", "token=x")), ("as it is", query)]
                    {
                        let fields: Vec<(&str, &str)> =
                            query.split('&').filter_map(|pair| pair.split_once('=')).collect();
                        let answer = hs.anonymous().request(harness::Method::POST, NEW).form(&fields).await?;
                        // The page that says so came with 200 at first.
                        let is_refused = answer.text().contains("The request failed");
                        answers[how] = if is_refused { json!("refused") } else { answer.brief() };
                    }
                    Ok(answers)
                })
                .changes(
                    json!({ "with another token": status(404), "as it is": status(404) }),
                    json!({ "with another token": "refused", "as it is": status(200) }),
                )
                .step("nginx lets the new path through", |it| {
                    it.proxy("nginx with the old rule", new_rule).now("nginx with the old rule", works(NEW))
                })
        })
        .variant("a worker that gets the new path", |it| {
            it.worker("generic", "synapse.app.generic_worker", ["client"], json!({}))
                .proxy("nginx", [(NEW, "generic"), ("^/_matrix", "main")])
                .fact("nginx", reset("nginx"))
                .changes(works(OLD), nginx_refuses())
                .fact("the new path at the worker", get(&format!("{NEW}?sid=a&token=b&client_secret=c")).at("generic"))
                .until("1.74.0", status(404))
                .since("1.74.0", not_found())
                .step("the main process gets it", |it| {
                    it.proxy("nginx", [(NEW, "main"), ("^/_matrix", "main")]).now("nginx", works(NEW))
                })
        })
}

/// A password reset under way.
struct Reset {
    hs: Live,
    link: String,
    proof: Value,
}

impl Reset {
    /// Asks for the mail.
    async fn begin(hs: &Live) -> Result<Self> {
        let (address, secret) = (hs.email("alice"), hs.unique("secret"));
        let seen = hs.mail("mail").to(&address).await?.len();
        let body = json!({ "client_secret": secret, "email": address, "send_attempt": 1 });
        let answer = hs.anonymous().post("/_matrix/client/r0/account/password/email/requestToken", &body).await?;
        let proof = json!({ "sid": answer.ok()?.field("sid")?, "client_secret": secret });
        Ok(Self { hs: hs.clone(), link: hs.mail("mail").next_to(&address, seen).await?.link()?, proof })
    }

    /// Tries to set a new password; what is said, and whether it logs alice in.
    async fn complete(&self) -> Result<Value> {
        let password = self.hs.unique("new password ");
        let auth = json!({ "type": "m.login.email.identity", "threepid_creds": self.proof });
        let body = json!({ "auth": auth, "new_password": password, "logout_devices": false });
        let answer = self.hs.anonymous().post("/_matrix/client/r0/account/password", &body).await?;
        let user = json!({ "type": "m.id.user", "user": self.hs.recall("alice")? });
        let login = json!({ "type": "m.login.password", "identifier": user, "password": password });
        let login = self.hs.anonymous().post("/_matrix/client/r0/login", &login).await?;
        Ok(json!({ "answer": answer.brief(), "logs in": login.brief() }))
    }
}

/// The new password is set.
fn set() -> Value {
    json!({ "answer": status(200), "logs in": status(200) })
}

/// It is not.
fn not_set() -> Value {
    json!({ "answer": error(401, "M_UNAUTHORIZED"), "logs in": error(403, "M_FORBIDDEN") })
}

/// A reset by a user who follows the link, and confirms where there is something to confirm.
fn reset(front: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let reset = Reset::begin(&hs).await?;
        let mut browser = hs.browser(front);
        let mut page = browser.open(&reset.link).await?;
        let link = page.url.path().to_owned();
        if page.has_form() {
            page = browser.submit(&page, &[]).await?;
        }
        Ok(json!({ "link": link, "page": page.status(), "password": reset.complete().await? }))
    })
}

/// The link in a mail leads to a page on which the reset has to be confirmed; an operator's template directory may have
/// one of its own.
///
/// Upstream: PR 8004.
fn password_reset_confirmation_template() -> Scenario {
    let at_once = || {
        json!({
            "page": { "status": 200, "text": contains("Your email has now been validated") },
            "password before it is confirmed": set(),
            "confirmation": null,
            "password": null,
        })
    };
    let after = |page: Value| {
        json!({
            "page": { "status": 200, "text": page },
            "password before it is confirmed": not_set(),
            "confirmation": { "status": 200, "text": contains("Your email has now been validated") },
            "password": set(),
        })
    };
    let shipped = || after(matches(r#"<form method="post">\s*<input type="hidden" name="sid" value="[^"]+">"#));
    Scenario::for_note("New HTML templates")
        .hop("1.20.1", "1.21.0")
        .mail()
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .fact("a reset", confirmed_reset())
        .changes(at_once(), shipped())
        .variant("upstream's templates", |it| it)
        .variant("a template directory without it", |it| {
            let form = "<form method=post><p>OURS</p><input name=sid value='{{ sid }}'><input name=token value='{{ token }}'>\
                        <input name=client_secret value='{{ client_secret }}'></form>";
            it.config(json!({ "email": { "template_dir": "/data/templates" } }))
                .file("templates/password_reset.html", "OURS {{ link }}")
                .step("a template of its own", |it| {
                    it.file("templates/password_reset_confirmation.html", form)
                        .now("a reset", after(contains("<p>OURS</p>")))
                })
        })
}

/// A reset step by step: what the link shows, and what it takes to change the password.
fn confirmed_reset() -> Probe {
    Probe::from(|hs: Live| async move {
        let reset = Reset::begin(&hs).await?;
        let mut browser = hs.browser("main");
        let mut page = browser.open(&reset.link).await?;
        // What confirms is what the form holds, and not what is in the page's own address.
        page.url.set_query(None);
        let mut seen = json!({
            "page": { "status": page.status(), "text": page.text() },
            "password before it is confirmed": reset.complete().await?,
            "confirmation": null,
            "password": null,
        });
        if page.has_form() {
            let page = browser.submit(&page, &[]).await?;
            seen["confirmation"] = json!({ "status": page.status(), "text": page.text() });
            seen["password"] = reset.complete().await?;
        }
        Ok(seen)
    })
}

/// Errors of a SAML login are shown by `sso_error.html` in the directory for single sign-on, with other variables than
/// `saml_error.html` in the directory for SAML had.
///
/// Upstream: PR 8248.
fn saml_error_template() -> Scenario {
    let variables = "code={{ code }} msg={{ msg }} error={{ error }} error_description={{ error_description }}";
    let (why, unexpected) =
        ("Unable to parse SAML2 response: Unknown response type.", "Unexpected GET request on /saml2/authn_response");
    let page = |text: Value| json!({ "status": 400, "body": text });
    let old_page = |why: &str| page(json!(format!("saml_error code=400 msg={why} error= error_description=")));
    let shipped = |why: &str| page(matches(&format!("There was an error during authentication:[^$]*{why}")));
    // Reworded in #9287.
    let reworded =
        |why: &str| page(matches(&format!(r#"<h1>There was an error</h1>\s*<p>\s*<strong id="errormsg">{why}"#)));
    let merged =
        |error: &str, why: &str| page(json!(format!("sso_error code= msg= error={error} error_description={why}")));
    Scenario::for_note("Updated Single Sign-on HTML Templates")
        .disagreement(
            "a customised saml_error.html lies in the directory that `sso_redirect_confirm_template_dir` names",
            "it lies in `saml2_config.template_dir`, and its successor in `sso.template_dir`",
        )
        .hop("1.20.1", "1.21.0")
        .config(json!({
            "public_baseurl": "http://hs.test/",
            "saml2_config": {
                "template_dir": "/data/saml",
                "sp_config": { "metadata": { "local": ["/data/idp.xml"] } },
            },
            "sso": { "template_dir": "/data/sso" },
        }))
        .file("idp.xml", IDENTITY_PROVIDER)
        .file("saml/saml_error.html", format!("saml_error {variables}"))
        .file("sso/sso_auth_success.html", "OURS")
        // What the probe sends on purpose.
        .log_error("Unknown response type")
        .fact("the page of an error", |hs: Live| async move {
            let form = [("SAMLResponse", "PGdhcmJhZ2UvPg=="), ("RelayState", "x")];
            let request = hs.anonymous().request(harness::Method::POST, "/_matrix/saml2/authn_response");
            Ok(request.form(&form).await?.whole())
        })
        .changes(old_page(why), shipped(why))
        .since("1.27.0", reworded(why))
        .fact("the page of a response that is not posted", get("/_matrix/saml2/authn_response").body())
        .changes(old_page(unexpected), shipped(unexpected))
        .since("1.27.0", reworded(unexpected))
        .fact("the package's saml_error.html", |hs: Live| async move {
            let program = "import os, synapse; \
                           print(os.path.exists(os.path.dirname(synapse.__file__) + '/res/templates/saml_error.html'))";
            Ok(json!(hs.python(program).await?.trim()))
        })
        .changes("True", "False")
        .step("merged into sso_error.html", |it| {
            it.file("sso/sso_error.html", format!("sso_error {variables}"))
                .now("the page of an error", merged("invalid_response", why))
                .now("the page of a response that is not posted", merged("unexpected_get", unexpected))
        })
}

/// What Synapse is told of an identity provider that nobody asks.
const IDENTITY_PROVIDER: &str = r#"<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="http://idp.test/">
  <IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="http://idp.test/sso"/>
  </IDPSSODescriptor>
</EntityDescriptor>"#;
