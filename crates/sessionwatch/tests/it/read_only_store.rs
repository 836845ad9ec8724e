//! A read-only store, such as a backup on read-only media, works with every command that only reads; and an empty file
//! is not a store.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
};

use rusqlite::Connection;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, StoreLocation, audit};
use testkit::ProgramOutput;

const STORE: &str = "sessionwatch-state.db";
const CONFIGURATION: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
                             [[channel]]\nname = \"hook\"\n\
                             kind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n\
                             [[logs]]\nname = \"web\"\nfile = \"web.log\"\n";

/// Runs a program in a mount namespace in which a folder is read-only.
const READ_ONLY: &str =
    "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && cd \"$0\" && exec \"$@\"";

/// ID of a user who owns nothing.
const STRANGER: u32 = 54_322;

/// Commands that only read.
const READ: [&[&str]; 17] = [
    &["alerts", "list", "--all"],
    &["alerts", "show", "app", "duplicate-tokens"],
    &["alerts", "history"],
    &["alerts", "silences"],
    &["audit", "verify"],
    &["archive", "list"],
    &["incident", "list"],
    &["incident", "status"],
    &["incident", "report"],
    &["incident", "message"],
    &["report", "checklist"],
    &["report", "history"],
    &["notifications", "failed"],
    &["logs", "events"],
    &["logs", "sources"],
    &["accounts", "list"],
    &["tokens", "list"],
];

/// Commands that write.
const WRITE: [&[&str]; 10] = [
    &["alerts", "silence", "--check", "target-unreachable", "--for", "9m", "--note", "x"],
    &["alerts", "ack", "app", "duplicate-tokens"],
    &["incident", "note", "x"],
    &["incident", "close", "--override", "x"],
    &["accounts", "remove", "ada"],
    &["tokens", "add", "ada", "--label", "x", "--scope", "read"],
    &["archive", "purge"],
    &["notifications", "retry", "hook"],
    &["report", "attest", "app", "--passes", "--note", "x"],
    &["cleanup", "expired"],
];

/// A folder with a store that has a record of each kind. The last record is in the WAL, which is kept with its index,
/// without it, or not at all.
fn folder(log: Option<bool>) -> tempfile::TempDir {
    let (making, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("sessionwatch.toml"), CONFIGURATION).unwrap();
    let tables = "CREATE TABLE users (id TEXT PRIMARY KEY);
        CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL UNIQUE, userId TEXT NOT NULL, \
          expires TEXT NOT NULL);
        INSERT INTO users VALUES ('u1');
        INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2020-01-01T00:00:00.000Z');";
    Connection::open(folder.path().join("app.db")).unwrap().execute_batch(tables).unwrap();
    let path = making.path().join(STORE);
    drop(Store::open(&StoreLocation::File(path.clone())).unwrap());
    let rows =
        "INSERT INTO alerts (target, check_id, state, looks, clear, since, told, stale, severity, summary, \
        verdict, finding, updated_at)
          VALUES ('app', 'duplicate-tokens', 'firing', 1, 0, 5, NULL, 0, 'high', 's', 'failing', '{}', 9);
        INSERT INTO incidents (id, target, severity, state, opened_at, opened_by, fields) \
          VALUES ('i', 'app', 'P0', 'open', 1, 'ada', '{}');
        INSERT INTO accounts (name, role, password, created_at) VALUES ('ada', 'admin', '', 1);
        PRAGMA wal_checkpoint(TRUNCATE);";
    Connection::open(&path).unwrap().execute_batch(rows).unwrap();
    let store = Store::open(&StoreLocation::File(path.clone())).unwrap();
    let at = UtcTimestamp::from_micros(7).unwrap();
    store
        .write(|db| {
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry { actor: "ada", action: "noted", detail: "{}" },
                at,
            )
        })
        .unwrap();
    let ends: &[&str] = match log {
        Some(true) => &["", "-wal", "-shm"],
        Some(false) => &["", "-wal"],
        None => {
            drop(store);
            &[""]
        }
    };
    for end in ends {
        let name = format!("{STORE}{end}");
        fs::copy(making.path().join(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

/// Contents of every file in a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Runs the program with the folder read-only.
fn read_only(folder: &Path, arguments: &[&str]) -> ProgramOutput {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "--", "sh", "-c", READ_ONLY]).arg(folder);
    command.arg(env!("CARGO_BIN_EXE_sessionwatch")).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("USER", "ada").stdin(Stdio::null());
    testkit::ProgramOutput::from(command.output().unwrap())
}

/// Runs the program with a writable copy of the folder.
fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, content) in contents(folder) {
        fs::write(copy.path().join(name), content).unwrap();
    }
    copy
}

