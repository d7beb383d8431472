//! Hops on which a rich estate must survive: those that rewrite most of what is stored. Walked when they are asked for, as the
//! families of paths are.

use harness::{Database, Scenario};

/// One scenario per hop.
pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        // Chain cover of the event graph, and account data in streams.
        Scenario::survival("1.25.0", "1.26.0").ignored(),
        // The events table is rewritten, on PostgreSQL alone. 1.38.0 has a fault of its own (#10457).
        Scenario::survival("1.37.1", "1.38.1").only_on(Database::Postgres).ignored(),
    ]
}
