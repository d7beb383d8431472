//! Values, times and mismatches in words, for whatever is read as plain text.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value;
use similar::TextDiff;

use crate::{Cell, CellVerdict, Counts, FactRow, FactTable, Noticed, Observed, TrialResult};

/// `0.42 s`, `1.9 s`, `4 min 05 s`, `1 h 02 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 0.995 {
        return format!("{:.2} s", seconds.max(0.0));
    }
    if seconds < 99.95 {
        return format!("{seconds:.1} s");
    }
    let whole = Duration::try_from_secs_f64(seconds.round()).unwrap_or_default().as_secs();
    match whole {
        ..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `1 trial`, `2 trials`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = match (number, noun.strip_suffix('y')) {
        (1, _) => return format!("1 {noun}"),
        (_, Some(stem)) => format!("{stem}ies"),
        _ if noun.ends_with("ch") => format!("{noun}es"),
        _ => format!("{noun}s"),
    };
    format!("{number} {plural}")
}

/// `12 passed, 1 failed`.
pub(crate) fn counts(counts: &Counts) -> String {
    let parts = [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.flaky, "flaky"),
        (counts.errored, "errored"),
        (counts.not_run, "not run"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    if parts.is_empty() { "no trials".to_owned() } else { parts.join(", ") }
}

/// A heading without its Markdown: inline code loses its backticks.
pub(crate) fn heading(note: &crate::Note) -> String {
    if note.heading.is_empty() { format!("Upgrading to {}", note.release) } else { note.heading.replace('`', "") }
}

/// The text without what a terminal or an XML parser would trip over. Newlines and tabs stay.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// An object with one key that starts with `$` is a matcher: its name and its argument.
pub(crate) fn as_matcher(value: &Value) -> Option<(&str, &Value)> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    let (key, argument) = map.iter().next()?;
    Some((key.strip_prefix('$')?, argument))
}

/// A part of a value: JSON, or a matcher's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) is_word: bool,
}

/// Lays a value out, matchers in words.
#[derive(Default)]
struct Layout {
    pieces: Vec<Piece>,
    /// Break what is wider than this; `None` for one line.
    width: Option<usize>,
}

impl Layout {
    fn json(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(last) if !last.is_word => last.text.push_str(text),
            _ => self.pieces.push(Piece { text: text.to_owned(), is_word: false }),
        }
    }

    fn word(&mut self, text: &str) {
        self.pieces.push(Piece { text: text.to_owned(), is_word: true });
    }

    fn value(&mut self, value: &Value, indent: usize) {
        if let Some((name, argument)) = as_matcher(value) {
            return self.matcher(name, argument, indent);
        }
        let fits = |width: usize| one_line(value).chars().count() + indent <= width;
        let (open, separator, close) = match self.width {
            Some(width) if !fits(width) => {
                let line = format!("\n{:1$}", "", indent + 2);
                (line.clone(), format!(",{line}"), format!("\n{:indent$}", ""))
            }
            _ => (String::new(), ", ".to_owned(), String::new()),
        };
        match value {
            Value::Array(items) if !items.is_empty() => {
                self.json("[");
                for (index, item) in items.iter().enumerate() {
                    self.json(if index == 0 { &open } else { &separator });
                    self.value(item, indent + 2);
                }
                self.json(&close);
                self.json("]");
            }
            Value::Object(map) if !map.is_empty() => {
                self.json("{");
                for (index, (key, item)) in map.iter().enumerate() {
                    self.json(if index == 0 { &open } else { &separator });
                    self.json(&format!("{}: ", Value::from(key.as_str())));
                    self.value(item, indent + 2);
                }
                self.json(&close);
                self.json("}");
            }
            scalar => self.json(&scalar.to_string()),
        }
    }

    fn matcher(&mut self, name: &str, argument: &Value, indent: usize) {
        match (name, argument) {
            ("any", _) => self.word("anything"),
            ("contains", _) => {
                self.word("contains ");
                self.value(argument, indent);
            }
            ("matches", Value::String(pattern)) => {
                self.word("matches ");
                self.json(&format!("/{pattern}/"));
            }
            ("not", _) => match as_matcher(argument) {
                Some(("any", _)) => self.word("nothing"),
                Some(("contains", argument)) => {
                    self.word("does not contain ");
                    self.value(argument, indent);
                }
                Some(("matches", Value::String(pattern))) => {
                    self.word("does not match ");
                    self.json(&format!("/{pattern}/"));
                }
                _ => {
                    self.word("anything but ");
                    self.value(argument, indent);
                }
            },
            (name, argument) => {
                self.word(&format!("${name} "));
                self.value(argument, indent);
            }
        }
    }
}

