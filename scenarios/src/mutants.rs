//! Mutants: `scenarios/mutants`, one file per release.

use harness::Mutant;
use include_dir::{Dir, include_dir};
use serde::Deserialize;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/mutants");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutant: Vec<Mutant>,
}

/// All mutants, in the order of the releases.
///
/// # Panics
///
/// Panics on a malformed file, which the tests of this crate meet first.
pub(crate) fn all() -> Vec<Mutant> {
    let mut files: Vec<_> = FILES.files().collect();
    files.sort_by_key(|file| file.path());
    let read = |file: &include_dir::File<'_>| -> Vec<Mutant> {
        let text = file.contents_utf8().unwrap_or_default();
        toml::from_str::<File>(text).unwrap_or_else(|error| panic!("{}: {error}", file.path().display())).mutant
    };
    files.into_iter().flat_map(read).collect()
}
