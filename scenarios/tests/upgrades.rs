//! `cargo test --test upgrades`.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main(scenarios::suite())
}