fn join(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

/// A value on one line, in pieces.
pub(crate) fn one_line_pieces(value: &Value) -> Vec<Piece> {
    let mut layout = Layout::default();
    layout.value(value, 0);
    layout.pieces
}

/// A value over as many lines as it reads best on, in pieces; a text of several lines as it is.
pub(crate) fn pretty_pieces(value: &Value) -> Vec<Piece> {
    let mut layout = Layout { width: Some(72), ..Layout::default() };
    match value {
        Value::String(text) if text.contains('\n') => layout.json(text.trim_end_matches('\n')),
        value => layout.value(value, 0),
    }
    layout.pieces
}

/// A value on one line, matchers in words.
pub(crate) fn one_line(value: &Value) -> String {
    join(&one_line_pieces(value))
}

/// A value over as many lines as it reads best on, matchers in words; a text of several lines as it is.
pub(crate) fn pretty(value: &Value) -> String {
    join(&pretty_pieces(value))
}

/// What a probe brought back, in words.
pub(crate) fn observed(observed: &Observed) -> String {
    match observed {
        Observed::Value(value) => pretty(value),
        Observed::Long { start, bytes, whole } => format!("{start}… ({bytes} bytes, whole in {whole})"),
        Observed::Error(error) => format!("could not look: {error}"),
        Observed::Nothing(reason) => format!("nothing to look at: {reason}"),
    }
}

/// A difference worth showing besides both values: those of one line speak for themselves.
pub(crate) fn diff(cell: &Cell) -> Option<String> {
    let (Some(expected), Observed::Value(observed)) = (&cell.expected, &cell.observed) else {
        return None;
    };
    let (expected, observed) = (pretty(expected), pretty(observed));
    if expected.lines().count() <= 1 && observed.lines().count() <= 1 {
        return None;
    }
    let diff = cell.diff.clone().unwrap_or_else(|| {
        TextDiff::from_lines(&expected, &observed)
            .unified_diff()
            .context_radius(3)
            .header("expected", "observed")
            .to_string()
    });
    // That a text ends without a newline says nothing here.
    Some(diff.lines().filter(|line| !line.starts_with("\\ No newline")).collect::<Vec<_>>().join("\n"))
}

/// One cell that is not as it should be, with where it stands.
pub(crate) struct Wrong<'a> {
    pub(crate) table: &'a FactTable,
    /// Was it seen in company only?
    pub(crate) in_company: bool,
    pub(crate) row: &'a FactRow,
    pub(crate) leg: &'a str,
    pub(crate) cell: &'a Cell,
}

/// What is not as it should be: the scenario's own facts first, then the health of the legs. What was seen in company counts
/// where there is nothing else.
pub(crate) fn wrong(result: &TrialResult) -> Vec<Wrong<'_>> {
    let found = wrong_in(&result.tables, false);
    if found.is_empty() { wrong_in(&result.in_company, true) } else { found }
}

fn wrong_in(tables: &[FactTable], in_company: bool) -> Vec<Wrong<'_>> {
    let mut found = Vec::new();
    for table in tables {
        for row in table.facts.iter().chain(&table.health) {
            for (index, cell) in row.cells.iter().enumerate() {
                if matches!(cell.verdict, CellVerdict::Mismatch | CellVerdict::Error) {
                    let leg = table.legs.get(index).map_or("", String::as_str);
                    found.push(Wrong { table, in_company, row, leg, cell });
                }
            }
        }
    }
    found
}

/// The most cells and the most lines of one difference that plain text shows; the page shows all.
const SHOWN_CELLS: usize = 12;
const SHOWN_LINES: usize = 40;

