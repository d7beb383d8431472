//! Synapse 1.27.0.

use harness::prelude::*;

use crate::kit::notices;

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
        .log_error("Error from the OIDC provider: x|Received OIDC callback with error: x")
        .begin_variant("a provider that knows the old address")
        .config(public())
        .config(json!({ "oidc_config": oidc }))
        .companion("idp.test", knows(&[old]))
        .fact(given, given_address())
        .until("1.27.0", old)
        .since("1.27.0", new)
        .fact("old address", get("/_synapse/oidc/callback?error=x"))
        .until("1.27.0", status(400))
        .since("1.27.0", status(404))
        .since("1.74.0", not_found())
        .fact("new address", get("/_synapse/client/oidc/callback?error=x"))
        .until("1.27.0", status(404))
        .since("1.27.0", status(400))
        .fact("a login", login())
        .until("1.27.0", logs_in())
        .since("1.27.0", stopped("Unauthorized URL"))
        .begin_step("the provider learns the new address")
        .change(move |deployment| {
            deployment.companions.insert("idp.test".to_owned(), knows(&[old, new]));
        })
        .now("a login", logs_in())
        .begin_variant("a provider that knows both")
        .config(public())
        .config(json!({ "oidc_config": oidc }))
        .companion("idp.test", knows(&[old, new]))
        .fact("a login", login())
        .always(logs_in())
        .begin_variant("without public_baseurl")
        .config(json!({ "oidc_config": absent_provider() }))
        .config(json!({ "oidc_config": { "enabled": true } }))
        .fact("start", start())
        .until("1.27.0", started())
        .since("1.27.0", refused("oidc_config requires a public_baseurl to be set"))
        // By default it is `https://hs.test/` (#11210), to which a login that begins elsewhere is sent first.
        .since("1.47.0", started())
        .fact(given, given_address())
        .until("1.27.0", old.replace("http:", "https:"))
        .since("1.27.0", new)
        .since("1.47.0", Value::Null)
        .begin_step("public_baseurl set")
        .change(move |deployment| {
            deployment.config(public());
        })
        .now("start", started())
        .now(given, new)
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
        .begin_variant("without public_baseurl")
        .config(json!({ "saml2_config": saml }))
        .companion("idp.test", knows_services(&[old, new]))
        .fact("start", start())
        .until("1.27.0", started())
        .since("1.27.0", refused("saml2_config requires a public_baseurl to be set"))
        // As for OpenID Connect.
        .since("1.47.0", started())
        .fact(asks, authentication_request())
        .until("1.27.0", itself(&old.replace("http:", "https:")))
        .since("1.27.0", itself(new))
        .since("1.47.0", Value::Null)
        .begin_step("public_baseurl set")
        .change(move |deployment| {
            deployment.config(public());
        })
        .now("start", started())
        .now(asks, itself(new))
        .begin_variant("a provider that knows the old service only")
        .config(public())
        .config(json!({ "saml2_config": saml }))
        .companion("idp.test", knows_services(&[old]))
        .fact("a login", login())
        .until("1.27.0", logs_in())
        .since("1.27.0", stopped("This application is not known"))
        .begin_step("the provider learns the new service")
        .change(move |deployment| {
            deployment.companions.insert("idp.test".to_owned(), knows_services(&[old, new]));
        })
        .now("a login", logs_in())
        .begin_variant("a provider that knows both")
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
        .fact("a response at the old address that is none", no_response("/_matrix/saml2/authn_response"))
        .always(no_response_there())
        .fact("a response at the new address that is none", no_response("/_synapse/client/saml2/authn_response"))
        .until("1.27.0", json!({ "status": 404, "body": contains("No Such Resource") }))
        .since("1.27.0", no_response_there())
        .fact("a login", login())
        .always(logs_in())
        .fact("a login whose response comes to the old address", login_at(Some("/_matrix/saml2/authn_response")))
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
    let (escaping, by_ending) = ("templates that escape", "templates that escape, by their ending");
    // Other files are named instead.
    let but_for_those_renamed = |mut templates: Value| {
        for name in ["password_reset.html", "registration.html", "add_threepid.html"] {
            templates[name] = Value::Null;
        }
        templates
    };
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
            // Since 1.99.0 the delay is a setting, which the module does not reach.
            "email": { "enable_notifs": true, "template_dir": "/data/mails", "notif_delay_before_mail": "0s" },
            "account_validity": { "enabled": true, "period": "6w", "renew_at": "1w" },
            "sso": { "template_dir": "/data/pages" },
            "oidc_config": absent_provider(),
            "third_party_event_rules": notices::soon(),
        }))
        .config(json!({ "oidc_config": { "enabled": true } }))
        .module("soon", notices::SOON)
        .seed(|hs| async move { hs.user("alice").await?.add_email(&hs.email("alice")).await })
        // What the probes send on purpose.
        .log_error("Error from the OIDC provider|Received OIDC callback with error")
        .fact(escaping, escaping_templates(&LISTED))
        .until("1.27.0", all_escape(false))
        .since("1.27.0", all_escape(true))
        .fact("a name's markup in a mail about a message", mail_about_message())
        .until("1.27.0", times(5, 0))
        .since("1.27.0", times(0, 5))
        .begin_variant("upstream's templates")
        .file("pages/unused.html", "")
        .file("mails/unused.html", "")
        .fact("markup", markup())
        .until("1.27.0", shown(raw(), times(2, 0), raw()))
        .since("1.27.0", shown(escaped(), times(0, 2), escaped()))
        .begin_variant("the operator's templates")
        .file("pages/sso_error.html", page)
        .file("mails/password_reset.html", "{{ link }}")
        .file("mails/password_reset_confirmation.html", "{{ sid }}")
        .fact("markup", markup())
        .until("1.27.0", shown(ours_raw(), raw(), raw()))
        .since("1.27.0", shown(ours_escaped(), escaped(), escaped()))
        .begin_variant("a template with another ending")
        .config(json!({
            "email": {
                "password_reset_template_html": "reset.tmpl",
                "registration_template_html": "registration.htm",
                "add_threepid_template_html": "add_threepid.xml",
            },
        }))
        .file("pages/sso_error.html", page)
        .file("mails/reset.tmpl", "{{ link }}")
        .file("mails/registration.htm", "{{ link }}")
        .file("mails/add_threepid.xml", "{{ link }}")
        .fact(escaping, escaping_templates(&LISTED))
        .until("1.27.0", but_for_those_renamed(all_escape(false)))
        .since("1.27.0", but_for_those_renamed(all_escape(true)))
        .fact(by_ending, escaping_templates(&["reset.tmpl", "registration.htm", "add_threepid.xml"]))
        .until("1.27.0", json!({ "reset.tmpl": false, "registration.htm": false, "add_threepid.xml": false }))
        .since("1.27.0", json!({ "reset.tmpl": false, "registration.htm": true, "add_threepid.xml": true }))
        .file("mails/password_reset_confirmation.html", "{{ sid }}")
        .fact("markup", markup())
        .until("1.27.0", shown(ours_raw(), raw(), raw()))
        .since("1.27.0", shown(ours_escaped(), raw(), escaped()))
        .begin_step("renamed")
        .change(|deployment| {
            deployment
                .file("mails/reset.html", "{{ link }}")
                .config(json!({ "email": { "password_reset_template_html": "reset.html" } }));
        })
        .now("markup", shown(ours_escaped(), escaped(), escaped()))
        .now(by_ending, json!({ "reset.tmpl": null, "registration.htm": true, "add_threepid.xml": true }))
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

