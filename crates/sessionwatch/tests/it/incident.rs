//! The incident procedure, as a user goes through it, and the daemon's part in it.

use std::path::Path;

use serde_json::Value;
use sessionwatch_app::{
    incident::{
        self,
        workflow::{self, IncidentWorkflow},
    },
    remediation::{self, ActionContext, ActionError, Confirmation, JobControl, Selection},
};
use sessionwatch_archive::Identity;
use sessionwatch_core::{
    duration::{DAY, HOUR},
    incident::IncidentSeverity,
};
use sessionwatch_store::{
    Store, StoreLocation, archive_batches, audit,
    history_events::{self, EventSearch},
    incidents::{self, IncidentRecord, IncidentState},
};
use testkit::{ProgramOutput, run_program_in};

use crate::fastforward::{MINUTE, Watch, monday};

/// A token shared by two users, and a user with a name.
const LEAK: &str = r#"
UPDATE sessions SET "sessionToken" = (SELECT "sessionToken" FROM sessions WHERE id = 's1') WHERE id = 's2';
UPDATE users SET name = 'Ada Abara' WHERE id = 7;
"#;

fn run(folder: &Path, url: &str, arguments: &[&str]) -> ProgramOutput {
    run_program_in(folder, &[("DATABASE_URL", url), ("USER", "ada")], &[&["incident"], arguments].concat())
}

/// Replaces the parts that differ in every run.
fn normal(text: &str) -> String {
    let mut words = Vec::new();
    for line in text.lines() {
        let mut kept = Vec::new();
        for word in line.split(' ') {
            let digits = word.chars().filter(char::is_ascii_digit).count();
            kept.push(match word {
                _ if word.contains("INC-") && word.contains(".tar.age") => "FILE".into(),
                _ if word.contains("INC-") => word.split("INC-").next().unwrap().to_owned() + "INCIDENT",
                _ if word.starts_with("age1") => "RECIPIENT".into(),
                _ if word.starts_with("postgres://") => "ADDRESS".into(),
                _ if digits == 8 && word.contains('-') => "DATE".into(),
                _ if digits == 6 && word.contains(':') => "TIME".into(),
                _ => word.to_owned(),
            });
        }
        words.push(kept.join(" "));
    }
    words.join("\n") + "\n"
}

