//! Evidence of an incident while its database is down, partly down and up again: unread parts are reported everywhere,
//! and never count as done.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sessionwatch_app::incident::evidence_bundle;
use sessionwatch_archive::Identity;
use sessionwatch_store::{Store, StoreLocation, audit};
use testkit::{Database, FaultProxy, NetworkFault, ProgramOutput};

use crate::api::Scene;

/// A token shared by two users, and an orphaned session.
const LEAK: &str = r#"
UPDATE sessions SET "sessionToken" = (SELECT "sessionToken" FROM sessions WHERE id = 's1') WHERE id = 's2';
INSERT INTO sessions VALUES ('stray', 'a-token-of-nobody', 987654, now() + interval '1 day');
"#;

/// A source of log lines.
const LOG: &str = "[[logs]]\nname = \"web\"\nfile = \"web.log\"\n";

/// An incident whose next step is the evidence.
struct OpenIncident {
    folder: tempfile::TempDir,
}

impl OpenIncident {
    /// Opens an incident for a target with this URL.
    fn of(url: &str, write_url: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let incident = Self { folder };
        incident.configure(url, write_url, more);
        assert_eq!(incident.run(&["open", "app", "--severity", "P1"]).exit_code, 0);
        incident.says(&["step", "check", "app"], 1, "Next: Identify affected users");
        incident.says(&["step", "done", "app", "--note", "2 and 3"], 1, "Next: Freeze the evidence");
        incident
    }

