//! What a qualification comes to: may the candidate be released, what broke, what changed, what it costs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Announced, Counts, Leg, Observed, Outcome, Qualifies, Report, Trial, Verdict, text};

/// How trials of a qualification begin their names; the name of their area follows.
const QUALIFY: &str = "qualify";
/// The area whose facts are lists of what is otherwise than before.
const CHANGES: &str = "changes";
/// The area of notes' scenarios.
const NOTES: &str = "notes";
/// The trials that ask for the same, before and after.
const SESSION: &str = "qualify::changes::answers";
/// A figure of the candidate's that is so many times its predecessor's is told as a warning.
const BOUND: f64 = 1.5;
/// And one of which even the least is more than the predecessor ever took, from here on.
const APART: f64 = 1.2;
/// Of fewer measurements nothing is said.
const FEWEST: usize = 3;

/// What a candidate was held to, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Qualification {
    /// The candidate's number.
    pub candidate: String,
    /// The release that it was held against.
    pub against: String,
    /// What a release manager wants to know, in one sentence.
    pub sentence: String,
    /// What it is held to in all; this report may have a part of it.
    pub trials: usize,
    /// Trials by area, in the order of the plan.
    pub areas: Vec<Area>,
    /// What the trials that did not pass have seen.
    pub broken: Vec<Broken>,
    /// What is otherwise than in the predecessor.
    pub changes: Vec<Change>,
    /// What its upgrade notes say that no scenario knows.
    #[serde(default)]
    pub new_notes: Vec<Announced>,
    /// Why its upgrade notes were not read, if they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_unread: Option<String>,
    /// Figures of both, side by side.
    pub costs: Vec<Cost>,
}

/// One area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// `notes`, `survival`, `back` …
    pub name: String,
    /// Its trials by outcome.
    pub counts: Counts,
}

/// One thing that broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// In which area.
    pub area: String,
    /// Whose trial; [`Trial::anchor`] is its place on the page.
    pub trial: String,
    /// How that ended.
    pub outcome: Outcome,
    /// The row; empty where the trial has only its explanation.
    pub row: String,
    /// The leg.
    pub leg: String,
    /// What was seen there, and what should have been.
    pub text: String,
}

/// One thing that is otherwise than in the predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What was compared.
    pub of: String,
    /// What is otherwise.
    pub text: String,
    /// The heading of the note that announces it, if one does.
    pub note: Option<String>,
    /// Does it take away what clients were given?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub breaks: bool,
    /// Where it was seen.
    pub databases: Vec<String>,
}

/// A figure of the candidate beside its predecessor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// What was measured.
    pub what: String,
    /// In what.
    #[serde(default)]
    pub unit: Unit,
    /// Of the candidate.
    pub candidate: Figure,
    /// Of the predecessor, in the same run.
    pub against: Figure,
    /// The one's median ÷ the other's.
    pub ratio: f64,
    /// Is that more than ought to be?
    pub is_beyond: bool,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds.
    #[default]
    Seconds,
    /// Bytes.
    Bytes,
}

/// Several measurements of the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// How many there are.
    pub count: usize,
}

impl Qualification {
    /// What a report's trials come to for the candidate.
    pub(crate) fn of(report: &Report, of: &Qualifies) -> Self {
        let mut areas: Vec<Area> = Vec::new();
        for trial in &report.trials {
            let name = area(&trial.result.trial);
            let index = areas.iter().position(|area| area.name == name).unwrap_or_else(|| {
                areas.push(Area { name: name.to_owned(), counts: Counts::default() });
                areas.len() - 1
            });
            areas[index].counts.add(trial.result.outcome);
        }
        let changes = changes(&report.trials, of);
        let costs = costs(report, of);
        let broken: Vec<Broken> = report.trials.iter().flat_map(broken).collect();
        let sentence = sentence(report, of, &areas, &changes, &broken, &costs);
        Self {
            candidate: of.candidate.clone(),
            against: of.against.clone(),
            sentence,
            trials: of.trials,
            areas,
            broken,
            changes,
            new_notes: of.new_notes().cloned().collect(),
            notes_unread: of.notes_unread.clone(),
            costs,
        }
    }

    /// What no note announces.
    pub fn unannounced(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.note.is_none())
    }
}

/// What a trial shows to be taken away from clients without a note, in sentences: that it was listed is not enough.
pub(crate) fn broken_without_a_note(trial: &Trial, of: &Qualifies) -> Vec<String> {
    let changes = changes(std::slice::from_ref(trial), of).into_iter();
    changes.filter(|change| change.breaks && change.note.is_none()).map(|change| change.text).collect()
}

