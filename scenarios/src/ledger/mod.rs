//! The ledger: every heading of upstream's `docs/upgrade.md` with what becomes of it.
//!
//! `headings.toml` is upstream's list, `ledger.toml` says what becomes of the notes that no scenario covers. A scenario covers
//! the note that it names; nothing has to be said twice.

use std::collections::BTreeSet;

use harness::{Scenario, Version};
use reports::{Announced, Disposition, Ledger, LedgerEntry, Note};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Upstream's published form of the document.
const DOCUMENT: &str = "https://element-hq.github.io/synapse/latest/upgrade.html";

/// A heading of `docs/upgrade.md`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// 1 for a release's title, 2 for a note, more for its parts.
    pub level: u8,
    /// The release; none for what comes before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Version>,
    /// As upstream writes it.
    pub text: String,
    /// Fragment of its address.
    pub anchor: String,
    /// What its text comes to, up to the next heading, white space folded: tells whether upstream has rewritten it.
    pub digest: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Headings {
    /// The release whose document it is.
    from: Version,
    heading: Vec<Heading>,
}

/// A note that `ledger.toml` says cannot be tested.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotTestable {
    release: Version,
    heading: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Dispositions {
    not_testable: Vec<NotTestable>,
}

/// Up to this release no note may be without a disposition; later ones may be to come.
const COMPLETE_UNTIL: &str = "1.53.0";

/// Upstream's headings, and the release whose document they are from.
pub fn headings() -> (Version, Vec<Heading>) {
    let document: Headings = toml::from_str(include_str!("headings.toml")).expect("headings.toml is well formed");
    (document.from, document.heading)
}

/// The headings of a document in upstream's form.
pub fn read(document: &str) -> Vec<Heading> {
    sections(document).into_iter().map(|(heading, _)| heading).collect()
}

/// The headings of a document in upstream's form, each with its text up to the next.
fn sections(document: &str) -> Vec<(Heading, String)> {
    let mut sections: Vec<(Heading, String)> = Vec::new();
    let mut release = None;
    let mut in_code = false;
    for line in document.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let marks = line.bytes().take_while(|&byte| byte == b'#').count();
        let Some(text) = line[marks..].strip_prefix(' ').filter(|_| (1..=6).contains(&marks) && !in_code) else {
            if let Some((_, text)) = sections.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
            continue;
        };
        let text = text.trim().to_owned();
        if marks == 1 {
            release = text.strip_prefix("Upgrading to v").and_then(|version| version.parse().ok());
        }
        let base = fragment(&text);
        // As mdBook does, which publishes the document.
        let again = sections.iter().filter(|(heading, _)| fragment(&heading.text) == base).count();
        let anchor = if again == 0 { base } else { format!("{base}-{again}") };
        let level = u8::try_from(marks).unwrap_or(u8::MAX);
        let heading = Heading { level, release: release.clone(), text, anchor, digest: String::new() };
        sections.push((heading, String::new()));
    }
    for (heading, text) in &mut sections {
        let mut digest = Sha256::new();
        text.split_whitespace().for_each(|word| digest.update(format!("{word} ")));
        heading.digest = hex::encode(&digest.finalize()[..6]);
    }
    sections
}

/// What a candidate's document announces since the release that it is held against, and what it says that the ledger does not
/// know, whatever release that is about.
pub(crate) fn announced(document: &str, against: &Version) -> Vec<Announced> {
    let (_, known) = headings();
    let sections = sections(document);
    let all: Vec<Heading> = sections.iter().map(|(heading, _)| heading.clone()).collect();
    let is_known =
        |heading: &Heading| known.iter().any(|other| other.is_same_section(heading) && other.digest == heading.digest);
    let mut notes: Vec<Announced> = Vec::new();
    for (at, (heading, text)) in sections.iter().enumerate() {
        if !heading.is_note(&all) {
            continue;
        }
        // With its parts.
        let parts = sections[at + 1..].iter().take_while(|(part, _)| part.level > heading.level.max(2));
        let parts: Vec<&(Heading, String)> = parts.collect();
        let is_known = is_known(heading) && parts.iter().all(|(part, _)| is_known(part));
        let is_recent = heading.release.as_ref().is_some_and(|release| release > against);
        if is_known && !is_recent {
            continue;
        }
        let texts = parts.iter().map(|(part, text)| format!("{}\n\n{}", part.text, text.trim()));
        let text = std::iter::once(text.trim().to_owned()).chain(texts).collect::<Vec<_>>().join("\n\n");
        let (heading, url) = (heading.text.clone(), heading.url());
        notes.push(Announced { heading, url, text, is_known, is_recent, is_gone: false });
    }
    let is_missing = |heading: &&Heading| !all.iter().any(|other| other.is_same_section(heading));
    let gone = known.iter().filter(|heading| heading.is_note(&known)).filter(is_missing);
    notes.extend(gone.filter(|heading| heading.release.as_ref().is_some_and(|of| of <= against)).map(|heading| {
        Announced {
            heading: heading.text.clone(),
            url: heading.url(),
            text: "The candidate's document has this section no more.".to_owned(),
            is_known: false,
            is_recent: false,
            is_gone: true,
        }
    }));
    notes
}

