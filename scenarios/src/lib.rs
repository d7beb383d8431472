//! Synapse's upgrade notes as scenarios: one module per release, each a list of that release's notes.

pub mod ledger;
mod platform;
mod survival;

use harness::{Scenario, Suite};

/// The modules, one per release with notes, oldest first.
macro_rules! releases {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+

        /// All scenarios, in the order of the releases.
        pub fn all() -> Vec<Scenario> {
            let notes = [$($module::scenarios()),+].into_iter().flatten();
            notes.chain(survival::scenarios()).collect()
        }
    };
}

releases!(
    v0_33, v0_34, v0_99, v1_0, v1_1, v1_2, v1_4, v1_5, v1_7, v1_8, v1_10, v1_12, v1_13, v1_14, v1_18, v1_21, v1_22,
    v1_23, v1_24, v1_25, v1_26, v1_27, v1_29, v1_32, v1_33, v1_34, v1_37, v1_38, v1_39, v1_41, v1_42, v1_43, v1_44, v1_45,
    v1_47, v1_50, v1_51, v1_53, v1_56, v1_60, v1_73, v1_126, v1_163,
);

/// What the `upgrades` test target runs.
pub fn suite() -> Suite {
    Suite {
        scenarios: all(),
        tolerances: include_str!("../tolerances.toml"),
        // A ledger that is amiss is the business of its own test.
        ledger: ledger::ledger(&all()).ok(),
        note_url: ledger::note_url,
    }
}
