//! What each release answers that has it: what was answered once is answered still.

use harness::{Answer, escape};

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("answers")
        .write(|it: Visit| async move {
            let person = it.somebody("inquiring").await?;
            let room = person.room(json!({ "preset": "public_chat" })).await?;
            let names = json!({
                "USER": person.id(), "DEVICE": person.device(), "NOBODY": it.named("nobody"),
                "ROOM": room, "EVENT": person.say(&room, "asked for").await?,
            });
            let mut answered = Vec::new();
            for (_, paths) in PATHS.iter().filter(|(since, _)| it.from(since)) {
                for path in *paths {
                    if (200..300).contains(&ask(&it, &names, path).await?.status()) {
                        answered.push(path);
                    }
                }
            }
            Ok(json!({ "names": names, "answered": answered }))
        })
        .read(|it: Visit| async move {
            let mut failing = Vec::new();
            // An older release need not have it.
            for path in list(&it.kept["answered"]).iter().filter(|_| it.goes_on()).filter_map(Value::as_str) {
                let answer = ask(&it, &it.kept["names"], path).await?;
                if is_failing(&answer) {
                    failing.push(json!([path, answer.brief()]));
                }
            }
            Ok(json!(failing))
        })
        .loses(LOG_OUT)
}

/// Where admins are.
const ADMIN: &str = "/_synapse/admin/";

/// What may be asked of the first release that has it and of all since. Before that some are taken for others, with
/// whose paths they begin.
const PATHS: [(&str, &[&str]); 24] = [
    (
        "0.34.0",
        &[
            "/_matrix/client/versions",
            "/_matrix/client/r0/account/3pid",
            "/_matrix/client/r0/account/whoami",
            "/_matrix/client/r0/devices",
            "/_matrix/client/r0/devices/DEVICE",
            "/_matrix/client/r0/directory/list/room/ROOM",
            "/_matrix/client/r0/initialSync?limit=1",
            "/_matrix/client/r0/joined_rooms",
            "/_matrix/client/r0/login",
            "/_matrix/client/r0/notifications",
            "/_matrix/client/r0/profile/USER",
            "/_matrix/client/r0/profile/USER/displayname",
            "/_matrix/client/r0/publicRooms?limit=1",
            "/_matrix/client/r0/pushers",
            "/_matrix/client/r0/pushrules/",
            "/_matrix/client/r0/rooms/ROOM/context/EVENT",
            "/_matrix/client/r0/rooms/ROOM/event/EVENT",
            "/_matrix/client/r0/rooms/ROOM/initialSync",
            "/_matrix/client/r0/rooms/ROOM/joined_members",
            "/_matrix/client/r0/rooms/ROOM/members",
            "/_matrix/client/r0/rooms/ROOM/messages?dir=b&limit=1",
            "/_matrix/client/r0/rooms/ROOM/state",
            "/_matrix/client/r0/rooms/ROOM/state/m.room.create",
            "/_matrix/client/r0/thirdparty/protocols",
            "/_matrix/client/r0/user/USER/rooms/ROOM/tags",
            "/_matrix/client/r0/voip/turnServer",
            "/_matrix/federation/v1/version",
            "/_matrix/key/v2/server",
            "/_matrix/media/r0/config",
        ],
    ),
    (
        "1.0.0",
        &[
            "/_matrix/client/r0/capabilities",
            "/_synapse/admin/v1/server_version",
            "/_synapse/admin/v1/whois/USER",
        ],
    ),
    // Before, it fails for whoever asks.
    ("1.5.0", &["/_synapse/admin/v1/room/ROOM/media"]),
    ("1.8.0", &["/_synapse/admin/v2/users?limit=1"]),
    ("1.11.0", &["/_synapse/admin/v1/users/USER/admin", "/_synapse/admin/v2/users/USER"]),
    ("1.13.0", &["/_matrix/client/r0/password_policy"]),
    ("1.14.0", &["/_synapse/admin/v1/rooms?limit=1", "/_synapse/admin/v1/rooms/ROOM"]),
    ("1.15.0", &["/_synapse/admin/v2/users/USER/devices"]),
    ("1.18.0", &["/_synapse/admin/v1/rooms/ROOM/members"]),
    ("1.21.0", &["/_synapse/admin/v1/event_reports?limit=1", "/_synapse/admin/v1/users/USER/joined_rooms"]),
    (
        "1.23.0",
        &[
            "/_synapse/admin/v1/statistics/users/media?limit=1",
            "/_synapse/admin/v1/users/USER/media",
            "/_synapse/admin/v1/users/USER/pushers",
        ],
    ),
    ("1.27.0", &["/_synapse/admin/v1/rooms/ROOM/forward_extremities", "/_synapse/admin/v1/rooms/ROOM/state"]),
    ("1.28.0", &["/_synapse/admin/v1/rooms/ROOM/context/EVENT"]),
    ("1.32.0", &["/_synapse/admin/v1/users/USER/override_ratelimit"]),
    ("1.36.0", &["/_matrix/client/r0/rooms/ROOM/aliases"]),
    ("1.42.0", &["/_synapse/admin/v1/registration_tokens", "/_synapse/admin/v1/username_available?username=NOBODY"]),
    ("1.48.0", &["/_synapse/admin/v1/background_updates/enabled", "/_synapse/admin/v1/rooms/ROOM/block"]),
    (
        "1.49.0",
        &[
            "/_matrix/client/v1/rooms/ROOM/hierarchy",
            "/_synapse/admin/v1/background_updates/status",
            "/_synapse/admin/v1/federation/destinations?limit=1",
        ],
    ),
    ("1.57.0", &["/_matrix/client/v1/rooms/ROOM/relations/EVENT"]),
    ("1.70.0", &["/_matrix/client/v1/rooms/ROOM/threads"]),
    ("1.73.0", &["/_matrix/client/v1/rooms/ROOM/timestamp_to_event?dir=f&ts=0"]),
    ("1.111.0", &["/_matrix/client/v1/media/config"]),
    ("1.130.0", &["/_synapse/admin/v1/scheduled_tasks"]),
    ("1.140.0", &["/_synapse/admin/v1/fetch_event/EVENT"]),
];

/// Asks whoever may.
async fn ask(it: &Visit, names: &Value, path: &str) -> Result<Answer> {
    let person = if path.starts_with(ADMIN) { it.admin().await? } else { it.somebody("inquiring").await? };
    let names = names.as_object().into_iter().flatten();
    let path = names.fold(path.to_owned(), |path, (name, value)| path.replace(name, &escape(&text(value))));
    person.answer(Method::GET, &[&path], None).await
}

/// Is it answered as what there is not, or not at all?
fn is_failing(answer: &Answer) -> bool {
    answer.status() >= 500 || [401, 405].contains(&answer.status()) || answer.brief()["errcode"] == "M_UNRECOGNIZED"
}
