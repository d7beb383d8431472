//! Synapse 1.27.0.

use harness::prelude::*;

notes!("1.27.0": sso_callback_uris);

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
        .fact("the address that the provider is given", Probe::from(|hs: Live| async move {
            let path = "/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";
            let answer = hs.anonymous().get(path).header("host", "hs.test").await?;
            Ok(json!(parameter(answer.header("location").unwrap_or_default(), "redirect_uri")))
        }))
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
        let consumer = text.split("AssertionConsumerService").nth(1).and_then(|rest| {
            rest.split("Location=\"").nth(1)?.split('"').next().map(str::to_owned)
        });
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
