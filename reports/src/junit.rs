use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use quick_junit::{FlakyOrRerun, NonSuccessKind, TestCase, TestCaseStatus, TestRerun, TestSuite};

use crate::{Observed, Outcome, Report, Trial, TrialResult, text};

/// A report as JUnit XML: a suite per release of the notes, a case per trial.
///
/// A homeserver's failure is a `failure`, an error of the environment an `error`, a trial not run is `skipped`. What did not
/// pass in company and then passed alone has a `flakyFailure`, beside a `failure` of type `flaky` unless that is permitted. What
/// readers make of it: Jenkins and GitHub's actions group by suite or class name; GitLab takes the class name for the
/// suite, ignores a second case of the same name, and shows the element's text, not its `message`. So the text is
/// complete in itself, and a case's name is the trial's whole name, which is also what libtest's filter takes.
///
/// The document is valid by the schema that Jenkins' xUnit plugin checks with (`junit-10.xsd`).
pub fn junit(report: &Report) -> String {
    let mut suites: Vec<TestSuite> = Vec::new();
    for trial in &report.trials {
        let release = match trial.result.note.release.as_str() {
            "" => "no release",
            release => release,
        };
        let known = suites.iter().position(|suite| suite.name.as_str() == release);
        let index = known.unwrap_or_else(|| {
            suites.push(suite(report, release));
            suites.len() - 1
        });
        let suite = &mut suites[index];
        let time = suite.time.unwrap_or_default() + time(trial.result.seconds);
        suite.set_time(time);
        suite.add_test_case(case(report, trial));
    }

    let mut document = quick_junit::Report::new("Synapse upgrade notes");
    document.set_time(time(report.totals.seconds));
    document.add_test_suites(suites);
    let xml = document.to_string().expect("what is written to memory is UTF-8");
    // The only thing that the schema does not know: it counts the skipped by suite alone.
    xml.replacen(&format!(" skipped=\"{}\"", document.skipped), "", 1)
}

fn suite(report: &Report, release: &str) -> TestSuite {
    let mut suite = TestSuite::new(release);
    if let Some(started) = report.runs.iter().filter_map(|run| timestamp(&run.started)).min() {
        suite.set_timestamp(started);
    }
    for (name, value) in report.environment() {
        suite.add_property((name, value));
    }
    if let Some(qualification) = &report.qualification {
        suite.add_property(("candidate", qualification.candidate.as_str()));
        suite.add_property(("against", qualification.against.as_str()));
        suite.add_property(("verdict", qualification.sentence.as_str()));
        for change in qualification.unannounced() {
            suite.add_property(("changed without a note", format!("{}: {}", change.of, change.text).as_str()));
        }
    }
    for gap in &report.gaps {
        suite.add_property(("gap", gap.as_str()));
    }
    suite
}

fn case(report: &Report, trial: &Trial) -> TestCase {
    let result = &trial.result;
    let mut case = TestCase::new(result.trial.as_str(), status(result, !report.is_flaky(trial)));
    let module = result.trial.split("::").next().unwrap_or_default();
    case.set_classname(format!("upgrades.{module}"));
    case.set_time(time(result.seconds));
    if !result.tables.is_empty() {
        case.set_system_out(text::tables(result));
    }
    case
}

fn status(result: &TrialResult, permitted: bool) -> TestCaseStatus {
    let (kind, ty) = match result.outcome {
        Outcome::Passed => return TestCaseStatus::success(),
        Outcome::Flaky if permitted => {
            let mut status = TestCaseStatus::success();
            status.add_rerun(in_company(result));
            return status;
        }
        Outcome::Flaky => (NonSuccessKind::Failure, "flaky"),
        Outcome::NotRun => {
            let mut status = TestCaseStatus::skipped();
            let why = result.explanation.as_deref().map_or("no reason given", str::trim);
            status.set_message(first_line(why)).set_description(text::clean(why));
            return status;
        }
        Outcome::Failed => (NonSuccessKind::Failure, "homeserver"),
        Outcome::Errored => (NonSuccessKind::Error, "environment"),
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(message(result)).set_description(text::explain(result, ""));
    if !result.in_company.is_empty() {
        status.set_rerun_kind(match result.outcome {
            Outcome::Flaky => FlakyOrRerun::Flaky,
            _ => FlakyOrRerun::Rerun,
        });
        status.add_rerun(in_company(result));
    }
    status
}

/// The walk in company of a trial that walked again.
fn in_company(result: &TrialResult) -> TestRerun {
    let company =
        TrialResult { tables: result.in_company.clone(), in_company: Vec::new(), ..TrialResult::clone(result) };
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    rerun.set_type("in company").set_message(message(&company)).set_description(text::explain(&company, ""));
    rerun
}

/// One line that tells most of it.
fn message(result: &TrialResult) -> String {
    let wrong = text::wrong(result);
    match wrong.first() {
        Some(first) => {
            let seen = match &first.cell.observed {
                Observed::Value(value) => format!("observed {}", text::one_line(value)),
                other => text::observed(other),
            };
            let expected = first.cell.expected.as_ref().map(|value| format!("expected {}, ", text::one_line(value)));
            let more = match wrong.len() {
                1 => String::new(),
                number => format!(" (and {} more)", number - 1),
            };
            let line = format!("{} on {}: {}{seen}", first.row.fact, first.leg, expected.unwrap_or_default());
            first_line(&line) + &more
        }
        None => first_line(result.explanation.as_deref().unwrap_or("no explanation given")),
    }
}

fn first_line(text: &str) -> String {
    text::shortened(text::clean(text).trim().lines().next().unwrap_or_default(), 240)
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn timestamp(started: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(started).ok()
}
