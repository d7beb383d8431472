//! What several notes need and the harness, which knows no note, does not say.

pub(crate) mod bridge;
pub(crate) mod federation;
pub(crate) mod groups;
pub(crate) mod login_tokens;
pub(crate) mod mas;
pub(crate) mod media;
pub(crate) mod metrics;
pub(crate) mod notices;
pub(crate) mod platform;
pub(crate) mod processes;
pub(crate) mod settings;
pub(crate) mod sync;
pub(crate) mod tables;
pub(crate) mod workers;
