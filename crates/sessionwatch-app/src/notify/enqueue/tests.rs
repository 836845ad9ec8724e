use std::{collections::BTreeSet, path::Path};

use sessionwatch_core::duration::{HOUR, MINUTE};
use sessionwatch_store::Store;

use super::*;
use crate::config::Config;

const CHANNELS: &str = "[[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"https://hooks.example.org/1\"\n\
                        [[channel]]\nname = \"mail\"\nkind = \"email\"\nurl = \"smtp://mail.example.org\"\n\
                        from = \"watch@example.org\"\nto = [\"ada@example.org\", \"bob@example.org\"]\n";

fn channels() -> Vec<NotificationChannel> {
    Config::parse(Path::new("sessionwatch.toml"), CHANNELS).unwrap().serve.channels
}

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * HOUR
}

fn message(target: &str, check: &str) -> NotificationMessage {
    NotificationMessage {
        schema: 2,
        key: "old".into(),
        notice: "firing".into(),
        target: target.into(),
        check: check.into(),
        severity: "high".into(),
        summary: "3 rows".into(),
        since: None,
        at: "2026-01-31T00:00:00Z".into(),
        finding: None,
        possible_duplicate: false,
        text: None,
    }
}

fn queued(channel: &NotificationChannel, target: &str, check: &str) -> Vec<QueuedMessage> {
    messages_for_channel(channel, &message(target, check), "shop/mine", now(), now() + MINUTE)
}

#[test]
fn every_recipient_gets_a_message_with_a_key_of_its_own() {
    let [chat, mail] = &channels()[..] else { panic!("two channels") };
    let to_chat = queued(chat, "shop", "mine");
    assert_eq!((to_chat.len(), to_chat[0].recipient.as_deref()), (1, None));
    let to_mail = queued(mail, "shop", "mine");
    let recipients: Vec<_> = to_mail.iter().map(|message| message.recipient.as_deref()).collect();
    assert_eq!(recipients, [Some("ada@example.org"), Some("bob@example.org")]);
    let keys: BTreeSet<&str> =
        to_chat.iter().chain(&to_mail).map(|queued| queued.message.key.as_str()).collect();
    assert_eq!(keys.len(), 3);
    assert!(to_mail.iter().all(|queued| queued.send_at == now() + MINUTE && queued.subject == "shop/mine"));
}

#[test]
fn keys_are_header_values_and_different_names_have_different_keys() {
    let channel = &channels()[0];
    let names =
        [("shop", "mine"), ("shop/mine", ""), ("", "shop/mine"), ("shop%2Fmine", ""), ("ä\r\nx: y", "🦀")];
    let keys: BTreeSet<String> = names
        .into_iter()
        .map(|(target, check)| queued(channel, target, check).remove(0).message.key)
        .collect();
    assert_eq!(keys.len(), names.len());
    for key in keys {
        assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
    }
    let long = queued(channel, &"ä".repeat(500), "mine").remove(0).message.key;
    assert_eq!(long.len(), 500);
}

#[test]
fn queued_messages_are_delivered_as_they_were() {
    let store = Store::open_in_memory().unwrap();
    let messages: Vec<QueuedMessage> =
        channels().iter().flat_map(|channel| queued(channel, "shop", "<b>\u{0}\"")).collect();
    assert_eq!(store.write(|db| enqueue_messages(db, &messages, now())).unwrap(), 3);
    let due = |at| store.read(|db| outbox::list_due_messages(db, "mail", at, 10)).unwrap();
    assert!(due(now()).is_empty(), "the wait for further alerts is not over");
    let stored = due(now() + MINUTE);
    assert_eq!(stored.len(), 2);
    let read: NotificationMessage = serde_json::from_str(&stored[0].message).unwrap();
    assert_eq!(read, messages[1].message);
    assert_eq!(stored[0].idempotency_key, messages[1].message.key);
    assert_eq!(store.write(|db| enqueue_messages(db, &[], now())).unwrap(), 0);
}
