//! How many rows each table has: users' rows do not become fewer by an upgrade.

use std::collections::BTreeMap;

use anyhow::Context as _;
use images::Version;
use serde_json::{Value, json};

use crate::{
    checks::tolerance::{Subject, Tolerances},
    database::Store,
    stage::assistant::Assistant,
};

/// Rows by table.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Tables that fewer rows are in than on the leg before.
pub(crate) const FEWER: &str = "tables with fewer rows";

/// What upstream's `synapse_port_db` says that it leaves behind, of what others count.
pub(crate) const LEFT_BY_PORT: [&str; 4] =
    ["user_directory", "user_directory_search", "users_in_public_rooms", "users_who_share_private_rooms"];

/// Tables of a full-text index have no rows of their own.
const SQLITE: &str = r#"
import json, re, sqlite3
db = sqlite3.connect("/data/homeserver.db", timeout=30)
names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
inner = [name for name in names if re.match(".*_(content|segments|segdir|docsize|stat)$", name) and name.rsplit("_", 1)[0] in names]
print(json.dumps(dict(
    (name, db.execute('SELECT count(*) FROM "%s"' % name).fetchone()[0]) for name in names if name not in inner
)))
"#;

/// Counts all tables.
pub(crate) async fn count(store: &Store, running: &Assistant) -> anyhow::Result<Counts> {
    match store {
        Store::Sqlite { .. } => {
            let text = running.run(&["python", "-c", SQLITE]).await?.ok()?;
            serde_json::from_str(&text).with_context(|| format!("unreadable counts: {text}"))
        }
        Store::Postgres(database) => {
            let names = "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'";
            let queries: Vec<String> = database
                .rows(names)
                .await?
                .iter()
                .filter_map(|row| row["name"].as_str())
                .map(|name| format!("SELECT '{name}' AS name, count(*)::bigint AS count FROM \"{name}\""))
                .collect();
            let rows = database.rows(&queries.join(" UNION ALL ")).await?;
            let count =
                |row: &serde_json::Map<String, Value>| Some((row["name"].as_str()?.to_owned(), row["count"].as_u64()?));
            rows.iter().map(|row| count(row).context("an unreadable count")).collect()
        }
    }
}

/// Tables that have fewer rows than before, or are gone, where nothing permits it.
pub(crate) fn fewer(
    (left, before): (&Version, &Counts),
    (release, after): (&Version, &Counts),
    tolerances: &Tolerances,
) -> Value {
    before
        .iter()
        .filter(|(table, rows)| after.get(*table).copied().unwrap_or_default() < **rows)
        .map(|(table, rows)| (table, rows, after.get(table)))
        .filter(|(table, ..)| !tolerances.permits_between(Subject::Rows, (left, release), table))
        .map(|(table, before, after)| json!({ "table": table, "before": before, "after": after }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_has_fewer_rows_or_is_gone_is_named() {
        let counts =
            |rows: &[(&str, u64)]| rows.iter().map(|&(name, rows)| (name.to_owned(), rows)).collect::<Counts>();
        let tolerances =
            Tolerances::parse("[[tolerance]]\nsubject = \"rows\"\npattern = \"^queue$\"\nreason = \"emptied\"\n")
                .unwrap();
        let (old, new) = ("1.1.0".parse().unwrap(), "1.2.0".parse().unwrap());
        let before = counts(&[("same", 2), ("more", 1), ("fewer", 3), ("gone", 1), ("empty", 0), ("queue", 5)]);
        let after = counts(&[("same", 2), ("more", 2), ("fewer", 2), ("queue", 0)]);
        assert_eq!(
            fewer((&old, &before), (&new, &after), &tolerances),
            json!([
                { "table": "fewer", "before": 3, "after": 2 },
                { "table": "gone", "before": 1, "after": null },
            ])
        );
    }
}
