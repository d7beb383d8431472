use serde::{Deserialize, Serialize};

use crate::{Note, Outcome, Report, Trial, release};

/// Every note of upstream's with what becomes of it; none is ever silently missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The notes, in upstream's order.
    pub entries: Vec<LedgerEntry>,
}

/// One note and its disposition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The note.
    #[serde(flatten)]
    pub note: Note,
    /// What becomes of it.
    pub disposition: Disposition,
}

/// What becomes of a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Scenarios run it. Names are trials' names without the database, `v1_53_0::msc3283_capabilities`; the release's
    /// part may be left out.
    Scenarios(Vec<String>),
    /// Looked at without running a homeserver's release against another: an image's contents, say. Names as in
    /// [`Disposition::Scenarios`].
    Inspected(Vec<String>),
    /// Cannot be tested in containers, for this reason.
    NotTestable(String),
    /// Nobody has written it yet.
    ToCome,
}

impl LedgerEntry {
    /// The names of what tests the note.
    pub fn names(&self) -> &[String] {
        match &self.disposition {
            Disposition::Scenarios(names) | Disposition::Inspected(names) => names,
            Disposition::NotTestable(_) | Disposition::ToCome => &[],
        }
    }

    /// The run's trials of this note.
    pub fn trials<'a>(&self, report: &'a Report) -> Vec<&'a Trial> {
        report.trials.iter().filter(|trial| self.covers(&trial.result.trial)).collect()
    }

    /// What the run says of this note: the worst of its trials' outcomes. `None` when it ran none of them.
    pub fn outcome(&self, report: &Report) -> Option<Outcome> {
        self.trials(report).into_iter().map(|trial| trial.result.outcome).max_by_key(|outcome| outcome.severity())
    }

    pub(crate) fn covers(&self, trial: &str) -> bool {
        let module = release::module(&self.note.release);
        self.names().iter().any(|name| {
            let within = |rest: &str| {
                rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            within(trial) || trial.strip_prefix(&module).and_then(|rest| rest.strip_prefix("::")).is_some_and(within)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_covers_its_trials_with_or_without_the_release() {
        let entry = |name: &str| LedgerEntry {
            note: Note { release: "1.53.0".into(), heading: String::new(), url: String::new() },
            disposition: Disposition::Scenarios(vec![name.into()]),
        };
        for name in ["v1_53_0::capabilities", "capabilities"] {
            assert!(entry(name).covers("v1_53_0::capabilities::sqlite"));
            assert!(!entry(name).covers("v1_53_0::capabilities_too::sqlite"));
            assert!(!entry(name).covers("v1_54_0::capabilities::sqlite"));
        }
    }

    #[test]
    fn dispositions_read_well_as_json() {
        let entry = LedgerEntry {
            note: Note { release: "1.53.0".into(), heading: "Webclient".into(), url: "https://x".into() },
            disposition: Disposition::NotTestable("needs a second data center".into()),
        };
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            json,
            r#"{"release":"1.53.0","heading":"Webclient","url":"https://x","disposition":{"not_testable":"needs a second data center"}}"#
        );
        assert_eq!(serde_json::from_str::<LedgerEntry>(&json).unwrap(), entry);
    }
}
