//! Synapse 1.27.0.

use harness::prelude::*;

notes!("1.27.0": openid_callback_uri, saml_callback_uris, template_autoescape);

/// The callback of OpenID Connect moves below `/_synapse/client`, and `public_baseurl` has to be set. A provider that knows
/// only the old address refuses a login.
fn openid_callback_uri() -> Scenario {
    let (old, new) = ("http://hs.test/_synapse/oidc/callback", "http://hs.test/_synapse/client/oidc/callback");
    let given = "the address that the provider is given";
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
    single_sign_on()
        // What the probes send on purpose.
        .log_error("Error from the OIDC provider: x")
        .variant("a provider that knows the old address")
        .config(public())
        .config(json!({ "oidc_config": oidc }))
        .companion("idp.test", knows(&[old]))
        .fact(given, given_address())
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
        .since("1.27.0", stopped("Unauthorized URL"))
        .step("the provider learns the new address")
        .change(move |deployment| {
            deployment.companions.insert("idp.test".to_owned(), knows(&[old, new]));
        })
        .now("a login", logs_in())
        .variant("a provider that knows both")
        .config(public())
        .config(json!({ "oidc_config": oidc }))
        .companion("idp.test", knows(&[old, new]))
        .fact("a login", login())
        .always(logs_in())
        .variant("without public_baseurl")
        .config(json!({ "oidc_config": absent_provider() }))
        .config(json!({ "oidc_config": { "enabled": true } }))
        .fact("start", start())
        .until("1.27.0", started())
        .since("1.27.0", refused("oidc_config requires a public_baseurl to be set"))
        .fact(given, given_address())
        .until("1.27.0", old.replace("http:", "https:"))
        .since("1.27.0", new)
        .step("public_baseurl set")
        .change(move |deployment| {
            deployment.config(public());
        })
        .now("start", started())
}

/// The callback of SAML moves likewise, but goes on under the old address, too. A provider still has to learn the new
/// service: its name is what a login comes from.
fn saml_callback_uris() -> Scenario {
    let (old, new) = ("http://hs.test/_matrix/saml2", "http://hs.test/_synapse/client/saml2");
    let asks = "what the request for a login says of Synapse";
    let saml = json!({
        "sp_config": {
            "allow_unknown_attributes": true,
            "metadata": { "remote": [{ "url": "http://idp.test/saml/metadata" }] },
        },
    });
    let knows_services = |bases: &[&str]| {
        let services: Vec<_> = bases.iter().map(|base| json!({ "metadata": service_provider(base) })).collect();
        companion::identity_provider(&json!({ "portal": "http://idp.test", "saml": services }))
    };
    let itself =
        |base: &str| json!({ "consumer": format!("{base}/authn_response"), "entity": format!("{base}/metadata.xml") });
    let described = |base: &str| json!({ "status": 200, "says": itself(base) });
    single_sign_on()
        .disagreement(
            "the callback addresses of both kinds of provider have changed",
            "the old SAML addresses go on working; the old OpenID Connect address is gone",
        )
        // What the probes send on purpose.
        .log_error("Unknown response type")
        .variant("without public_baseurl")
        .config(json!({ "saml2_config": saml }))
        .companion("idp.test", knows_services(&[old, new]))
        .fact("start", start())
        .until("1.27.0", started())
        .since("1.27.0", refused("saml2_config requires a public_baseurl to be set"))
        .fact(asks, authentication_request())
        .until("1.27.0", itself(&old.replace("http:", "https:")))
        .since("1.27.0", itself(new))
        .step("public_baseurl set")
        .change(move |deployment| {
            deployment.config(public());
        })
        .now("start", started())
        .variant("a provider that knows the old service only")
        .config(public())
        .config(json!({ "saml2_config": saml }))
        .companion("idp.test", knows_services(&[old]))
        .fact("a login", login())
        .until("1.27.0", logs_in())
        .since("1.27.0", stopped("This application is not known"))
        .step("the provider learns the new service")
        .change(move |deployment| {
            deployment.companions.insert("idp.test".to_owned(), knows_services(&[old, new]));
        })
        .now("a login", logs_in())
        .variant("a provider that knows both")
        .config(public())
        .config(json!({ "saml2_config": saml }))
        .companion("idp.test", knows_services(&[old, new]))
        .fact(asks, authentication_request())
        .until("1.27.0", itself(old))
        .since("1.27.0", itself(new))
        .fact("what metadata.xml says at the old address", metadata("/_matrix/saml2/metadata.xml"))
        .until("1.27.0", described(old))
        .since("1.27.0", described(new))
        .fact("what metadata.xml says at the new address", metadata("/_synapse/client/saml2/metadata.xml"))
        .until("1.27.0", json!({ "status": 404, "says": { "consumer": null, "entity": null } }))
        .since("1.27.0", described(new))
        .fact("a response at the old address", request_response("/_matrix/saml2/authn_response"))
        .always(400)
        .fact("a response at the new address", request_response("/_synapse/client/saml2/authn_response"))
        .until("1.27.0", 404)
        .since("1.27.0", 400)
        .fact("a login", login())
        .always(logs_in())
}

fn single_sign_on() -> Scenario {
    Scenario::for_note("Changes to callback URI for OAuth2 / OpenID Connect and SAML2")
        .hop("1.26.0", "1.27.0")
        .config(json!({ "sso": { "client_whitelist": ["http://app.test/"] } }))
}

