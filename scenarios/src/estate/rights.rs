//! What an admin says of an account holds at once: another admin, or none; locked, or not.

use super::prelude::*;

pub(super) fn part() -> Part {
    Part::new("rights")
        .since("1.120.0")
        .loses("UPDATE users SET admin = 1")
        .write(|it: Visit| async move {
            let person = it.somebody("clerk").await?;
            Ok(json!({ "person": person.id(), "token": person.token() }))
        })
        .read(|it: Visit| async move {
            let (admin, id) = (it.admin().await?, it.kept("person")?);
            let person = it.owner.with_token(&it.kept("token")?);
            let (mut listing, mut asking) = (Vec::new(), Vec::new());
            for says in [None, Some(true), Some(false)] {
                if let Some(is_admin) = says {
                    admin.put(&["/_synapse/admin/v1", "users", &id, "admin"], json!({ "admin": is_admin })).await?;
                }
                let path = ["/_synapse/admin/v2", "users", "?limit=1"];
                listing.push(person.answer(Method::GET, &path, None).await?.status());
            }
            for says in [None, Some(true), Some(false)] {
                if let Some(is_locked) = says {
                    admin.put(&["/_synapse/admin/v2", "users", &id], json!({ "locked": is_locked })).await?;
                }
                asking.push(person.answer(Method::GET, &["account", "whoami"], None).await?.status());
            }
            Ok(json!({ "as an admin": listing, "locked": asking }))
        })
}
