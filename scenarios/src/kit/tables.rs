//! Tables of a homeserver's database.

use harness::prelude::*;

/// Those of these tables that there are, as rows of their names in alphabetical order.
pub(crate) fn tables(names: &[&str]) -> Probe {
    let names = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    sql(per_database(
        format!("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ({names}) ORDER BY name"),
        format!(
            "SELECT tablename::text AS name FROM pg_tables \
             WHERE schemaname = 'public' AND tablename IN ({names}) ORDER BY tablename"
        ),
    ))
}
