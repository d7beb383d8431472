//! Synapse 1.72.0.

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _};

notes!("1.72.0": postgresql_11);

/// PostgreSQL has to be 11 or newer. The old server's version is faked, for want of one; the newer is real.
fn postgresql_11() -> Scenario {
    Scenario::for_note("Dropping support for PostgreSQL 10")
        .only_on(Database::Postgres)
        .hop("1.71.0", "1.72.0")
        .faked(Old::Postgres(100_023))
        .seed(|hs| async move {
            let alice = hs.user("alice").await?;
            let room = alice.room("room", &json!({})).await?;
            alice.say(&room, "from before").await?.ok()?;
            Ok(())
        })
        .fact("start", start())
        .changes(started(), refused("Error during initialisation: Synapse requires PostgreSQL 11 or above."))
        .fact("what was said before", |hs: Live| async move {
            let alice = hs.user("alice").await?;
            let timeline = alice.timeline(&hs.recall("room")?, 1).await?;
            Ok(json!(timeline.iter().map(|event| &event["content"]["body"]).collect::<Vec<_>>()))
        })
        .always(json!(["from before"]))
        .step("PostgreSQL 11, faked", |it| it.faked(Old::Postgres(110_000)).now("start", started()))
}