/// The note's list, in alphabetical order.
const LISTED: [&str; 19] = [
    "add_threepid.html",
    "add_threepid_failure.html",
    "add_threepid_success.html",
    "notice_expiry.html",
    "notif_mail.html",
    "password_reset.html",
    "password_reset_confirmation.html",
    "password_reset_failure.html",
    "password_reset_success.html",
    "registration.html",
    "registration_failure.html",
    "registration_success.html",
    "sso_account_deactivated.html",
    "sso_auth_bad_user.html",
    "sso_auth_confirm.html",
    "sso_auth_success.html",
    "sso_error.html",
    "sso_login_idp_picker.html",
    "sso_redirect_confirm.html",
];

fn all_escape(escape: bool) -> Value {
    LISTED.into_iter().map(|name| (name.to_owned(), json!(escape))).collect()
}

/// Do these templates, as Synapse reads them, escape what they are given? Asked of the template engine, as most are about what
/// seldom happens.
fn escaping_templates(names: &'static [&'static str]) -> Probe {
    Probe::from(move |hs: Live| async move {
        let program = "import jinja2, json\n\
            from synapse.config.homeserver import HomeServerConfig\n\
            found, get = {}, jinja2.Environment.get_template\n\
            def seen(self, name, *arguments, **named):\n\
            \x20   found[name] = self.autoescape(name) if callable(self.autoescape) else self.autoescape\n\
            \x20   return get(self, name, *arguments, **named)\n\
            jinja2.Environment.get_template = seen\n\
            HomeServerConfig.load_config('', ['-c', '/data/homeserver.yaml'])\n\
            print(json.dumps(found))";
        let found: Value = serde_json::from_str(&hs.python(program).await?)?;
        Ok(names.iter().map(|&name| (name.to_owned(), found[name].clone())).collect())
    })
}

