//! The options that change what a trial does: a rerun and a run that goes on have them again, however they were given.

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use super::Cli;

/// By their long names.
const CHANGING: [&str; 19] = [
    "image",
    "images-from",
    "registry",
    "repository",
    "debian-mirror",
    "control",
    "mutants",
    "every-variant",
    "in-short",
    "one-at-a-time",
    "hop",
    "path",
    "random",
    "qualify",
    "as",
    "against",
    "upgrade-notes",
    "coverage",
    "control-estate",
];

/// Reads arguments, and gives those that change what a trial does, as they would be typed: also those that came by the
/// environment.
pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> (Cli, Vec<String>) {
    let command = Cli::command();
    let matches = command.clone().get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut typed = Vec::new();
    for argument in command.get_arguments() {
        let Some(long) = argument.get_long().filter(|long| CHANGING.contains(long)) else { continue };
        let id = argument.get_id().as_str();
        let is_given = matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        if !is_given {
            continue;
        }
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            typed.push(format!("--{long}"));
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            typed.extend([format!("--{long}"), value.to_string_lossy().into_owned()]);
        }
    }
    (cli, typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qualification_is_repeated() {
        let qualifies = "--qualify fork:2 --as 1.165.0rc1 --against 1.163.2 --upgrade-notes upgrade.md";
        let arguments = format!("upgrades {qualifies} qualify::back --resume latest");
        let (_, typed) = parse(arguments.split_whitespace().map(str::to_owned));
        assert_eq!(typed.join(" "), qualifies);
    }

    #[test]
    fn what_changes_a_trial_is_repeated() {
        let arguments = "upgrades v1_53 --skip x --image 1.53.0=fork:1,redis=mine:2 --registry=mirror.test --one-at-a-time \
                         --shard 1/2";
        let (_, typed) = parse(arguments.split_whitespace().map(str::to_owned));
        assert_eq!(
            typed.join(" "),
            "--image 1.53.0=fork:1 --image redis=mine:2 --registry mirror.test --one-at-a-time"
        );
    }
}
