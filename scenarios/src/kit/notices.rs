//! Mails about messages, which Synapse sends after ten minutes.

use harness::{Live, Mail, prelude::*};

/// A module with the old interface of third-party rules that forbids nothing: where it is loaded, nothing waits ten minutes.
pub(crate) const SOON: &str = "
import synapse.push.emailpusher

synapse.push.emailpusher.DELAY_BEFORE_MAIL_MS = 0

class Soon:
    def __init__(self, config, module_api):
        pass

    @staticmethod
    def parse_config(config):
        return config

    async def check_event_allowed(self, event, state):
        return True

    async def on_create_room(self, requester, config, is_requester_admin):
        return True

    async def check_threepid_can_be_invited(self, medium, address, state):
        return True
";

/// What `third_party_event_rules` is set to, where the module is called `soon`.
pub(crate) fn soon() -> Value {
    json!({ "module": "soon.Soon", "config": {} })
}

/// The mail that somebody is sent about a message by somebody else of this name.
pub(crate) async fn about_message(hs: &Live, senders_name: &str) -> Result<Mail> {
    let (reader, sender) = (hs.user(&hs.unique("reader")).await?, hs.user("sender").await?);
    let name = format!("/_matrix/client/r0/profile/{}/displayname", sender.id());
    sender.put(&name, &json!({ "displayname": senders_name })).await?.ok()?;
    let room = sender.create_room(&json!({ "invite": [reader.id()] })).await?;
    reader.join(&room).await?;
    let address = hs.email(&hs.unique("reader"));
    reader.add_email(&address).await?;
    let pusher = json!({
        "kind": "email",
        "app_id": "m.email",
        "app_display_name": "mail",
        "device_display_name": "mail",
        "pushkey": address,
        "lang": "en",
        "data": {},
    });
    reader.post("/_matrix/client/r0/pushers/set", &pusher).await?.ok()?;
    sender.say(&room, "hello").await?.ok()?;
    hs.mail("mail").next_to(&address, 0).await
}
