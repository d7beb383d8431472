//! Synapse 1.51.0.

use harness::prelude::*;

notes!("1.51.0": webclient_deprecation);

/// A `webclient` resource and a web client on disk are warned about, and still start. `/` leads to the web client by itself now,
/// which the note does not say.
///
/// Upstream: PRs 11774, 11783.
fn webclient_deprecation() -> Scenario {
    let (app, plain) = ("https://app.example.com/", "http://app.example.com/");
    let root = || get("/").shows_header("location");
    let leads_to = |place: &str| json!({ "status": 302, "location": place });
    let prints = "what the server prints";
    // What 1.53.0 refuses.
    let resource_error = || matches(r"(?s)Error in configuration:\s+Unknown listener resource:.*\(got 'webclient'\)");
    let resource_refused = || json!({ "exit status": 1, "printed": resource_error() });
    let location_error = "Error in configuration: web_client_location must point to a HTTP(S) URL.";
    Scenario::for_note("Deprecation of `webclient` listeners and non-HTTP(S) `web_client_location`")
        .disagreement(
            "listeners of type `webclient` are deprecated",
            "`webclient` is a resource's name; a listener of that type is refused, by the release before, too",
        )
        .hop("1.50.2", "1.51.0")
        .fact("what it logs of it", log_lines("To remove this warning"))
        .always(json!([]))
        .variant("a listener with the resource webclient", |it| {
            it.resources(["webclient"])
                .config(json!({ "web_client_location": app }))
                .fact("start", start())
                .until("1.53.0", started())
                .since("1.53.0", resource_refused())
                .fact(prints, printed())
                .changes("", contains("To remove this warning, remove 'webclient' from the 'listeners' configuration."))
                .since("1.53.0", resource_error())
                .fact("/", root())
                .changes(leads_to("/_matrix/client"), leads_to(app))
                .step("webclient is taken out of the listener", |it| {
                    it.without_resource("webclient").now("start", started()).now(prints, "")
                })
        })
        .variant("a listener with the resource webclient, and no location", |it| {
            it.resources(["webclient"])
                .fact("start", start())
                .until("1.53.0", started())
                .since("1.53.0", resource_refused())
                .fact(prints, printed())
                .changes(
                    contains("To enable a web client, configure web_client_location."),
                    contains("To redirect the root resource to a web client, configure 'web_client_location'."),
                )
                .since("1.53.0", resource_error())
                .fact("/", root())
                .always(leads_to("/_matrix/static"))
        })
        .variant("a web client on disk", |it| {
            it.config(json!({ "web_client_location": "/data/webclient" }))
                .file("webclient/index.html", "<p>A web client</p>")
                .fact("start", start())
                .until("1.53.0", started())
                .since("1.53.0", refused(location_error))
                .fact(prints, printed())
                .changes("", contains("To remove this warning, configure 'web_client_location' with an HTTP(S) URL."))
                .since("1.53.0", contains(location_error))
                .fact("/", root())
                .always(leads_to("/_matrix/static"))
                .step("the location becomes a URL", |it| {
                    it.reconfigure(json!({ "web_client_location": app }))
                        .now("start", started())
                        .now(prints, "")
                        .now("/", leads_to(app))
                })
        })
        .variant("a URL alone", |it| {
            it.config(json!({ "web_client_location": app }))
                .fact(prints, printed())
                .always("")
                .fact("/", root())
                .changes(leads_to("/_matrix/static"), leads_to(app))
                .step("one without TLS", |it| {
                    it.reconfigure(json!({ "web_client_location": plain })).now("/", leads_to(plain))
                })
        })
        .variant("a listener of the type webclient", |it| {
            it.listener(json!({ "type": "webclient", "port": 9100, "bind_addresses": ["0.0.0.0"] }))
                .fact("start", start())
                .always(refused("(got 'webclient')"))
        })
}
