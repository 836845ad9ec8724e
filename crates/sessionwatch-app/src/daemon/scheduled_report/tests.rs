use std::path::Path;

use jiff::SignedDuration;
use sessionwatch_core::duration::DAY;
use sessionwatch_store::{Store, outbox};

use super::*;

const CONFIG: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n\
                      [[target]]\nname = \"app\"\nurl = \"postgres://u@h/e\"\n\
                      [[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:1\"\n\
                      [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1\"\n\
                      [report]\nchannels = [\"hook\"]\n";

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

fn config() -> Config {
    Config::parse(Path::new("sessionwatch.toml"), CONFIG).unwrap()
}

fn queued(store: &Store, channel: &str) -> Vec<NotificationMessage> {
    let due = store.read(|db| outbox::list_due_messages(db, channel, now(), 100)).unwrap();
    due.iter().map(|message| serde_json::from_str(&message.message).unwrap()).collect()
}

#[test]
fn a_report_has_a_message_for_each_target_on_its_channels_only() {
    let (store, config) = (Store::open_in_memory().unwrap(), config());
    let report = config.serve.scheduled_report.clone().unwrap();
    store.write(|db| enqueue_reports(db, &config, &report, now())).unwrap();
    let messages = queued(&store, "hook");
    let titles: Vec<&str> = messages.iter().map(|message| message.summary.as_str()).collect();
    let title = |target: &str| format!("checklist of {target}: unknown, 0 of 7 items passing, 7 unknown");
    assert_eq!(titles, [title("shop"), title("app")]);
    assert!(messages.iter().all(|message| message.notice == "report" && message.check == "checklist"));
    let text = messages[1].text.as_deref().unwrap();
    assert!(text.starts_with("Checklist of app, from "), "{text}");
    assert_ne!(messages[0].key, messages[1].key);
    assert!(queued(&store, "chat").is_empty());
    let last = store.read(|db| history_events::last_event_at(db, REPORT_EVENT_KIND)).unwrap();
    assert_eq!(last, Some(now()));
}

#[test]
fn a_report_missed_while_no_daemon_ran_is_due_once() {
    let schedule = config().serve.scheduled_report.unwrap().schedule;
    let last = schedule.next_after(now()).unwrap();
    let week = 7 * DAY;
    assert_eq!(schedule.next_after(last), Some(last + week));
    // Three weeks later, the next one is due after a single catch-up.
    let caught_up = last + 3 * week + SignedDuration::from_hours(1);
    assert_eq!(schedule.next_after(caught_up), Some(last + 4 * week));
    // A last run in the future shows that the clock was set back.
    assert!(schedule.clamp_last_run(last + week, last) <= last);
}
