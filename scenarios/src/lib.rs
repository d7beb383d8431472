//! Synapse's upgrade notes as scenarios: one module per release, each a list of that release's notes.

pub mod ledger;
mod platform;
mod survival;
mod v0_33;
mod v0_34;
mod v0_99;
mod v1_0;
mod v1_1;
mod v1_10;
mod v1_12;
mod v1_126;
mod v1_13;
mod v1_14;
mod v1_163;
mod v1_18;
mod v1_2;
mod v1_21;
mod v1_22;
mod v1_23;
mod v1_24;
mod v1_25;
mod v1_26;
mod v1_27;
mod v1_29;
mod v1_32;
mod v1_33;
mod v1_34;
mod v1_37;
mod v1_38;
mod v1_39;
mod v1_4;
mod v1_41;
mod v1_42;
mod v1_43;
mod v1_44;
mod v1_45;
mod v1_47;
mod v1_5;
mod v1_50;
mod v1_51;
mod v1_53;
mod v1_56;
mod v1_60;
mod v1_7;
mod v1_73;
mod v1_8;

use harness::{Scenario, Suite};

/// All scenarios, in the order of the releases.
pub fn all() -> Vec<Scenario> {
    [
        v0_33::scenarios(),
        v0_34::scenarios(),
        v0_99::scenarios(),
        v1_0::scenarios(),
        v1_1::scenarios(),
        v1_2::scenarios(),
        v1_4::scenarios(),
        v1_5::scenarios(),
        v1_7::scenarios(),
        v1_8::scenarios(),
        v1_10::scenarios(),
        v1_12::scenarios(),
        v1_13::scenarios(),
        v1_14::scenarios(),
        v1_18::scenarios(),
        v1_21::scenarios(),
        v1_22::scenarios(),
        v1_23::scenarios(),
        v1_24::scenarios(),
        v1_25::scenarios(),
        v1_26::scenarios(),
        v1_27::scenarios(),
        v1_29::scenarios(),
        v1_32::scenarios(),
        v1_33::scenarios(),
        v1_34::scenarios(),
        v1_37::scenarios(),
        v1_38::scenarios(),
        v1_39::scenarios(),
        v1_41::scenarios(),
        v1_42::scenarios(),
        v1_43::scenarios(),
        v1_44::scenarios(),
        v1_45::scenarios(),
        v1_47::scenarios(),
        v1_50::scenarios(),
        v1_51::scenarios(),
        v1_53::scenarios(),
        v1_56::scenarios(),
        v1_60::scenarios(),
        v1_73::scenarios(),
        v1_126::scenarios(),
        v1_163::scenarios(),
        survival::scenarios(),
    ]
    .concat()
}

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
