//! Which image runs release R?
//!
//! [`Store::obtain`] answers with an image that can be run now: one that was named for it, one that is present, one from
//! the registry, or one built here by the recipes of this crate.

mod base;
mod disk;
mod docker;
mod error;
mod lock;
pub mod maintain;
mod options;
mod queue;
mod recipe;
mod release;
mod store;
mod version;
mod wanted;

pub use error::Error;
pub use lock::LockError;
pub use options::{ImagesFrom, Of, Options, Override, ParseOverrideError};
pub use release::{ParseSuiteError, Release, ReleaseTable, Suite, TableError};
pub use store::{Image, Progress, Source, Store};
pub use version::{ParseVersionError, Version};
pub use wanted::{Change, Companion, ParseWantedError, Patch, Wanted};
