//! What is looked at on every leg of every walk, whatever the note, and what may differ there.

pub(crate) mod confluence;
pub mod health;
pub(crate) mod rows;
pub(crate) mod tolerance;
