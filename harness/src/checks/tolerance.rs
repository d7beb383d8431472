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
    /// A table that has fewer rows after a hop.
    Rows,
    /// A table that no part of the estate fills; looked at only where that is the question.
    Table,
    /// What a database that came by a path has otherwise than a fresh one.
    Schema,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    subject: Subject,
    /// Regular expression: for a log, of the line; for the estate, of `part/path: before → after`.
    pattern: String,
    /// First release to which it applies. A change between two releases is permitted where it applies to one of them and
    /// not to the other: the pattern is of the way there, and permits the way back as well.
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

impl Entry {
    fn covers(&self, release: &Version) -> bool {
        self.since.as_ref().is_none_or(|since| since <= release)
            && self.until.as_ref().is_none_or(|until| release < until)
    }
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
        self.reason(subject, release, text).is_some()
    }

    /// Why this is permitted on this release.
    pub(crate) fn reason(&self, subject: Subject, release: &Version, text: &str) -> Option<&str> {
        let mut reason = None;
        for (index, (entry, pattern)) in self.entries.iter().enumerate() {
            if entry.subject == subject && entry.covers(release) && pattern.is_match(text) {
                self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
                reason = Some(entry.reason.as_str());
            }
        }
        reason
    }

    /// Is this change permitted between these releases? Each comes with the text of the change that leads to it.
    pub(crate) fn permits_change(&self, subject: Subject, from: (&Version, &str), to: (&Version, &str)) -> bool {
        let mut permitted = false;
        for (index, (entry, pattern)) in
            self.entries.iter().enumerate().filter(|(_, (entry, _))| entry.subject == subject)
        {
            let fits = match (entry.covers(from.0), entry.covers(to.0)) {
                (false, true) => pattern.is_match(to.1),
                (true, false) => pattern.is_match(from.1),
                // Without a range it is a matter of neither.
                _ => entry.since.is_none() && entry.until.is_none() && pattern.is_match(to.1),
            };
            if fits {
                self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
                permitted = true;
            }
        }
        permitted
    }

    /// Is this permitted on the way between these releases, from the one to the other or back?
    pub(crate) fn permits_between(&self, subject: Subject, (from, to): (&Version, &Version), text: &str) -> bool {
        self.permits_change(subject, (from, text), (to, text))
    }

    /// Patterns of the entries that nothing used, and that should have been.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.entries
            .iter()
            .enumerate()
            .filter(|(index, (entry, _))| !entry.by_chance && entry.subject != Subject::Table && !used.contains(index))
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
    fn a_change_is_permitted_both_ways_across_the_release_that_made_it() {
        let tolerances = Tolerances::parse(
            "[[tolerance]]\nsubject = \"estate\"\npattern = \"^count: null → 0$\"\nsince = \"1.5.0\"\nreason = \"x\"\n",
        )
        .unwrap();
        let permits = |from: &str, to: &str| {
            let (there, back) = ("count: null → 0", "count: 0 → null");
            let texts = if from < to { (back, there) } else { (there, back) };
            tolerances.permits_change(Subject::Estate, (&version(from), texts.0), (&version(to), texts.1))
        };
        assert!(permits("1.4.0", "1.5.0"));
        assert!(permits("1.5.0", "1.4.0"));
        assert!(!permits("1.5.0", "1.6.0"));
        assert!(!permits("1.3.0", "1.4.0"));
    }

    #[test]
    fn a_tolerance_needs_a_reason_and_known_keys() {
        let error =
            Tolerances::parse("[[tolerance]]\nsubject = \"log\"\npattern = \"x\"\nreason = \" \"\n").unwrap_err();
        assert_eq!(error, "the tolerance `x` gives no reason");
        assert!(Tolerances::parse("[[tolerance]]\nsubject = \"log\"\nwhy = \"x\"\n").is_err());
    }
}
