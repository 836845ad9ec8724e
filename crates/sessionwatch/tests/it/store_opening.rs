//! Commands that create a store, commands that need an existing one, and an audit log that contains only what happened.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use rusqlite::Connection;
use sessionwatch_store::{Store, StoreLocation, audit};
use testkit::ProgramOutput;

const STORE: &str = "sessionwatch-state.db";
const CONFIGURATION: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n\
                             [[channel]]\nname = \"hook\"\nkind = \"webhook\"\n\
                             url = \"http://127.0.0.1:1/\"\n[[logs]]\nname = \"web\"\nfile = \"web.log\"\n";

/// A folder with a small application and its configuration.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sessionwatch.toml"), CONFIGURATION).unwrap();
    Connection::open(folder.path().join("app.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT);
             CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL UNIQUE, userId TEXT NOT NULL, \
               expires TEXT NOT NULL);
             INSERT INTO users VALUES ('u1', 'Ada');
             INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2100-01-01T00:00:00.000Z'),
               ('s2', 'token-number-two', 'u1', '2020-01-01T00:00:00.000Z');",
        )
        .unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> ProgramOutput {
    testkit::run_program_in(folder, &[("USER", "ada")], arguments)
}

/// Commands that read or change records in the store.
const NEED_A_STORE: [&[&str]; 35] = [
    &["accounts", "list"],
    &["accounts", "remove", "eve"],
    &["tokens", "list"],
    &["tokens", "add", "ada", "--label", "x"],
    &["tokens", "revoke", "x"],
    &["archive", "list"],
    &["archive", "show", "p-1"],
    &["archive", "purge"],
    &["archive", "purge", "--plan", "p-1"],
    &["archive", "restore", "p-1"],
    &["apply", "p-2"],
    &["incident", "list"],
    &["incident", "status"],
    &["incident", "step", "check"],
    &["incident", "step", "done"],
    &["incident", "note", "x"],
    &["incident", "field", "set", "summary", "x"],
    &["incident", "evidence"],
    &["incident", "report"],
    &["incident", "message"],
    &["incident", "close"],
    &["incident", "contain", "all"],
    &["alerts", "list"],
    &["alerts", "show", "app", "duplicate-tokens"],
    &["alerts", "ack", "app", "duplicate-tokens"],
    &["alerts", "silences"],
    &["alerts", "history"],
    &["report", "checklist"],
    &["report", "history"],
    &["audit", "verify"],
    &["backup", "copy.db"],
    &["notifications", "failed"],
    &["notifications", "retry", "hook"],
    &["logs", "events"],
    &["logs", "sources"],
];