#[test]
fn the_incident_procedure_leads_from_a_leak_to_a_closed_incident() {
    let database = testkit::healthy_database();
    database.psql(LEAK).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = database.url("postgres");
    let says = |arguments: &[&str], code: i32, part: &str| {
        let said = run(folder.path(), &url, arguments);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(said.exit_code == code && text.contains(part), "{arguments:?} ({}): {text}", said.exit_code);
        text
    };
    says(&["step", "check"], 2, "store sessionwatch-state.db not found");
    drop(Store::open(&StoreLocation::File(folder.path().join("sessionwatch-state.db"))).unwrap());
    says(&["step", "check"], 2, "`sessionwatch incident open --severity P1` opens one");
    says(
        &["open", "--severity", "P1", "--summary", "two users see each other's data"],
        0,
        "duplicate-tokens: 1 duplicate token",
    );
    says(&["open", "--severity", "P0"], 2, "is still open");
    says(&["close"], 1, "Revoke the sessions (contain)");
    says(&["step", "check"], 1, "2 users share tokens with each other: 2, 3");
    says(&["find", "ADA"], 0, "user 7  Ada Abara");
    says(&["find", "nobody at all"], 2, "no user ID, name, handle or email address contains");
    is_affected_said(&says);
    says(&["step", "done"], 2, "is detected automatically");
    says(&["evidence", "--output", "evidence.age"], 0, "Wrote evidence.age, encrypted to age1");
    says(&["step", "check"], 1, "Notify the team");
    says(&["step", "done", "--note", "on the call"], 1, "Revoke the sessions");
    says(&["contain", "users"], 2, "name the users with --user ID");
    let contain = ["contain", "users", "--user", "2", "--user", "3"];
    let plan: Value = serde_json::from_str(
        &run(folder.path(), &url, &[&contain[..], &["--format", "json"]].concat()).stdout,
    )
    .unwrap();
    let plan = plan["plan"]["id"].as_str().unwrap().to_owned();
    apply_containment(folder.path(), &url, &plan);
    is_reappearance_found(&database, &says);
    says(&["step", "check"], 1, "Test login and logout");
    says(&["step", "done", "--note", "both work"], 1, "Notify the users");
    is_a_draft(&says(&["message"], 0, "Please log in again."));
    says(&["step", "done", "--note", "mail to both"], 1, "24 hours left");
    let state = rusqlite::Connection::open(folder.path().join("sessionwatch-state.db")).unwrap();
    let later = "contained_at = contained_at - 86400000000, opened_at = opened_at - 86400000000";
    state.execute(&format!("UPDATE incidents SET {later}"), []).unwrap();
    // Time alone does not finish the step.
    is_reappearance_found(&database, &says);
    says(&["step", "check"], 1, "Find the root cause");
    for (name, text) in [
        ("root-cause", "a shared cache <of> pages | see the ticket"),
        ("data-leaked", "yes: two names"),
        ("prevention", "no cache for signed-in users"),
        ("lessons", "look sooner"),
    ] {
        says(&["field", "set", name, text], 0, "");
    }
    says(&["step", "check"], 1, "Write the report");
    says(&["step", "done", "--note", "in the wiki"], 0, "All steps are done");
    says(&["verify", "evidence.age"], 0, "Evidence intact");
    says(&["close"], 0, "Closed INC-");
    is_reported(folder.path(), &url);
    says(&["step", "check", "--id", &latest(folder.path())], 2, "is closed");
}

