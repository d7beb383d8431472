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

mod cli;
mod client;
/// Companions: services next to the homeserver.
pub mod companion;
mod config;
mod container;
mod daemon;
/// Deployments as data.
pub mod deployment;
mod estate;
pub mod expect;
mod fixture;
pub mod health;
mod homeserver;
mod live;
mod log;
mod places;
mod plan;
mod postgres;
pub mod probe;
mod run;
mod scenario;
mod tls;
mod tolerance;
mod walk;

pub use cli::{Suite, main};
pub use client::{
    Answer, Browser, Client, ForwardProxy, Mail, Mailbox, Page, Recorder, Request, UnexpectedAnswer, escape,
};
pub use config::SERVER_NAME;
pub use daemon::Output;
pub use deployment::{Database, Deployment};
pub use images::Version;
pub use live::Live;
pub use plan::{Plan, Shard, Trial, trials};
pub use probe::Probe;
pub use reqwest::Method;
pub use scenario::{Scenario, metrics_listener, nothing};

/// What a module of scenarios needs.
pub mod prelude {
    pub use anyhow::Result;
    pub use serde_json::{Value, json};

    pub use crate::{
        Database, Deployment, Live, Scenario, companion, escape,
        expect::{anything, contains, matches, not, per_database},
        metrics_listener, notes,
        probe::{
            Probe, delete, error, get, log_lines, post, printed, put, refused, refused_with, request, sql, start,
            started, status, unrecognized,
        },
    };
}
