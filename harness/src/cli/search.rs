//! Searching with runs: a red path is shortened, or the first release is found on which it turns red. Each try is a run of its
//! own, in a process of its own, and its exit status is the answer.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, bail};
use images::{ReleaseTable, Version};
use reports::Verdict;
use serde_json::Value;

use crate::path::{Path, shorter};

/// How tries are run.
pub(super) struct Tries {
    /// The options that every try repeats.
    pub(super) options: Vec<String>,
    /// Where the tries keep their evidence.
    pub(super) evidence: PathBuf,
    /// What must be red: a fact, a check, or a part of the estate. Anything, if none is named.
    pub(super) by: Option<String>,
}

impl Tries {
    /// Is the path red?
    ///
    /// # Errors
    ///
    /// A run that says nothing of the homeserver.
    fn is_red(&self, path: &Path) -> anyhow::Result<bool> {
        super::tell(&format!("try     {path}"));
        let status = Command::new(std::env::current_exe()?)
            .args(&self.options)
            .arg("--evidence")
            .arg(&self.evidence)
            .args(["--path", &path.to_string()])
            .stdout(std::process::Stdio::null())
            .status()
            .context("a try could not be run")?;
        let is_red = match status.code() {
            Some(0) => false,
            Some(code) if code == i32::from(Verdict::Failed.exit_code()) => self.names_what_is_red()?,
            _ => bail!("`{path}` ended with {status}: see {}", self.evidence.join("latest").display()),
        };
        super::tell(&format!("  {}", if is_red { "red" } else { "green" }));
        Ok(is_red)
    }

    /// Is what must be red among what differs in the latest run?
    fn names_what_is_red(&self) -> anyhow::Result<bool> {
        let Some(by) = &self.by else { return Ok(true) };
        let report = self.evidence.join("latest/report.json");
        let text = std::fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
        let report: Value = serde_json::from_str(&text)?;
        Ok(differs(&report, by))
    }

    /// The shortest path that is red for the same reason, by leaving out one thing after the other.
    pub(super) fn shorten(&self, path: &Path) -> anyhow::Result<Path> {
        if !self.is_red(path)? {
            bail!("`{path}` is not red");
        }
        let mut shortest = path.clone();
        'shorter: loop {
            for candidate in shorter(&shortest) {
                if self.is_red(&candidate)? {
                    shortest = candidate;
                    continue 'shorter;
                }
            }
            return Ok(shortest);
        }
    }

    /// The first release in the place of the path's last leg on which it is red; the leg before it is green, or else there is
    /// nothing to look for.
    pub(super) fn bisect(&self, path: &Path, table: &ReleaseTable) -> anyhow::Result<Version> {
        let [.., before, last] = path.legs.as_slice() else { bail!("a path of one leg has nothing between its ends") };
        let between = table.iter().filter(|release| {
            !release.yanked
                && !release.version.is_candidate()
                && release.version > before.release
                && release.version <= last.release
        });
        let releases: Vec<Version> = between.map(|release| release.version.clone()).collect();
        let first = first_red(&releases, |release| {
            let mut tried = path.clone();
            tried.legs.last_mut().expect("there are two").release = release.clone();
            self.is_red(&tried)
        })?;
        first.with_context(|| format!("`{path}` is not red"))
    }
}

/// Is a row of this name, or a part of what it shows, among those that differ?
fn differs(report: &Value, by: &str) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&report["trials"]).iter().flat_map(|trial| list(&trial["tables"])).any(|table| {
        list(&table["facts"]).iter().chain(&list(&table["health"])).any(|row| {
            let mismatches = list(&row["cells"]).into_iter().filter(|cell| cell["verdict"] == "mismatch");
            let is_named = row["fact"].as_str().is_some_and(|name| name.contains(by));
            mismatches.into_iter().any(|cell| is_named || cell["observed"].to_string().contains(by))
        })
    })
}

/// The first of a list, green up to somewhere and red from there, that is red. The last one is tried first.
fn first_red<T: Clone>(all: &[T], mut is_red: impl FnMut(&T) -> anyhow::Result<bool>) -> anyhow::Result<Option<T>> {
    let Some((last, rest)) = all.split_last() else { return Ok(None) };
    if !is_red(last)? {
        return Ok(None);
    }
    let (mut green, mut red) = (0, rest.len());
    while green < red {
        let middle = usize::midpoint(green, red);
        if is_red(&all[middle])? { red = middle } else { green = middle + 1 }
    }
    Ok(all.get(red).cloned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_red_one_is_found_with_few_tries() {
        let list: Vec<u32> = (0..100).collect();
        for first in [0, 1, 42, 99] {
            let mut tries = 0;
            let found = first_red(&list, |&release| {
                tries += 1;
                Ok(release >= first)
            });
            assert_eq!((found.unwrap(), tries <= 8), (Some(first), true));
        }
        assert_eq!(first_red(&list, |_| Ok(false)).unwrap(), None);
        assert_eq!(first_red::<u32>(&[], |_| Ok(true)).unwrap(), None);
    }

    #[test]
    fn what_is_red_is_named_by_its_row_or_by_what_that_shows() {
        let cell = |verdict: &str| json!({ "verdict": verdict, "observed": { "value": "owner/rooms" } });
        let row = |fact: &str, verdict: &str| json!({ "fact": fact, "cells": [cell("match"), cell(verdict)] });
        let table = json!({ "facts": [row("start", "match")], "health": [row("users' data as before", "mismatch")] });
        let report = json!({ "trials": [{ "tables": [table] }] });
        assert!(differs(&report, "users' data"));
        assert!(differs(&report, "owner/rooms"));
        assert!(!differs(&report, "start"));
    }
}
