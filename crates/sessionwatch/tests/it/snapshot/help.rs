//! Help of every command, found by following subcommands.

use super::Snapshots;

/// Subcommands that a help page lists.
fn listed(help: &str) -> Vec<&str> {
    let Some((_, commands)) = help.split_once("\nCommands:\n") else { return vec![] };
    // Continuation lines of a description are indented further.
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").collect()
}

/// Collects the help of a command and its subcommands, short and long.
fn collect(path: &[&str], texts: &mut Vec<String>) {
    let ask = |flag: &str| {
        let said = testkit::run_program(&[path, &[flag]].concat());
        assert_eq!((said.exit_code, said.stderr.as_str()), (0, ""), "{path:?}");
        said.stdout
    };
    let (long, short) = (ask("--help"), ask("-h"));
    texts.push(format!("$ sessionwatch {}\n{long}", [path, &["--help"]].concat().join(" ")));
    if short != long {
        texts.push(format!("$ sessionwatch {}\n{short}", [path, &["-h"]].concat().join(" ")));
    }
    for name in listed(&long) {
        collect(&[path, &[name]].concat(), texts);
    }
}

/// Every command without subcommands, such as `logs scan`.
pub(crate) fn leaves() -> Vec<String> {
    let first = testkit::run_program(&["--help"]).stdout;
    listed(&first).into_iter().flat_map(|command| leaves_below(&[command])).collect()
}

fn leaves_below(path: &[&str]) -> Vec<String> {
    let help = testkit::run_program(&[path, &["--help"]].concat()).stdout;
    let below = listed(&help);
    if below.is_empty() {
        return vec![path.join(" ")];
    }
    below.into_iter().flat_map(|name| leaves_below(&[path, &[name]].concat())).collect()
}

#[test]
fn help_of_every_command_matches_its_snapshot() {
    let mut snapshots = Snapshots::new("help");
    let first = testkit::run_program(&["--help"]).stdout;
    snapshots.take("sessionwatch", &first);
    let commands = listed(&first);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let mut texts = vec![];
        collect(&[command], &mut texts);
        snapshots.take(command, &texts.join("\n"));
    }
    snapshots.take("version", &testkit::run_program(&["--version"]).stdout);
    snapshots.finish();
}
