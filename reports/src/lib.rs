//! What a run tells.
//!
//! The harness emits one stream of [`Event`]s; everything a person or a CI system reads is derived from that stream:
//! the terminal's progress, JUnit, JSON and one self-contained HTML page. A recorded stream (`events.jsonl`) gives the
//! same reports again, and the streams of several shards give one report together.
//!
//! - [`Reporter`] is what the harness holds during a run: it records, shows progress, and writes the reports.
//! - [`Recording`] is a stream read back from disk.
//! - [`Report`] is one or several recordings put in order; it is what `report.json` holds, and what [`html`] and
//!   [`junit`] render.
//! - [`Ledger`] is the list of all of upstream's notes, with what becomes of each.

mod directory;
mod event;
mod html;
mod junit;
mod ledger;
mod mask;
mod qualification;
mod reading;
mod recording;
mod release;
mod report;
mod reporter;
mod terminal;
mod text;

pub use directory::*;
pub use event::*;
pub use html::{html, ledger_html};
pub use junit::junit;
pub use ledger::*;
pub use mask::*;
pub use qualification::*;
pub use recording::*;
pub use report::*;
pub use reporter::*;
pub use terminal::*;
pub use text::brief;