/// Asserts that a command prints the same for a read-only store as for a writable one, before or after: ages are in
/// minutes, and a minute may end in between.
fn reads_the_same(folder: &Path, writable: &Path, command: &[&str]) {
    let expected = || testkit::run_program_in(writable, &[("USER", "ada")], command);
    let before = expected();
    let said = read_only(folder, command);
    let is_same = |expected: &ProgramOutput| {
        let same = if command.contains(&"checklist") || command.contains(&"message") {
            said.stdout.lines().count() == expected.stdout.lines().count()
        } else {
            said.stdout == expected.stdout
        };
        same && said.exit_code == expected.exit_code
    };
    assert!(
        is_same(&before) || is_same(&expected()),
        "{command:?} ({} for {}): {}{}\nfor {}",
        said.exit_code,
        before.exit_code,
        said.stdout,
        said.stderr,
        before.stdout
    );
}

#[test]
fn a_store_on_a_read_only_file_system_is_read_with_its_wal() {
    for log in [None, Some(false), Some(true)] {
        let (folder, elsewhere) = (folder(log), tempfile::tempdir().unwrap());
        let before = contents(folder.path());
        let writable = copied(folder.path());
        for command in READ {
            reads_the_same(folder.path(), writable.path(), command);
        }
        let verified = read_only(folder.path(), &["audit", "verify"]);
        assert!(verified.stdout.contains("intact: 1 entry"), "{log:?}: {}", verified.stdout);
        let copy = elsewhere.path().join("copy.db");
        let copied = read_only(folder.path(), &["backup", copy.to_str().unwrap()]);
        assert_eq!(copied.exit_code, 0, "{log:?}: {}", copied.stderr);
        let entries: i64 = Connection::open(&copy)
            .unwrap()
            .query_row("SELECT COUNT(*) FROM audit", [], |row| row.get(0))
            .unwrap();
        assert_eq!(entries, 1, "{log:?}");
        for command in WRITE {
            let said = read_only(folder.path(), command);
            let is_reported = said.stderr.contains(&format!("the store {STORE} is read-only: "));
            assert!(
                said.exit_code == 3 && is_reported,
                "{log:?} {command:?} ({}): {}",
                said.exit_code,
                said.stderr
            );
        }
        let served = read_only(folder.path(), &["serve"]);
        assert!(
            served.exit_code == 3 && served.stderr.contains("cannot open the store"),
            "{}",
            served.stderr
        );
        assert_eq!(contents(folder.path()), before);
    }
}

