//! Interrupted actions: by a user, a kill, a lost privilege, a full disk. Nothing is lost, and the rest is reported.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    task::Poll,
};

use jiff::SignedDuration;
use serde_json::Value;
use sessionwatch_app::{
    config::Config,
    remediation::{self, ActionContext, ActionError, Confirmation, JobControl, Selection},
};
use sessionwatch_archive::Identity;
use sessionwatch_clock::Clock;
use sessionwatch_core::duration::MINUTE;
use sessionwatch_store::{Store, StoreLocation, archive_batches};
use testkit::{Database, ProgramOutput, run_program_in};

/// Enough rows for many batches.
const MANY: &str = r#"
CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" integer NOT NULL,
  expires timestamp(3) NOT NULL);
INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, 50) AS n;
INSERT INTO sessions SELECT 's' || n, left(md5(n::text), 8) || 'Z' || md5('t' || n), 1 + n % 50,
  now() - interval '3 days' FROM generate_series(1, 30000) AS n;
INSERT INTO sessions SELECT 'live' || n, left(md5('l' || n), 8) || 'Z' || md5('u' || n), 1 + n % 50,
  now() + interval '3 days' FROM generate_series(1, 100) AS n;
"#;

fn many() -> Database<'static> {
    static TEMPLATE: std::sync::OnceLock<Database<'static>> = std::sync::OnceLock::new();
    testkit::clone_template(&TEMPLATE, &[MANY])
}

const EXPIRED: &str = "SELECT COUNT(*) FROM sessions WHERE expires < now()";

fn configured(folder: &Path, url: &str) -> Config {
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n");
    let path = folder.join("sessionwatch.toml");
    std::fs::write(&path, &text).unwrap();
    Config::parse(&path, &text).unwrap()
}

fn store(folder: &Path) -> Store {
    Store::open(&StoreLocation::File(folder.join("sessionwatch-state.db"))).unwrap()
}

/// Number of archived rows that can be restored.
fn archived(folder: &Path) -> u64 {
    store(folder)
        .read(archive_batches::list_archive_summaries)
        .unwrap()
        .iter()
        .map(|held| held.restorable_rows)
        .sum()
}