/// How often the name of a message's sender is as it came, and escaped, in the mail about the message.
fn mail_about_message() -> Probe {
    Probe::from(|hs: Live| async move {
        let mail = notices::about_message(&hs, "<b>x</b>").await?.html.unwrap_or_default();
        Ok(json!({
            "raw": mail.matches("<b>x</b>").count(),
            "escaped": mail.matches("&lt;b&gt;x&lt;/b&gt;").count(),
        }))
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
    login_at(None)
}

/// A login; where a path is given, the provider's response is sent there instead of where the provider sends it.
fn login_at(response_to: Option<&'static str>) -> Probe {
    Probe::from(move |hs: Live| async move {
        let mut browser = hs.browser("main");
        let start = "http://hs.test/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";
        let mut page = browser.open(start).await?;
        for _ in 0..3 {
            let response = response_to.and_then(|path| Some((path, hidden(&page.text(), "SAMLResponse")?)));
            if let Some((path, response)) = response {
                let relay = hidden(&page.text(), "RelayState").unwrap_or_default();
                let form = [("SAMLResponse", response.as_str()), ("RelayState", relay.as_str())];
                let answer = hs.anonymous().request(harness::Method::POST, path).form(&form).await?;
                let Some(Ok(url)) = answer.header("location").map(str::parse) else { return Ok(answer.whole()) };
                page.url = url;
                break;
            }
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

/// The value of a hidden field of a form.
fn hidden(page: &str, name: &str) -> Option<String> {
    let value = page.split(&format!("name=\"{name}\"")).nth(1)?.split("value=\"").nth(1)?.split('"').next()?;
    Some(value.to_owned())
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

/// What Synapse says of itself in the request that it sends to a SAML provider; `null` where it sends none.
fn authentication_request() -> Probe {
    Probe::from(|hs: Live| async move {
        let answer = hs.anonymous().get(REDIRECT).header("host", "hs.test").await?;
        let location = answer.header("location").unwrap_or_default();
        if location.starts_with("https://hs.test/") {
            return Ok(Value::Null);
        }
        let program = format!(
            "import base64, json, zlib\n\
             from urllib.parse import parse_qs, urlparse\n\
             from xml.etree import ElementTree\n\
             request = parse_qs(urlparse({}).query)['SAMLRequest'][0]\n\
             request = ElementTree.fromstring(zlib.decompress(base64.b64decode(request), -15))\n\
             issuer = request.findtext('{{urn:oasis:names:tc:SAML:2.0:assertion}}Issuer')\n\
             print(json.dumps({{'consumer': request.get('AssertionConsumerServiceURL'), 'entity': issuer}}))",
            json!(location)
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

/// What becomes of a response that a provider never made.
fn no_response(path: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let form = [("SAMLResponse", "PGdhcmJhZ2UvPg=="), ("RelayState", "x")];
        Ok(hs.anonymous().request(harness::Method::POST, path).form(&form).await?.whole())
    })
}

/// What it is where responses are received.
fn no_response_there() -> Value {
    json!({ "status": 400, "body": contains("Unable to parse SAML2 response: Unknown response type.") })
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