/// `back` of `qualify::back::1.163.2..1.162.0::sqlite`.
fn area(trial: &str) -> &str {
    let mut parts = trial.split("::");
    match (parts.next(), parts.next()) {
        (Some(QUALIFY), Some(area)) => area,
        _ => "",
    }
}

/// The row that most of the trials that failed show, where that is what they have in common.
fn mostly(broken: &[Broken]) -> Option<String> {
    let mut rows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in broken.iter().filter(|one| one.outcome == Outcome::Failed && !one.row.is_empty()) {
        rows.entry(&one.row).or_default().insert(&one.trial);
    }
    let (row, trials) = rows.into_iter().max_by_key(|(_, trials)| trials.len())?;
    (trials.len() > 1).then(|| format!("; most often by `{row}`, in {}", trials.len()))
}

fn sentence(
    report: &Report,
    of: &Qualifies,
    areas: &[Area],
    changes: &[Change],
    broken: &[Broken],
    costs: &[Cost],
) -> String {
    let (candidate, counts) = (&of.candidate, &report.counts);
    let where_it = |number: fn(&Counts) -> usize| {
        let named = areas.iter().filter(|area| number(&area.counts) > 0);
        named.map(|area| format!("{} in {}", number(&area.counts), area.name)).collect::<Vec<_>>().join(", ")
    };
    let judged = counts.passed + counts.failed + counts.flaky;
    match report.verdict {
        Verdict::Failed => format!(
            "{candidate} must not be released: {} of {} found a broken contract ({}{}).",
            counts.failed,
            text::count(judged, "trial"),
            where_it(|counts| counts.failed),
            mostly(broken).unwrap_or_default(),
        ),
        Verdict::Errored => format!(
            "Whether {candidate} may be released is not known: {} could not be judged ({}); {} passed.",
            text::count(counts.errored, "trial"),
            where_it(|counts| counts.errored),
            counts.passed,
        ),
        Verdict::Flaky => format!(
            "Whether {candidate} may be released is not known: {} passed alone only ({}).",
            text::count(counts.flaky, "trial"),
            where_it(|counts| counts.flaky),
        ),
        Verdict::Incomplete => format!(
            "Whether {candidate} may be released is not known: nothing broke in {}, but that is not the whole.",
            text::count(judged, "trial"),
        ),
        Verdict::Passed if judged < of.trials => format!(
            "Nothing speaks against the release of {candidate} so far: {} passed, of {} that it is held to.",
            text::count(judged, "trial"),
            of.trials,
        ),
        Verdict::Passed => {
            let unannounced = changes.iter().filter(|change| change.note.is_none()).count();
            let besides = match unannounced {
                0 => String::new(),
                number => format!("; {} without a note", text::count(number, "change")),
            };
            let ignored = match of.ignored {
                0 => String::new(),
                ignored => format!("; {} only when asked for", text::count(ignored, "more trial")),
            };
            let beyond = match costs.iter().filter(|cost| cost.is_beyond).count() {
                0 => String::new(),
                number => format!("; {} beyond what its predecessor takes", text::count(number, "figure")),
            };
            let (gone, new): (Vec<_>, Vec<_>) = of.new_notes().partition(|note| note.is_gone);
            let unknown = match new.len() {
                0 => String::new(),
                number => format!("; {} that no scenario knows in these words", text::count(number, "note")),
            };
            let gone = match gone.len() {
                0 => String::new(),
                number => format!("; {} missing", text::count(number, "note")),
            };
            let all = if judged == 1 { "the one trial".to_owned() } else { format!("all {judged} trials") };
            format!(
                "{candidate} may be released: {all} against {} passed{besides}{beyond}{unknown}{gone}{ignored}.",
                of.against
            )
        }
    }
}

/// What a trial that did not pass has seen, row by row.
fn broken(trial: &Trial) -> Vec<Broken> {
    let result = &trial.result;
    if matches!(result.outcome, Outcome::Passed | Outcome::NotRun) {
        return Vec::new();
    }
    let one = |row: &str, leg: &str, text: String| Broken {
        area: area(&result.trial).to_owned(),
        trial: result.trial.clone(),
        outcome: result.outcome,
        row: row.to_owned(),
        leg: leg.to_owned(),
        text,
    };
    let rows: Vec<Broken> = text::wrong(result)
        .into_iter()
        .map(|wrong| {
            let (_, seen) = text::in_brief(wrong.cell);
            one(&wrong.row.fact, wrong.leg, text::shortened(&seen, 400))
        })
        .collect();
    if !rows.is_empty() {
        return rows;
    }
    let why = text::clean(result.explanation.as_deref().unwrap_or("no explanation given"));
    vec![one("", "", text::shortened(why.trim(), 400))]
}

