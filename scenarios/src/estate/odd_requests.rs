//! Requests for what there is not, or by another name: they are answered, and not with an error of the server's.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("odd requests")
        .write(|it: Visit| async move {
            let alias = format!("#{}:{}", it.named("asked-for"), harness::SERVER_NAME);
            let room = it.owner.room(json!({ "preset": "public_chat" })).await?;
            it.owner.put(&["directory", "room", &alias], json!({ "room_id": room })).await?;
            // What fails here already has nothing to be compared with.
            let sound = REGRESSIONS.iter().filter(|one| !it.from(one.since) || it.from(one.mended));
            Ok(json!({ "alias": alias, "sound": sound.map(|one| one.what).collect::<Vec<_>>() }))
        })
        .read(|it: Visit| async move {
            let mut failing = Vec::new();
            for one in REGRESSIONS {
                let [later, again] = one.passed_over;
                let is_due = it.written_from(one.of) && it.from(one.since) && (!it.from(later) || it.from(again));
                if is_due && list(&it.kept["sound"]).contains(&json!(one.what)) {
                    let answer = ask(&it, one.what).await?;
                    if !is_sound(one.what, &answer)? {
                        failing.push(json!([one.what, answer.whole()]));
                    }
                }
            }
            Ok(json!(failing))
        })
        .loses("DELETE FROM room_aliases")
}

/// What failed from a release on, until it was mended. From a later one on it is passed over, or every walk that ends on
/// one of them would show it. Again it is looked for since it is mended, or before, where few walks end for other
/// faults.
struct Regression {
    what: &'static str,
    /// Who comes from before this release is there for what else was mended.
    of: &'static str,
    since: &'static str,
    passed_over: [&'static str; 2],
    mended: &'static str,
}

const JOIN: &str = "an admin lets somebody join by a room's alias";
const MESSAGES: &str = "messages of a room that there is not";
const PROFILE: &str = "the profile of somebody of no server";
const PICTURE: &str = "the picture of somebody who has none";
const RIGHTS: &str = "an admin says that somebody is none";
const PICTURED: &str = "an admin makes an account with a picture";
/// Where a rule for the directory names an alias: see `public_rooms`.
const PUBLISHED: &str = "a new room with an alias that is to be in the directory";

/// Older than any.
const ANY: &str = "0.1.0";

const REGRESSIONS: [Regression; 7] = [
    // Upstream: #8871 (1.9.0 has mended what its older ones had), #6928, #11392 (1.13.0 has mended #7387 of older ones),
    // #9506, #12683, #13041, #20200.
    Regression { what: PICTURED, of: ANY, since: "1.9.0rc1", passed_over: ["1.9.0rc1", "1.24.0rc1"], mended: "1.25.0rc1" },
    Regression { what: RIGHTS, of: ANY, since: "1.11.0rc1", passed_over: ["1.11.1", "1.11.1"], mended: "1.11.1" },
    Regression { what: PUBLISHED, of: "1.12.0rc1", since: "1.13.0rc1", passed_over: ["1.14.0rc1", "1.48.0rc1"], mended: "1.48.0rc1" },
    Regression { what: JOIN, of: ANY, since: "1.25.0rc1", passed_over: ["1.26.0rc1", "1.29.0rc1"], mended: "1.29.0rc1" },
    Regression { what: MESSAGES, of: ANY, since: "1.57.0rc1", passed_over: ["1.58.0rc1", "1.60.0rc1"], mended: "1.60.0rc1" },
    Regression { what: PROFILE, of: ANY, since: "1.58.0rc1", passed_over: ["1.59.0rc1", "1.62.0rc1"], mended: "1.62.0rc1" },
    Regression { what: PICTURE, of: ANY, since: "1.135.0rc1", passed_over: ["1.135.1", "1.161.0rc1"], mended: "1.162.0rc1" },
];

async fn ask(it: &Visit, what: &str) -> Result<harness::Answer> {
    if what == JOIN {
        let path = ["/_synapse/admin/v1", "join", &it.kept("alias")?];
        return it.admin().await?.answer(Method::POST, &path, Some(json!({ "user_id": it.friend.id() }))).await;
    }
    if what == RIGHTS {
        let path = ["/_synapse/admin/v1", "users", it.friend.id(), "admin"];
        return it.admin().await?.answer(Method::PUT, &path, Some(json!({ "admin": false }))).await;
    }
    if what == PICTURED {
        let name = format!("@{}:{}", it.live.unique("pictured"), harness::SERVER_NAME);
        let account = json!({ "password": "p", "avatar_url": format!("mxc://{}/picture", harness::SERVER_NAME) });
        return it.admin().await?.answer(Method::PUT, &["/_synapse/admin/v2", "users", &name], Some(account)).await;
    }
    if what == PUBLISHED {
        let options = json!({ "visibility": "public", "room_alias_name": it.live.unique("published") });
        return it.owner.answer(Method::POST, &["createRoom"], Some(options)).await;
    }
    let path: &[&str] = match what {
        MESSAGES => &["rooms", "!nowhere:hs.test", "messages", "?dir=b&limit=1"],
        PROFILE => &["profile", "@nobody:"],
        _ => &["profile", it.friend.id(), "avatar_url"],
    };
    it.friend.answer(Method::GET, path, None).await
}

fn is_sound(what: &str, answer: &harness::Answer) -> Result<bool> {
    Ok(match what {
        JOIN => answer.status() == 200,
        PICTURE => answer.status() < 500 && answer.json()?.get("avatar_url").is_none(),
        _ => answer.status() < 500,
    })
}
