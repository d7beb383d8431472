//! Synapse 0.33.7.

use harness::prelude::*;

notes!("0.33.7": email_templates_in_package);

/// The templates of mails about notifications are inside the package, where a checkout had them in `res/templates`. So an
/// operator need not name a directory for them, and the old default, which is empty now, is passed over with a warning.
///
/// Upstream: PR 4052.
fn email_templates_in_package() -> Scenario {
    let packaged = Probe::from(|hs: Live| async move {
        let list = "import json, os, synapse; d = os.path.dirname(synapse.__file__) + '/res/templates'; \
                    print(json.dumps(sorted(os.listdir(d)) if os.path.exists(d) else []))";
        Ok(serde_json::from_str(&hs.python(list).await?)?)
    })
    .at_rest();
    let of_package = || json!({ "html": contains("<div class=\"salutation\">Hi Alice,"), "text": contains("You can disable these") });
    let of_operator =
        |text: &str| json!({ "html": contains(&format!("<b>{text}</b> ")), "text": contains(&format!("{text} ")) });
    let warning = "WARNING: The email notifier is configured to look for templates in 'res/templates', but no templates \
                   could be found there. We will fall back to using the example templates; to get rid of this warning, \
                   leave 'email.template_dir' unset.";
    Scenario::for_note("Upgrading to v0.33.7")
        .hop("0.33.6", "0.33.7")
        .config(json!({
            "public_baseurl": "http://hs.test/",
            "email": {
                "enable_notifs": true,
                "smtp_host": "mail",
                "smtp_port": 25,
                "notif_from": "homeserver <noreply@hs.test>",
                "notif_template_html": "notif_mail.html",
                "notif_template_text": "notif_mail.txt",
            },
        }))
        .fact("templates in the package", packaged)
        .changes(
            json!([]),
            json!([
                "mail-Vector.css",
                "mail.css",
                "notif.html",
                "notif.txt",
                "notif_mail.html",
                "notif_mail.txt",
                "room.html",
                "room.txt"
            ]),
        )
        .variant("a checkout, and its directory", |it| {
            it.config(json!({ "email": { "template_dir": "res/templates" } }))
                // It is looked for in the working directory.
                .file("modules/res/templates/notif_mail.html", "<b>CHECKOUT</b> {{ summary_text }}")
                .file("modules/res/templates/notif_mail.txt", "CHECKOUT {{ summary_text }}")
                .change(|deployment| deployment.files.clear())
                .act(|hs| async move {
                    hs.python("import shutil; shutil.rmtree('/data/modules/res')").await?;
                    Ok(())
                })
                .fact("what is printed", printed())
                .changes(not(contains("templates")), contains(warning))
                .fact("a mail as it is rendered", rendered())
                .changes(of_operator("CHECKOUT"), of_package())
                .step("a directory of the operator", |it| {
                    it.reconfigure(json!({ "email": { "template_dir": "/data/templates" } }))
                        .file("templates/notif_mail.html", "<b>OURS</b> {{ summary_text }}")
                        .file("templates/notif_mail.txt", "OURS {{ summary_text }}")
                        .now("what is printed", not(contains("templates")))
                        .now("a mail as it is rendered", of_operator("OURS"))
                })
                .step("the directory of the checkout put back", |it| {
                    it.reconfigure(json!({ "email": { "template_dir": "res/templates" } }))
                        .file("modules/res/templates/notif_mail.html", "<b>CHECKOUT</b> {{ summary_text }}")
                        .file("modules/res/templates/notif_mail.txt", "CHECKOUT {{ summary_text }}")
                        .now("what is printed", not(contains("templates")))
                        .now("a mail as it is rendered", of_operator("CHECKOUT"))
                })
        })
        .variant("the directory of a checkout, without its templates", |it| {
            it.alone("others have them")
                .config(json!({ "email": { "template_dir": "res/templates" } }))
                .fact("start", start())
                .changes(refused("TemplateNotFound: notif_mail.html"), started())
                .fact("a mail as it is rendered", rendered())
                .changes(json!({ "none": "TemplateNotFound: notif_mail.html" }), of_package())
        })
        .variant("no directory", |it| {
            it.alone("others name one")
                .fact("start", start())
                .changes(
                    refused("email.enable_notifs is True but required keys are missing: email.template_dir"),
                    started(),
                )
                .fact("what is printed", printed())
                .changes(
                    contains("required keys are missing: email.template_dir"),
                    not(matches(r"required keys|look\s+for\s+templates")),
                )
                .fact("a mail as it is rendered", rendered())
                .changes(json!({ "none": contains("required keys are missing: email.template_dir") }), of_package())
                .step("a directory that is not there", |it| {
                    it.reconfigure(json!({ "email": { "template_dir": "/data/nowhere" } }))
                        .now("start", refused("TemplateNotFound: notif_mail.html"))
                        .now("a mail as it is rendered", json!({ "none": "TemplateNotFound: notif_mail.html" }))
                })
        })
}

/// What the homeserver's own code makes of its configuration: a mail about no room, or why there is none.
///
/// No mail is sent. It would come ten minutes after a message, and on Python 3, where 0.33.7 runs here, it never comes: what
/// waits for it stumbles over every message.
fn rendered() -> Probe {
    let program = r#"
import json, os
os.chdir("/data/modules")
from synapse.config.homeserver import HomeServerConfig
from synapse.push.mailer import load_jinja2_templates
reason = {"now": 0, "received_at": 0, "delay_before_mail_ms": 600000}
try:
    templates = load_jinja2_templates(HomeServerConfig.load_config("", ["-c", "/data/homeserver.yaml"]))
    html, text = (t.render(user_display_name="Alice", summary_text="Summary", reason=reason) for t in templates)
    print(json.dumps({"html": html, "text": text}))
except Exception as error:
    print(json.dumps({"none": type(error).__name__ + ": " + str(error)}))
"#;
    Probe::from(move |hs: Live| async move { Ok(serde_json::from_str(&hs.python(program).await?)?) }).at_rest()
}
