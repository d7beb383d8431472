//! What runs on a leg, from a deployment as data to containers: configuration, processes, companions, logs.

pub(crate) mod assistant;
pub mod companion;
pub(crate) mod config;
pub(crate) mod container;
pub(crate) mod daemon;
pub(crate) mod homeserver;
pub(crate) mod hook;
pub(crate) mod log;
pub(crate) mod pulse;
pub(crate) mod tls;
