//! The estate: what users own. It consists of [`Part`]s, each written on every leg and read on every later one; it must be
//! there unchanged, but for tolerances.

mod compare;
mod keeper;
mod keys;
mod part;
mod person;

pub(crate) use compare::differences;
pub(crate) use keeper::Keeper;
pub use keys::Signer;
pub(crate) use part::{PEER, Place};
pub use part::{Part, Visit};
pub use person::{Person, event, list, text, typed};

/// How much of it a walk has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// The parts that ride along on every walk.
    Small,
    /// All parts; a trial of its own.
    Rich,
    /// The parts of these names.
    Only(Vec<String>),
}

impl Size {
    pub(crate) fn has(&self, part: &Part) -> bool {
        match self {
            Self::Small => part.rides_along,
            Self::Rich => true,
            Self::Only(names) => names.iter().any(|name| name == part.name),
        }
    }
}