/// Each difference once, with the databases on which it was seen.
fn changes(trials: &[Trial], of: &Qualifies) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for trial in trials.iter().filter(|trial| area(&trial.result.trial) == CHANGES) {
        for row in trial.result.tables.iter().flat_map(|table| &table.facts) {
            for (text, breaks) in row.cells.last().map(|cell| listed(&cell.observed)).unwrap_or_default() {
                let databases = vec![trial.result.database.clone()];
                let note = announced(&text, &of.notes);
                let change = Change { of: row.fact.clone(), text, note, breaks, databases };
                let same = |other: &&mut Change| (&other.of, &other.text) == (&change.of, &change.text);
                match changes.iter_mut().find(same) {
                    Some(known) => known.databases.extend(change.databases),
                    None => changes.push(change),
                }
            }
        }
    }
    changes
}

/// The heading of the note that speaks of what a change is about: one that has its path, or a word of it that is a name.
fn announced(change: &str, notes: &[Announced]) -> Option<String> {
    // What was sent says nothing of what has changed.
    let where_it_is = change.split_once(": was ").map_or(change, |(place, _)| place);
    let (ask, place) = where_it_is.split_once(" → ").unwrap_or((where_it_is, ""));
    let ask = ask.split_once("{\"").map_or(ask, |(ask, _)| ask);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let words = [ask, place].into_iter().flat_map(|text| text.split(|c: char| !is_part(c)));
    let words = words.map(|word| word.trim_matches('.')).filter(|word| is_name(word));
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    let path = ask.split_whitespace().find(|word| word.starts_with('/')).map(folded);
    let speaks = |note: &&Announced| {
        let said = format!("{} {}", note.heading, note.text).to_lowercase();
        let is_name_of = |word: &String| said.split(|c: char| !is_part(c)).any(|said| said.trim_matches('.') == word);
        let is_path = |said: &str| path.as_ref().is_some_and(|path| said.len() > 1 && folded(said) == *path);
        let mut paths = said.split([' ', '\n', '`', '"', '(', ')', ',']).filter(|word| word.starts_with('/'));
        words.iter().any(is_name_of) || paths.any(is_path)
    };
    notes.iter().filter(|note| note.is_recent).find(speaks).map(|note| note.heading.clone())
}

