//! The examples and exit codes below the help of each command. They are text in one file, and a test parses each of
//! them.

use std::collections::BTreeMap;

use clap::{Command, CommandFactory as _};

use super::Cli;

/// Sections by the name of a command, each with its examples.
const COMMAND_EXAMPLES: &str = include_str!("examples.txt");
/// The address of the repository, which has the documentation. Empty until `repository` is set in Cargo.toml.
const REPOSITORY_URL: &str = env!("CARGO_PKG_REPOSITORY");
/// Exit codes, below the help of the commands that have all of them.
const EXIT_CODES: &str = "\
Exit codes:
  0   passing
  1   failing
  2   usage or configuration error
  3   unknown, for example because the database is unreachable
  70  bug in sessionwatch";
/// Commands whose exit code is a result.
const COMMANDS_WITH_RESULTS: [&str; 4] = ["check", "serve", "report checklist", "doctor"];

/// Builds the command line, with examples in the help of every command.
pub(super) fn build_command() -> Command {
    add_examples(Cli::command(), "", &parse_examples())
}

/// Returns the examples by the name of their command.
fn parse_examples() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut examples: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut section = "";
    for line in COMMAND_EXAMPLES.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => section = name,
            None => examples.entry(section).or_default().push(line),
        }
    }
    examples
}

/// Returns the examples of a command; for a group of commands, one example of each of the first two.
fn select_examples<'e>(
    path: &str,
    names: &[String],
    examples: &BTreeMap<&'e str, Vec<&'e str>>,
) -> Vec<&'e str> {
    if let Some(own) = examples.get(path) {
        return own.clone();
    }
    // Groups may contain groups: the first example below the name stands for it.
    let first_below = |name: &String| {
        let path = format!("{path} {name}").trim().to_owned();
        let below = format!("{path} ");
        let mut found =
            examples.iter().filter(|(section, _)| **section == path || section.starts_with(&below));
        found.next().and_then(|(_, lines)| lines.first().copied())
    };
    names.iter().filter_map(first_below).take(2).collect()
}

fn add_examples(command: Command, path: &str, examples: &BTreeMap<&str, Vec<&str>>) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let mut help = String::new();
    let lines = select_examples(path, &names, examples);
    if !lines.is_empty() {
        help.push_str("Examples:\n");
        lines.iter().for_each(|line| help.push_str(&format!("  {line}\n")));
        help.push('\n');
    }
    if COMMANDS_WITH_RESULTS.contains(&path) {
        help.push_str(&format!("{EXIT_CODES}\n\n"));
    }
    if !REPOSITORY_URL.is_empty() {
        help.push_str(&format!("Documentation: {REPOSITORY_URL}/tree/main/docs"));
    }
    let command = command.after_long_help(help.trim_end().to_owned());
    names.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}").trim().to_owned();
        command.mut_subcommand(name, |inner| add_examples(inner, &path, examples))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits an example as a shell does, with single and double quotes.
    fn split_words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for letter in line.chars() {
            match (letter, quote) {
                (letter, Some(open)) if letter == open => quote = None,
                ('"' | '\'', None) => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (' ', None) => words.extend(word.take()),
                (letter, _) => word.get_or_insert_default().push(letter),
            }
        }
        words.extend(word);
        words
    }

    fn list_leaves(command: &Command, path: &str) -> Vec<String> {
        let inner: Vec<&Command> = command.get_subcommands().collect();
        if inner.is_empty() {
            return vec![path.to_owned()];
        }
        let leaves = |inner: &&Command| list_leaves(inner, format!("{path} {}", inner.get_name()).trim());
        inner.iter().flat_map(leaves).collect()
    }

    #[test]
    fn groups_show_an_example_of_their_first_two_commands() {
        let examples = parse_examples();
        let names = ["list".to_owned(), "show".to_owned(), "top".to_owned()];
        let lines = select_examples("sessions", &names, &examples);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("sessionwatch sessions list"), "{lines:?}");
        assert!(lines[1].starts_with("sessionwatch sessions show"), "{lines:?}");
    }

    #[test]
    fn every_command_has_two_examples_of_its_own() {
        let examples = parse_examples();
        let leaves = list_leaves(&build_command(), "");
        for name in &leaves {
            let lines = examples.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
            assert!(lines.len() >= 2, "{name} has {} examples", lines.len());
            assert!(
                lines.iter().all(|line| line.contains(&format!("sessionwatch {name}"))),
                "{name}: {lines:?}"
            );
        }
        let unknown: Vec<_> =
            examples.keys().filter(|name| !leaves.iter().any(|leaf| leaf == *name)).collect();
        assert!(unknown.is_empty(), "no such command: {unknown:?}");
    }

    #[test]
    fn every_example_parses() {
        for line in parse_examples().values().flatten() {
            // Up to a pipe or a redirection, and behind what another program prints.
            let command = line.split(" | ").find(|part| part.starts_with("sessionwatch")).unwrap_or(line);
            let words = split_words(command.split(" > ").next().unwrap_or_default());
            let parsed = build_command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn about_lines_are_short_and_imperative() {
        fn examine(command: &Command, path: &str) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let words = about.split_whitespace().count();
            assert!((2..=10).contains(&words) && !about.ends_with('.'), "{path}: {about}");
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    !help.is_empty() && !help.ends_with('.'),
                    "{path}: {} has no help",
                    argument.get_id()
                );
            }
            for inner in command.get_subcommands() {
                examine(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        examine(&build_command(), "");
    }
}