/// A trial's trouble in full: explanation, every fact that differs with its difference, evidence, how to run it again.
pub(crate) fn explain(result: &TrialResult, evidence_root: &str) -> String {
    let mut out = String::new();
    let note = &result.note;
    let _ = writeln!(out, "{}: {}", note.release, heading(note));
    if !note.url.is_empty() {
        let _ = writeln!(out, "{}", note.url);
    }
    if let Some(explanation) = &result.explanation {
        let _ = writeln!(out, "\n{}", clean(explanation).trim_end());
    }

    let wrong = wrong(result);
    for Wrong { table, in_company, row, leg, cell } in wrong.iter().take(SHOWN_CELLS) {
        let company = if *in_company { ", in company" } else { "" };
        let _ = write!(out, "\n{} on {leg}{company}", row.fact);
        let _ = if table.variant.is_empty() { writeln!(out) } else { writeln!(out, " (variant {})", table.variant) };
        match (&cell.expected, diff(cell)) {
            (Some(_), Some(diff)) => {
                let lines: Vec<&str> = diff.lines().collect();
                for line in lines.iter().take(SHOWN_LINES) {
                    let _ = writeln!(out, "  {}", clean(line));
                }
                if lines.len() > SHOWN_LINES {
                    let _ = writeln!(out, "  … {} more", count(lines.len() - SHOWN_LINES, "line"));
                }
            }
            (expected, _) => {
                if let Some(expected) = expected {
                    let _ = writeln!(out, "  expected  {}", hang(&pretty(expected)));
                }
                let _ = writeln!(out, "  observed  {}", hang(&observed(&cell.observed)));
            }
        }
    }
    if wrong.len() > SHOWN_CELLS {
        let _ = writeln!(out, "\n… and {} more, in the report", wrong.len() - SHOWN_CELLS);
    }

    let _ = writeln!(out);
    for path in evidence(result) {
        let slash = if evidence_root.is_empty() { "" } else { "/" };
        let _ = writeln!(out, "evidence  {evidence_root}{slash}{path}");
    }
    if !result.rerun.is_empty() {
        let _ = writeln!(out, "rerun     {}", result.rerun);
    }
    out.truncate(out.trim_end().len());
    out
}

/// The most cells that are told where a line has to do.
const BRIEF_CELLS: usize = 4;

/// What is not as it should be, a line a cell: `what is logged on 1.25.0: expected [], observed ["ERROR …"]`.
pub fn brief(result: &TrialResult) -> Vec<String> {
    let wrong = wrong(result);
    let told = wrong.iter().take(BRIEF_CELLS).map(|Wrong { table, row, leg, cell, .. }| {
        let variant = if table.variant.is_empty() { String::new() } else { format!(" ({})", table.variant) };
        let (_, seen) = in_brief(cell);
        format!("{} on {leg}{variant}: {}", row.fact, shortened(&clean(&seen).replace('\n', " "), 600))
    });
    let rest = wrong.len().saturating_sub(BRIEF_CELLS);
    told.chain((rest > 0).then(|| format!("… and {rest} more, in the report"))).collect()
}

/// The directories of the walks on which a trial observed.
pub(crate) fn evidence(result: &TrialResult) -> Vec<&str> {
    let tables = result.tables.iter().chain(&result.in_company);
    let mut evidence: Vec<&str> = tables.map(|table| table.evidence.as_str()).filter(|path| !path.is_empty()).collect();
    evidence.dedup();
    evidence
}

/// Later lines under the first, which stands behind a word of eight letters.
fn hang(text: &str) -> String {
    let lines: Vec<String> = clean(text).lines().take(SHOWN_LINES).map(str::to_owned).collect();
    lines.join("\n            ")
}

