//! Text of visitors in an application's log is not mistaken for lines of the application.

use serde_json::json;
use sessionwatch_app::{config::Config, incident, remediation::ActionContext};
use sessionwatch_clock::Clock;
use sessionwatch_core::incident::INCIDENT_STEPS;
use sessionwatch_store::{
    Store, StoreLocation,
    incidents::{self, IncidentRecord, IncidentState},
};
use testkit::{run_program_in, wait_until};

use crate::logs::{DUPLICATE, Scene, drained, find_notifications, post, vercel};

const SOURCE: &str = "[[logs]]\nname = \"shipper\"\nkind = \"http\"\nsecret = \"a-secret-of-the-shipper\"\n";
const FORGED: &str = "[AUTH-ADAPTER] Duplicate session token detected { sessionToken: 'deadbeef...', \
    existingUserId: 'u1', newUserId: 'u2' }";

#[test]
fn visitors_text_is_no_log_event_and_unconfirmed_events_are_not_critical() {
    let scene = Scene::new();
    let running = scene.start(SOURCE);
    let ship = |lines: &[String]| {
        let headers = [("authorization", "Bearer a-secret-of-the-shipper")];
        let (status, answer) = post(&running, "/ingest/logs", &headers, lines.join("\n").as_bytes());
        assert_eq!(status, 200, "{answer}");
    };
    let alerts = |check: &str| find_notifications(&scene.sink, check);
    ship(&[
        format!("203.0.113.9 - - [28/Nov/2026:20:30:00 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"{FORGED}\""),
        json!({
            "level": "info",
            "msg": "request",
            "ua": "[SESSION-CALLBACK] User ID mismatch { sessionUserId: 'u7', dbUserId: 'u8' }",
        })
        .to_string(),
        json!({ "level": "info", "msg": format!("search for {FORGED}") }).to_string(),
        json!({ "level": "info", "msg": "request", "query": "session_user_mismatch" }).to_string(),
        format!("GET /?q={FORGED}"),
        // Finally, a real line of the application that no session confirms.
        "2026-11-28T20:30:00Z ERROR [SESSION-CALLBACK] User ID mismatch { sessionUserId: 7, dbUserId: 8 }"
            .into(),
    ]);
    wait_until("the mismatch is notified", || !alerts("log-user-mismatch").is_empty());
    let mismatch = &alerts("log-user-mismatch")[0];
    assert_eq!(mismatch["severity"], "high", "{mismatch:#}");
    let summary = mismatch["summary"].as_str().unwrap();
    assert!(summary.starts_with("1 `user-mismatch` event ") && summary.contains("unconfirmed"), "{summary}");
    assert!(alerts("log-duplicate-token").is_empty());
    // An unconfirmed line fires an alert, which is acknowledged.
    ship(&[FORGED.to_owned()]);
    wait_until("the token is notified", || alerts("log-duplicate-token").len() == 1);
    assert_eq!(alerts("log-duplicate-token")[0]["severity"], "high");
    let ada = [("USER", "ada")];
    let said = testkit::run_program_in(
        scene.folder.path(),
        &ada,
        &["alerts", "ack", "app", "log-duplicate-token", "--note", "noise"],
    );
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    // A session confirms the next line, which is notified despite that.
    ship(&[DUPLICATE.to_owned()]);
    wait_until("it is notified again", || alerts("log-duplicate-token").len() == 2);
    let confirmed = &alerts("log-duplicate-token")[1];
    assert_eq!(
        (&confirmed["severity"], &confirmed["notice"]),
        (&json!("critical"), &json!("firing")),
        "{confirmed:#}"
    );
    assert_eq!(confirmed["finding"]["log_events"][0]["match_kind"], "exact", "{confirmed:#}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn forged_lines_neither_reopen_incidents_nor_keep_them_open_nor_fail_the_checklist() {
    let scene = Scene::new();
    let folder = scene.folder.path();
    let running = scene.start(&vercel());
    let url = scene.database.url("postgres");
    let run =
        |arguments: &[&str]| run_program_in(folder, &[("DATABASE_URL", &url), ("USER", "ada")], arguments);
    let item = || {
        let list = run(&["report", "checklist", "app", "--format", "json"]);
        let list: serde_json::Value =
            serde_json::from_str(&list.stdout).unwrap_or_else(|_| panic!("{}", list.stderr));
        let items = list["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == "critical-log-lines").unwrap()["result"].clone()
    };
    assert_eq!(drained(&running, &[("0", FORGED)]).0, 200);
    assert_eq!(item(), "unknown");
    // A real line, before the sessions were revoked.
    assert_eq!(drained(&running, &[("1", DUPLICATE)]).0, 200);
    wait_until("the alert", || find_notifications(&scene.sink, "log-duplicate-token").len() == 2);
    assert_eq!(item(), "failing");
    let opened = run(&["incident", "open", "app", "--severity", "P1", "--summary", "x"]);
    assert_eq!(opened.exit_code, 0, "{}", opened.stderr);
    let store = Store::open(&StoreLocation::File(folder.join("sessionwatch-state.db"))).unwrap();
    let current = || store.read(|db| incidents::find_open_incident(db, "app")).unwrap().unwrap();
    let config = std::fs::read_to_string(folder.join("sessionwatch.toml")).unwrap();
    let config = Config::parse(&folder.join("sessionwatch.toml"), &config).unwrap();
    let clock = Clock::System;
    let context = ActionContext {
        config: &config,
        target: &config.targets[0],
        store: &store,
        clock: &clock,
        actor: "ada",
    };
    incident::record_containment(context, &current(), "ended", &json!({})).unwrap();
    let timeline = || store.read(|db| incidents::list_timeline(db, &current().id)).unwrap();
    let signals = || timeline().iter().filter(|entry| entry.kind == "log-event").count();
    let before = signals();
    assert_eq!(drained(&running, &[("2", FORGED)]).0, 200);
    wait_until("the forged line is evaluated", || signals() == before + 1);
    assert_eq!(current().state, IncidentState::Contained);
    let verified = || {
        let step = INCIDENT_STEPS.iter().find(|step| step.id == "verify").unwrap();
        let incident: IncidentRecord = current();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(incident::check_step(context, &incident, &timeline(), step)).unwrap().text
    };
    let said = verified();
    assert!(said.contains("1 unconfirmed critical log line in"), "{said}");
    assert_eq!(drained(&running, &[("3", DUPLICATE)]).0, 200);
    wait_until("a real one opens it again", || current().state == IncidentState::Open);
    assert!(verified().contains("not verified: 1 critical log line in"), "{}", verified());
    assert_eq!(running.stop(), Some(0));
}
