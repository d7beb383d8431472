//! Order among releases.

use std::cmp::Ordering;

/// Compares two releases as versions: `1.9.0` before `1.53.0rc1` before `1.53.0`.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let split = |release: &str| {
        let release = release.trim_start_matches('v').to_owned();
        let end = release.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(release.len());
        let (numbers, rest) = release.split_at(end);
        let numbers: Vec<u64> = numbers.split('.').filter_map(|part| part.parse().ok()).collect();
        // A final release comes after its candidates; candidates compare by their number.
        let candidate: Option<u64> = rest.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        (numbers, rest.is_empty(), candidate)
    };
    split(a).cmp(&split(b)).then_with(|| a.cmp(b))
}

/// The module that holds a release's scenarios, the first part of a trial's name: `v1_53_0` for `1.53.0`.
pub(crate) fn module(release: &str) -> String {
    format!("v{}", release.replace('.', "_"))
}

/// The release that the first part of a trial's name stands for, if it does for one.
pub(crate) fn of_module(module: &str) -> Option<String> {
    let digits = module.strip_prefix('v')?;
    digits.starts_with(|c: char| c.is_ascii_digit()).then(|| digits.replace('_', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_versions() {
        let mut releases = ["1.53.0", "1.9.0", "1.53.0rc2", "1.53.0rc10", "0.99.2", "1.53.1"];
        releases.sort_by(|a, b| compare(a, b));
        assert_eq!(releases, ["0.99.2", "1.9.0", "1.53.0rc2", "1.53.0rc10", "1.53.0", "1.53.1"]);
    }

    #[test]
    fn a_module_names_its_release() {
        assert_eq!(module("1.53.0"), "v1_53_0");
        assert_eq!(of_module("v1_53_0").as_deref(), Some("1.53.0"));
        assert_eq!(of_module("various"), None);
    }
}
