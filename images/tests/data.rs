//! The data of this crate: versions, the release table, names on the command line. No Docker.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::str::FromStr as _;

use images::{Companion, Of, Override, Patch, ReleaseTable, Suite, TableError, Version, Wanted};
use proptest::prelude::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn versions() -> impl Strategy<Value = Version> {
    let numbers = proptest::collection::vec(0_u32..4, 2..5);
    (numbers, proptest::option::of(0_u32..4)).prop_map(|(numbers, candidate)| {
        let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
        let candidate = candidate.map(|number| format!("rc{number}")).unwrap_or_default();
        version(&format!("{}{candidate}", numbers.join(".")))
    })
}

proptest! {
    #[test]
    fn versions_are_totally_ordered(a in versions(), b in versions(), c in versions()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn versions_read_back_as_they_were_written(a in versions()) {
        prop_assert_eq!(version(&a.to_string()).to_string(), a.to_string());
    }

    #[test]
    fn wanted_homeservers_read_back_from_their_name(version in versions(), suite in 0_usize..4) {
        let suite = Suite::ALL.get(suite).copied();
        let name = suite.map_or(version.to_string(), |suite| format!("{version}@{suite}"));
        prop_assert_eq!(Wanted::from_str(&name).unwrap(), Wanted::Homeserver { version, suite });
    }
}

#[test]
fn versions_are_ordered_by_age() {
    let oldest_first =
        ["0.34.0", "0.34.1.1", "1.0.0rc1", "1.0.0", "1.9.0", "1.10.0rc1", "1.10.0rc2", "1.10.0", "1.10.1"];
    assert!(oldest_first.windows(2).all(|pair| version(pair[0]) < version(pair[1])));
    assert_eq!(version("1.0"), version("1.0.0"));
}

#[test]
fn what_is_no_version_says_what_one_looks_like() {
    for text in ["", "1", "v1.2.3", "1.2.x", "1.2rc", "1.9.0.dev1", "1.2.3-rc1"] {
        let error = Version::from_str(text).unwrap_err();
        assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
    }
}

#[test]
fn the_release_table_is_sound() {
    let table = ReleaseTable::load().unwrap();
    let releases: Vec<_> = table.iter().collect();
    assert!(releases.len() > 500);
    for pair in releases.windows(2) {
        assert!(pair[0].version < pair[1].version);
        assert!(pair[0].suite <= pair[1].suite, "{} is on an older suite than its predecessor", pair[1].version);
    }
    for release in releases {
        assert!(release.schema_version.is_some(), "{}", release.version);
        // A candidate goes back to a release, if need be to the one that it became.
        if let Some(target) = release.rolls_back_to.as_ref().filter(|_| !release.version.is_candidate()) {
            assert!(*target <= release.version, "{} would roll back to {target}", release.version);
        }
    }
}

#[test]
fn releases_before_others_are_found() {
    let table = ReleaseTable::load().unwrap();
    let before = |text: &str| table.before(&version(text)).map(|release| release.version.to_string());
    assert_eq!(before("1.53.0").as_deref(), Some("1.52.0"));
    assert_eq!(before("1.53.0rc1").as_deref(), Some("1.52.0"));
    // 1.32.0 and 1.32.1 were withdrawn, 1.49.1 never reached PyPI.
    assert_eq!(before("1.32.2").as_deref(), Some("1.31.0"));
    assert_eq!(before("1.49.2").as_deref(), Some("1.49.0"));
    assert_eq!(before("0.33.5"), None);
    assert!(!table.newest_stable().unwrap().version.is_candidate());
}

#[test]
fn a_wrong_table_names_the_line() {
    let text = "[[release]]\nversion = \"1.53.0\"\ndate = \"2022-02-22\"\nsuite = \"buster\"\n";
    let error = ReleaseTable::parse(text).unwrap_err();
    assert!(matches!(error, TableError::Syntax { line: 4, .. }), "{error}");
    insta::assert_snapshot!(error, @"the release table is wrong at line 4: unknown variant `buster`, expected one of `bullseye`, `bookworm`, `trixie`");

    let text = "[[release]]\nversion = \"1.x\"\ndate = \"2022-02-22\"\nsuite = \"bullseye\"\n";
    insta::assert_snapshot!(ReleaseTable::parse(text).unwrap_err(), @"the release table is wrong at line 2: `1.x` is not a Synapse version (expected a form like `1.53.0` or `1.53.0rc1`)");

    let text = "[[release]]\nversion = \"1.53.0\"\ndate = \"2022-02-22\"\nsuite = \"bullseye\"\n".repeat(2);
    insta::assert_snapshot!(ReleaseTable::parse(&text).unwrap_err(), @"the release table lists 1.53.0 twice");
}

#[test]
fn overrides_name_a_version_or_a_companion() {
    let given = Override::from_str("1.53.0=registry.example:5000/fork/synapse:v1.53.0").unwrap();
    assert_eq!(given.of, Of::One(Wanted::Homeserver { version: version("1.53.0"), suite: None }));
    assert_eq!(given.reference, "registry.example:5000/fork/synapse:v1.53.0");
    for name in ["postgres-15", "postgres 15", "postgres:15"] {
        let given = Override::from_str(&format!("{name}=pg")).unwrap();
        assert_eq!(given.of, Of::One(Wanted::Companion(Companion::Postgres(15))));
    }
    insta::assert_snapshot!(Override::from_str("1.53.0").unwrap_err(), @"`1.53.0` is not of the form NAME=REFERENCE (like `1.53.0=registry.example/synapse:fork`)");
    insta::assert_snapshot!(Override::from_str("postfix=mail").unwrap_err(), @"`postfix` names no image (expected a version such as `1.53.0`, `1.53.0@bookworm` for a certain platform, or one of `postgres-11`, `postgres-13`, `postgres-14`, `postgres-15`, `postgres-16`, `postgres-17`, `postgres-18`, `redis`, `nginx`, `mail-sink`, `identity-provider`, `forward-proxy`, `recorder`, `sydent`, `authentication-service`, `object-store`, `name-server`)");
}

fn patches() -> Vec<Patch> {
    #[derive(serde::Deserialize)]
    struct File {
        patch: Vec<Patch>,
    }
    let text = r#"
        [[patch]]
        file = "rest/client/capabilities.py"
        find = "True"
        replace = "False"

        [[patch]]
        file = "handlers/stats.py"
    "#;
    toml::from_str::<File>(text).unwrap().patch
}

#[test]
fn a_mutant_is_told_from_another() {
    let mutant = |patches: Vec<Patch>| Wanted::homeserver(version("1.53.0")).patched(patches).to_string();
    let [first, second] = patches().try_into().unwrap();
    let variants = [
        vec![first.clone()],
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone()],
        vec![Patch { replace: None, ..first.clone() }],
        vec![Patch { find: None, ..first }],
        vec![second],
        Vec::new(),
    ];
    let names: std::collections::BTreeSet<_> = variants.into_iter().map(mutant).collect();
    assert_eq!(names.len(), 7);
    assert!(names.contains("synapse 1.53.0"), "what is not patched is no mutant: {names:?}");
}

#[test]
fn names_of_what_is_wanted() {
    let names: Vec<_> = ["1.53.0", "1.53.0@bookworm", "postgres-15", "mail-sink"]
        .map(|name| Wanted::from_str(name).unwrap().to_string())
        .into_iter()
        .chain([
            Wanted::homeserver(version("1.52.0")).reporting(version("1.53.0")).to_string(),
            Wanted::homeserver(version("1.52.0")).with_packages(vec!["six==1.16.0".to_owned()]).to_string(),
            Wanted::homeserver(version("1.52.0")).patched(patches()).to_string(),
        ])
        .collect();
    insta::assert_snapshot!(names.join("\n"), @r"
    synapse 1.53.0
    synapse 1.53.0 on bookworm
    postgres 15
    mail-sink
    synapse 1.53.0 (code of 1.52.0)
    synapse 1.52.0 with six==1.16.0
    synapse 1.52.0 (mutant-b9c12f756ce9)
    ");
}
