//! From observations to verdicts: pure functions, tested without Docker.
//!
//! A [`cell`] is one fact on one leg; a [`trial`]'s verdict is made of its riders' cells and of what went wrong beside them;
//! [`blind`] finds expectations that cannot tell two legs apart, [`control`] facts that do not notice
//! old code, and [`mutant`] whether one noticed a release with one thing wrong.

pub(crate) mod blind;
pub(crate) mod cell;
pub(crate) mod control;
pub(crate) mod mutant;
pub(crate) mod trial;

#[cfg(test)]
pub(crate) mod fixture;
