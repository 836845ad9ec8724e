//! The actor's name is recorded even if no variable sets it, as in containers and cron jobs, and its source is
//! reported.

use std::{
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use rusqlite::Connection;
use serde_json::Value;
use sessionwatch_store::{Store, StoreLocation, audit};
use testkit::ProgramOutput;

const STORE: &str = "sessionwatch-state.db";

/// A user ID without a name on the system.
const NAMELESS: u32 = 54_321;

/// A folder with a monitored target and a firing alert.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[target]]\nname = \"main\"\nurl = \"sqlite:app.db\"\n\
        [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n";
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let tables = "CREATE TABLE users (id TEXT PRIMARY KEY);
        CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL UNIQUE, userId TEXT NOT NULL, \
          expires TEXT NOT NULL);
        INSERT INTO users VALUES ('u1');
        INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2100-01-01T00:00:00.000Z');";
    Connection::open(folder.path().join("app.db")).unwrap().execute_batch(tables).unwrap();
    drop(Store::open(&StoreLocation::File(folder.path().join(STORE))).unwrap());
    let rows =
        "INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, \
        verdict, finding, updated_at)
          VALUES ('main', 'duplicate-tokens', 'firing', 1, 0, 5, NULL, 0, 'high', 's', 'failing', '{}', 9);
        INSERT INTO outbox (id, idempotency_key, channel, message, created_at, next_at, state) \
          VALUES (1, 'k', 'hook', '{}', 1, 1, 'dead');
        INSERT INTO accounts (name, role, password, created_at) VALUES ('eve', 'viewer', '', 1);";
    Connection::open(folder.path().join(STORE)).unwrap().execute_batch(rows).unwrap();
    folder
}

/// Commands that record the actor: those of the documentation, and one of every other kind.
const RECORDED: [&[&str]; 12] = [
    &["alerts", "ack", "main", "duplicate-tokens", "--note", "on it"],
    &["alerts", "silence", "--check", "orphaned-sessions", "--for", "120m", "--note", "cleanup"],
    &[
        "alerts",
        "silence",
        "--check",
        "rapid-creation",
        "--subject",
        "42",
        "--for",
        "9m",
        "--note",
        "load test",
    ],
    &["alerts", "unsilence", "1"],
    &["alerts", "resolve", "main", "duplicate-tokens"],
    &["notifications", "retry", "hook"],
    &["report", "attest", "main", "--passes", "--note", "asked"],
    &["revoke", "user", "u1"],
    &["incident", "open", "main", "--severity", "P3"],
    &["incident", "note", "seen", "main"],
    &["tokens", "add", "eve", "--label", "bot", "--scope", "read"],
    &["accounts", "remove", "eve"],
];

/// Runs every command, and returns its output.
fn all(folder: &Path, run: &dyn Fn(&[&str]) -> ProgramOutput) -> Vec<String> {
    for command in RECORDED {
        let said = run(command);
        assert_eq!(said.exit_code, 0, "{command:?}: {}{}", said.stdout, said.stderr);
        let is_noted = said.stderr.contains("note: USER is not set: recording this command as run by `");
        assert!(is_noted, "{command:?}: {}", said.stderr);
    }
    let store = Store::open_existing(&StoreLocation::File(folder.join(STORE))).unwrap().unwrap();
    let entries = store.read(|db| audit::list_audit_entries_before(db, None, 1_000)).unwrap();
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.actor).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_system_account_is_recorded_if_no_variable_names_the_actor() {
    let folder = folder();
    let account = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    for unset in [&[][..], &[("USER", "")]] {
        let said = testkit::run_program_in(folder.path(), unset, &["alerts", "list", "--all"]);
        assert!(said.exit_code == 0 && !said.stderr.contains("USER"), "{}", said.stderr);
    }
    let names = all(folder.path(), &|command| testkit::run_program_in(folder.path(), &[], command));
    assert_eq!(names, [account.trim()]);
    // Commands that only read do not mention the actor.
    let status = testkit::run_program_in(folder.path(), &[], &["incident", "status", "main"]);
    assert!(status.exit_code == 0 && status.stderr.is_empty(), "{}", status.stderr);
    // A name that is given is recorded, without a note.
    let note = ["incident", "note", "seen", "main", "--as", "grace"];
    let said = testkit::run_program_in(folder.path(), &[], &note);
    assert!(said.exit_code == 0 && said.stderr.is_empty(), "{}", said.stderr);
    let status = testkit::run_program_in(folder.path(), &[], &["incident", "status", "main"]).stdout;
    assert_eq!(status.matches("grace  Note: seen").count(), 1, "{status}");
}

#[test]
fn an_account_without_a_name_is_recorded_by_its_number() {
    // Only root can change the user.
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        return;
    }
    let folder = folder();
    let program = folder.path().join("sessionwatch");
    testkit::copy_program(&program);
    chown(folder.path(), Some(NAMELESS), Some(NAMELESS)).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        chown(file.unwrap().path(), Some(NAMELESS), Some(NAMELESS)).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().current_dir(folder.path()).uid(NAMELESS).gid(NAMELESS);
        testkit::ProgramOutput::from(command.output().unwrap())
    };
    assert_eq!(all(folder.path(), &run), [format!("uid {NAMELESS}")]);
    let silences: Value =
        serde_json::from_str(&run(&["alerts", "silences", "--format", "json"]).stdout).unwrap();
    assert_eq!(silences["silences"][0]["created_by"], format!("uid {NAMELESS}"), "{silences}");
}
