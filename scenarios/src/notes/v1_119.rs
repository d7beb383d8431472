//! Synapse 1.119.0.

use harness::prelude::*;

use crate::kit::platform::{Old, Platform as _, requires_python, wheel_tags};

notes!("1.119.0": python_39);

/// Python has to be 3.9 or newer. The interpreter's version is faked; what the package says to pip is real.
///
/// Which packages are made for Ubuntu is said in the source only.
///
/// Upstream: PR 17908.
fn python_39() -> Scenario {
    Scenario::for_note("Minimum supported Python version")
        .hop("1.118.0", "1.119.0")
        .faked(Old::Python(3, 8))
        .fact("start", start())
        .changes(started(), refused("Synapse requires Python 3.9 or above."))
        .since("1.142.0", refused("Synapse requires Python 3.10 or above."))
        .fact("Requires-Python of the installed package", requires_python())
        .changes(matches("^>=3.8.0, ?<4.0.0$"), matches("^>=3.9.0, ?<4.0.0$"))
        .since("1.142.0", matches("^>=3.10.0, ?<4.0.0$"))
        .fact("Python that the installed package was made for", wheel_tags())
        .changes(json!([matches("^cp38-")]), json!([matches("^cp39-")]))
        .since("1.142.0", json!([matches("^cp310-")]))
        .step("Python 3.9, faked", |it| {
            it.faked(Old::Python(3, 9)).now("start", started()).now_since(
                "1.142.0",
                "start",
                refused("Synapse requires Python 3.10 or above."),
            )
        })
}