/// Brings a revoked session back for a moment, in which no step is finished.
fn is_reappearance_found(database: &testkit::Database<'_>, says: &dyn Fn(&[&str], i32, &str) -> String) {
    database.psql(r#"INSERT INTO sessions VALUES ('s1', 'again', 2, now() + interval '1 hour')"#).unwrap();
    says(&["step", "check"], 1, "1 reappeared session");
    database.psql("DELETE FROM sessions WHERE id = 's1'").unwrap();
}

/// Applies a containment plan in the open incident.
fn apply_containment(folder: &Path, url: &str, plan: &str) {
    let arguments = ["apply", plan, "--incident", &latest(folder)];
    let applied = run_program_in(folder, &[("DATABASE_URL", url), ("USER", "ada")], &arguments);
    assert!(applied.exit_code == 0 && applied.stdout.contains("4 rows deleted"), "{}", applied.stderr);
}

/// Affected users can be recorded, and removed again.
fn is_affected_said(says: &dyn Fn(&[&str], i32, &str) -> String) {
    says(&["step", "done"], 2, "`Identify affected users` requires a note");
    says(&["step", "done", "--note", " "], 2, "add --note TEXT");
    says(&["step", "reopen", "affected", "--reason", "x"], 2, "is neither done nor skipped");
    says(&["step", "done", "--note", "users 2 and 4"], 1, "Freeze the evidence");
    says(&["step", "reopen", "affected", "--reason", "it is 3, not 4"], 1, "Next: Identify affected users");
    says(&["step", "done", "--note", "users 2 and 3"], 1, "Freeze the evidence");
}

/// The program does not know about passwords, and internal texts are not for users.
fn is_a_draft(message: &str) {
    assert!(
        !message.contains("two users see each other's data") && message.contains("[Say whether passwords")
    );
    assert!(message.ends_with(".\n"), "{message}");
}

/// The report equals the stored one.
fn is_reported(folder: &Path, url: &str) {
    let report = run(folder, url, &["report", "--id", &latest(folder)]);
    let expected =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snapshots/incident.md"));
    assert_eq!(normal(&report.stdout), expected.unwrap_or_default(), "{}", normal(&report.stdout));
    assert_eq!(run(folder, url, &["report"]).stdout, report.stdout);
    let page = run(folder, url, &["report", "--format", "html", "--id", &latest(folder)]);
    assert!(page.stdout.contains("a shared cache &lt;of&gt; pages"), "{}", page.stdout);
    // Everything is in the audit log, which is intact.
    let place = sessionwatch_store::StoreLocation::File(folder.join("sessionwatch-state.db"));
    let store = sessionwatch_store::Store::open(&place).unwrap();
    assert!(matches!(store.read(audit::verify_chain), Ok(audit::ChainStatus::Intact(20..))));
}

/// ID of the latest incident.
fn latest(folder: &Path) -> String {
    let said = run_program_in(folder, &[], &["incident", "list", "--format", "json"]);
    let list: Value = serde_json::from_str(&said.stdout).unwrap();
    list["incidents"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn modified_evidence_is_detected() {
    let (database, folder) = (testkit::anomalous_database(), tempfile::tempdir().unwrap());
    let url = database.url("postgres");
    let open = run(folder.path(), &url, &["open", "--severity", "P2"]);
    assert_eq!(open.exit_code, 0, "{}", open.stderr);
    assert_eq!(run(folder.path(), &url, &["evidence", "--output", "e.age"]).exit_code, 0);
    let again = run(folder.path(), &url, &["evidence", "--output", "e.age"]);
    assert!(again.exit_code == 2 && again.stderr.contains("cannot write e.age"), "{}", again.stderr);
    let path = folder.path().join("e.age");
    let identity = Identity::read_file(&folder.path().join("sessionwatch-archive.key")).unwrap();
    let recipient = identity.recipient().to_string();
    let packed = identity.open(&std::fs::read(&path).unwrap(), &recipient).unwrap();
    // Prefixes and fingerprints are in it, but no token.
    let text = String::from_utf8_lossy(&packed).into_owned();
    assert!(text.contains("\"token_prefix\":\"or\"") && !text.contains("orphan-"), "{text}");
    let mut changed = packed.to_vec();
    let at = text.find("\"user\":\"1001\"").unwrap();
    changed[at + 8] = b'9';
    std::fs::write(&path, identity.recipient().seal(&changed).unwrap()).unwrap();
    let said = run(folder.path(), &url, &["verify", "e.age"]);
    assert!(
        said.exit_code == 1 && said.stderr.contains("`rows.ndjson` does not match its checksum"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_drill_runs_on_the_demo_and_on_a_server_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for turn in 0..2 {
        let said = run_program_in(folder.path(), &[], &["incident", "drill", "--demo", "--yes"]);
        assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
        assert!(said.stdout.contains("Drill finished: detected after"), "{}", said.stdout);
        assert_eq!(said.stdout.contains("Earlier drills:"), turn == 1, "{}", said.stdout);
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["sessionwatch-state.db"]);
    let alone = run_program_in(folder.path(), &[], &["incident", "drill", "--demo"]);
    assert!(alone.exit_code == 2 && alone.stderr.contains("--yes"), "{}", alone.stderr);
    let database = testkit::healthy_database();
    let before = database.psql("SELECT * FROM sessions ORDER BY id").unwrap();
    for url in database.urls("postgres") {
        let said = run(folder.path(), &url, &["drill", "--yes"]);
        assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    }
    assert_eq!(database.psql("SELECT * FROM sessions ORDER BY id").unwrap(), before);
    assert_eq!(
        database.psql("SELECT COUNT(*) FROM pg_database WHERE datname LIKE 'sessionwatch_drill%'").unwrap(),
        "0\n"
    );
    let role = testkit::create_role(&database, "watch");
    database.psql(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).unwrap();
    let refused = run(folder.path(), &database.url(&role), &["drill", "--yes"]);
    assert!(refused.exit_code == 3 && refused.stderr.contains("CREATE DATABASE"), "{}", refused.stderr);
}

/// A target with a write role that is checked once a day.
pub(crate) fn rarely(url: &str, more: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\nschedule = \"guide\"\n{more}\
         [checks.slow-check-run]\nenabled = false\n[checks.reappeared-sessions]\ninterval = \"1d\"\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n"
    )
}

#[test]
fn simultaneous_changes_of_an_incident_are_applied_once_and_undo_nothing() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let watch = Watch::start(folder.path(), &rarely(&database.url("postgres"), ""), monday());
    let shared = std::sync::Arc::clone(&watch.shared);
    let config = shared.app.config();
    let [ada, bob] = ["ada", "bob"].map(|actor| ActionContext {
        config: &config,
        target: &config.targets[0],
        store: &shared.app.store,
        clock: &shared.app.clock,
        actor,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Both users click the button, with both check runs in progress.
    let (one, other) = runtime.block_on(async {
        tokio::join!(
            incident::open_incident(ada, IncidentSeverity::P1, "a leak"),
            incident::open_incident(bob, IncidentSeverity::P0, "a leak")
        )
    });
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let refused = one.as_ref().err().or(other.as_ref().err());
    assert!(matches!(refused, Some(ActionError::StillOpen(..))), "{refused:?}");
    let id = one.or(other).unwrap().0.id;
    let case = || shared.app.store.read(|db| IncidentWorkflow::load(db, &id)).unwrap().unwrap();
    let [mut hers, mut his] = [case(), case()];
    runtime.block_on(hers.advance(ada, workflow::StepAnswer::Done("sure"))).unwrap();
    let said = runtime.block_on(his.advance(bob, workflow::StepAnswer::Skipped("not needed")));
    assert!(matches!(said, Err(ActionError::StepAlreadyDone("Confirm the incident"))), "{said:?}");
    assert_eq!(case().timeline.iter().filter(|entry| entry.step == "confirm").count(), 1);
    // Findings from before the revocation do not return.
    incident::record_containment(ada, &hers.incident, "ended", &serde_json::json!({})).unwrap();
    his.set_report_field(bob, "root-cause", "a cache").unwrap();
    hers.set_report_field(ada, "lessons", "look sooner").unwrap();
    let kept = case().incident;
    assert_eq!((kept.state, kept.contained_at), (IncidentState::Contained, Some(monday())));
    let field = |name: &str| kept.report_field(name);
    assert_eq!([field("root-cause"), field("lessons")], [Some("a cache".into()), Some("look sooner".into())]);
    assert!(watch.stop());
}

#[test]
fn for_a_day_the_daemon_checks_every_minute_and_reopens_the_incident_if_a_session_reappears() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let mut watch = Watch::start(folder.path(), &rarely(&database.url("postgres"), ""), monday());
    let shared = std::sync::Arc::clone(&watch.shared);
    let config = shared.app.config();
    let context = ActionContext {
        config: &config,
        target: &config.targets[0],
        store: &shared.app.store,
        clock: &shared.app.clock,
        actor: "ada",
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = database.psql("SELECT \"sessionToken\", expires FROM sessions WHERE id = 's1'").unwrap();
    let (token, expires) = ended.trim().split_once('|').unwrap();
    let (opened, _) =
        runtime.block_on(incident::open_incident(context, IncidentSeverity::P1, "a leak")).unwrap();
    let plan = runtime.block_on(remediation::create_plan(context, &Selection::User("2".into()))).unwrap();
    let recipient = Identity::generate().unwrap().recipient();
    let consent = Confirmation { typed_name: Some("app"), ..Confirmation::default() };
    let control = JobControl::default();
    let applied = runtime
        .block_on(crate::execute::apply(context, &plan.record.id, &recipient, consent, &control))
        .unwrap();
    assert_eq!((applied.done, applied.skipped), (2, 0));
    let detail = serde_json::json!({ "plan": plan.record.id });
    incident::record_containment(context, &opened, "ended", &detail).unwrap();
    let at = |minutes: i32| monday() + minutes * MINUTE;
    let current = || shared.app.store.read(|db| incidents::find_open_incident(db, "app")).unwrap();
    let state = || current().map(|incident: IncidentRecord| incident.state);
    watch.to(at(1));
    watch.to(at(2));
    assert_eq!(state(), Some(IncidentState::Contained));
    database.psql(&format!("INSERT INTO sessions VALUES ('s1', '{token}', 2, '{expires}')")).unwrap();
    watch.to(at(3));
    assert_eq!(state(), Some(IncidentState::Open));
    let timeline = shared.app.store.read(|db| incidents::list_timeline(db, &opened.id)).unwrap();
    let last = timeline.last().unwrap();
    assert!(last.kind == "reopened" && last.message.contains("reappeared-sessions"), "{last:?}");
    // A day later, the schedule applies again.
    watch.to(at(4) + DAY);
    let mut events = shared.app.events.subscribe();
    watch.set(at(6) + DAY);
    watch.set(at(8) + DAY);
    assert!(watch.stop());
    assert!(events.try_recv().is_err(), "nothing was checked");
}

#[test]
fn scheduled_cleanup_runs_if_enabled_and_can_be_restored_for_a_week() {
    let (database, folder) = (testkit::anomalous_database(), tempfile::tempdir().unwrap());
    let cleanup = "[target.cleanup]\nexpired = true\ngrace = \"24h\"\n";
    let mut watch = Watch::start(folder.path(), &rarely(&database.url("postgres"), cleanup), monday());
    let shared = std::sync::Arc::clone(&watch.shared);
    let expired =
        || database.psql("SELECT COUNT(*) FROM sessions WHERE expires < now() - interval '1 day'").unwrap();
    assert_eq!(expired(), "107\n");
    let held = || shared.app.store.read(archive_batches::list_archive_summaries).unwrap();
    // The cleanup is due at 03:17.
    watch.to(monday() + DAY);
    testkit::wait_until("the cleanup", || expired() == "0\n");
    testkit::wait_until("the archive", || held().first().is_some_and(|held| held.restorable_rows == 107));
    assert!(folder.path().join("sessionwatch-archive.key").exists());
    watch.set(monday() + DAY + 7 * DAY - HOUR);
    assert_eq!(held().len(), 1);
    watch.set(monday() + DAY + 7 * DAY + 2 * HOUR);
    testkit::wait_until("the purge", || held().is_empty());
    assert!(watch.stop());
}

#[test]
fn a_scheduled_cleanup_touches_other_tables_only_if_allowed() {
    let database = testkit::anomalous_database();
    let carts = "CREATE TABLE carts (session text REFERENCES sessions (id) ON DELETE CASCADE);
        INSERT INTO carts SELECT id FROM sessions WHERE expires < now() - interval '2 days'";
    database.psql(carts).unwrap();
    let filled = || database.psql("SELECT count(*) FROM carts").unwrap();
    let before = filled();
    for (allowed, outcome) in
        [(false, "1 side effect beyond the selected sessions"), (true, "107 expired rows")]
    {
        let folder = tempfile::tempdir().unwrap();
        let cleanup =
            format!("[target.cleanup]\nexpired = true\ngrace = \"24h\"\nside_effects = {allowed}\n");
        let mut watch = Watch::start(folder.path(), &rarely(&database.url("postgres"), &cleanup), monday());
        let shared = std::sync::Arc::clone(&watch.shared);
        watch.to(monday() + DAY);
        let (from, to) = (monday(), monday() + 2 * DAY);
        let wanted = EventSearch {
            from,
            to,
            target: None,
            check: None,
            text: None,
            alerts_only: false,
            before_id: None,
            limit: 100,
        };
        let said = || {
            let noted = shared.app.store.read(|db| history_events::search_events(db, &wanted)).unwrap();
            noted.into_iter().find(|event| event.kind == "cleanup").map(|event| event.summary)
        };
        testkit::wait_until("the cleanup", || said().is_some());
        assert!(said().unwrap().contains(outcome), "{:?}", said());
        assert!(watch.stop());
        assert_eq!(filled() == before, !allowed);
    }
}