    fn configure(&self, url: &str, write_url: &str, more: &str) {
        let text =
            format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{write_url}\"\n{more}");
        fs::write(self.path("sessionwatch.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> ProgramOutput {
        let variables = [("USER", "ada")];
        testkit::run_program_in(self.folder.path(), &variables, &[&["incident"], arguments].concat())
    }

    fn says(&self, arguments: &[&str], code: i32, part: &str) -> String {
        let said = self.run(arguments);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(said.exit_code == code && text.contains(part), "{arguments:?} ({}): {text}", said.exit_code);
        text
    }

    /// The parts of an evidence file.
    fn parts(&self, file: &str) -> evidence_bundle::EvidenceParts {
        let identity = Identity::read_file(&self.path("sessionwatch-archive.key")).unwrap();
        let sealed = fs::read(self.path(file)).unwrap();
        let packed = identity.open(&sealed, &identity.recipient().to_string()).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let part = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let (mut entry, mut bytes) = (entry.unwrap(), vec![]);
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        archive.entries().unwrap().map(part).collect()
    }

    /// Collects evidence that cannot be complete: every report names the missing parts, and the step is not done.
    fn lacks(&self, file: &str, parts: &[&str], why: &str) -> String {
        let asked = format!("{file}.age");
        let said = self.says(&["evidence", "app", "--output", &asked], 3, "the evidence is incomplete: ");
        assert!(!self.path(&asked).exists(), "{said}");
        let written = format!("{asked}.incomplete");
        let verified = self.says(&["verify", &written], 3, &format!("{written} is incomplete: "));
        let timeline = self.says(&["status", "app"], 0, "INCOMPLETE: ");
        let report = self.says(&["report", "app"], 0, "the evidence is incomplete: ");
        let audit = self.trail();
        for text in [&said, &verified, &timeline, &report, &audit] {
            let plain = text.replace('\\', "");
            let names_all = parts.iter().all(|part| plain.contains(part)) && plain.contains(why);
            assert!(names_all, "{parts:?} {why}: {text}");
        }
        self.says(&["step", "check", "app"], 1, "Next: Freeze the evidence");
        written
    }

    /// Audit log entries about evidence.
    fn trail(&self) -> String {
        let store =
            Store::open_existing(&StoreLocation::File(self.path("sessionwatch-state.db"))).unwrap().unwrap();
        let entries = store.read(|db| audit::list_audit_entries_before(db, None, 1_000)).unwrap();
        let of_evidence = |entry: &audit::AuditEntry| entry.detail.contains("\"step\":\"evidence\"");
        let said = |entry: &audit::AuditEntry| {
            let detail: Value = serde_json::from_str(&entry.detail).unwrap();
            format!("{} {}\n", entry.action, detail["text"].as_str().unwrap())
        };
        entries.iter().filter(|entry| of_evidence(entry)).map(said).collect()
    }

    /// Collects complete evidence with this many rows, which completes the step.
    fn is_frozen(&self, file: &str, rows: usize) {
        let asked = format!("{file}.age");
        self.says(&["evidence", "app", "--output", &asked], 0, &format!("Wrote {asked}, encrypted to age1"));
        self.says(&["verify", &asked], 0, "Evidence intact");
        assert_eq!(count(&self.parts(&asked)), rows);
    }

    /// Creates a plan that revokes sessions with shared tokens.
    fn plan(&self) -> String {
        let said = self.run(&["contain", "duplicates", "app", "--format", "json"]);
        let plan: Value = serde_json::from_str(&said.stdout).unwrap();
        plan["plan"]["id"].as_str().unwrap().to_owned()
    }
}

/// Counts the rows in the evidence.
fn count(parts: &evidence_bundle::EvidenceParts) -> usize {
    parts["rows.ndjson"].iter().filter(|byte| **byte == b'\n').count()
}

/// A database with a leak, and a read-only role.
fn leaking() -> (Database<'static>, String) {
    let database = testkit::healthy_database();
    database.psql(LEAK).unwrap();
    let role = testkit::create_role(&database, "watch");
    database.psql(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")).unwrap();
    (database, role)
}

/// Blocks connections to a database and ends existing ones, or allows them again.
fn away(database: &Database<'_>, away: bool) {
    let name = database.name();
    let server = |sql: &str| testkit::shared_server().psql("postgres", sql).unwrap();
    server(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !away));
    if away {
        server(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"));
    }
}

#[test]
fn evidence_and_containment_wait_while_the_database_is_down_or_partly_down() {
    let (database, role) = leaking();
    let incident = OpenIncident::of(&database.url(&role), &database.url("postgres"), "");
    away(&database, true);
    let written = incident.lacks("gone", &["rows.ndjson", "stats-now.json"], "cannot connect");
    let parts = incident.parts(&written);
    assert!(!parts.contains_key("rows.ndjson") && !parts.contains_key("stats-now.json"), "{parts:?}");
    assert!(parts.contains_key("timeline.ndjson") && parts.contains_key("audit.ndjson"), "{parts:?}");
    let manifest: Value = serde_json::from_slice(&parts["manifest.json"]).unwrap();
    assert_eq!((&manifest["complete"], manifest["missing"].as_array().unwrap().len()), (&json!(false), 3));

    // Partly down: the sessions can be read, but not the users.
    away(&database, false);
    database.psql(&format!("REVOKE SELECT ON users FROM {role}")).unwrap();
    let written = incident.lacks("half", &["rows.ndjson"], "the role cannot read `id` of `public.users`");
    assert_eq!(count(&incident.parts(&written)), 2);
    incident.plan();
    let apply = ["contain", "duplicates", "app", "--apply", "--confirm", "app"];
    let refused = incident.says(&apply, 1, "complete evidence is required before sessions are revoked");
    assert!(refused.contains("half.age.incomplete"), "{refused}");
    let left = || database.psql("SELECT count(*) FROM sessions WHERE id IN ('s1', 's2')").unwrap();
    assert_eq!(left(), "2\n");

    // Up again: the first complete evidence counts, and later incomplete evidence does not replace it.
    database.psql(&format!("GRANT SELECT ON users TO {role}")).unwrap();
    incident.is_frozen("back", 3);
    away(&database, true);
    incident.says(&["evidence", "app", "--output", "late.age"], 3, "the evidence is incomplete: ");
    away(&database, false);
    let done = incident.says(&["step", "check", "app"], 1, "Freeze the evidence: wrote back.age");
    assert!(done.contains("Next: Notify the team"), "{done}");
    assert!(!incident.says(&["report", "app"], 0, "back.age").contains("the evidence is incomplete"));
    incident.says(&apply, 0, "2 rows deleted");
    assert_eq!(left(), "0\n");
    assert_eq!(incident.trail().matches("incident.evidence_exported").count(), 4, "{}", incident.trail());
}

#[test]
fn sessions_are_revoked_without_complete_evidence_only_for_a_recorded_reason() {
    let (database, role) = leaking();
    let incident = OpenIncident::of(&database.url(&role), &database.url("postgres"), "");
    incident.plan();
    let apply = ["contain", "duplicates", "app", "--apply", "--confirm", "app"];
    incident.says(&apply, 1, "no evidence has been written yet");
    incident.says(
        &[&apply[..], &["--without-evidence", " "]].concat(),
        1,
        "no evidence has been written yet",
    );
    let reason = "the disk of the database fails";
    let without = [&apply[..], &["--without-evidence", reason]].concat();
    incident.says(&without, 0, "2 rows deleted");
    let said = "sessions are revoked without complete evidence (no evidence has been written yet): ";
    for text in
        [incident.run(&["status", "app"]).stdout, incident.run(&["report", "app"]).stdout, incident.trail()]
    {
        assert!(text.contains(&format!("{said}{reason}")), "{text}");
    }
    incident.says(&["close", "app"], 1, "1 step was skipped: Freeze the evidence (evidence)");
    // Facts that cannot be known afterwards are not verified either.
    database.psql(&format!("REVOKE SELECT ON users FROM {role}")).unwrap();
    let said = incident.says(&["step", "done", "app", "--note", "the team knows"], 1, "Next: Verify");
    assert!(said.contains("not verified: orphaned sessions: unknown"), "{said}");
    incident.configure(&database.url(&role), &database.url("postgres"), LOG);
    let said = incident.says(&["step", "check", "app"], 1, "Next: Verify");
    assert!(
        said.contains("critical log lines: unknown, no line of log source `web` has been read yet"),
        "{said}"
    );
}

#[test]
fn a_connection_cut_at_any_point_leaves_no_evidence_that_claims_completeness() {
    let (database, role) = leaking();
    let proxy = FaultProxy::start(testkit::shared_server().ports()[0], NetworkFault::None).unwrap();
    let (direct, cut) = (database.url(&role), database.url_at_port(&role, proxy.port()));
    let incident = OpenIncident::of(&direct, &database.url("postgres"), "");
    incident.configure(&cut, &database.url("postgres"), "");
    let before = proxy.captured_bytes().len();
    incident.is_frozen("whole", 3);
    let passed = proxy.captured_bytes().len() - before;
    let mut outcomes = [0, 0];
    for part in 0..16 {
        proxy.set_fault(NetworkFault::CutAfter(passed * part / 16));
        let asked = format!("{part}.age");
        let said = incident.run(&["evidence", "app", "--output", &asked]);
        outcomes[usize::from(said.exit_code == 0)] += 1;
        if said.exit_code == 0 {
            let parts = incident.parts(&asked);
            assert_eq!(count(&parts), 3, "{part}");
            assert!(parts["stats-now.json"].starts_with(b"{"), "{part}");
        } else {
            assert!(
                said.exit_code == 3 && said.stderr.contains("the evidence is incomplete"),
                "{}",
                said.stderr
            );
            let written = format!("{asked}.incomplete");
            incident.says(&["verify", &written], 3, "is incomplete");
        }
    }
    // Bytes to the server were counted too, so the last cuts may come too late.
    assert!(outcomes[0] > 4, "{outcomes:?}");
    // A silent connection ends with the time limit.
    proxy.set_fault(NetworkFault::FreezeAfter(passed / 4));
    incident.says(
        &["evidence", "app", "--output", "silent.age", "--timeout", "2s"],
        3,
        "the evidence is incomplete: ",
    );
}

#[test]
fn anything_that_hides_rows_makes_evidence_incomplete() {
    let (database, role) = leaking();
    let incident = OpenIncident::of(&database.url(&role), &database.url("postgres"), "");
    let hides = [
        (
            "ALTER TABLE sessions ENABLE ROW LEVEL SECURITY".to_owned(),
            "ALTER TABLE sessions DISABLE ROW LEVEL SECURITY".to_owned(),
            "row-level security hides rows",
        ),
        (
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY".to_owned(),
            "ALTER TABLE users DISABLE ROW LEVEL SECURITY".to_owned(),
            "row-level security hides rows of",
        ),
        (
            "ALTER TABLE users RENAME TO people".to_owned(),
            "ALTER TABLE people RENAME TO users".to_owned(),
            "orphaned sessions were counted at the opening",
        ),
        (
            format!("REVOKE SELECT ON sessions FROM {role}"),
            format!("GRANT SELECT ON sessions TO {role}"),
            "permission denied: the role cannot read",
        ),
    ];
    for (number, (hide, show, why)) in hides.iter().enumerate() {
        database.psql(hide).unwrap();
        incident.lacks(&format!("hidden-{number}"), &[], why);
        database.psql(show).unwrap();
    }
    incident.is_frozen("shown", 3);
}

#[test]
fn a_moved_sqlite_file_and_unreadable_log_events_are_missing_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let (file, elsewhere) = (folder.path().join("app.db"), folder.path().join("elsewhere.db"));
    sqlite(&file);
    let url = format!("sqlite:{}", file.display());
    let incident = OpenIncident::of(&url, &url, LOG);
    fs::rename(&file, &elsewhere).unwrap();
    incident.lacks("moved", &["rows.ndjson", "stats-now.json"], "cannot open the SQLite file");
    assert!(!file.exists());
    fs::rename(&elsewhere, &file).unwrap();
    let state = rusqlite::Connection::open(incident.path("sessionwatch-state.db")).unwrap();
    state.execute_batch("ALTER TABLE log_events RENAME TO elsewhere").unwrap();
    let written = incident.lacks("unread", &["log-events.ndjson"], "the store cannot be read");
    assert!(count(&incident.parts(&written)) == 2);
    state.execute_batch("ALTER TABLE elsewhere RENAME TO log_events").unwrap();
    incident.is_frozen("all", 2);
}

/// A small application on which two users share a token.
fn sqlite(file: &Path) {
    let script = "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT);
        CREATE TABLE sessions (id TEXT PRIMARY KEY, sessionToken TEXT NOT NULL, userId TEXT NOT NULL, \
          expires TEXT NOT NULL);
        INSERT INTO users VALUES ('u1', 'Ada'), ('u2', 'Bo');
        INSERT INTO sessions VALUES ('s1', 'token-number-one', 'u1', '2100-01-01T00:00:00.000Z'),
          ('s2', 'token-number-one', 'u2', '2100-01-01T00:00:00.000Z');";
    rusqlite::Connection::open(file).unwrap().execute_batch(script).unwrap();
}

#[test]
fn api_clients_and_pages_are_notified_of_missing_evidence() {
    let scene = Scene::new();
    let bot = scene.program("ada", "read,incidents,actions");
    let opened = bot.post("/incidents", &json!({ "target": "app", "severity": "P1", "summary": "a leak" }));
    let id = opened.body["id"].as_str().unwrap().to_owned();
    let base = format!("/incidents/{id}");
    bot.post(&format!("{base}/steps"), &json!({ "response": "check", "step": "confirm" }));
    let next = json!({ "response": "done", "step": "affected", "note": "2 and 3" });
    assert_eq!(bot.post(&format!("{base}/steps"), &next).body["next"]["id"], "evidence");
    let plan = bot.post(&format!("{base}/contain"), &json!({ "scope": "users", "users": ["2", "3"] })).body;
    let apply = format!("/plans/{}/apply", plan["id"].as_str().unwrap());
    away(&scene.database, true);
    bot.ask("POST", &format!("{base}/evidence"), &[], None).is_problem(503, "rows.ndjson");
    let partial = bot.ask("POST", &format!("{base}/evidence?incomplete=true"), &[], None);
    let name = partial.header("content-disposition").to_owned();
    assert!(partial.status == 200 && name.contains("-incomplete.tar.age"), "{:?}", partial.answer);
    // A user downloads the existing parts, and the page names the missing ones.
    let testkit::DashboardLogin { cookie, csrf_token: token } =
        testkit::DashboardLogin::start(&scene.watch.address, "ada");
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let form = |path: &str, body: &str| {
        let body = format!("form={token}&{body}");
        scene.watch.post(path, &headers, body).into_status_and_text()
    };
    let (status, head) = form(&format!("/incidents/{id}/evidence"), "");
    assert!(status == 200 && head.contains("-incomplete.tar.age"), "{status} {head}");
    away(&scene.database, false);
    let course = bot.get(&base).body;
    assert_eq!(course["next"]["id"], "evidence", "{course}");
    assert!(course["next"]["detected"].as_str().unwrap().contains("INCOMPLETE: "), "{course}");
    let page =
        testkit::http::get_with_headers(&scene.watch.address, &format!("/incidents/{id}"), &headers).body;
    assert!(page.contains("Latest finding") && page.contains("INCOMPLETE: "), "{page}");
    let still = bot.post(&format!("{base}/steps"), &json!({ "response": "check", "step": "evidence" })).body;
    assert_eq!(still["next"]["id"], "evidence", "{still}");
    let report = bot.ask("GET", &format!("{base}/report"), &[], None);
    assert_eq!(report.status, 200, "{:?}", report.answer);

    // Revoking sessions has to wait, or needs a reason.
    let consent = json!({ "incident": id });
    bot.post(&apply, &consent).is_problem(409, "complete evidence is required");
    let plan_page = format!("/plans/{}?incident={id}", plan["id"].as_str().unwrap());
    let page = testkit::http::get_with_headers(&scene.watch.address, &plan_page, &headers).body;
    assert!(page.contains("name=\"without_evidence\""), "{page}");
    let (status, _) =
        form(&format!("/plans/{}/apply", plan["id"].as_str().unwrap()), &format!("incident={id}"));
    assert_eq!(status, 409);
    let consent = json!({ "incident": id, "without_evidence": "the users are being robbed" });
    assert_eq!(bot.post(&apply, &consent).status, 202);
    testkit::wait_until("it is contained", || bot.get(&base).body["state"] == "contained");
    let course = bot.get(&base).body;
    assert!(course["timeline"].to_string().contains("the users are being robbed"), "{course}");
    assert!(course["open_points"].to_string().contains("(`evidence`) was skipped"), "{course}");
    assert_eq!(scene.watch.stop(), Some(0));
}