fn planned(folder: &Path) -> String {
    let said = run_program_in(folder, &[], &["cleanup", "expired", "--format", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    plan["plan"]["id"].as_str().unwrap().to_owned()
}

fn applying(folder: &Path, plan: &str) -> Command {
    let mut command = testkit::program_command(&["apply", plan, "--confirm", "app", "--format", "json"]);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap().success());
}

fn applied(said: &ProgramOutput) -> Value {
    let document: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    document["applied"].clone()
}

#[test]
fn ctrl_c_ends_after_the_current_batch_and_the_same_command_resumes() {
    let (database, folder) = (many(), tempfile::tempdir().unwrap());
    configured(folder.path(), &database.url("postgres"));
    let plan = planned(folder.path());
    let child = applying(folder.path(), &plan).spawn().unwrap();
    testkit::wait_until("some batches", || archived(folder.path()) > 2_000);
    signal(child.id(), "INT");
    let first = testkit::ProgramOutput::from(child.wait_with_output().unwrap());
    let (stopped, gone) = (applied(&first), archived(folder.path()));
    assert_eq!(first.exit_code, 3, "{}", first.stderr);
    assert!(first.stderr.contains("stopping after the current batch"), "{}", first.stderr);
    assert_eq!(stopped["done"].as_u64().unwrap() + stopped["remaining"].as_u64().unwrap(), 30_000);
    assert!(gone < 30_000 && stopped["done"] == gone, "{gone}");
    let second = testkit::ProgramOutput::from(applying(folder.path(), &plan).output().unwrap());
    let went_on = applied(&second);
    assert_eq!(
        (second.exit_code, &went_on["earlier"], &went_on["still_matching"]),
        (0, &gone.into(), &0.into()),
        "{}",
        second.stderr
    );
    assert_eq!((archived(folder.path()), database.psql(EXPIRED).unwrap().trim()), (30_000, "0"));
}

#[test]
fn after_a_kill_nothing_is_lost_and_the_plan_can_be_resumed() {
    let (database, folder) = (many(), tempfile::tempdir().unwrap());
    let before = database.psql("SELECT * FROM sessions ORDER BY id").unwrap();
    configured(folder.path(), &database.urls("postgres")[1]);
    let plan = planned(folder.path());
    for rows in [500, 4_000, 9_000, 15_000] {
        let mut child = applying(folder.path(), &plan).spawn().unwrap();
        testkit::wait_until("some batches", || archived(folder.path()) > rows);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = testkit::ProgramOutput::from(applying(folder.path(), &plan).output().unwrap());
    assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!((archived(folder.path()), database.psql(EXPIRED).unwrap().trim()), (30_000, "0"));
    // No file beside the database contains a token, encrypted or not.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let tokens = before.lines().step_by(997).filter_map(|line| line.split('|').nth(1));
        let leaked = tokens.map(|token| &token[8..]).find(|rest| text.contains(rest));
        assert_eq!(leaked, None, "{}", path.display());
    }
    let restore = ["archive", "restore", &plan];
    let said = run_program_in(folder.path(), &[], &[&restore[..], &["--format", "json"]].concat());
    let back: Value = serde_json::from_str(&said.stdout).unwrap();
    let back = back["plan"]["id"].as_str().unwrap();
    let said = run_program_in(folder.path(), &[], &["apply", back]);
    assert!(
        said.exit_code == 0 && said.stdout.contains("30,000 rows restored"),
        "{} {}",
        said.stdout,
        said.stderr
    );
    assert!(database.psql("SELECT * FROM sessions ORDER BY id").unwrap() == before);
}

/// An action in this process, paused between its steps.
struct Held {
    config: Config,
    store: Store,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Held {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = configured(folder.path(), url);
        let store = store(folder.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { config, store, folder, runtime }
    }

    fn context(&self) -> ActionContext<'_> {
        let (config, store) = (&self.config, &self.store);
        ActionContext { config, target: &config.targets[0], store, clock: &Clock::System, actor: "ada" }
    }

    /// Applies a cleanup and acts once, as soon as a condition is true.
    fn apply(
        &self,
        control: &JobControl,
        mut holds: impl FnMut() -> bool,
        act: impl FnOnce(),
    ) -> Result<remediation::ApplyReport, ActionError> {
        let selection = Selection::Expired { grace: jiff::SignedDuration::from_hours(14) };
        let plan = self.runtime.block_on(remediation::create_plan(self.context(), &selection)).unwrap();
        let recipient = Identity::generate().unwrap().recipient();
        let consent = Confirmation { typed_name: Some("app"), ..Confirmation::default() };
        let mut work =
            Box::pin(crate::execute::apply(self.context(), &plan.record.id, &recipient, consent, control));
        let mut act = Some(act);
        self.runtime.block_on(std::future::poll_fn(|context| {
            let polled = work.as_mut().poll(context);
            if polled.is_pending() && act.is_some() && holds() {
                act.take().unwrap()();
            }
            match polled {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => Poll::Pending,
            }
        }))
    }
}

#[test]
fn a_paused_action_waits_until_it_may_continue() {
    let database = many();
    let held = Held::new(&database.url("postgres"));
    let control = JobControl::default();
    control.paused.store(true, Ordering::Relaxed);
    let mut turns = 0;
    let counted = || {
        turns += 1;
        turns > 60
    };
    let resume = || {
        assert_eq!((archived(held.folder.path()), database.psql(EXPIRED).unwrap().trim()), (0, "30000"));
        control.paused.store(false, Ordering::Relaxed);
    };
    let applied = held.apply(&control, counted, resume).unwrap();
    assert_eq!((applied.done, applied.remaining, applied.still_matching), (30_000, 0, Some(0)));
}

#[test]
fn a_privilege_revoked_midway_is_named_and_earlier_rows_are_archived() {
    let database = many();
    let role = testkit::create_role(&database, "act");
    let grant = format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; GRANT INSERT, DELETE ON sessions TO {role}"
    );
    database.psql(&grant).unwrap();
    let held = Held::new(&database.url(&role));
    let control = JobControl::default();
    let some = || control.done.load(Ordering::Relaxed) > 500;
    let revoke = || drop(database.psql(&format!("REVOKE DELETE ON sessions FROM {role}")).unwrap());
    let failed = held.apply(&control, some, revoke).unwrap_err();
    assert_eq!(failed.to_string(), "the write role lacks DELETE ON \"public\".\"sessions\"");
    let left: u64 = database.psql(EXPIRED).unwrap().trim().parse().unwrap();
    assert!(left > 0 && left < 30_000);
    held.runtime.block_on(remediation::recover_interrupted(held.context())).unwrap();
    assert_eq!(archived(held.folder.path()), 30_000 - left);
}

