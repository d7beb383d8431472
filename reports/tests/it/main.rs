//! The reports on a run that has everything.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod fixture;
mod flaky;
mod html;
mod junit;
mod killed;
mod merge;
mod properties;
mod qualification;
mod recording;
mod terminal;
