//! The engine: it deploys real homeservers, walks them along hops, looks at the same facts on every leg, and compares what
//! it saw with what a scenario's table says of each release. It knows nothing of any particular note.
//!
//! # Words
//!
//! - A [`Scenario`] is the executable form of one upgrade note: a [`Deployment`], a path, and facts.
//! - A fact is a name, a [`Probe`], and expected values by release ([`expect`]).
//! - A leg is one period between start and stop of a release on the path; a hop is a pair of neighboring legs.
//! - A walk is one deployment on one path; scenarios that cannot disturb each other ride on the same walk.
//! - [`Live`] is the deployment as seeds, steps and probes meet it on a leg.
//!
//! A [`Suite`] of scenarios is run by [`main`], the body of the `upgrades` test target.

mod checks;
mod cli;
mod client;
mod database;
mod engine;
pub mod estate;
mod path;
mod plan;
mod scenario;
mod stage;
mod verdict;

pub use checks::health;
pub use cli::{Suite, main};
pub use client::{
    Answer, AuthenticationService, Browser, Client, ForwardProxy, Live, Mail, Mailbox, PATIENCE, Page, Recorder,
    Request, SCHEDULED, UnexpectedAnswer, escape, eventually, within,
};
pub use images::Version;
pub use path::{ParsePathError, Path};
pub use plan::{
    Plan, Shard, Trial, mutants,
    qualify::{Qualification, Shipped},
    refusal::Refusal,
    trials,
};
pub use reqwest::Method;
pub use scenario::{
    Scenario,
    deployment::{self, Database, Deployment},
    expect, metrics_listener,
    mutant::Mutant,
    nothing,
    probe::{self, Probe},
};
pub use stage::{companion, config::SERVER_NAME, daemon::Output};

/// What a module of scenarios needs.
pub mod prelude {
    pub use anyhow::Result;
    pub use serde_json::{Value, json};

    pub use crate::{
        Database, Deployment, Live, Scenario, escape, eventually, metrics_listener, notes,
        scenario::expect::{anything, contains, matches, not, per_database},
        scenario::probe::{
            Probe, delete, error, get, log_lines, no_such_path, not_found, post, printed, put, refusal, refused,
            refused_with, request, sql, start, started, status, unrecognized,
        },
        stage::companion,
    };
}