/// A path whose parts that differ from one request to the next are `{}`, without query.
fn folded(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default().trim_end_matches(['.', '/']).to_lowercase();
    let varies = |part: &str| part.starts_with(['{', '<', '$', '@', '!', ':']);
    path.split('/').map(|part| if varies(part) { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

/// Is a word a name that somebody chose, like `mutual_rooms`, `msc2697` or `m.set_displayname`, and not a word of English, a
/// number, or what every request has?
fn is_name(word: &str) -> bool {
    let has = |kind: fn(&char) -> bool| word.chars().any(|c| kind(&c));
    let is_error = word.starts_with("M_");
    let is_common = matches!(word, "_matrix" | "_synapse" | "user_id" | "room_id" | "event_id" | "access_token");
    let joins = |c: &char| matches!(c, '_' | '.');
    word.len() >= 5
        && !is_error
        && !is_common
        && has(char::is_ascii_lowercase)
        && (has(joins) || word.to_lowercase().strip_prefix("msc").is_some_and(|it| it.parse::<u32>().is_ok()))
}

/// The texts of a list, each with whether that breaks something: `"…"`, or `{"breaks": "…"}`.
fn listed(observed: &Observed) -> Vec<(String, bool)> {
    match observed {
        Observed::Value(Value::Array(items)) => items
            .iter()
            .map(|item| match (item, item["breaks"].as_str()) {
                (_, Some(text)) => (text.to_owned(), true),
                (Value::String(text), None) => (text.clone(), false),
                (other, None) => (text::one_line(other), false),
            })
            .collect(),
        Observed::Long { whole, start, .. } => {
            vec![(format!("more than fits here: see {whole}"), start.contains("\"breaks\""))]
        }
        _ => Vec::new(),
    }
}

/// What both took, where both were measured, and under like conditions: a walk that only a note takes is no hop that anybody
/// makes with data.
fn costs(report: &Report, of: &Qualifies) -> Vec<Cost> {
    type Measure = fn(&[Leg], usize) -> Option<f64>;
    let measures: [(&str, Unit, Measure); 6] = [
        ("from the container to the first answer, on data of its own", Unit::Seconds, |legs, at| {
            (at == 0).then(|| start(&legs[at]))?
        }),
        ("from the container to the first answer, on data of another release", Unit::Seconds, |legs, at| {
            follows_another(legs, at).then(|| start(&legs[at]))?
        }),
        ("from the end of another release's leg to the first answer", Unit::Seconds, |legs, at| {
            let before = follows_another(legs, at).then(|| &legs[at - 1])?;
            Some(legs[at].ready_at? - before.finished_at?).filter(|_| legs[at].answered == Some(true))
        }),
        ("CPU of a leg on data of another release, migration and users included", Unit::Seconds, |legs, at| {
            let leg = follows_another(legs, at).then(|| &legs[at])?;
            leg.finished_at.filter(|_| leg.answered == Some(true)).map(|_| leg.homeserver_cpu_seconds)
        }),
        ("memory at the end of a leg", Unit::Bytes, |legs, at| bytes(legs[at].memory_bytes)),
        ("database of a leg on data of another release, when it is drained", Unit::Bytes, |legs, at| {
            follows_another(legs, at).then(|| bytes(legs[at].database_bytes))?
        }),
    ];
    let legs = |walk: &crate::Walk, release: &str, measure: Measure| -> Vec<f64> {
        // What ends otherwise than usual is no measure of what is usual.
        let usual = |at: &usize| walk.legs[*at].title == release;
        (0..walk.legs.len()).filter(usual).filter_map(|at| measure(&walk.legs, at)).collect()
    };
    let figure = |release: &str, measure: Measure| {
        let walks = report.walks.iter().filter(|walk| !walk.trials.iter().all(|trial| area(trial) == NOTES));
        Figure::of(walks.flat_map(|walk| legs(walk, release, measure)).collect())
    };
    let walked = measures.into_iter().filter_map(|(what, unit, measure)| {
        Some(Cost::of(what, unit, figure(&of.candidate, measure)?, figure(&of.against, measure)?))
    });
    walked.chain(session(report, of)).collect()
}

/// The fixed session as a small load: how long each of its sections took, on the leg of either.
fn session(report: &Report, of: &Qualifies) -> Option<Cost> {
    let asked = report.trials.iter().filter(|trial| trial.result.trial.starts_with(SESSION));
    let tables: Vec<_> = asked.flat_map(|trial| &trial.result.tables).collect();
    let figure = |release: &str| {
        let of_table = |table: &&crate::FactTable| {
            let at = table.legs.iter().position(|leg| leg == release)?;
            Some(table.facts.iter().filter_map(|row| row.cells.get(at)).map(|cell| cell.seconds).sum())
        };
        Figure::of(tables.iter().filter_map(of_table).collect())
    };
    // One a database: each of them is the sum of hundreds of requests.
    let (candidate, against) = (figure(&of.candidate)?, figure(&of.against)?);
    let cost = Cost::of("the fixed session, twice", Unit::Seconds, candidate, against);
    Some(Cost { is_beyond: cost.ratio > BOUND, ..cost })
}

fn bytes(number: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a figure for the eye")]
    (number > 0).then_some(number as f64)
}

impl Cost {
    fn of(what: &str, unit: Unit, candidate: Figure, against: Figure) -> Self {
        let ratio = candidate.median / against.median.max(0.001);
        let is_apart = ratio > APART && candidate.least > against.most;
        let is_beyond = (ratio > BOUND || is_apart) && candidate.count.min(against.count) >= FEWEST;
        Self { what: what.to_owned(), unit, candidate, against, ratio, is_beyond }
    }
}

/// How long a leg took to answer.
fn start(leg: &Leg) -> Option<f64> {
    Some(leg.ready_at? - leg.started_at?).filter(|_| leg.answered == Some(true))
}

/// Is it a leg on what another release has left?
fn follows_another(legs: &[Leg], at: usize) -> bool {
    let release = |leg: &Leg| leg.title.split(',').next().unwrap_or_default().to_owned();
    at > 0 && release(&legs[at]) != release(&legs[at - 1])
}

impl Figure {
    fn of(mut measured: Vec<f64>) -> Option<Self> {
        measured.sort_by(f64::total_cmp);
        let (least, most) = (*measured.first()?, *measured.last()?);
        Some(Self { median: measured[measured.len() / 2], least, most, count: measured.len() })
    }
}
