//! Fields of a profile, by the path that they had before they were specified.

use super::prelude::*;

/// A field of one's own.
const COLOUR: &str = "test.colour";

pub(super) fn part() -> Part {
    Part::new("profile fields of before")
        .since("1.123.0")
        .config(json!({ "experimental_features": { "msc4133_enabled": true } }))
        .write(|it: Visit| async move {
            let person = it.somebody("colourful").await?;
            let answer = person.answer(Method::PUT, &field(person.id()), Some(json!({ COLOUR: "grün" }))).await?;
            // What cannot be written is nothing to compare with: not everybody lets people set it, and see below.
            Ok(if answer.status() == 200 { json!({ "person": person.id() }) } else { json!({}) })
        })
        .read(|it: Visit| async move {
            let Ok(person) = it.kept("person") else { return Ok(json!("not written")) };
            // From 1.135.0 to 1.138.4 nobody finds it there, though the server says so (#18875): looked for on the first of
            // these releases, or every walk that ends on one of them would show it.
            if !super::is_looked_for(&it, "1.135.0rc1", "1.135.1", "1.139.0rc1") {
                return Ok(json!({ COLOUR: "grün" }));
            }
            it.friend.answer(Method::GET, &field(&person), None).await?.json()
        })
        .loses("DELETE FROM profiles")
}

fn field(person: &str) -> [&str; 4] {
    ["/_matrix/client/unstable/uk.tcpip.msc4133", "profile", person, COLOUR]
}
