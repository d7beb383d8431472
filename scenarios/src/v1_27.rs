//! Synapse 1.27.0.

use harness::prelude::*;

notes!("1.27.0": sso_callback_uris, template_autoescape);

/// Callbacks of single sign-on move below `/_synapse/client`. An OpenID Connect provider that knows only the old address
/// refuses a login; SAML goes on under both.
fn sso_callback_uris() -> Scenario {
    let (old, new) = ("http://hs.test/_synapse/oidc/callback", "http://hs.test/_synapse/client/oidc/callback");
    let (saml_old, saml_new) = ("http://hs.test/_matrix/saml2", "http://hs.test/_synapse/client/saml2");
    let oidc = json!({
        "enabled": true,
        "issuer": "http://idp.test/",
        "client_id": "synapse",
        "client_secret": "secret",
        "scopes": ["openid", "profile"],
        "skip_verification": true,
        "user_mapping_provider": { "config": { "localpart_template": "{{ user.sub }}" } },
    });
    let knows = |uris: &[&str]| {
        companion::identity_provider(&json!({
            "portal": "http://idp.test",
            "oidc": [{ "client_id": "synapse", "client_secret": "secret", "redirect_uris": uris }],
        }))
    };
    let logs_in = || json!({ "user": "@dwho:hs.test" });
    Scenario::for_note("Changes to callback URI for OAuth2 / OpenID Connect and SAML2")
        .disagreement(
            "the callback addresses of both kinds of provider have changed",
            "the old SAML addresses go on working; the old OpenID Connect address is gone",
        )
        .hop("1.26.0", "1.27.0")
        .config(json!({
            "public_baseurl": "http://hs.test/",
            "sso": { "client_whitelist": ["http://app.test/"] },
        }))
        // What the probes send on purpose.
        .log_error("Error from the OIDC provider: x|Unknown response type")
        .variant("OpenID Connect, a provider that knows the old address")
        .config(json!({ "oidc_config": oidc }))
        .companion("idp.test", knows(&[old]))
        .fact(
            "the address that the provider is given",
            Probe::from(|hs: Live| async move {
                let path = "/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";
                let answer = hs.anonymous().get(path).header("host", "hs.test").await?;
                Ok(json!(parameter(answer.header("location").unwrap_or_default(), "redirect_uri")))
            }),
        )
        .until("1.27.0", old)
        .since("1.27.0", new)
        .fact("old address", get("/_synapse/oidc/callback?error=x"))
        .until("1.27.0", status(400))
        .since("1.27.0", status(404))
        .fact("new address", get("/_synapse/client/oidc/callback?error=x"))
        .until("1.27.0", status(404))
        .since("1.27.0", status(400))
        .fact("a login", login())
        .until("1.27.0", logs_in())
        .since("1.27.0", json!({ "stopped at": "idp.test" }))
        .step("the provider learns the new address")
        .change(move |deployment| {
            deployment.companions.insert("idp.test".to_owned(), knows(&[old, new]));
        })
        .now("a login", logs_in())
        .variant("OpenID Connect, a provider that knows both")
        .config(json!({ "oidc_config": oidc }))
        .companion("idp.test", knows(&[old, new]))
        .fact("a login", login())
        .always(logs_in())
        .variant("SAML")
        .config(json!({
            "saml2_config": {
                "sp_config": {
                    "allow_unknown_attributes": true,
                    "metadata": { "remote": [{ "url": "http://idp.test/saml/metadata" }] },
                },
            },
        }))
        .companion(
            "idp.test",
            companion::identity_provider(&json!({
                "portal": "http://idp.test",
                "saml": [
                    { "metadata": service_provider(saml_old) },
                    { "metadata": service_provider(saml_new) },
                ],
            })),
        )
        .fact("what metadata.xml says at the old address", metadata("/_matrix/saml2/metadata.xml"))
        .until("1.27.0", json!({ "status": 200, "consumer": format!("{saml_old}/authn_response") }))
        .since("1.27.0", json!({ "status": 200, "consumer": format!("{saml_new}/authn_response") }))
        .fact("what metadata.xml says at the new address", metadata("/_synapse/client/saml2/metadata.xml"))
        .until("1.27.0", json!({ "status": 404, "consumer": null }))
        .since("1.27.0", json!({ "status": 200, "consumer": format!("{saml_new}/authn_response") }))
        .fact("a response at the old address", request_response("/_matrix/saml2/authn_response"))
        .always(400)
        .fact("a response at the new address", request_response("/_synapse/client/saml2/authn_response"))
        .until("1.27.0", 404)
        .since("1.27.0", 400)
        .fact("a login", login())
        .always(logs_in())
}

