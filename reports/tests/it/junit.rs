use std::collections::BTreeMap;

use quick_xml::{Reader, XmlVersion, events::Event};
use reports::{Report, junit};

use crate::fixture;

#[test]
fn the_whole_run() {
    insta::assert_snapshot!(junit(&Report::new([fixture::recording()])));
}

/// What `junit-10.xsd` of Jenkins' xUnit plugin admits: of each element its attributes, the required ones with a `!`,
/// and its children.
const SCHEMA: [(&str, &str, &str); 14] = [
    ("testsuites", "name time tests failures errors", "testsuite"),
    (
        "testsuite",
        "name! tests! failures! errors! group time skipped timestamp hostname id package file log url",
        "testsuite properties testcase system-out system-err",
    ),
    ("properties", "", "property"),
    ("property", "name! value!", ""),
    (
        "testcase",
        "name! time classname group",
        "skipped error failure rerunFailure rerunError flakyFailure flakyError system-out system-err",
    ),
    ("skipped", "type message", ""),
    ("error", "type message", ""),
    ("failure", "type message", ""),
    ("rerunFailure", "type! message", "stackTrace system-out system-err"),
    ("rerunError", "type! message", "stackTrace system-out system-err"),
    ("flakyFailure", "type! message", "stackTrace system-out system-err"),
    ("flakyError", "type! message", "stackTrace system-out system-err"),
    ("system-out", "", ""),
    ("system-err", "", ""),
];

/// Reads the document as a strict parser would and checks it against [`SCHEMA`]. Returns how often each element occurs,
/// and the sums of the suites' attributes.
pub(crate) fn validate(xml: &str) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<String> = Vec::new();
    let (mut elements, mut sums) = (BTreeMap::new(), BTreeMap::new());
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                let (_, admitted, _) = SCHEMA.iter().find(|(element, ..)| *element == name).unwrap();
                match open.last() {
                    Some(parent) => {
                        let (.., children) = SCHEMA.iter().find(|(element, ..)| element == parent).unwrap();
                        assert!(children.split(' ').any(|child| child == name), "{name} within {parent}");
                    }
                    None => assert_eq!(name, "testsuites"),
                }
                let attributes: BTreeMap<String, String> = tag
                    .attributes()
                    .map(|attribute| {
                        let attribute = attribute.unwrap();
                        let value = attribute.normalized_value(XmlVersion::Implicit1_0).unwrap();
                        (String::from_utf8(attribute.key.as_ref().to_vec()).unwrap(), value.into_owned())
                    })
                    .collect();
                for attribute in attributes.keys() {
                    assert!(
                        admitted.split(' ').any(|known| known.trim_end_matches('!') == attribute),
                        "{attribute} of {name}"
                    );
                }
                for required in admitted.split(' ').filter_map(|attribute| attribute.strip_suffix('!')) {
                    assert!(attributes.contains_key(required), "{required} of {name}");
                }
                if name == "testsuite" {
                    for (attribute, value) in &attributes {
                        if let Ok(number) = value.parse::<usize>() {
                            *sums.entry(attribute.clone()).or_default() += number;
                        }
                    }
                }
                *elements.entry(name.clone()).or_default() += 1;
                if matches!(event, Event::Start(_)) {
                    open.push(name);
                }
            }
            Event::End(_) => drop(open.pop()),
            Event::Text(text) => drop(text.decode().unwrap()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty());
    (elements, sums)
}

#[test]
fn the_document_is_valid_and_its_counts_agree() {
    let report = Report::new([fixture::recording()]);
    let (elements, sums) = validate(&junit(&report));
    assert_eq!(elements["testcase"], report.counts.total());
    for (element, sum, count) in [
        ("failure", "failures", report.counts.failed),
        ("error", "errors", report.counts.errored),
        ("skipped", "skipped", report.counts.not_run),
    ] {
        assert_eq!((elements[element], sums[sum]), (count, count), "{element}");
    }
}

#[test]
fn control_characters_do_not_break_the_document() {
    let mut entries = fixture::entries();
    for entry in &mut entries {
        if let reports::Event::TrialFinished(result) = &mut entry.event {
            result.explanation = Some("\u{1b}[31mred\u{0} & <b> ]]> \u{fffe}".into());
        }
    }
    validate(&junit(&Report::new([reports::Recording { entries, ..Default::default() }])));
}
