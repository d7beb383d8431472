//! Hops on which a rich estate must survive: those that rewrite most of what is stored.

use harness::Scenario;

/// One scenario per hop.
pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        // Chain cover of the event graph, and account data in streams.
        Scenario::survival("1.25.0", "1.26.0"),
        // The events table is rewritten on PostgreSQL.
        Scenario::survival("1.37.1", "1.38.0"),
        // A recent one.
        Scenario::survival("1.125.0", "1.126.0"),
    ]
}
