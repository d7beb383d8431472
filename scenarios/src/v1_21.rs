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
    let nginx_refuses = || json!({ "link": NEW, "page": 404, "password": error(401, "M_UNAUTHORIZED") });
    let works = |link: &str| json!({ "link": link, "page": 200, "password": status(200) });
    Scenario::for_note("Forwarding `/_synapse/client` through your reverse proxy")
        .disagreement(
            "all workers can handle `/_synapse/client/password_reset/email/submit_token`",
            "no worker serves it; nginx that sends it to one makes the link a 404",
        )
        .hop("1.20.1", "1.21.0")
        .mail()
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .variant("one process")
        .proxy("nginx with the old rule", old_rule)
        .proxy("nginx with the new rule", new_rule)
        .seed(|hs| async move {
            for name in ["mailed before", "also mailed before"] {
                let link = Reset::begin(&hs).await?.link;
                hs.remember(name, link.split_once('?').map_or("", |(_, query)| query));
            }
            Ok(())
        })
        .fact("nginx with the old rule", reset("nginx with the old rule"))
        .until("1.21.0", works(OLD))
        .since("1.21.0", nginx_refuses())
        .fact("nginx with the new rule", reset("nginx with the new rule"))
        .until("1.21.0", works(OLD))
        .since("1.21.0", works(NEW))
        .fact("a link mailed by 1.20.1", get(&format!("{OLD}?{{mailed before}}")))
        .until("1.21.0", status(200))
        .since("1.21.0", unrecognized())
        .fact("its query at the new path", |hs: Live| async move {
            let query = hs.recall("also mailed before")?;
            let fields: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
            Ok(hs.anonymous().request(harness::Method::POST, NEW).form(&fields).await?.brief())
        })
        .until("1.21.0", status(404))
        .since("1.21.0", status(200))
        .step("nginx lets the new path through")
        .change(move |deployment| {
            for proxy in deployment.proxies.values_mut() {
                proxy.routes = new_rule.map(|(pattern, process)| (pattern.to_owned(), process.to_owned())).to_vec();
            }
        })
        .now("nginx with the old rule", works(NEW))
        .variant("a worker that gets the new path")
        .worker("generic", "synapse.app.generic_worker", ["client"], json!({}))
        .proxy("nginx", [(NEW, "generic"), ("^/_matrix", "main")])
        .fact("nginx", reset("nginx"))
        .until("1.21.0", works(OLD))
        .since("1.21.0", nginx_refuses())
        .fact("the new path at the worker", get(&format!("{NEW}?sid=a&token=b&client_secret=c")).at("generic"))
        .always(status(404))
        .step("the main process gets it")
        .change(|deployment| {
            for proxy in deployment.proxies.values_mut() {
                "main".clone_into(&mut proxy.routes[0].1);
            }
        })
        .now("nginx", works(NEW))
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

    /// Tries to set the new password.
    async fn complete(&self) -> Result<Value> {
        let auth = json!({ "type": "m.login.email.identity", "threepid_creds": self.proof });
        let body = json!({ "auth": auth, "new_password": "new password", "logout_devices": false });
        Ok(self.hs.anonymous().post("/_matrix/client/r0/account/password", &body).await?.brief())
    }
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
            "password before it is confirmed": status(200),
            "confirmation": null,
            "password": null,
        })
    };
    let after = |page: Value| {
        json!({
            "page": { "status": 200, "text": page },
            "password before it is confirmed": error(401, "M_UNAUTHORIZED"),
            "confirmation": { "status": 200, "text": contains("Your email has now been validated") },
            "password": status(200),
        })
    };
    let shipped = || after(matches(r#"<form method="post">\s*<input type="hidden" name="sid" value="[^"]+">"#));
    Scenario::for_note("New HTML templates")
        .hop("1.20.1", "1.21.0")
        .mail()
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        .variant("upstream's templates")
        .fact("a reset", confirmed_reset())
        .until("1.21.0", at_once())
        .since("1.21.0", shipped())
        .variant("a template directory without it")
        .config(json!({ "email": { "template_dir": "/data/templates" } }))
        .file("templates/password_reset.html", "OURS {{ link }}")
        .fact("a reset", confirmed_reset())
        .until("1.21.0", at_once())
        .since("1.21.0", shipped())
        .step("a template of its own")
        .change(|deployment| {
            let form = "<form method=post><p>OURS</p><input name=sid value='{{ sid }}'><input name=token value='{{ token }}'>\
                        <input name=client_secret value='{{ client_secret }}'></form>";
            deployment.file("templates/password_reset_confirmation.html", form);
        })
        .now("a reset", after(contains("<p>OURS</p>")))
}

/// A reset step by step: what the link shows, and what it takes to change the password.
fn confirmed_reset() -> Probe {
    Probe::from(|hs: Live| async move {
        let reset = Reset::begin(&hs).await?;
        let mut browser = hs.browser("main");
        let page = browser.open(&reset.link).await?;
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
    let why = "Unable to parse SAML2 response: Unknown response type.";
    let page = |text: Value| json!({ "status": 400, "body": text });
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
        .until("1.21.0", page(json!(format!("saml_error code=400 msg={why} error= error_description="))))
        .since("1.21.0", page(matches(&format!("There was an error during authentication:[^$]*{why}"))))
        .fact("the package's saml_error.html", |hs: Live| async move {
            let program = "import os, synapse; \
                           print(os.path.exists(os.path.dirname(synapse.__file__) + '/res/templates/saml_error.html'))";
            Ok(json!(hs.python(program).await?.trim()))
        })
        .until("1.21.0", "True")
        .since("1.21.0", "False")
        .step("merged into sso_error.html")
        .change(move |deployment| {
            deployment.file("sso/sso_error.html", format!("sso_error {variables}"));
        })
        .now(
            "the page of an error",
            page(json!(format!("sso_error code= msg= error=invalid_response error_description={why}"))),
        )
}

/// What Synapse is told of an identity provider that nobody asks.
const IDENTITY_PROVIDER: &str = r#"<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="http://idp.test/">
  <IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="http://idp.test/sso"/>
  </IDPSSODescriptor>
</EntityDescriptor>"#;
