//! The reports on a run that has everything.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod fixture;
mod html;
mod junit;
mod merge;
mod properties;
mod recording;
mod terminal;
