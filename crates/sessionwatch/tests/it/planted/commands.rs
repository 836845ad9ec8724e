//! The commands that the test runs, which are all commands.

use std::collections::BTreeSet;

use super::TYPED;
use crate::snapshot::help;

/// Commands that are not run here, with the reason.
const LEFT_OUT: [(&str, &str); 2] = [
    ("demo", "it shows data of its own"),
    ("logs follow", "it has no end; it prints what `logs scan` prints"),
];
/// Commands that other parts of this test run.
const USED_ELSEWHERE: [&str; 3] = ["accounts add", "serve", "tokens add"];

/// Commands that print one document.
fn documents() -> Vec<Vec<&'static str>> {
    vec![
        vec!["config", "show"],
        vec!["config", "show", "--format", "json"],
        vec!["explain", "app"],
        vec!["explain", "duplicate-tokens"],
        vec!["users", "find", "7", "app"],
        vec!["users", "show", "7", "app"],
        vec!["users", "show", "7", "app", "--format", "json"],
        vec!["plans", "show", "p-0"],
    ]
}

/// Read-only commands, in every format.
pub(super) fn commands() -> Vec<Vec<&'static str>> {
    let mut commands = documents();
    commands.extend([
        vec!["doctor", "app"],
        vec!["doctor", "app", "--format", "json"],
        vec!["grants", "app"],
        vec!["sql", "app"],
        vec!["init", "app", "--output", "-"],
        vec!["config", "check"],
        vec!["check", "app", "--no-trust-constraints"],
        vec!["--verbose", "check", "app", "--engine", "pushdown"],
        vec!["--log-format", "json", "--verbose", "check", "app"],
        vec!["sessions", "show", "s1", "app"],
        vec!["sessions", "show", "ZQ", "app"],
        vec!["sessions", "top", "app"],
        vec!["alerts", "show", "app", "duplicate-tokens"],
        vec!["notifications", "test", "hook"],
        vec!["notifications", "test", "chat"],
        vec!["notifications", "test", "bot"],
        vec!["notifications", "preview"],
        vec!["notifications", "failed"],
        vec!["logs", "correlate", "app"],
        vec!["logs", "sources"],
        vec!["audit", "verify"],
        vec!["incident", "status", "app"],
        vec!["incident", "list"],
        vec!["incident", "find", "User", "app"],
        vec!["incident", "verify", "evidence.age"],
        vec!["incident", "report"],
        vec!["incident", "message"],
        vec!["targets", "list"],
        vec!["config", "example"],
        vec!["config", "reference"],
        vec!["config", "schema"],
        vec!["integrations", "prometheus-rules"],
        vec!["integrations", "grafana-dashboard"],
        vec!["completions", "bash"],
        vec!["man"],
        vec!["alerts", "silences"],
        vec!["report", "history", "--target", "app"],
    ]);
    for format in ["table", "json", "ndjson", "csv", "markdown"] {
        for list in [
            &["check", "app"][..],
            &["sessions", "list", "app", "--limit", "1000"],
            &["alerts", "list", "--all"],
            &["alerts", "history"],
            &["archive", "list"],
            &["plans", "list"],
            &["audit", "list"],
            &["logs", "events"],
            &["logs", "scan", "app.log"],
            &["report", "checklist", "app"],
            &["accounts", "list"],
            &["tokens", "list"],
        ] {
            commands.push([list, &["--format", format]].concat());
        }
    }
    commands
}

/// Commands with side effects, with notes that contain a typed password.
pub(super) fn changes() -> Vec<Vec<String>> {
    let note = format!("see postgres://ada:{TYPED}@db/app");
    let note = note.as_str();
    let changes: Vec<Vec<&str>> = vec![
        vec!["targets", "confirm", "app"],
        vec!["alerts", "ack", "app", "duplicate-tokens", "--note", note],
        vec!["alerts", "silence", "--target", "app", "--for", "5m", "--note", note],
        vec!["alerts", "unsilence", "1"],
        vec!["alerts", "resolve", "app", "log-duplicate-token", "--note", note],
        vec!["report", "attest", "app", "--passes", "--note", note],
        vec!["notifications", "retry", "chat"],
        vec!["cleanup", "expired", "app"],
        vec!["cleanup", "orphaned", "app"],
        vec!["cleanup", "excess", "app", "--keep", "1"],
        vec!["revoke", "all", "app"],
        vec!["revoke", "where", "app", "--user", "7"],
        vec!["incident", "note", note, "app"],
        vec!["incident", "field", "set", "cause", note, "app"],
        vec!["incident", "contain", "orphaned", "app"],
        vec!["incident", "step", "check", "app"],
        vec!["incident", "step", "done", "app", "--note", note],
        vec!["incident", "step", "skip", "app", "--reason", note],
        vec!["incident", "step", "reopen", "confirm", "app", "--reason", note],
        vec!["incident", "close", "app"],
        vec!["incident", "drill", "app", "--yes"],
        vec!["archive", "purge", "--trust-clock"],
        vec!["tokens", "revoke", "no-such-token"],
        vec!["accounts", "remove", "nobody"],
    ];
    changes.into_iter().map(|command| command.into_iter().map(str::to_owned).collect()).collect()
}

/// Asserts that every command of the program was run, or is listed with a reason.
pub(super) fn assert_all_used(used: &[Vec<String>]) {
    let leaves: BTreeSet<String> = help::leaves().into_iter().collect();
    let is_used = |leaf: &str| {
        let words: Vec<&str> = leaf.split(' ').collect();
        used.iter().any(|command| command.windows(words.len()).any(|part| part == words))
            || USED_ELSEWHERE.contains(&leaf)
            || LEFT_OUT.iter().any(|(left_out, _)| *left_out == leaf)
    };
    let unused: Vec<&String> = leaves.iter().filter(|leaf| !is_used(leaf)).collect();
    assert!(unused.is_empty(), "nobody looks for secrets in what these print: {unused:?}");
    for name in LEFT_OUT.map(|(name, _)| name).into_iter().chain(USED_ELSEWHERE) {
        assert!(leaves.contains(name), "there is no command `{name}` any more");
    }
}
