//! Tolerances: differences that are permitted, all in one file, each with its reason. One that nothing uses any more is
//! an error of a whole run.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use images::Version;
use regex::Regex;
use serde::Deserialize;

/// What is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// An ERROR or CRITICAL line in a homeserver's log.
    Log,
    /// A difference between the estate before and after.
    Estate,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    subject: Subject,
    /// Regular expression: for a log, of the line; for the estate, of `path: before → after`.
    pattern: String,
    /// First release to which it applies.
    since: Option<Version>,
    /// First release to which it no longer applies.
    until: Option<Version>,
    reason: String,
    /// A race, which not every run shows.
    #[serde(default)]
    by_chance: bool,
    /// The note or pull request that says so.
    #[serde(default)]
    #[expect(dead_code, reason = "for the reader of the file")]
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    tolerance: Vec<Entry>,
}

/// The file, and which of its entries were of use.
#[derive(Clone, Debug)]
pub(crate) struct Tolerances {
    entries: Arc<Vec<(Entry, Regex)>>,
    used: Arc<Mutex<BTreeSet<usize>>>,
}

impl Tolerances {
    /// Reads the file's text; the error is a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document: Document =
            toml::from_str(text).map_err(|error| format!("the tolerances are malformed: {error}"))?;
        let entries = document
            .tolerance
            .into_iter()
            .map(|entry| match Regex::new(&entry.pattern) {
                _ if entry.reason.trim().is_empty() => {
                    Err(format!("the tolerance `{}` gives no reason", entry.pattern))
                }
                Ok(pattern) => Ok((entry, pattern)),
                Err(error) => Err(format!("the tolerance `{}` is no regular expression: {error}", entry.pattern)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { entries: Arc::new(entries), used: Arc::default() })
    }

    /// Is this permitted on this release?
    pub(crate) fn permits(&self, subject: Subject, release: &Version, text: &str) -> bool {
        let mut permitted = false;
        for (index, (entry, pattern)) in self.entries.iter().enumerate() {
            if entry.subject == subject
                && entry.since.as_ref().is_none_or(|since| since <= release)
                && entry.until.as_ref().is_none_or(|until| release < until)
                && pattern.is_match(text)
            {
                self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
                permitted = true;
            }
        }
        permitted
    }

    /// Patterns of the entries that nothing used, and that should have been.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.entries
            .iter()
            .enumerate()
            .filter(|(index, (entry, _))| !entry.by_chance && !used.contains(index))
            .map(|(_, (entry, _))| entry.pattern.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_permits_what_it_names_and_is_marked_used() {
        let tolerances = Tolerances::parse(
            "[[tolerance]]\nsubject = \"log\"\npattern = \"twisted .* deprecated\"\nuntil = \"1.5.0\"\nreason = \"harmless\"\n\
             [[tolerance]]\nsubject = \"estate\"\npattern = \"^x\"\nreason = \"never seen\"\n\
             [[tolerance]]\nsubject = \"log\"\npattern = \"race\"\nreason = \"rare\"\nby_chance = true\n",
        )
        .unwrap();
        assert!(tolerances.permits(Subject::Log, &version("1.4.1"), "twisted x deprecated"));
        assert!(!tolerances.permits(Subject::Log, &version("1.5.0"), "twisted x deprecated"));
        assert!(!tolerances.permits(Subject::Estate, &version("1.4.1"), "twisted x deprecated"));
        assert_eq!(tolerances.unused(), ["^x"]);
    }

    #[test]
    fn a_tolerance_needs_a_reason_and_known_keys() {
        let error =
            Tolerances::parse("[[tolerance]]\nsubject = \"log\"\npattern = \"x\"\nreason = \" \"\n").unwrap_err();
        assert_eq!(error, "the tolerance `x` gives no reason");
        assert!(Tolerances::parse("[[tolerance]]\nsubject = \"log\"\nwhy = \"x\"\n").is_err());
    }
}
