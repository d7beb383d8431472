//! Synapse 1.29.0.

use harness::prelude::*;

use crate::notes::v1_027::absent_provider;

notes!("1.29.0": x_forwarded_proto);

/// A reverse proxy has to say by which protocol it was asked, and for which host: otherwise each request is warned about,
/// and a login by single sign-on is sent back to where it came from.
///
/// Upstream: PRs 9372, 9436, 9472.
fn x_forwarded_proto() -> Scenario {
    let (client, protocol, host) = (
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header Host $host;",
    );
    let fine = || json!({ "warnings": 0, "a login leads to": "http://idp.test/authorize" });
    let back = |warnings: u32| json!({ "warnings": warnings, "a login leads to": "http://hs.test/_matrix/client/r0/login/sso/redirect" });
    Scenario::for_note("Requirement for X-Forwarded-Proto header")
        .disagreement(
            "each request without an X-Forwarded-Proto header is warned about",
            "only requests with an X-Forwarded-For header are",
        )
        .hop("1.28.0", "1.29.0")
        .config(json!({
            "public_baseurl": "http://hs.test/",
            "listeners": [{
                "port": 8008,
                "type": "http",
                "tls": false,
                "bind_addresses": ["0.0.0.0"],
                "x_forwarded": true,
                "resources": [{ "names": ["client", "federation"], "compress": false }],
            }],
            "oidc_config": absent_provider(),
        }))
        .config(json!({ "oidc_config": { "enabled": true } }))
        .proxy("nginx that hides the protocol", [("^/", "main")])
        .directives("nginx that hides the protocol", [client, host])
        .proxy("nginx that says the protocol", [("^/", "main")])
        .directives("nginx that says the protocol", [client, protocol, host])
        .proxy("nginx that says https", [("^/", "main")])
        .directives("nginx that says https", [client, "proxy_set_header X-Forwarded-Proto https;", host])
        .proxy("nginx that hides the host", [("^/", "main")])
        .directives("nginx that hides the host", [client, protocol])
        .fact("without a proxy", requests("main"))
        .always(fine())
        .fact("nginx that hides the protocol", requests("nginx that hides the protocol"))
        // Without a word `https` is assumed, which is not the public address.
        .changes(fine(), back(2))
        .fact("nginx that says the protocol", requests("nginx that says the protocol"))
        .always(fine())
        .fact("nginx that says https", requests("nginx that says https"))
        .changes(fine(), back(0))
        .fact("nginx that hides the host", requests("nginx that hides the host"))
        .changes(fine(), back(0))
        .fact("whose request it is", whose())
        .changes(
            json!({ "forwarded": "192.0.2.7", "as it came": "-" }),
            json!({ "forwarded": "192.0.2.7", "as it came": matches(r"^[0-9]+(\.[0-9]+){3}$") }),
        )
        .step("the proxies say all", |it| {
            ["nginx that hides the protocol", "nginx that says https", "nginx that hides the host"]
                .into_iter()
                .fold(it, |it, proxy| it.directives(proxy, [client, protocol, host]).now(proxy, fine()))
        })
}

/// The client that is logged of a request which two proxies forwarded, and of one without a proxy.
fn whose() -> Probe {
    Probe::from(|hs: Live| async move {
        let (forwarded, as_it_came) = (hs.unique("forwarded-"), hs.unique("as-it-came-"));
        let ask = |marker: &str| hs.anonymous().get(&format!("/_matrix/client/versions?{marker}"));
        ask(&forwarded)
            .header("x-forwarded-for", "192.0.2.7, 192.0.2.8")
            .header("x-forwarded-proto", "http")
            .await?
            .ok()?;
        ask(&as_it_came).await?.ok()?;
        let of = async |marker: &str| -> Result<Option<String>> {
            let lines = hs.log_lines(marker).await?;
            let line = lines.iter().find(|line| line.contains("Processed request"));
            Ok(line.and_then(|line| line.split(" - ").nth(3)).map(str::to_owned))
        };
        Ok(json!({ "forwarded": of(&forwarded).await?, "as it came": of(&as_it_came).await? }))
    })
}

/// Two requests that a browser sends to the server's name.
fn requests(through: &'static str) -> Probe {
    Probe::from(move |hs: Live| async move {
        let warning = "WARNING - forwarded request lacks an x-forwarded-proto header: assuming https";
        let before = hs.log_lines(warning).await?.len();
        let client = hs.anonymous().at(through)?;
        client.get("/_matrix/client/versions").header("host", "hs.test").await?.ok()?;
        let login = "/_matrix/client/r0/login/sso/redirect?redirectUrl=http://app.test/";
        let login = client.get(login).header("host", "hs.test").await?;
        let leads_to = login.header("location").and_then(|url| url.split('?').next().map(str::to_owned));
        Ok(json!({
            "warnings": hs.log_lines(warning).await?.len() - before,
            "a login leads to": leads_to,
        }))
    })
}
