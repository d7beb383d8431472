//! Synapse 1.25.0.

use harness::prelude::*;

use crate::platform::{Old, Platform as _, requires_python};

notes!("1.25.0": last_python_35);

/// An announcement: later releases need not run on Python 3.5. They still do until 1.32.0, of which pip says that it needs 3.6;
/// what it says to an interpreter changes in 1.33.0. The interpreter's version is faked.
fn last_python_35() -> Scenario {
    Scenario::for_note("Last release supporting Python 3.5")
        .hop("1.24.0", "1.25.0")
        .then("1.31.0")
        .then("1.32.0")
        .faked(Old::Python(3, 5))
        .fact("start on Python 3.5, faked", start())
        .until("1.33.0", started())
        .fact("Requires-Python of the installed package", requires_python())
        .until("1.32.0", "~=3.5")
        .since("1.32.0", "~=3.6")
}
