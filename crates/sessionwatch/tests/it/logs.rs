//! Application logs, from their sources to the daemon's findings.

use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use testkit::{DaemonProcess, Database, HttpSink, run_program_in, wait_until};

mod files;
mod ingest;
mod syslog;

const SECRET: &str = "a-secret-of-the-drain";
pub(crate) const TOKEN: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
/// A session of user 8 with a known token.
pub(crate) const KNOWN: &str =
    r#"UPDATE sessions SET "sessionToken" = 'f47ac10b-58cc-4372-a567-0e02b2c3d479' WHERE id = 's7'"#;

/// A target, a channel, and sources of log lines.
pub(crate) fn configuration(url: &str, hook: &str, sources: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-check-run]\nbudget_ms = 3600000\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n{sources}"
    )
}

pub(crate) fn vercel() -> String {
    format!(
        "[[logs]]\nname = \"drain\"\nkind = \"vercel\"\nsecret = \"{SECRET}\"\nverify = \"owner-of-this\"\n"
    )
}

/// Sends a POST request. Returns the status, and headers and body.
pub(crate) fn post(
    watch: &DaemonProcess,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String) {
    watch.post(path, headers, body).into_status_and_text()
}

pub(crate) fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The body of a log drain's request.
pub(crate) fn drained(watch: &DaemonProcess, messages: &[(&str, &str)]) -> (u16, String) {
    let entries: Vec<Value> = messages
        .iter()
        .map(|(id, message)| {
            json!({
                "id": id, "message": message, "timestamp": 1_795_608_000_123_i64, "source": "lambda",
                "requestId": "iad1::abc",
            })
        })
        .collect();
    let body = Value::from(entries).to_string().into_bytes();
    post(watch, "/ingest/vercel", &[("x-vercel-signature", &signature(&body))], &body)
}

/// Notifications of the webhook, by check.
pub(crate) fn find_notifications(sink: &HttpSink, check: &str) -> Vec<Value> {
    let messages =
        sink.received_requests().into_iter().map(|received| serde_json::from_str(&received.body).unwrap());
    messages.filter(|message: &Value| message["check"] == check).collect()
}

/// Stored log events as JSON.
fn signals(folder: &Path) -> Vec<Value> {
    let said = run_program_in(folder, &[], &["logs", "events", "--format", "ndjson"]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names of the stored log events, oldest first.
pub(crate) fn kinds(folder: &Path) -> Vec<String> {
    let mut kinds: Vec<String> =
        signals(folder).iter().map(|signal| signal["kind"].as_str().unwrap().to_owned()).collect();
    kinds.reverse();
    kinds
}

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) sink: HttpSink,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let database = testkit::healthy_database();
        database.psql(KNOWN).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), database, sink: HttpSink::start(&[]).unwrap() }
    }

    pub(crate) fn start(&self, sources: &str) -> DaemonProcess {
        let text = configuration(&self.database.url("postgres"), &self.sink.url(), sources);
        std::fs::write(self.folder.path().join("sessionwatch.toml"), text).unwrap();
        DaemonProcess::start(self.folder.path())
    }
}

pub(crate) const MISMATCH: &str = "[SESSION-CALLBACK] 🚨 CRITICAL: User ID mismatch {\n  sessionToken: 'f47ac10b...',\
    \n  sessionUserId: 8,\n  dbUserId: 9\n}";
pub(crate) const DUPLICATE: &str = "[AUTH-ADAPTER] Duplicate session token detected { sessionToken: 'f47ac10b...', \
    existingUserId: 8, newUserId: 9 }";
/// In the table, the session belongs to user 8.
const WRONG: &str = "[AUTH-ADAPTER] Session created { sessionToken: 'f47ac10b...', userId: 5 }";