/// The fact tables in plain text: a fact a paragraph, a leg a line.
pub(crate) fn tables(result: &TrialResult) -> String {
    let mut out = String::new();
    let company = result.in_company.iter().map(|table| (table, "in company"));
    for (table, company) in result.tables.iter().map(|table| (table, "")).chain(company) {
        let caption: Vec<&str> =
            [table.variant.as_str(), company].into_iter().filter(|part| !part.is_empty()).collect();
        if !caption.is_empty() {
            let _ = writeln!(out, "== {} ==", caption.join(", "));
        }
        let legs = table.legs.iter().map(|leg| leg.chars().count()).max().unwrap_or(0);
        let wrong_health = table.health.iter().filter(|row| {
            row.cells.iter().any(|cell| matches!(cell.verdict, CellVerdict::Mismatch | CellVerdict::Error))
        });
        for row in table.facts.iter().chain(wrong_health) {
            let _ = writeln!(out, "{}", clean(&row.fact));
            for (index, cell) in row.cells.iter().enumerate() {
                let leg = table.legs.get(index).map_or("", String::as_str);
                let (mark, text) = in_brief(cell);
                let _ = writeln!(out, "  {leg:legs$}  {mark} {}", shortened(&clean(&text), 160));
            }
        }
        if !table.health.is_empty() {
            let _ = writeln!(out, "({} on every leg)", count(table.health.len(), "health check"));
        }
    }
    out
}

/// A cell on one line, with a mark.
pub(crate) fn in_brief(cell: &Cell) -> (&'static str, String) {
    let seen = match &cell.observed {
        Observed::Value(value) => one_line(value),
        other => observed(other).replace('\n', " "),
    };
    let expected = cell.expected.as_ref().map(one_line);
    match (cell.verdict, expected) {
        (CellVerdict::Match, Some(expected)) if expected != seen => ("✓", format!("{seen} ({expected})")),
        (CellVerdict::Match, _) => ("✓", seen),
        (CellVerdict::Mismatch, expected) => {
            ("✗", format!("expected {}, observed {seen}", expected.as_deref().unwrap_or("nothing")))
        }
        (CellVerdict::Error, _) => ("!", seen),
        (CellVerdict::NotCompared, _) => ("·", seen),
    }
}

/// Whether a fact noticed old code, in words.
pub(crate) fn noticed(noticed: &Noticed) -> String {
    match noticed {
        Noticed::Yes => "yes".to_owned(),
        Noticed::No => "no".to_owned(),
        Noticed::NotLookedAt(reason) => format!("not looked at: {}", reason.lines().next().unwrap_or_default()),
        Noticed::Exempt(reason) => format!("cannot: {reason}"),
    }
}

/// The text cut to `most` characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_read_as_a_person_says_them() {
        let said: Vec<String> =
            [-1.0, 0.0, 0.456, 9.999, 12.34, 99.99, 245.2, 3725.0, f64::NAN].into_iter().map(duration).collect();
        assert_eq!(
            said,
            ["0.00 s", "0.00 s", "0.46 s", "10.0 s", "12.3 s", "1 min 40 s", "4 min 05 s", "1 h 02 min", "0 min 00 s"]
        );
    }

    #[test]
    fn matchers_are_words() {
        let said = |value: Value| one_line(&value);
        assert_eq!(said(json!({"$contains": "got 'webclient'"})), r#"contains "got 'webclient'""#);
        assert_eq!(said(json!({"$matches": "^[0-9]+$"})), "matches /^[0-9]+$/");
        assert_eq!(said(json!({"$any": true})), "anything");
        assert_eq!(said(json!({"$not": {"$contains": "x"}})), r#"does not contain "x""#);
        assert_eq!(said(json!({"$not": 404})), "anything but 404");
        assert_eq!(
            said(json!({"status": 400, "error": {"$contains": "Unrecognized"}})),
            r#"{"status": 400, "error": contains "Unrecognized"}"#
        );
    }

    #[test]
    fn a_long_value_breaks_only_where_it_must() {
        let value = json!({
            "flows": [{"stages": ["m.login.registration_token", "m.login.dummy"]}],
            "params": {},
            "session": {"$matches": "^[A-Za-z]+$"},
        });
        insta::assert_snapshot!(pretty(&value), @r#"
        {
          "flows": [{"stages": ["m.login.registration_token", "m.login.dummy"]}],
          "params": {},
          "session": matches /^[A-Za-z]+$/
        }
        "#);
    }
}