/// Templates of pages and mails escape what they are given, if their files' names end like those of HTML.
///
/// Upstream: PR 9200.
fn template_autoescape() -> Scenario {
    let page = "{{ error }} {{ error | e }} {{ error | safe }}";
    let shown = |error: Value, mail: &str, form: &str| json!({ "page of an error": error, "mail": contains(mail), "form": contains(form) });
    let (raw, escaped) = ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;");
    let ours = |first: &str| json!([first, escaped, raw].join(" "));
    Scenario::for_note("Changes to HTML templates")
        .hop("1.26.0", "1.27.0")
        .mail()
        .config(json!({
            "email": { "enable_notifs": true, "template_dir": "/data/mails" },
            "account_validity": { "enabled": true, "period": "6w", "renew_at": "1w" },
            "sso": { "template_dir": "/data/pages" },
            "oidc_config": absent_provider(),
        }))
        .config(json!({ "oidc_config": { "enabled": true } }))
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        // What the probes send on purpose.
        .log_error("Error from the OIDC provider")
        .fact("templates that escape", escaping_templates())
        .until("1.27.0", json!({ "notif_mail.html": false, "sso_error.html": false }))
        .since("1.27.0", json!({ "notif_mail.html": true, "sso_error.html": true }))
        .variant("upstream's templates")
        .file("pages/unused.html", "")
        .file("mails/unused.html", "")
        .fact("markup", markup())
        .until("1.27.0", shown(contains(&format!("<code>{raw}</code>")), "&client_secret", raw))
        .since("1.27.0", shown(contains(escaped), "&amp;client_secret", escaped))
        .variant("the operator's templates")
        .file("pages/sso_error.html", page)
        .file("mails/password_reset.html", "{{ link }}")
        .file("mails/password_reset_confirmation.html", "{{ sid }}")
        .fact("markup", markup())
        .until("1.27.0", shown(ours(raw), "&client_secret", raw))
        .since("1.27.0", shown(ours(escaped), "&amp;client_secret", escaped))
        .variant("a template with another ending")
        .config(json!({ "email": { "password_reset_template_html": "reset.tmpl" } }))
        .file("pages/sso_error.html", page)
        .file("mails/reset.tmpl", "{{ link }}")
        .file("mails/password_reset_confirmation.html", "{{ sid }}")
        .fact("markup", markup())
        .until("1.27.0", shown(ours(raw), "&client_secret", raw))
        .since("1.27.0", shown(ours(escaped), "&client_secret", escaped))
        .step("renamed")
        .change(|deployment| {
            deployment
                .file("mails/reset.html", "{{ link }}")
                .config(json!({ "email": { "password_reset_template_html": "reset.html" } }));
        })
        .now("markup", shown(ours(escaped), "&amp;client_secret", escaped))
}

/// The settings of an OpenID Connect provider that is pointed at only: nobody has to be there.
pub(crate) fn absent_provider() -> Value {
    json!({
        "discover": false,
        "skip_verification": true,
        "issuer": "http://idp.test/",
        "client_id": "synapse",
        "client_secret": "secret",
        "scopes": ["profile"],
        "authorization_endpoint": "http://idp.test/authorize",
        "token_endpoint": "http://idp.test/token",
        "userinfo_endpoint": "http://idp.test/userinfo",
        "user_mapping_provider": { "config": { "localpart_template": "{{ user.sub }}" } },
    })
}

