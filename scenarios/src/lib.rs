//! Synapse's upgrade notes as scenarios: one module per release, each a list of that release's notes.

mod estate;
mod kit;
pub mod ledger;
mod mutants;
mod notes;
mod paths;
mod qualify;
mod survival;
mod track_record;

use harness::{Scenario, Suite};

/// All scenarios, in the order of the releases.
pub fn all() -> Vec<Scenario> {
    [notes::all(), survival::scenarios(), paths::scenarios(), track_record::scenarios()].concat()
}

/// What the `upgrades` test target runs.
pub fn suite() -> Suite {
    Suite {
        scenarios: all(),
        estate: estate::parts(),
        mutants: mutants::all(),
        qualification: qualify::qualification(),
        tolerances: include_str!("../tolerances.toml"),
        // A ledger that is amiss is the business of its own test.
        ledger: ledger::ledger(&all()).ok(),
        note_url: ledger::note_url,
    }
}
