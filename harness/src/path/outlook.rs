//! What a release does with data that others have left, as the numbers of its schema say.

use images::{Release, Version};
use serde_json::Value;

use crate::{scenario::expect, scenario::probe};

/// Releases that brought deltas, for both databases, to a schema that others had by the same number: those since workers look
/// for that, as far as they are known.
const DELTAS: &str = "\
    1.47.0rc1 1.47.0rc3 1.48.0rc1 1.53.0rc1 1.54.0rc1 1.62.0rc2 1.63.0rc1 1.64.0rc1 1.67.0rc1 1.69.0rc1 1.70.0rc1 \
    1.71.0rc1 1.73.0rc2 1.74.0rc1 1.75.0rc1 1.76.0rc1 1.80.0rc1 1.81.0rc1 1.82.0rc1 1.84.0rc1 1.85.0rc2 1.87.0rc1 \
    1.88.0 1.89.0rc1 1.91.0rc1 1.95.0rc1 1.97.0rc1 1.98.0rc1 1.105.0rc1 1.109.0rc1 1.109.0rc2 1.110.0rc2 1.114.0rc1 \
    1.115.0rc1 1.115.0rc2 1.118.0rc1 1.119.0rc2 1.120.0rc1 1.122.0rc1 1.123.0rc1 1.130.0rc1 1.130.0 1.133.0rc1 \
    1.134.0rc1 1.135.0rc1 1.136.0rc1 1.144.0rc1 1.145.0rc1 1.146.0rc1 1.148.0rc1 1.152.0rc1 1.157.0rc1";

/// What is known of a database from the releases that have run on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook<'a> {
    /// The newest release that it has met.
    newest: Option<&'a Version>,
    /// The newest schema that it has met.
    schema: Option<u32>,
    /// The oldest schema whose code may use it: written down since 1.37.0.
    compatible: Option<u32>,
}

/// What a main process older than the data prints.
const TOO_NEW: &str = "Cannot use this database as it is too new for the server to understand";

impl<'a> Outlook<'a> {
    /// What the fact `start` must show when a release meets the data; workers of another release run beside it if any
    /// are named. Nothing where the numbers do not tell.
    pub(crate) fn expects(self, main: &'a Release, workers: Option<&Release>) -> Option<Value> {
        let own = main.schema_version?;
        let too_new = match main.compat_version {
            Some(_) => self.compatible.is_some_and(|oldest| oldest > own),
            None => self.schema.is_some_and(|newest| newest > own),
        };
        if too_new {
            return Some(probe::refused(TOO_NEW));
        }
        let Some(workers) = workers.filter(|workers| workers.version != main.version) else {
            return Some(probe::started());
        };
        let (theirs, met) = (workers.schema_version?, self.met(main));
        let (schema, newest) = (met.schema?, met.newest?);
        // Up to 1.46 a worker wants its very own schema; later ones want none that is older than their code, nor one
        // that has left them behind (upstream: PR 11255), nor one that lacks a delta (upstream: PR 11346).
        let refuses = if workers.version.target() < since("1.47.0") {
            schema != theirs
        } else {
            let lacks = |delta: &str| *newest < since(delta) && since(delta) <= workers.version;
            schema < theirs
                || met.compatible.is_some_and(|oldest| oldest > theirs)
                || schema == theirs && DELTAS.split_whitespace().any(lacks)
        };
        if refuses {
            return Some(probe::refused("database"));
        }
        // There may be deltas for one of the databases, or later ones.
        if workers.version > main.version { Some(expect::anything()) } else { Some(probe::started()) }
    }

    /// The data after the release has run on it.
    #[must_use]
    pub(crate) fn met(self, main: &'a Release) -> Self {
        Self {
            newest: self.newest.max(Some(&main.version)),
            schema: self.schema.max(main.schema_version),
            compatible: self.compatible.max(main.compat_version),
        }
    }
}

fn since(text: &str) -> Version {
    text.parse().expect("a constant version")
}

#[cfg(test)]
mod tests {
    use images::ReleaseTable;
    use serde_json::json;

    use super::*;

    /// What is expected of the last of the releases, after the others.
    fn expected(releases: &[&str], workers: Option<&str>) -> String {
        let table = ReleaseTable::load().unwrap();
        let release = |text: &str| table.get(&text.parse().unwrap()).unwrap();
        let (last, before) = releases.split_last().unwrap();
        let data = before.iter().fold(Outlook::default(), |data, text| data.met(release(text)));
        match data.expects(release(last), workers.map(release)) {
            Some(value) if value == json!("answers") => "starts".to_owned(),
            Some(value) if value == expect::anything() => "either".to_owned(),
            Some(value) if value["exit status"] == 1 => "refuses".to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn data_that_is_too_new_is_refused() {
        assert_eq!(expected(&["1.52.0", "1.53.0"], None), "starts");
        assert_eq!(expected(&["1.163.0", "1.100.0"], None), "starts");
        assert_eq!(expected(&["1.163.0", "1.99.0"], None), "refuses");
        assert_eq!(expected(&["1.26.0", "1.25.0"], None), "refuses");
        assert_eq!(expected(&["1.163.0", "1.99.0", "1.163.0"], None), "starts");
    }

    #[test]
    fn workers_want_a_schema_that_they_know() {
        assert_eq!(expected(&["1.52.0", "1.53.0"], Some("1.52.0")), "starts");
        assert_eq!(expected(&["1.163.0"], Some("1.99.0")), "refuses");
        assert_eq!(expected(&["1.46.0"], Some("1.45.0")), "refuses");
        assert_eq!(expected(&["1.46.0"], Some("1.46.0")), "starts");
        assert_eq!(expected(&["1.46.0"], Some("1.47.0")), "refuses");
        assert_eq!(expected(&["1.47.0", "1.46.0"], Some("1.47.0")), "either");
        assert_eq!(expected(&["1.52.0"], Some("1.53.0")), "refuses");
        assert_eq!(expected(&["1.77.0"], Some("1.78.0")), "either");
    }
}
