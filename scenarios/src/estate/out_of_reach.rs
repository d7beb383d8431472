//! Keys of somebody whose homeserver is out of reach: who asks for them is told so, however often they ask, or they would
//! take it for somebody without any.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("keys of who is out of reach")
        .since("1.60.0")
        .write(|_| async move { Ok(json!({})) })
        .read(|it: Visit| async move {
            // From 1.110.0 to 1.112.0 whoever asks once more is told nothing (#17498).
            if !super::is_looked_for_next_door(&it, "1.109.0rc1", "1.110.0rc1", "1.113.0rc1") {
                return Ok(json!(SOUND));
            }
            // Nobody listens at this port, which is part of the homeserver's name.
            let nowhere = format!("{}:9", harness::SERVER_NAME);
            let somebody = format!("@somebody:{nowhere}");
            let mut told = Vec::new();
            for _ in SOUND {
                let wanted = json!({ "device_keys": { &somebody: [] } });
                let keys = it.friend.post(&["keys", "query"], wanted).await?;
                told.push(keys["failures"].get(&nowhere).is_some());
            }
            Ok(json!(told))
        })
        .loses(LOG_OUT)
}

/// Told each time: first it is tried, and then known, by the third time at the latest.
const SOUND: [bool; 3] = [true; 3];