#[test]
fn a_leak_in_the_logs_is_notified_once_with_its_session_and_is_on_the_timeline() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let running = scene.start(&vercel());
    let whole = format!("debug {{ sessionToken: '{TOKEN}' }}");
    let (status, answer) = drained(
        &running,
        &[("1", MISMATCH), ("2", DUPLICATE), ("3", WRONG), ("4", &whole), ("5", "GET / 200")],
    );
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("x-vercel-verify: owner-of-this"), "{answer}");
    let critical = ["log-user-mismatch", "log-duplicate-token", "log-user-conflict"];
    wait_until("the critical alerts", || {
        critical.iter().all(|check| !find_notifications(&scene.sink, check).is_empty())
    });
    for check in critical {
        let messages = find_notifications(&scene.sink, check);
        assert_eq!((messages.len(), &messages[0]["notice"]), (1, &json!("firing")), "{check}");
        let finding = &messages[0]["finding"];
        assert_eq!(finding["evidence"][0]["id"], "s7", "{finding:#}");
        assert_eq!(finding["evidence"][0]["user"], "8", "{finding:#}");
        let fit = if check == "log-user-conflict" { "contradicting" } else { "exact" };
        assert_eq!(finding["log_events"][0]["match_kind"], fit, "{finding:#}");
    }
    // The drain got no response, and sends everything again.
    let again = drained(&running, &[("1", MISMATCH), ("2", DUPLICATE), ("3", WRONG), ("4", &whole)]);
    assert_eq!(again.0, 200);
    assert_eq!(kinds(folder), ["user-mismatch", "duplicate-token", "created", "token-in-log"]);
    let url = scene.database.url("postgres");
    let run =
        |arguments: &[&str]| run_program_in(folder, &[("DATABASE_URL", &url), ("USER", "ada")], arguments);
    let opened = run(&["incident", "open", "app", "--severity", "P0", "--summary", "users see each other"]);
    assert_eq!(opened.exit_code, 0, "{}{}", opened.stdout, opened.stderr);
    let report = run(&["incident", "report", "app"]).stdout;
    for part in ["user-mismatch token f47ac10b…", "duplicate-token token f47ac10b…", "token-in-log"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let shown = run(&["sessions", "show", "s7", "app"]).stdout;
    assert!(shown.contains("user-mismatch") && shown.contains("[exact]"), "{shown}");
    assert_eq!(running.stop(), Some(0));
    assert_secret(folder);
    let all = scene.sink.received_requests().iter().map(|received| received.body.clone()).collect::<String>();
    assert!(!all.contains(&TOKEN[8..]), "{all}");
}

/// Asserts that no file in the folder contains the token.
fn assert_secret(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = memchr::memmem::find(&bytes, &TOKEN.as_bytes()[8..]);
        assert!(found.is_none(), "{}", path.display());
    }
}