#[test]
fn read_only_commands_create_no_store() {
    let folder = folder();
    let before = names(folder.path());
    let apply: [&[&str]; 4] = [
        &["apply", "p-1"],
        &["apply", "p-1"],
        &["incident", "contain", "all", "--apply"],
        &["logs", "correlate"],
    ];
    for made_by_touch in [false, true] {
        if made_by_touch {
            fs::write(folder.path().join(STORE), "").unwrap();
        }
        for arguments in NEED_A_STORE.iter().chain(&apply) {
            let said = run(folder.path(), arguments);
            assert_eq!(said.exit_code, 2, "{arguments:?}: {}{}", said.stdout, said.stderr);
            let missing = if made_by_touch { "is empty: restore a backup" } else { "not found" };
            let way_out = said.stderr.contains(&format!("store {STORE} {missing}"))
                && said.stderr.contains("run `sessionwatch serve` to create ")
                && said.stderr.contains("--config");
            assert!(way_out, "{arguments:?}: {}", said.stderr);
        }
        let mut after = names(folder.path());
        after.retain(|name| name != STORE || !made_by_touch);
        assert_eq!(after, before);
    }
    fs::remove_file(folder.path().join(STORE)).unwrap();
    // Commands that only read the table need no store.
    let found = run(folder.path(), &["incident", "find", "u1"]);
    assert!(found.exit_code == 0 && names(folder.path()) == before, "{}", found.stderr);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn commands_that_write_create_a_store_and_say_where() {
    let first: [&[&str]; 3] =
        [&["cleanup", "expired"], &["revoke", "user", "u1"], &["incident", "open", "--severity", "P2"]];
    for arguments in first {
        let folder = folder();
        let said = run(folder.path(), arguments);
        assert!(
            said.exit_code <= 1 && said.stderr.contains(&format!("created store {STORE}")),
            "{arguments:?}: {}",
            said.stderr
        );
        let again = run(folder.path(), arguments);
        assert!(!again.stderr.contains("created store"), "{arguments:?}: {}", again.stderr);
    }
}

#[test]
fn a_database_of_another_program_is_not_a_store() {
    let folder = folder();
    let text = format!("{CONFIGURATION}[serve]\nlisten = \"127.0.0.1:0\"\nstore = \"app.db\"\n");
    fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let before = fs::read(folder.path().join("app.db")).unwrap();
    let refused = testkit::start_expecting_refusal(folder.path());
    assert!(
        refused.exit_code == 3 && refused.stderr.contains("is not a sessionwatch store"),
        "{}",
        refused.stderr
    );
    let commands: [&[&str]; 3] = [&["alerts", "list"], &["cleanup", "expired"], &["accounts", "list"]];
    for arguments in commands {
        let said = run(folder.path(), arguments);
        assert!(
            said.exit_code == 3 && said.stderr.contains("is not a sessionwatch store"),
            "{arguments:?}: {}",
            said.stderr
        );
    }
    assert_eq!(fs::read(folder.path().join("app.db")).unwrap(), before);
}

/// Actions in the audit log, in order.
fn trail(folder: &Path) -> Vec<String> {
    let store = Store::open_existing(&StoreLocation::File(folder.join(STORE))).unwrap().unwrap();
    let entries = store.read(|db| audit::list_audit_entries_before(db, None, 1_000)).unwrap();
    entries.into_iter().rev().map(|entry| entry.action).collect()
}

#[test]
fn an_empty_audit_log_is_not_intact_and_contains_only_what_happened() {
    let folder = folder();
    drop(Store::open(&StoreLocation::File(folder.path().join(STORE))).unwrap());
    let empty = run(folder.path(), &["audit", "verify"]);
    assert!(
        empty.exit_code == 3 && empty.stderr.contains("nothing was verified"),
        "{} {}",
        empty.stdout,
        empty.stderr
    );
    let nothing: [(&[&str], i32); 8] = [
        (&["accounts", "remove", "nobody"], 2),
        (&["tokens", "revoke", "nothing"], 2),
        (&["tokens", "add", "nobody", "--label", "x"], 2),
        (&["archive", "purge"], 0),
        (&["archive", "purge", "--plan", "p-1"], 0),
        (&["notifications", "retry", "hook"], 0),
        (&["alerts", "ack", "app", "duplicate-tokens"], 2),
        (&["alerts", "unsilence", "7"], 2),
    ];
    for (arguments, code) in nothing {
        let said = run(folder.path(), arguments);
        assert_eq!(said.exit_code, code, "{arguments:?}: {}", said.stderr);
        assert_eq!(trail(folder.path()), Vec::<String>::new(), "{arguments:?}");
    }
    // Real actions are recorded.
    let mut adding = testkit::program_command(&["accounts", "add", "eve"]);
    let mut child =
        adding.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(testkit::ACCOUNT_PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(run(folder.path(), &["accounts", "remove", "eve"]).exit_code, 0);
    assert_eq!(trail(folder.path()), ["account.created", "account.deleted"]);
    let whole = run(folder.path(), &["audit", "verify"]);
    assert!(whole.exit_code == 0 && whole.stdout.contains("2 entries"), "{}", whole.stdout);
}