/// Does a mail's and a page's template, as Synapse has read it, escape what it is given? Asked of the template engine, as a
/// notification by mail takes ten minutes to come.
fn escaping_templates() -> Probe {
    Probe::from(|hs: Live| async move {
        let program = "import jinja2, json\n\
            from synapse.config.homeserver import HomeServerConfig\n\
            config = HomeServerConfig.load_config('', ['-c', '/data/homeserver.yaml'])\n\
            found = {}\n\
            for section in config.config_classes:\n\
            \x20   for template in vars(getattr(config, section.section)).values():\n\
            \x20       if isinstance(template, jinja2.Template):\n\
            \x20           escapes = template.environment.autoescape\n\
            \x20           found[template.name] = escapes(template.name) if callable(escapes) else escapes\n\
            print(json.dumps({name: found[name] for name in ['notif_mail.html', 'sso_error.html']}))";
        Ok(serde_json::from_str(&hs.python(program).await?)?)
    })
}

/// Markup that comes from outside, as it is shown on a page and a form, and an ampersand in a mail.
fn markup() -> Probe {
    Probe::from(|hs: Live| async move {
        let address = hs.email("alice");
        let seen = hs.mail("mail").to(&address).await?.len();
        let body = json!({ "client_secret": hs.unique("secret"), "email": address, "send_attempt": 1 });
        hs.anonymous().post("/_matrix/client/r0/account/password/email/requestToken", &body).await?.ok()?;
        let mail = hs.mail("mail").next_to(&address, seen).await?;
        let markup = escape("<b>x</b>");
        let form = format!("/_synapse/client/password_reset/email/submit_token?sid={markup}&token=t&client_secret=s");
        let mut page = String::new();
        // The callback moves on the same hop.
        for path in ["/_synapse/oidc/callback", "/_synapse/client/oidc/callback"] {
            let answer = hs.anonymous().get(&format!("{path}?error={markup}")).await?;
            if answer.status() == 400 {
                page = answer.text();
            }
        }
        Ok(json!({ "page of an error": page, "mail": mail.html, "form": hs.anonymous().get(&form).await?.text() }))
    })
}

/// A login from the first page to the access token, through the provider's form.
fn login() -> Probe {
    Probe::from(|hs: Live| async move {
        let mut browser = hs.browser("main");
        let start = "http://hs.test/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";
        let mut page = browser.open(start).await?;
        for _ in 0..3 {
            if page.url.host_str() == Some("idp.test") && page.has_form() {
                page = browser.submit(&page, &[("user", "dwho"), ("password", "dwho")]).await?;
            }
        }
        match page.parameter("loginToken") {
            Some(token) => {
                let login = json!({ "type": "m.login.token", "token": token });
                let user = hs.anonymous().post("/_matrix/client/r0/login", &login).await?.field("user_id")?;
                Ok(json!({ "user": user }))
            }
            None => Ok(json!({ "stopped at": page.url.host_str() })),
        }
    })
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(value.replace("%3A", ":").replace("%2F", "/"))
}

fn metadata(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let answer = hs.anonymous().get(path).await?;
        let text = answer.text();
        let consumer = text
            .split("AssertionConsumerService")
            .nth(1)
            .and_then(|rest| rest.split("Location=\"").nth(1)?.split('"').next().map(str::to_owned));
        Ok(json!({ "status": answer.status(), "consumer": consumer }))
    })
}

fn request_response(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let form = [("SAMLResponse", "PGdhcmJhZ2UvPg=="), ("RelayState", "x")];
        Ok(json!(hs.anonymous().request(harness::Method::POST, path).form(&form).await?.status()))
    })
}

/// What the provider is told of Synapse as a service provider.
fn service_provider(base: &str) -> String {
    format!(
        r#"<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{base}/metadata.xml">
  <SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
        Location="{base}/authn_response" index="1"/>
  </SPSSODescriptor>
</EntityDescriptor>"#
    )
}