fn fragment(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        _ if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
        _ if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// `headings.toml` with these.
///
/// # Panics
///
/// Never: headings are text and numbers.
pub fn render(from: Version, heading: Vec<Heading>) -> String {
    let table = toml::to_string(&Headings { from, heading }).expect("headings are TOML");
    format!(
        "# The headings of upstream's docs/upgrade.md, in upstream's order, with the anchors of its published form.\n\
         # Written by `cargo run -p scenarios --bin ledger -- refresh`; the text is not kept.\n{table}"
    )
}

impl Heading {
    /// Is it a note of its own? A release's title is one when the release has text only; a title above notes is not, and
    /// neither is a part of a note.
    fn is_note(&self, all: &[Self]) -> bool {
        match (&self.release, self.level) {
            (None, _) => false,
            (Some(_), 1) => !all.iter().any(|other| other.level > 1 && other.release == self.release),
            (Some(_), level) => level == 2,
        }
    }

    /// Is it the heading of the same section, whatever its text says?
    pub fn is_same_section(&self, other: &Self) -> bool {
        (self.level, &self.release, &self.text) == (other.level, &other.release, &other.text)
    }

    /// The beginning of a scenario for a new note: what is known of it, and what has to be found out.
    pub fn skeleton(&self) -> String {
        let release = self.release.as_ref().map(ToString::to_string).unwrap_or_default();
        let words = self.text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let name = words.take(4).map(str::to_lowercase).collect::<Vec<_>>().join("_");
        format!(
            "//! Synapse {release}.\n\nuse harness::prelude::*;\n\nnotes!(\"{release}\": {name});\n\n\
             /// What changes, in one sentence: {}\nfn {name}() -> Scenario {{\n    \
             Scenario::for_note({:?})\n        .hop(\"the release before\", \"{release}\")\n        \
             .fact(\"what is seen to change\", get(\"/_matrix/client/versions\").refusal())\n        \
             .changes(status(200), refusal(404, \"M_UNRECOGNIZED\", \"Unrecognized request\"))\n}}\n",
            self.url(),
            self.text,
        )
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("{DOCUMENT}#{}", self.anchor)
    }
}

/// The ledger of these scenarios.
///
/// # Errors
///
/// One sentence for each thing that is amiss: a note without a disposition or with two, a disposition or a scenario of a
/// note that upstream does not have.
pub fn ledger(scenarios: &[Scenario]) -> Result<Ledger, Vec<String>> {
    let (_, headings) = headings();
    let said: Dispositions = toml::from_str(include_str!("ledger.toml")).expect("ledger.toml is well formed");
    let complete_until: Version = COMPLETE_UNTIL.parse().expect("a constant version");
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    let mut covered = BTreeSet::new();
    for heading in &headings {
        let Some(release) = &heading.release else { continue };
        let of = |other: &Version, text: &str| other == release && text == heading.text;
        let mine: Vec<&Scenario> = scenarios.iter().filter(|s| of(s.release(), s.heading())).collect();
        covered.extend(mine.iter().map(|scenario| scenario.path()));
        let untestable: Vec<&NotTestable> =
            said.not_testable.iter().filter(|entry| of(&entry.release, &entry.heading)).collect();
        let place = format!("{release}, `{}`", heading.text);
        let names = || mine.iter().map(|scenario| scenario.path()).collect();
        let disposition = match (mine.len(), untestable.as_slice()) {
            // A title, or a part of a note.
            (0, []) if !heading.is_note(&headings) => continue,
            (0, []) if *release > complete_until => Disposition::ToCome,
            (0, []) => {
                problems.push(format!("{place} is missing: write a scenario, or say in ledger.toml why not"));
                continue;
            }
            (1.., []) if mine.iter().all(|scenario| scenario.is_inspection()) => Disposition::Inspected(names()),
            (1.., []) => Disposition::Scenarios(names()),
            (0, [entry]) => Disposition::NotTestable(entry.reason.clone()),
            _ => {
                problems.push(format!("{place} is listed more than once"));
                continue;
            }
        };
        let note = Note { release: release.to_string(), heading: heading.text.clone(), url: heading.url() };
        entries.push(LedgerEntry { note, disposition });
    }
    for scenario in scenarios.iter().filter(|scenario| !scenario.is_survival() && !covered.contains(&scenario.path())) {
        problems.push(format!(
            "{} is of a note that upstream does not have: `{}`",
            scenario.path(),
            scenario.heading()
        ));
    }
    for entry in &said.not_testable {
        let known =
            |heading: &Heading| heading.release.as_ref() == Some(&entry.release) && heading.text == entry.heading;
        if !headings.iter().any(known) {
            problems.push(format!(
                "ledger.toml has a note that upstream does not have: {}, `{}`",
                entry.release, entry.heading
            ));
        }
    }
    if problems.is_empty() { Ok(Ledger { entries }) } else { Err(problems) }
}

/// Where upstream's text and real servers disagree, as Markdown that can be sent to upstream as it is.
pub fn disagreements(scenarios: &[Scenario]) -> String {
    let section = |scenario: &Scenario| {
        let (release, heading, url) = (scenario.release(), scenario.heading(), note_url(scenario));
        let claims = scenario.disagreements().iter();
        let claims: Vec<String> =
            claims.map(|d| format!("- The text: {}\n- Real servers: {}\n", d.upstream_says, d.really)).collect();
        let claims = claims.concat();
        let releases: Vec<String> = scenario.releases().iter().map(ToString::to_string).collect();
        format!(
            "## {release}: [{heading}]({url})\n\n{claims}- Seen on {}. To see it again: `cargo test --test upgrades -- {}`\n",
            releases.join(", "),
            scenario.path(),
        )
    };
    let sections = scenarios.iter().filter(|scenario| !scenario.disagreements().is_empty()).map(section);
    std::iter::once("# Upgrade notes that real servers do not bear out\n".to_owned())
        .chain(sections)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The address of a scenario's note.
pub fn note_url(scenario: &Scenario) -> String {
    let (_, headings) = headings();
    headings
        .iter()
        .find(|heading| heading.release.as_ref() == Some(scenario.release()) && heading.text == scenario.heading())
        .map_or_else(|| DOCUMENT.to_owned(), Heading::url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_read_with_their_release_and_address() {
        let document = "# Upgrading Synapse\n\n```bash\n# a comment\n```\n\n# Upgrading to v1.53.0\n\n\
                        ## Dropping `webclient` listeners\ntext\n\n# Upgrading to v1.51.0\n## Dropping webclient listeners\n";
        let read: Vec<_> = read(document)
            .into_iter()
            .map(|h| format!("{} {:?} {} #{}", h.level, h.release.map(|r| r.to_string()), h.text, h.anchor))
            .collect();
        assert_eq!(
            read,
            [
                "1 None Upgrading Synapse #upgrading-synapse",
                "1 Some(\"1.53.0\") Upgrading to v1.53.0 #upgrading-to-v1530",
                "2 Some(\"1.53.0\") Dropping `webclient` listeners #dropping-webclient-listeners",
                "1 Some(\"1.51.0\") Upgrading to v1.51.0 #upgrading-to-v1510",
                "2 Some(\"1.51.0\") Dropping webclient listeners #dropping-webclient-listeners-1",
            ]
        );
    }

    #[test]
    fn a_section_that_says_something_else_is_known_by_its_digest() {
        let digests = |text: &str| -> Vec<String> {
            read(&format!("# Upgrading to v1.53.0\n## A note\n{text}\n## Another\nsame\n"))
                .into_iter()
                .map(|h| h.digest)
                .collect()
        };
        let (old, folded, new) = (digests("one  two"), digests("one\ntwo"), digests("one three"));
        assert_eq!(old, folded);
        assert_eq!((&old[0], &old[2]), (&new[0], &new[2]));
        assert_ne!(old[1], new[1]);
    }

    #[test]
    fn the_list_reads_back_as_it_is_written() {
        let (from, known) = headings();
        let again: Headings = toml::from_str(&render(from, known.clone())).unwrap();
        assert!(again.heading == known);
    }
}
