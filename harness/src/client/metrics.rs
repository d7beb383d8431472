//! Prometheus' text format, as far as names and samples go.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// The kind of each that is declared.
    kinds: BTreeMap<String, String>,
}

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `synapse_http_server_response_count_total`.
    pub name: String,
    /// The text between the braces, empty without labels.
    pub labels: String,
    /// The value.
    pub value: f64,
}

impl Metrics {
    /// Reads the text format; lines that are neither samples nor declare counters are passed over.
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (name, labels) = match series.split_once('{') {
                    Some((name, labels)) => (name, labels.trim_end_matches('}')),
                    None => (series, ""),
                };
                Some(Sample { name: name.to_owned(), labels: labels.to_owned(), value: value.parse().ok()? })
            })
            .collect();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        Self { samples, kinds: types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect() }
    }

    /// Is this name declared, whether or not anything has been counted under it yet?
    pub fn declares(&self, name: &str) -> bool {
        self.kinds.contains_key(name)
    }

    /// The names that are declared as counters.
    pub fn counters(&self) -> BTreeSet<&str> {
        self.kinds.iter().filter(|(_, kind)| *kind == "counter").map(|(name, _)| name.as_str()).collect()
    }

    /// All names.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|sample| sample.name.as_str()).collect()
    }

    /// The samples of a name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The value of the sample whose labels contain `label` (`name="x"`), if there is one.
    pub fn value(&self, name: &str, label: &str) -> Option<f64> {
        self.of(name).find(|sample| sample.labels.contains(label)).map(|sample| sample.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() {
        let metrics = Metrics::parse(
            "# HELP a b\n# TYPE a counter\n# TYPE b gauge\na 1.0\nsynapse_cache:hits{name=\"x\",index=\"1\"} 12.0\npython_info 1e3\n",
        );
        assert_eq!(metrics.names(), BTreeSet::from(["a", "python_info", "synapse_cache:hits"]));
        assert_eq!(metrics.value("synapse_cache:hits", "name=\"x\""), Some(12.0));
        assert_eq!(metrics.value("a", "nothing"), None);
        assert_eq!(metrics.counters(), BTreeSet::from(["a"]));
        assert_eq!(["a", "b", "python_info"].map(|name| metrics.declares(name)), [true, true, false]);
    }
}