fn logs_in() -> Value {
    json!({ "user": "@dwho:hs.test" })
}

fn public() -> Value {
    json!({ "public_baseurl": "http://hs.test/" })
}

/// Templates of pages and mails escape what they are given, if their files' names end like those of HTML.
///
/// Upstream: PR 9200.
fn template_autoescape() -> Scenario {
    let page = "{{ error }} {{ error | e }} {{ error | safe }}";
    let times = |raw: u32, escaped: u32| json!({ "raw": raw, "escaped": escaped });
    let shown =
        |error: Value, mail: Value, form: Value| json!({ "page of an error": error, "mail": mail, "form": form });
    let (raw, escaped) = (|| times(1, 0), || times(0, 1));
    let (ours_raw, ours_escaped) = (|| times(2, 1), || times(1, 2));
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
        .until("1.27.0", shown(raw(), times(2, 0), raw()))
        .since("1.27.0", shown(escaped(), times(0, 2), escaped()))
        .variant("the operator's templates")
        .file("pages/sso_error.html", page)
        .file("mails/password_reset.html", "{{ link }}")
        .file("mails/password_reset_confirmation.html", "{{ sid }}")
        .fact("markup", markup())
        .until("1.27.0", shown(ours_raw(), raw(), raw()))
        .since("1.27.0", shown(ours_escaped(), escaped(), escaped()))
        .variant("a template with another ending")
        .config(json!({ "email": { "password_reset_template_html": "reset.tmpl" } }))
        .file("pages/sso_error.html", page)
        .file("mails/reset.tmpl", "{{ link }}")
        .file("mails/password_reset_confirmation.html", "{{ sid }}")
        .fact("markup", markup())
        .until("1.27.0", shown(ours_raw(), raw(), raw()))
        .since("1.27.0", shown(ours_escaped(), raw(), escaped()))
        .step("renamed")
        .change(|deployment| {
            deployment
                .file("mails/reset.html", "{{ link }}")
                .config(json!({ "email": { "password_reset_template_html": "reset.html" } }));
        })
        .now("markup", shown(ours_escaped(), escaped(), escaped()))
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

/// Markup that comes from outside, as it is shown on a page and a form, and an ampersand in a mail: how often as it came, and
/// how often escaped.
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
        let form = hs.anonymous().get(&form).await?.text();
        let times = |text: &str, raw: &str, escaped: &str| json!({ "raw": text.matches(raw).count(), "escaped": text.matches(escaped).count() });
        let markup = |text: &str| times(text, "<b>x</b>", "&lt;b&gt;x&lt;/b&gt;");
        let mail = times(&mail.html.unwrap_or_default(), "&client_secret", "&amp;client_secret");
        Ok(json!({ "page of an error": markup(&page), "mail": mail, "form": markup(&form) }))
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
        if let Some(token) = page.parameter("loginToken") {
            let login = json!({ "type": "m.login.token", "token": token });
            let user = hs.anonymous().post("/_matrix/client/r0/login", &login).await?.field("user_id")?;
            return Ok(json!({ "user": user }));
        }
        // The provider's pages name their messages by number.
        let number = page.text().split("trmsg=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse::<u32>().ok());
        let message = match number {
            Some(107) => json!("This application is not known"),
            Some(108) => json!("Unauthorized URL"),
            other => json!(other),
        };
        Ok(json!({ "stopped at": page.url.host_str(), "message": message }))
    })
}

/// A login that ends at the provider.
fn stopped(message: &str) -> Value {
    json!({ "stopped at": "idp.test", "message": message })
}

/// The address of its own that Synapse gives to a provider of OpenID Connect.
fn given_address() -> Probe {
    Probe::from(|hs: Live| async move {
        let answer = hs.anonymous().get(REDIRECT).header("host", "hs.test").await?;
        Ok(json!(parameter(answer.header("location").unwrap_or_default(), "redirect_uri")))
    })
}

/// What Synapse says of itself in the request that it sends to a SAML provider.
fn authentication_request() -> Probe {
    Probe::from(|hs: Live| async move {
        let answer = hs.anonymous().get(REDIRECT).header("host", "hs.test").await?;
        let program = format!(
            "import base64, json, zlib\n\
             from urllib.parse import parse_qs, urlparse\n\
             from xml.etree import ElementTree\n\
             request = parse_qs(urlparse({}).query)['SAMLRequest'][0]\n\
             request = ElementTree.fromstring(zlib.decompress(base64.b64decode(request), -15))\n\
             issuer = request.findtext('{{urn:oasis:names:tc:SAML:2.0:assertion}}Issuer')\n\
             print(json.dumps({{'consumer': request.get('AssertionConsumerServiceURL'), 'entity': issuer}}))",
            json!(answer.header("location").unwrap_or_default())
        );
        Ok(serde_json::from_str(&hs.python(&program).await?)?)
    })
}

const REDIRECT: &str = "/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";

fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    Some(value.replace("%3A", ":").replace("%2F", "/"))
}

fn metadata(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let answer = hs.anonymous().get(path).await?;
        let text = answer.text();
        let quoted =
            |text: &str, name: &str| text.split(&format!("{name}=\"")).nth(1)?.split('"').next().map(str::to_owned);
        let consumer = text.split("AssertionConsumerService").nth(1).and_then(|rest| quoted(rest, "Location"));
        let says = json!({ "consumer": consumer, "entity": quoted(&text, "entityID") });
        Ok(json!({ "status": answer.status(), "says": says }))
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