#[test]
fn custom_patterns_are_log_events_and_checks() {
    let scene = Scene::new();
    let pattern = "[[log_check]]\nname = \"password-failures\"\n\
        regex = \"password check failed for user (?P<user>[0-9]+)\"\nseverity = \"critical\"\nmax = 1\n";
    let running = scene.start(&format!("{}{pattern}", vercel()));
    let failed = |id: &str| drained(&running, &[(id, "password check failed for user 7")]).0;
    assert_eq!(failed("1"), 200);
    wait_until("it was evaluated", || {
        signals(scene.folder.path()).iter().any(|signal| !signal["correlated"].is_null())
    });
    assert_eq!(find_notifications(&scene.sink, "password-failures").len(), 0);
    assert_eq!(failed("2"), 200);
    wait_until("the alert", || !find_notifications(&scene.sink, "password-failures").is_empty());
    let message = &find_notifications(&scene.sink, "password-failures")[0];
    assert_eq!(
        (&message["severity"], &message["finding"]["log_events"][0]["user"]),
        (&json!("critical"), &json!("7"))
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn an_idle_source_is_reported_and_makes_the_other_checks_unknown() {
    use crate::fastforward::{MINUTE, Watch, monday};
    let scene = Scene::new();
    let sources = "[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n\
        [alerts.medium]\nfailure_threshold = 1\n";
    let text = configuration(&scene.database.url("postgres"), &scene.sink.url(), sources);
    let mut watch = Watch::start(scene.folder.path(), &text, monday());
    let unknown = |watch: &Watch, check: &str| {
        let kept = watch
            .shared
            .app
            .store
            .read(|db| sessionwatch_store::alerts::find_alert(db, "app", check))
            .unwrap();
        kept.and_then(|kept| kept.verdict).unwrap_or_default()
    };
    wait_until("nothing is known", || unknown(&watch, "log-user-mismatch") == "unknown");
    for hour in 0..5 {
        watch.to(monday() + hour * 60 * MINUTE + MINUTE);
        let headers = [("authorization", "Bearer a-token-for-lines")];
        assert_eq!(testkit::http::post(&watch.address, "/ingest/logs", &headers, b"GET / 200\n").status, 200);
    }
    watch.to(monday() + 4 * 60 * MINUTE + 10 * MINUTE);
    wait_until("all is well", || unknown(&watch, "log-user-mismatch") == "passing");
    assert_eq!(unknown(&watch, "log-source-idle"), "passing");
    watch.to(monday() + 5 * 60 * MINUTE + 30 * MINUTE);
    wait_until("the silence", || !find_notifications(&scene.sink, "log-source-idle").is_empty());
    assert_eq!(unknown(&watch, "log-user-mismatch"), "unknown");
    assert!(watch.stop());
}

#[test]
fn logs_and_table_are_compared() {
    let database = testkit::empty_database();
    // Better Auth stores when a session was created.
    database
        .psql(
            r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
            CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE,
              "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL, "ipAddress" text, "userAgent" text,
              "userId" text NOT NULL REFERENCES "user" (id) ON DELETE CASCADE);
            INSERT INTO "user" SELECT n::text, 'User ' || n FROM generate_series(1, 9) AS n;
            INSERT INTO session SELECT 's' || n, now() + interval '7 days', 'token00' || n || 'abcdefghijklmnopqrstuvw',
              now(), now(), NULL, NULL, n::text
              FROM generate_series(1, 5) AS n;"#,
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sink = HttpSink::start(&[]).unwrap();
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        configuration(&database.url("postgres"), &sink.url(), &vercel()),
    )
    .unwrap();
    let running = DaemonProcess::start(folder.path());
    let now = database.psql("SELECT (extract(epoch FROM now()) * 1000)::bigint").unwrap();
    // Three of five sessions are logged, with a clock that is ten seconds ahead; and one that has expired.
    let at: i64 = now.trim().parse::<i64>().unwrap() + 10_000;
    let entries: Vec<Value> = [(1, "token001"), (2, "token002"), (3, "token003"), (7, "token007")]
        .iter()
        .map(|(user, token)| {
            let message =
                format!("[AUTH-ADAPTER] Session created {{ sessionToken: '{token}...', userId: '{user}' }}");
            json!({ "id": token, "message": message, "timestamp": at })
        })
        .collect();
    let body = Value::from(entries).to_string().into_bytes();
    assert_eq!(post(&running, "/ingest/vercel", &[("x-vercel-signature", &signature(&body))], &body).0, 200);
    let join = || -> Value {
        let said = run_program_in(folder.path(), &[], &["logs", "correlate", "--format", "json"]);
        serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr))
    };
    wait_until("they are joined", || join()["match_kinds"]["not_correlated"] == 0);
    let fits = join();
    assert_eq!(
        (&fits["match_kinds"]["exact"], &fits["match_kinds"]["gone"]),
        (&json!(3), &json!(1)),
        "{fits:#}"
    );
    assert_eq!((&fits["created"], &fits["created_without_row"]), (&json!(4), &json!(1)), "{fits:#}");
    // Rows from before the first line do not count.
    assert_eq!(fits["rows_without_creation"], 0, "{fits:#}");
    let skew = fits["ahead_of_database_us"].as_i64().unwrap();
    assert!((9_000_000..40_000_000).contains(&skew), "{fits:#}");
    database.psql("INSERT INTO session SELECT 'late', now() + interval '7 days', 'token009abcdefghijklmnopqrstuvw', \
        now(), now(), NULL, NULL, '9'").unwrap();
    assert_eq!(join()["rows_without_creation"], 1);
    let text = run_program_in(folder.path(), &[], &["logs", "correlate"]).stdout;
    assert!(text.contains("ahead of the database's (median of 3 session creations)"), "{text}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_critical_line_reopens_an_incident_with_revoked_sessions_and_a_milder_one_does_not() {
    use sessionwatch_clock as clock;
    use sessionwatch_store::{
        Store, StoreLocation,
        incidents::{self, IncidentRecord, IncidentState},
    };
    let scene = Scene::new();
    let folder = scene.folder.path();
    let running = scene.start(&vercel());
    assert_eq!(drained(&running, &[("1", MISMATCH)]).0, 200);
    wait_until("the alert", || !find_notifications(&scene.sink, "log-user-mismatch").is_empty());
    let url = scene.database.url("postgres");
    let arguments = ["incident", "open", "app", "--severity", "P1", "--summary", "x"];
    assert_eq!(run_program_in(folder, &[("DATABASE_URL", &url), ("USER", "ada")], &arguments).exit_code, 0);
    let store = Store::open(&StoreLocation::File(folder.join("sessionwatch-state.db"))).unwrap();
    let current = || store.read(|db| incidents::find_open_incident(db, "app")).unwrap().unwrap();
    let ended =
        IncidentRecord { state: IncidentState::Contained, contained_at: Some(clock::now()), ..current() };
    store.write(|db| incidents::upsert_incident(db, &ended)).unwrap();
    let signals_on = || {
        let timeline = store.read(|db| incidents::list_timeline(db, &ended.id)).unwrap();
        timeline.iter().filter(|entry| entry.kind == "log-event").count()
    };
    let before = signals_on();
    assert_eq!(drained(&running, &[("2", &format!("x {{ sessionToken: '{TOKEN}' }}"))]).0, 200);
    wait_until("the milder one is on the timeline", || signals_on() == before + 1);
    assert_eq!(current().state, IncidentState::Contained);
    assert_eq!(drained(&running, &[("3", DUPLICATE)]).0, 200);
    wait_until("it is open again", || current().state == IncidentState::Open);
    assert_eq!(running.stop(), Some(0));
}
