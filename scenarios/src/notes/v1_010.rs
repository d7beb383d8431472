//! Synapse 1.10.0.

use harness::prelude::*;

notes!("1.10.0": postgres_locale_warning);

/// A database whose collation or character type is not `C` is warned of at every start, and an empty one, which the note does
/// not name, is refused.
///
/// Upstream: PR 6734.
fn postgres_locale_warning() -> Scenario {
    let warnings = || {
        json!([
            contains("WARNING - Database has incorrect collation of 'C.UTF-8'. Should be 'C'"),
            contains("WARNING - Database has incorrect ctype of 'C.utf8'. Should be 'C'"),
        ])
    };
    // In the second line, too, 1.10.0 shows the collation.
    let wrong = r"(?s)incorrectly configured:.*'COLLATE' is set to 'C.UTF-8'\. Should be 'C'.*'CTYPE' is set to 'C.UTF-8'\. Should";
    let locale = "SELECT datcollate::text AS collation, datctype::text AS ctype FROM pg_database \
                  WHERE datname = current_database()";
    let is = |collation: &str, ctype: &str| json!([{ "collation": collation, "ctype": ctype }]);
    Scenario::for_note("Upgrading to v1.10.0")
        .only_on(Database::Postgres)
        .hop("1.9.1", "1.10.0")
        // Two names of the same, so that one is not taken for the other.
        .locale("C.UTF-8/C.utf8")
        .fact("locale of the database", sql(locale))
        .always(is("C.UTF-8", "C.utf8"))
        .variant("a database that 1.9.1 has made", |it| {
            it.fact("what is logged of it", log_lines("Database has incorrect"))
                .changes(json!([]), warnings())
                .step("dumped, and read into one made anew", |it| {
                    it.locale("C").now("locale of the database", is("C", "C")).now("what is logged of it", json!([]))
                })
        })
        .variant("an empty database", |it| {
            it.without_estate("the database is emptied before the new release")
                .from_scratch()
                .act(|hs| async move { hs.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public;").await })
                .fact("start", start())
                .changes(started(), json!({ "exit status": 1, "printed": matches(wrong) }))
                .step("one made anew", |it| {
                    it.locale("C").now("locale of the database", is("C", "C")).now("start", started())
                })
        })
}
