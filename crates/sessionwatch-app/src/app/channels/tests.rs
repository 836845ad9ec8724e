use sessionwatch_core::duration::HOUR;
use sessionwatch_store::outbox::NewOutboxMessage;

use super::*;
use crate::app::test_app::TestApp;

const CHANNELS: &str = "[[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"https://h.example/secret-1\"\n\
                        [[channel]]\nname = \"pager\"\nkind = \"webhook\"\nurl = \"https://h.example/secret-2\"\n\
                        secret = \"0123456789abcdef0123456789abcdef\"\n";

/// Queues a message of a channel and lets every attempt fail, so that it is given up.
fn add_dead_message(scene: &TestApp, channel: &str, key: &str, text: &str) {
    let letter = NewOutboxMessage {
        idempotency_key: key,
        channel,
        recipient: None,
        subject: "",
        message: text,
        due_at: scene.clock.now(),
    };
    let now = scene.clock.now();
    scene.store.write(|db| outbox::enqueue_message(db, letter, now)).unwrap();
    loop {
        let later = now + 10_000 * HOUR;
        let due = scene.store.read(|db| outbox::list_due_messages(db, channel, later, 1_000)).unwrap();
        let Some(message) = due.iter().find(|message| message.idempotency_key == key) else { return };
        scene.store.write(|db| outbox::mark_failed(db, message, "refused", None, now)).unwrap();
    }
}

fn message() -> String {
    serde_json::json!({
        "schema": 2, "key": "k", "notice": "firing", "target": "shop", "check": "duplicate-tokens",
        "severity": "critical", "summary": "3 tokens", "since": null, "at": "2026-01-31T00:00:00Z", "finding": null,
    })
    .to_string()
}

#[tokio::test]
async fn a_failed_message_is_listed_with_its_error_until_it_is_retried() {
    let scene = TestApp::with_config(CHANNELS);
    add_dead_message(&scene, "chat", "k-1", &message());
    add_dead_message(&scene, "chat", "k-2", &message());
    add_dead_message(&scene, "pager", "k-3", &message());
    assert_eq!(count_failed_messages(&scene).await.unwrap(), 3);
    let failed = list_failed_messages(&scene, 2).await.unwrap();
    let keys: Vec<&str> = failed.iter().map(|one| one.outbox_entry.idempotency_key.as_str()).collect();
    assert_eq!(keys, ["k-3", "k-2"]);
    assert_eq!(failed[0].message.summary, "3 tokens");
    assert_eq!(failed[0].outbox_entry.last_error.as_deref(), Some("refused"));
    let ada = Actor::from_account("ada");
    assert_eq!(retry_failed_messages(&scene, &ada, "chat".into()).await.unwrap(), 2);
    assert_eq!(count_failed_messages(&scene).await.unwrap(), 1);
    let pending = scene.store.read(outbox::list_pending_channels).unwrap();
    assert_eq!(pending, ["chat"]);
    assert_eq!(retry_failed_messages(&scene, &ada, "pager".into()).await.unwrap(), 1);
    let details: Vec<String> = scene.audit_trail().into_iter().map(|[.., detail]| detail).collect();
    assert_eq!(details, [r#"{"channel":"chat","messages":2}"#, r#"{"channel":"pager","messages":1}"#]);
}

#[tokio::test]
async fn a_retry_without_failed_messages_is_no_action() {
    let scene = TestApp::with_config(CHANNELS);
    add_dead_message(&scene, "pager", "k-1", &message());
    for channel in ["chat", "", "PAGER", "nobody"] {
        let ada = Actor::from_account("ada");
        assert_eq!(retry_failed_messages(&scene, &ada, channel.into()).await.unwrap(), 0, "{channel}");
    }
    assert!(scene.audit_trail().is_empty());
}

#[tokio::test]
async fn a_damaged_message_is_an_error_and_not_an_empty_one() {
    for damaged in ["", "{", "{}", "null", r#"{"schema":2}"#] {
        let scene = TestApp::with_config(CHANNELS);
        add_dead_message(&scene, "chat", "k-1", damaged);
        let listed = list_failed_messages(&scene, 10).await;
        assert!(
            matches!(&listed, Err(AppError::Store(StoreError::Undecodable { .. }))),
            "{damaged}: {listed:?}"
        );
        assert_eq!(count_failed_messages(&scene).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_test_needs_a_configured_channel() {
    let scene = TestApp::with_config(CHANNELS);
    let refused = send_test_message(&scene, &Actor::from_account("ada"), "chät").await;
    assert!(matches!(refused, Err(AppError::NotFound(text)) if text == "Channel “chät” not found."));
    assert!(scene.audit_trail().is_empty());
}

#[tokio::test]
async fn every_channel_is_listed_with_its_routes_and_without_its_secrets() {
    let routed = format!("{CHANNELS}[[route]]\nchannels = [\"pager\"]\nseverity = \"critical\"\n");
    for (text, chat, pager) in [(CHANNELS, None, None), (&routed, Some(0), Some(1))] {
        let channels = list_channels(&TestApp::with_config(text)).await.unwrap();
        let routes: Vec<(&str, &str, Option<usize>)> = channels
            .iter()
            .map(|channel| (&*channel.name, channel.kind, channel.routes.as_ref().map(Vec::len)))
            .collect();
        assert_eq!(routes, [("chat", "slack", chat), ("pager", "webhook", pager)]);
        assert!(!format!("{channels:?}").contains("secret-"));
    }
}

#[tokio::test]
async fn a_channel_whose_secret_is_missing_comes_last_with_its_problem() {
    let missing = "[[channel]]\nname = \"alpha\"\nkind = \"slack\"\nurl_file = \"/nonexistent/url\"\n";
    let channels = list_channels(&TestApp::with_config(&format!("{missing}{CHANNELS}"))).await.unwrap();
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    assert_eq!(names, ["chat", "pager", "alpha"]);
    let problem = channels[2].problem.as_deref().unwrap();
    assert!(problem.contains("/nonexistent/url"), "{problem}");
    assert!(channels[0].problem.is_none() && channels[2].kind.is_empty());
}
