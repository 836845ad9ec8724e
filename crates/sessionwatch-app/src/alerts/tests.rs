use std::path::Path;

use sessionwatch_core::{
    alert::{Alert, AlertState},
    duration::{DAY, HOUR},
};
use sessionwatch_store::{history_events::EventSearch, outbox::NewOutboxMessage};

use super::*;

const CHANNELS: &str = "[[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:1\"\n\
                        [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\n";
const TARGETS: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n";

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

fn config(text: &str) -> Config {
    Config::parse(Path::new("sessionwatch.toml"), text).unwrap()
}

fn firing(target: &str, check: &str) -> AlertRecord {
    AlertRecord {
        target: target.into(),
        check: check.into(),
        alert: Alert {
            state: AlertState::Firing {
                since: now() - HOUR,
                passing_runs: 0,
                notified_at: Some(now() - HOUR),
            },
            ..Alert::default()
        },
        severity: "high".into(),
        summary: "3 rows".into(),
        acknowledged_by: None,
        note: None,
        verdict: Some("failing".into()),
        unknown_reason: None,
        finding: None,
        updated_at: now() - HOUR,
    }
}

fn store_of(alerts: &[AlertRecord]) -> Store {
    let store = Store::open_in_memory().unwrap();
    store.write(|db| alerts::upsert_alerts(db, alerts)).unwrap();
    store
}

/// Returns target and check of the stored alerts.
fn stored(store: &Store) -> Vec<(String, String)> {
    let all = store.read(|db| alerts::list_alerts(db, true)).unwrap().into_iter();
    let mut all: Vec<_> = all.map(|alert| (alert.target, alert.check)).collect();
    all.sort();
    all
}

/// Returns the channels with queued messages, each message once.
fn queued(store: &Store) -> Vec<String> {
    let due =
        |channel: &str| store.read(|db| outbox::list_due_messages(db, channel, now() + DAY, 1_000)).unwrap();
    ["chat", "hook"].into_iter().flat_map(due).map(|message| message.channel).collect()
}

/// Returns the kinds of the history events about a target.
fn event_kinds(store: &Store, target: &str) -> Vec<String> {
    let search = EventSearch {
        from: UtcTimestamp::MIN,
        to: UtcTimestamp::MAX,
        target: Some(target.into()),
        check: None,
        text: None,
        alerts_only: false,
        before_id: None,
        limit: 100,
    };
    let found = store.read(|db| history_events::search_events(db, &search)).unwrap();
    found.into_iter().map(|event| event.kind).collect()
}

#[test]
fn alerts_of_what_is_no_longer_configured_are_resolved_with_a_notice() {
    let all = [
        firing("shop", "duplicate-tokens"),
        firing("shop", "active-sessions"),
        firing("shop", "no-such-check"),
        firing("shop", TARGET_UNREACHABLE),
        firing("gone", "duplicate-tokens"),
        firing("gone", TARGET_UNREACHABLE),
        firing("chat", CHANNEL_FAILING),
        firing("pager", CHANNEL_FAILING),
    ];
    let store = store_of(&all);
    let config = config(&format!("{TARGETS}{CHANNELS}[checks.active-sessions]\nenabled = false\n"));
    close_orphaned_alerts(&store, &config, now()).unwrap();
    let kept = [("chat", CHANNEL_FAILING), ("shop", "duplicate-tokens"), ("shop", TARGET_UNREACHABLE)];
    assert_eq!(stored(&store), kept.map(|(target, check)| (target.to_owned(), check.to_owned())));
    assert_eq!(event_kinds(&store, "gone"), ["resolved", "resolved"]);
    assert_eq!(queued(&store).len(), 10, "two channels are notified of five alerts");
    close_orphaned_alerts(&store, &config, now()).unwrap();
    assert_eq!(queued(&store).len(), 10, "they are notified once");
}

#[test]
fn an_alert_that_nobody_was_notified_of_is_closed_silently() {
    let mut silent = firing("gone", "duplicate-tokens");
    silent.alert.state = AlertState::Firing { since: now(), passing_runs: 0, notified_at: None };
    let mut pending = firing("gone", "orphaned-sessions");
    pending.alert.state = AlertState::Pending { failing_runs: 1, since: now() };
    let store = store_of(&[silent, pending]);
    close_orphaned_alerts(&store, &config(&format!("{TARGETS}{CHANNELS}")), now()).unwrap();
    assert!(stored(&store).is_empty() && queued(&store).is_empty());
}

#[test]
fn messages_of_a_removed_channel_are_given_up_and_others_are_kept() {
    let store = store_of(&[]);
    for channel in ["chat", "hook"] {
        let letter = NewOutboxMessage {
            idempotency_key: channel,
            channel,
            recipient: None,
            subject: "",
            message: "{}",
            due_at: now(),
        };
        store.write(|db| outbox::enqueue_message(db, letter, now())).unwrap();
    }
    let only_hook = CHANNELS.split_at(CHANNELS.rfind("[[channel]]").unwrap()).1;
    close_orphaned_alerts(&store, &config(only_hook), now()).unwrap();
    assert_eq!(queued(&store), ["hook"]);
    let dead = store.read(|db| outbox::list_dead_messages(db, 10)).unwrap();
    assert_eq!(dead.len(), 1, "what was not delivered stays visible");
    assert_eq!(dead[0].last_error.as_deref(), Some("the channel is no longer configured"));
}

fn health(store: &Store, failure: Option<&str>) -> u32 {
    let config = config(&format!("{TARGETS}{CHANNELS}"));
    store.write(|db| record_channel_health(db, &config, "chat", failure, now())).unwrap()
}

#[test]
fn a_failing_channel_is_announced_on_the_other_channels_once() {
    let store = store_of(&[]);
    assert_eq!(health(&store, None), 0);
    assert!(stored(&store).is_empty(), "a healthy channel has no alert");
    assert_eq!(health(&store, Some("status 500")), 1);
    assert_eq!(queued(&store), ["hook"]);
    assert_eq!(health(&store, Some("status 502")), 0);
    let alert = store.read(|db| alerts::find_alert(db, "chat", CHANNEL_FAILING)).unwrap().unwrap();
    assert_eq!(alert.summary, "deliveries to channel chat fail: status 502");
    assert_eq!(health(&store, None), 1);
    assert_eq!(health(&store, None), 0);
    let counts = store.read(outbox::count_messages).unwrap();
    assert_eq!(counts, [("hook".to_owned(), "due".to_owned(), 2)], "the second waits for the first");
    assert_eq!(event_kinds(&store, "chat"), ["result", "firing", "result", "resolved"]);
}

#[test]
fn an_alert_of_unknown_severity_is_an_error() {
    let odd = AlertRecord { severity: "catastrophic".into(), ..firing("gone", "duplicate-tokens") };
    let store = Store::open_in_memory().unwrap();
    let closed = store.write(|db| close_alert(db, &ServeConfig::default(), &odd, "over", now()));
    assert!(matches!(closed, Err(StoreError::Undecodable { .. })), "{closed:?}");
    assert!(event_kinds(&store, "gone").is_empty());
}
