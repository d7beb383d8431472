//! Synapse 1.161.0.

use harness::prelude::*;

notes!("1.161.0": livekit_service_url);

/// A `LiveKit` transport is named by `url`; `livekit_service_url` still counts. That one of them has to be there is all that
/// the new release enforces: the old one hands clients whatever the list holds.
fn livekit_service_url() -> Scenario {
    let old = || json!({ "type": "livekit", "livekit_service_url": "https://old.test" });
    let new = || json!({ "type": "livekit", "url": "wss://new.test" });
    let both = || json!({ "type": "livekit", "livekit_service_url": "https://old.test", "url": "wss://new.test" });
    let neither = || json!({ "type": "livekit" });
    let another = || json!({ "type": "another", "more": 1 });
    let empty = || json!({ "type": "livekit", "url": "" });
    let transports = |list: Value| json!({ "matrix_rtc": { "transports": list } });
    let handed_out = |list: Value| json!({ "status": 200, "body": { "rtc_transports": list } });
    let neither_is_there = "(?s)Error in configuration at 'matrix_rtc':\\s+Could not validate matrix_rtc config:\\s.*\\sValue \
                            error, You must set either `url` or `livekit_service_url` when using the 'livekit' transport";
    let path = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";
    Scenario::for_note("Deprecation of `matrix_rtc.livekit_service_url`")
        .hop("1.160.0", "1.161.0")
        .config(json!({ "experimental_features": { "msc4143_enabled": true } }))
        .config(transports(json!([old(), neither(), new(), both()])))
        .fact("start", start())
        .changes(started(), json!({ "exit status": 1, "printed": matches(neither_is_there) }))
        .fact("what a client is told", get(path).by("alice").body())
        .always(handed_out(json!([old(), neither(), new(), both()])))
        .fact("what nobody is told", get(path).refusal())
        .always(refusal(401, "M_MISSING_TOKEN", "Missing access token"))
        .fact("logged of the old name", log_lines("livekit_service_url"))
        .always(json!([]))
        .fact("deprecations printed", printed())
        .always(not(matches("(?i)deprecat")))
        .step("only the old name", |it| {
            it.reconfigure(transports(json!([old()])))
                .now("start", started())
                .now("what a client is told", handed_out(json!([old()])))
        })
        .step("the new name beside it, or alone, and another transport", |it| {
            it.reconfigure(transports(json!([both(), new(), another()])))
                .now("start", started())
                .now("what a client is told", handed_out(json!([both(), new(), another()])))
        })
        .step("the new name without a value", |it| it.reconfigure(transports(json!([empty()]))))
}