#[test]
fn a_store_of_an_older_version_on_a_read_only_file_system_is_read() {
    let folder = folder(None);
    let path = folder.path().join(STORE);
    fs::remove_file(&path).unwrap();
    let old = Connection::open(&path).unwrap();
    for script in [
        "CREATE TABLE migrations (version BIGINT PRIMARY KEY); INSERT INTO migrations VALUES (1);",
        include_str!("../../../sessionwatch-store/migrations/20261124120000_first.sql"),
        include_str!("../../../sessionwatch-store/migrations/samples/20261124120000_first.sql"),
    ] {
        old.execute_batch(script).unwrap();
    }
    drop(old);
    let before = contents(folder.path());
    let listed = read_only(folder.path(), &["alerts", "list", "--all", "--format", "json"]);
    assert!(listed.exit_code == 0 && listed.stdout.contains("\"ada\""), "{}{}", listed.stdout, listed.stderr);
    let refused = read_only(folder.path(), &["alerts", "unsilence", "1"]);
    assert!(refused.exit_code == 3 && refused.stderr.contains("is read-only"), "{}", refused.stderr);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_store_of_another_user_is_readable_with_permission() {
    // Only root can change the user.
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return;
    }
    for log in [None, Some(false), Some(true)] {
        let folder = folder(log);
        let program = folder.path().join("sessionwatch");
        testkit::copy_program(&program);
        for (name, _) in contents(folder.path()) {
            let mode = if name == "sessionwatch" { 0o555 } else { 0o444 };
            fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let before = contents(folder.path());
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            command.args(arguments).env_clear().env("USER", "ada").current_dir(folder.path());
            testkit::ProgramOutput::from(command.uid(STRANGER).gid(STRANGER).output().unwrap())
        };
        for command in READ {
            let said = run(command);
            assert!(
                matches!(said.exit_code, 0 | 1 | 3) && !said.stderr.contains("store"),
                "{log:?} {command:?}: {}",
                said.stderr
            );
        }
        let verified = run(&["audit", "verify"]);
        assert!(
            verified.stdout.contains("intact: 1 entry"),
            "{log:?}: {}{}",
            verified.stdout,
            verified.stderr
        );
        for command in WRITE {
            let said = run(command);
            assert!(
                said.exit_code == 3 && said.stderr.contains("is read-only"),
                "{log:?} {command:?}: {}",
                said.stderr
            );
        }
        // An unreadable store is not a missing one.
        let owner = folder.path().join(STORE);
        fs::set_permissions(&owner, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&owner, Some(0), Some(0)).unwrap();
        let refused = run(&["alerts", "list"]);
        assert!(
            refused.exit_code == 3 && refused.stderr.contains("cannot open the store"),
            "{}",
            refused.stderr
        );
        fs::set_permissions(&owner, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(contents(folder.path()), before);
    }
}

#[test]
fn an_empty_file_is_not_a_new_store() {
    let folder = folder(None);
    let path = folder.path().join(STORE);
    // An empty file, and an empty SQLite database.
    fs::write(&path, "").unwrap();
    let emptied = folder.path().join("emptied");
    let tables = "CREATE TABLE one (id); DROP TABLE one";
    rusqlite::Connection::open(&emptied).unwrap().execute_batch(tables).unwrap();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let elsewhere = tempfile::tempdir().unwrap();
    let program = elsewhere.path().join("sessionwatch");
    testkit::copy_program(&program);
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for content in [vec![], fs::read(&emptied).unwrap()] {
        fs::write(&path, &content).unwrap();
        let served = testkit::start_expecting_refusal(folder.path());
        let is_reported = served.stderr.contains("is empty");
        assert!(served.exit_code == 3 && is_reported, "{}", served.stderr);
        for command in READ.iter().chain(&WRITE) {
            let said = testkit::run_program_in(folder.path(), &[("USER", "ada")], command);
            let is_reported = said.stderr.contains(&format!("store {STORE} is empty"));
            assert!(said.exit_code == 2 && is_reported, "{command:?}: {}", said.stderr);
        }
        // The same in a folder that another user may not write to.
        if is_root {
            let modes = |file, folder_mode| {
                fs::set_permissions(&path, fs::Permissions::from_mode(file)).unwrap();
                fs::set_permissions(folder.path(), fs::Permissions::from_mode(folder_mode)).unwrap();
            };
            modes(0o444, 0o555);
            for arguments in READ {
                let mut command = Command::new(&program);
                command.args(arguments).env_clear().env("USER", "ada").current_dir(folder.path());
                let said =
                    testkit::ProgramOutput::from(command.uid(STRANGER).gid(STRANGER).output().unwrap());
                assert!(
                    said.exit_code == 2 && said.stderr.contains("is empty: restore a backup"),
                    "{}",
                    said.stderr
                );
            }
            modes(0o600, 0o700);
        }
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_crash_during_the_creation_of_a_store_leaves_none() {
    let folder = folder(None);
    let path = folder.path().join(STORE);
    fs::remove_file(&path).unwrap();
    let before = contents(folder.path());
    // A process that writes more than this to a file is killed.
    for blocks in [0, 1, 8, 40] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"]);
        command.arg(env!("CARGO_BIN_EXE_sessionwatch")).args(["cleanup", "expired"]);
        command.env_clear().env("USER", "ada").current_dir(folder.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{blocks}");
        assert!(!path.exists(), "{blocks}");
    }
    let made = testkit::run_program_in(folder.path(), &[("USER", "ada")], &["cleanup", "expired"]);
    assert!(made.exit_code == 0 && made.stderr.contains("created store"), "{}", made.stderr);
    let others = contents(folder.path()).into_iter().filter(|(name, _)| !name.contains(STORE));
    assert_eq!(others.collect::<Vec<_>>(), before);
}
