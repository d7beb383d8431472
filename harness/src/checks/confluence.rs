//! Confluence: a database that came by a path has the same schema as one that the release makes fresh.

use std::collections::BTreeSet;

use anyhow::Context as _;
use images::Version;
use serde_json::{Value, json};

use crate::{
    checks::tolerance::{Subject, Tolerances},
    database::{Store, postgres},
    stage::assistant::Assistant,
};

/// What a database that came by a path has otherwise than a fresh one.
pub(crate) const SCHEMA: &str = "schema as made fresh";

/// Everything that a schema says, one line for each thing: `column events.event_id text NOT NULL`.
pub(crate) type Catalogue = BTreeSet<String>;

/// Columns may stand in any order: later ones were appended. Shadow tables of full-text indexes are SQLite's own.
const SQLITE: &str = r#"
import json, re, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
lines = []
squeeze = lambda sql: re.sub(r"\s*([(),])\s*", r"\1", " ".join((sql or "").replace('"', "").split())).lower()
master = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
tables = [name for kind, name, _, _ in master if kind == "table"]
for kind, name, table, sql in master:
    if kind == "table":
        if re.match(".*_(content|segments|segdir|docsize|stat)$", name) and name.rsplit("_", 1)[0] in tables:
            continue
        if squeeze(sql).startswith("create virtual"):
            lines.append("table %s %s" % (name, squeeze(sql)))
            continue
        for _, column, of, not_null, default, key in db.execute('PRAGMA table_info("%s")' % name):
            constraint = (" not null" if not_null else "") + (" default %s" % default if default is not None else "")
            lines.append("column %s.%s %s%s%s" % (name, column, of.lower(), constraint.lower(), " key %s" % key if key else ""))
        for row in db.execute('PRAGMA foreign_key_list("%s")' % name):
            lines.append("reference %s.%s to %s.%s on delete %s" % (name, row[3], row[2], row[4], row[6]))
        for row in db.execute('PRAGMA index_list("%s")' % name):
            if row[1].startswith("sqlite_autoindex"):
                columns = [column[2] for column in db.execute('PRAGMA index_info("%s")' % row[1])]
                lines.append("constraint %s unique (%s)" % (name, ", ".join(map(str, columns))))
    else:
        lines.append("%s %s on %s: %s" % (kind, name, table, squeeze(sql).replace("if not exists ", "")))
for version, file in db.execute("SELECT version, file FROM applied_schema_deltas"):
    lines.append("delta %s %s" % (version, file))
print(json.dumps(sorted(set(lines))))
"#;

const POSTGRES: &str = r"
SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') AS line
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
UNION ALL SELECT 'sequence ' || sequencename || ' ' || data_type || ' by ' || increment_by
    FROM pg_sequences WHERE schemaname = 'public'
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'rule ' || pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class IN
    (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
UNION ALL SELECT 'function ' || regexp_replace(pg_get_functiondef(oid), '\s+', ' ', 'g') FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'delta ' || version || ' ' || file FROM applied_schema_deltas
";

/// Where a fresh database lies in a container that is to say what its schema is.
const FRESH: &str = "/tmp/fresh.db";

/// The catalogue of the database that a homeserver runs on.
pub(crate) async fn catalogue(store: &Store, running: &Assistant) -> anyhow::Result<Catalogue> {
    match store {
        Store::Sqlite { .. } => read(&running.run(&["python", "-c", SQLITE, "/data/homeserver.db"]).await?.ok()?),
        Store::Postgres(database) => of_postgres(database).await,
    }
}

/// The catalogue of a fresh SQLite database, given as its file; the SQLite that looks at it is that of a homeserver that runs.
pub(crate) async fn of_file(running: &Assistant, content: &[u8]) -> anyhow::Result<Catalogue> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, FRESH.trim_start_matches("/tmp/"), content)?;
    running.upload("/tmp", archive.into_inner()?).await?;
    read(&running.run(&["python", "-c", SQLITE, FRESH]).await?.ok()?)
}

/// The catalogue of a PostgreSQL database.
pub(crate) async fn of_postgres(database: &postgres::Database) -> anyhow::Result<Catalogue> {
    let rows = database.rows(POSTGRES).await?;
    rows.iter().map(|row| row["line"].as_str().map(str::to_owned).context("an unreadable catalogue")).collect()
}

fn read(text: &str) -> anyhow::Result<Catalogue> {
    serde_json::from_str(text).with_context(|| format!("unreadable catalogue: {text}"))
}

/// What is missing and what is there besides, where nothing permits it. Deltas that a fresh database was made without, as it
/// begins with the schema of a later release, are no difference.
pub(crate) fn differences(release: &Version, fresh: &Catalogue, found: &Catalogue, tolerances: &Tolerances) -> Value {
    let first = snapshot(fresh);
    let older = |line: &&String| delta(line).is_some_and(|version| Some(version) < first || first.is_none());
    let missing = fresh.difference(found).map(|line| format!("missing: {line}"));
    let besides = found.difference(fresh).filter(|line| !older(line)).map(|line| format!("besides: {line}"));
    missing
        .chain(besides)
        .filter(|line| !tolerances.permits(Subject::Schema, release, line))
        .map(|line| json!(line))
        .collect()
}

/// The oldest delta that a fresh database was made with: it tells which of upstream's whole schemas it began with. What
/// began with another one differs in form, too, so that the two are not held against each other.
pub(crate) fn snapshot(fresh: &Catalogue) -> Option<u32> {
    fresh.iter().filter_map(|line| delta(line)).min()
}

/// The schema version of a line that tells of a delta.
fn delta(line: &str) -> Option<u32> {
    line.strip_prefix("delta ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_there_besides_is_told() {
        let catalogue = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Catalogue>();
        let fresh = catalogue(&["column a.x text", "index a_idx on a: (x)", "delta 73 73/01.sql"]);
        let found = catalogue(&[
            "column a.x bigint",
            "index a_idx on a: (x)",
            "delta 54 54/old.sql",
            "delta 73 73/01.sql",
            "delta 73 73/02.sql",
        ]);
        let tolerances = Tolerances::parse("").unwrap();
        assert_eq!(
            differences(&"1.80.0".parse().unwrap(), &fresh, &found, &tolerances),
            json!(["missing: column a.x text", "besides: column a.x bigint", "besides: delta 73 73/02.sql"])
        );
        assert_eq!(differences(&"1.80.0".parse().unwrap(), &fresh, &fresh, &tolerances), json!([]));
    }
}
