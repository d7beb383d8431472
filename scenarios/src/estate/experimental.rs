//! Experimental features that an admin gave somebody.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("features of one's own")
        .since("1.100.0")
        .fills(&["per_user_experimental_features"])
        .write(|it: Visit| async move {
            let person = it.somebody("curious").await?;
            let path = ["/_synapse/admin/v1", "experimental_features", person.id()];
            it.admin().await?.put(&path, json!({ "features": { "msc3881": true } })).await?;
            Ok(json!({ "person": person.id() }))
        })
        .read(|it: Visit| async move {
            let path = ["/_synapse/admin/v1", "experimental_features", &it.kept("person")?];
            Ok(it.admin().await?.get(&path).await?["features"]["msc3881"].clone())
        })
}
