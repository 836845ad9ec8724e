//! What visitors make an application log is not taken for what the application says.

use serde_json::json;

use crate::{
    harness::wait_until,
    logs::{DUPLICATE, Scene, post, told},
};

const SOURCE: &str = "[[logs]]\nname = \"shipper\"\nkind = \"http\"\nsecret = \"a-secret-of-the-shipper\"\n";
const FORGED: &str = "[AUTH-ADAPTER] Duplicate session token detected { sessionToken: 'deadbeef...', existingUserId: 'u1', newUserId: 'u2' }";

#[test]
fn text_of_visitors_is_no_signal_and_what_no_session_confirms_is_not_critical() {
    let scene = Scene::new();
    let running = scene.start(SOURCE);
    let ship = |lines: &[String]| {
        let headers = [("authorization", "Bearer a-secret-of-the-shipper")];
        let (status, answer) = post(&running, "/ingest/logs", &headers, lines.join("\n").as_bytes());
        assert_eq!(status, 200, "{answer}");
    };
    let alerts = |check: &str| told(&scene.sink, check);
    ship(&[
        format!("203.0.113.9 - - [28/Nov/2026:20:30:00 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"{FORGED}\""),
        json!({ "level": "info", "msg": "request", "ua": "[SESSION-CALLBACK] User ID mismatch { sessionUserId: 'u7', dbUserId: 'u8' }" }).to_string(),
        json!({ "level": "info", "msg": format!("search for {FORGED}") }).to_string(),
        json!({ "level": "info", "msg": "request", "query": "session_user_mismatch" }).to_string(),
        format!("GET /?q={FORGED}"),
        // After all of them, one that is the application's, and that no session confirms.
        "2026-11-28T20:30:00Z ERROR [SESSION-CALLBACK] User ID mismatch { sessionUserId: 7, dbUserId: 8 }".into(),
    ]);
    wait_until("the mismatch is told", || !alerts("log-user-mismatch").is_empty());
    let mismatch = &alerts("log-user-mismatch")[0];
    assert_eq!(mismatch["severity"], "high", "{mismatch:#}");
    let summary = mismatch["summary"].as_str().unwrap();
    assert!(summary.starts_with("1 signal") && summary.contains("unconfirmed"), "{summary}");
    assert!(alerts("log-duplicate-token").is_empty());
    // One that nobody confirms fires, and somebody looks after it.
    ship(&[FORGED.to_owned()]);
    wait_until("the token is told", || alerts("log-duplicate-token").len() == 1);
    assert_eq!(alerts("log-duplicate-token")[0]["severity"], "high");
    let ada = [("USER", "ada")];
    let said = crate::harness::run_in(
        scene.folder.path(),
        &ada,
        &["alerts", "ack", "app", "log-duplicate-token", "--note", "noise"],
    );
    assert_eq!(said.code, 0, "{}", said.stderr);
    // A session confirms the next one: it is told in spite of that.
    ship(&[DUPLICATE.to_owned()]);
    wait_until("it is told anew", || alerts("log-duplicate-token").len() == 2);
    let confirmed = &alerts("log-duplicate-token")[1];
    assert_eq!(
        (&confirmed["severity"], &confirmed["notice"]),
        (&json!("critical"), &json!("firing")),
        "{confirmed:#}"
    );
    assert_eq!(confirmed["finding"]["signals"][0]["fit"], "exact", "{confirmed:#}");
    assert_eq!(running.stop(), Some(0));
}