#[test]
fn locked_rows_are_waited_for_briefly_and_skipped() {
    let database = many();
    let held = Held::new(&database.url("postgres"));
    // Locks two rows for as long as the pipe is open.
    let (socket, port) = testkit::shared_server().socket_address();
    let mut other = Command::new(testkit::shared_server().bin_folder().join("psql"))
        .args([
            "-X",
            "-q",
            "-U",
            "postgres",
            "-h",
            &socket.display().to_string(),
            "-p",
            &port.to_string(),
            "-d",
            database.name(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = other.stdin.take().unwrap();
    std::io::Write::write_all(
        &mut input,
        b"BEGIN; UPDATE sessions SET expires = expires WHERE id IN ('s7', 's20000');\n",
    )
    .unwrap();
    testkit::wait_until("the lock", || {
        database
            .psql(
                "SELECT COUNT(*) FROM pg_stat_activity \
                 WHERE state = 'idle in transaction' AND datname = current_database()",
            )
            .unwrap()
            == "1\n"
    });
    let control = JobControl::default();
    let applied = held.apply(&control, || false, || {}).unwrap();
    drop(input);
    other.wait().unwrap();
    assert_eq!((applied.done, applied.skipped, applied.still_matching), (29_998, 2, Some(2)));
    let mut held_by: Vec<_> =
        applied.skipped_rows.iter().map(|(line, why)| (line.id.as_deref().unwrap(), *why)).collect();
    held_by.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(held_by, [("s20000", remediation::SkipReason::Busy), ("s7", remediation::SkipReason::Busy)]);
    assert!(applied.longest_lock.as_millis() < 5_000);
}

#[test]
fn a_full_disk_is_reported_and_no_row_is_removed_without_an_archive() {
    let (database, folder) = (many(), tempfile::tempdir().unwrap());
    let url = database.url("postgres");
    let disk = folder.path().join("disk");
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n[serve]\nstore = \"disk/state.db\"\n\
         [actions]\narchive_identity = \"key\"\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    // The plan fits on the disk; its archive does not.
    let script = "cd \"$1\"; \
        p=$($0 cleanup expired --format json | sed -n 's/.*\"id\": \"\\(p-[0-9a-f]*\\)\".*/\\1/p' | head -n 1)\n\
        dd if=/dev/zero of=disk/filler bs=64k 2>/dev/null\n\
        $0 apply \"$p\" --confirm app; echo \"code $?\"\n\
        rm disk/filler; $0 apply \"$p\" --confirm app >&2; $0 archive list --format json";
    let output = crate::disk_full::beside(&disk, Path::new("sh"), "8m")
        .args(["-c", script, env!("CARGO_BIN_EXE_sessionwatch"), &folder.path().display().to_string()])
        .output()
        .unwrap();
    let said = testkit::ProgramOutput::from(output);
    assert!(said.stdout.contains("code 3"), "{} {}", said.stdout, said.stderr);
    assert!(said.stderr.contains("the disk that holds the store is full"), "{}", said.stderr);
    let (_, list) = said.stdout.split_once("code 3\n").unwrap();
    let list: Value = serde_json::from_str(list).unwrap();
    let rows: u64 =
        list["archives"].as_array().unwrap().iter().map(|held| held["rows"].as_u64().unwrap()).sum();
    let left: u64 = database.psql(EXPIRED).unwrap().trim().parse().unwrap();
    assert_eq!(rows + left, 30_000, "{}", said.stderr);
}

#[test]
fn a_plan_expires_and_is_applied_once() {
    let database = testkit::anomalous_database();
    let held = Held::new(&database.url("postgres"));
    let begun = sessionwatch_clock::now();
    let (clock, hand) = Clock::manual(begun);
    let context = ActionContext { clock: &clock, ..held.context() };
    let make = |user: &str| {
        let selection = Selection::User(user.into());
        held.runtime.block_on(remediation::create_plan(context, &selection)).unwrap().record.id
    };
    let recipient = Identity::generate().unwrap().recipient();
    let apply = |plan: &str| {
        let (consent, control) = (Confirmation::default(), JobControl::default());
        held.runtime.block_on(crate::execute::apply(context, plan, &recipient, consent, &control))
    };
    let shortest = SignedDuration::from_micros(1);
    let (first, second) = (make("5"), make("6"));
    hand.send_replace(begun + 15 * MINUTE);
    assert_eq!(apply(&first).unwrap().done, 9);
    assert!(matches!(apply(&first), Err(ActionError::Done(id)) if id == first));
    hand.send_replace(begun + 15 * MINUTE + shortest);
    assert!(matches!(apply(&second), Err(ActionError::Stale { minutes: 15, .. })));
    // A clock that was set back does not make a plan valid again.
    hand.send_replace(begun - 15 * MINUTE - shortest);
    assert!(matches!(apply(&second), Err(ActionError::Stale { .. })));
    assert_eq!(database.psql("SELECT COUNT(*) FROM sessions WHERE \"userId\" = 6").unwrap(), "2\n");
}

#[test]
fn a_restore_is_resumed_by_the_same_plan_after_any_interruption() {
    let (database, folder) = (many(), tempfile::tempdir().unwrap());
    let before = database.psql("SELECT * FROM sessions ORDER BY id").unwrap();
    configured(folder.path(), &database.url("postgres"));
    let plan = planned(folder.path());
    assert_eq!(testkit::ProgramOutput::from(applying(folder.path(), &plan).output().unwrap()).exit_code, 0);
    let restore = ["archive", "restore", &plan, "--format", "json"];
    let said = run_program_in(folder.path(), &[], &restore);
    let back: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    let back = back["plan"]["id"].as_str().unwrap();
    let again = || {
        let mut command = testkit::program_command(&["apply", back, "--format", "json"]);
        command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE application_name LIKE 'sessionwatch%' AND datname = current_database()";
    // Interrupted by a user, by a kill, by a lost connection.
    for (left, how) in [(29_000, "INT"), (22_000, "KILL"), (15_000, "lost")] {
        let child = again().spawn().unwrap();
        testkit::wait_until("some batches", || archived(folder.path()) < left);
        match how {
            "lost" => drop(database.psql(lost).unwrap()),
            name => signal(child.id(), name),
        }
        let said = testkit::ProgramOutput::from(child.wait_with_output().unwrap());
        assert!(!said.stderr.contains("damaged"), "{how}: {}", said.stderr);
    }
    let said = testkit::ProgramOutput::from(again().output().unwrap());
    let done = applied(&said);
    let sum = done["done"].as_u64().unwrap() + done["earlier"].as_u64().unwrap();
    assert_eq!((said.exit_code, sum, &done["skipped"]), (0, 30_000, &0.into()), "{done:#} {}", said.stderr);
    assert!(done["earlier"].as_u64().unwrap() > 8_000, "{done:#}");
    assert!(database.psql("SELECT * FROM sessions ORDER BY id").unwrap() == before);
}
