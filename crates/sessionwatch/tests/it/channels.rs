//! Channels of every kind: what they receive for firing and resolved alerts, and for many alerts at once.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sessionwatch_app::{config::Config, notify::NotificationMessage};
use sessionwatch_clock as clock;
use sessionwatch_core::duration::SECOND;
use sessionwatch_store::{
    Store,
    outbox::{self, NewOutboxMessage},
};
use sha2::Sha256;
use testkit::{AlertmanagerServer, Database, HttpSink, MailOptions, MailSink, ReceivedRequest};

use crate::fastforward::{Apart, MINUTE, Watch, monday};

/// A secret as the Standard Webhooks specification writes it, and its bytes.
const SECRET: (&str, &str) = ("whsec_c2VjcmV0LWtleS1vZi1ob29r", "secret-key-of-hook");

const FIRES: &str = "Failing: duplicate-tokens (critical) on app";
const OVER: &str = "Resolved: duplicate-tokens (critical) on app";

/// A target with this name.
pub(crate) fn target(name: &str, database: &Database<'_>) -> String {
    let url = database.url("postgres");
    format!("[[target]]\nname = {name:?}\nurl = \"{url}\"\ninterval = \"1m\"\n")
}

/// A channel with more keys.
pub(crate) fn channel(name: &str, kind: &str, url: &str, more: &str) -> String {
    format!("[[channel]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{more}\n")
}

/// A configuration with these targets and channels.
pub(crate) fn configuration(parts: &[String]) -> String {
    let usual = "[checks.slow-check-run]\nenabled = false\n[checks.reappeared-sessions]\nenabled = false\n\
                 [alerts.critical]\nrepeat_interval = \"7d\"\nsuccess_threshold = 1\n\
                 [serve]\nlisten = \"127.0.0.1:0\"\n";
    format!("{}{usual}", parts.concat())
}

/// Makes two tokens equal, or different again.
pub(crate) fn leak(database: &Database<'_>, leaked: bool) {
    let token = if leaked { "'token-c4ca4238-shared-by-two'" } else { "'token-c4ca4238-of-session-' || id" };
    let sql = format!(r#"UPDATE sessions SET "sessionToken" = {token} WHERE id IN ('s1', 's2')"#);
    database.psql(&sql).unwrap();
}

/// The body of a request.
pub(crate) fn body(received: &ReceivedRequest) -> Value {
    serde_json::from_str(&received.body).unwrap()
}

pub(crate) fn header<'a>(received: &'a ReceivedRequest, name: &str) -> Option<&'a str> {
    received.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Returns `true` if the signature of a webhook request follows the specification.
fn is_signed(received: &ReceivedRequest) -> bool {
    let part = |name| header(received, name).unwrap();
    let signed = format!("{}.{}.{}", part("webhook-id"), part("webhook-timestamp"), received.body);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.1.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    part("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The channels of every kind but email: the kind, the path of its sink, and more keys.
pub(crate) fn kinds(sinks: &[HttpSink]) -> Vec<String> {
    let keys = [
        ("webhook", "/hook/webhook-path", format!("secret = \"{}\"", SECRET.0)),
        ("slack", "/services/T0/B0/slack-path", String::new()),
        ("discord", "/api/webhooks/1/discord-path", String::new()),
        ("teams", "/workflows/teams-path", String::new()),
        ("telegram", "", "secret = \"123:telegram-token\"\nchat = \"-100\"".into()),
        ("pagerduty", "/v2/enqueue", "secret = \"pagerduty-key\"".into()),
        ("alertmanager", "/prefix/", String::new()),
        ("ntfy", "/alerts", "secret = \"ntfy-token\"".into()),
    ];
    let written = keys.iter().zip(sinks).map(|((kind, path, more), sink)| {
        channel(kind, kind, &format!("http://127.0.0.1:{}{path}", sink.port()), more)
    });
    written.collect()
}

/// What each kind but email received for an alert, reduced to its essentials.
fn essentials(kind: usize, received: &ReceivedRequest) -> Value {
    let sent = body(received);
    let start = |text: &Value| text.as_str().unwrap().lines().next().unwrap().to_owned();
    let said = match kind {
        0 => json!([sent["schema"], sent["notice"], sent["target"], sent["check"]]),
        1 => json!(start(&sent["text"])),
        2 => {
            json!([sent["embeds"][0]["title"], sent["embeds"][0]["color"], sent["allowed_mentions"]["parse"]])
        }
        3 => {
            let attachment = &sent["attachments"][0];
            json!([sent["type"], attachment["contentType"], attachment["content"]["body"][0]["text"]])
        }
        4 => json!([sent["chat_id"], start(&sent["text"]), sent["link_preview_options"]["is_disabled"]]),
        5 => {
            json!([sent["routing_key"], sent["event_action"], sent["dedup_key"], sent["payload"]["severity"]])
        }
        6 => json!([sent[0]["labels"], sent[0]["startsAt"], sent[0]["endsAt"]]),
        _ => json!([header(received, "authorization"), sent["topic"], sent["title"], sent["priority"]]),
    };
    json!([received.path, said])
}

/// The expected essentials for the alert of these tests, firing and resolved.
fn expected() -> [Value; 8] {
    let marked = |text: &str| text.replace('(', "\\(").replace(')', "\\)");
    let card = |text: &str| json!(["message", "application/vnd.microsoft.card.adaptive", marked(text)]);
    let event = |action: &str, severity: &str| {
        json!(["pagerduty-key", action, "sessionwatch/app/duplicate-tokens", severity])
    };
    let labels = json!({
        "alertname": "duplicate-tokens", "service": "sessionwatch", "severity": "critical", "target": "app",
    });
    let [first, second, stands] = [MINUTE, 2 * MINUTE, MINUTE + 30 * 1_440 * MINUTE]
        .map(|after| clock::format_rfc3339(monday() + after));
    let both = |path: &str, messages: [Value; 2]| {
        Value::from(messages.map(|message| json!([path, message])).to_vec())
    };
    [
        both(
            "/hook/webhook-path",
            ["firing", "resolved"].map(|notice| json!([2, notice, "app", "duplicate-tokens"])),
        ),
        both("/services/T0/B0/slack-path", [FIRES, OVER].map(|text| json!(format!("*{text}*")))),
        both(
            "/api/webhooks/1/discord-path",
            [json!([marked(FIRES), 13_574_702, []]), json!([marked(OVER), 3_055_683, []])],
        ),
        both("/workflows/teams-path", [card(FIRES), card(OVER)]),
        both(
            "/bot123:telegram-token/sendMessage",
            [json!(["-100", FIRES, true]), json!(["-100", OVER, true])],
        ),
        both("/v2/enqueue", [event("trigger", "critical"), event("resolve", "info")]),
        both("/prefix/api/v2/alerts", [json!([labels, first, stands]), json!([labels, second, second])]),
        both(
            "/",
            [
                json!(["Bearer ntfy-token", "alerts", FIRES, 5]),
                json!(["Bearer ntfy-token", "alerts", OVER, 2]),
            ],
        ),
    ]
}

#[test]
fn every_kind_receives_firing_and_resolved_alerts() {
    let database = testkit::healthy_database();
    let sinks: Vec<HttpSink> = (0..8).map(|_| HttpSink::start(&[]).unwrap()).collect();
    let mails = MailSink::start(MailOptions::default()).unwrap();
    let to = "from = \"watch@example.org\"\nto = [\"ops@example.org\"]";
    let mail = channel("mail", "email", &format!("smtp://localhost:{}", mails.port()), to);
    let route = "[[route]]\nchannels = [\"webhook\", \"slack\", \"discord\", \"teams\", \"telegram\", \"pagerduty\", \
                 \"alertmanager\", \"ntfy\", \"mail\"]\nchecks = [\"duplicate-tokens\"]\n";
    let folder = tempfile::tempdir().unwrap();
    let text = [target("app", &database), kinds(&sinks).concat(), mail, route.into()];
    let mut watch = Watch::start(folder.path(), &configuration(&text), monday());
    leak(&database, true);
    watch.to(monday() + MINUTE);
    watch.delivered();
    leak(&database, false);
    watch.to(monday() + 2 * MINUTE);
    watch.delivered();
    let all: Vec<Vec<ReceivedRequest>> = sinks.iter().map(|sink| sink.wait_for_requests(2)).collect();
    let messages: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(kind, received)| received.iter().map(|received| essentials(kind, received)).collect())
        .collect();
    let expected = expected();
    for (message, expected) in messages.iter().zip(&expected) {
        assert_eq!(message, expected);
    }
    assert!(all[0].iter().all(is_signed));
    assert_ne!(header(&all[0][0], "webhook-id"), header(&all[0][1], "webhook-id"));
    let mails = mails.wait_for_mails(2);
    assert!(mails[0].data.contains(&format!("Subject: {FIRES}\r\n")) && mails[1].data.contains(OVER));
    let longer = database.psql(r#"SELECT DISTINCT left("sessionToken", 9) FROM sessions"#).unwrap();
    let everything: Vec<String> = all
        .concat()
        .into_iter()
        .map(|received| received.body)
        .chain(mails.into_iter().map(|mail| mail.data))
        .collect();
    assert!(everything.iter().any(|sent| sent.contains("token-c4")), "prefixes are sent");
    assert_eq!(longer.lines().find(|longer| everything.iter().any(|sent| sent.contains(longer))), None);
    assert!(watch.stop());
}

#[test]
fn alertmanager_groups_two_targets_and_sees_them_recover() {
    let database = testkit::healthy_database();
    leak(&database, true);
    let sink = HttpSink::start(&[]).unwrap();
    let alertmanager = AlertmanagerServer::start(&sink.url()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let route = "[[route]]\nchannels = [\"prometheus\"]\nchecks = [\"duplicate-tokens\"]\n";
    let text = [
        target("a", &database),
        target("b", &database),
        channel("prometheus", "alertmanager", &alertmanager.url(), route),
    ];
    // An alert's end must be before Alertmanager's current time.
    let begin = clock::now() - 60 * MINUTE;
    let mut watch = Watch::start(folder.path(), &configuration(&text), begin);
    let grouped = |status: &str| {
        (1..10).find_map(|count| {
            let received = sink.wait_for_requests(count);
            received.iter().map(body).find(|message| {
                message["status"] == status && message["alerts"].as_array().unwrap().len() == 2
            })
        })
    };
    let firing = grouped("firing").unwrap();
    assert_eq!(firing["groupLabels"], json!({ "alertname": "duplicate-tokens" }));
    let (_, address) =
        alertmanager.url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let listed = testkit::http::get(&address, "/api/v2/alerts").parse_json();
    let mut targets: Vec<&str> =
        listed.as_array().unwrap().iter().map(|alert| alert["labels"]["target"].as_str().unwrap()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["a", "b"]);
    let summary = listed[0]["annotations"]["summary"].as_str().unwrap();
    assert!(summary.contains("token"), "{summary}");
    leak(&database, false);
    watch.all_to(begin + 15 * MINUTE);
    watch.delivered();
    assert!(grouped("resolved").is_some());
    assert!(watch.stop());
}

#[test]
fn alerts_on_many_targets_are_one_message_for_people_and_one_each_for_programs() {
    let database = testkit::healthy_database();
    let (people, programs) = (HttpSink::start(&[]).unwrap(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let route = "[[route]]\nchannels = [\"people\", \"programs\"]\nchecks = [\"orphaned-sessions\"]\n";
    let names = ["a", "b", "c", "d", "e", "f"];
    let text = [
        names.map(|name| target(name, &database)).concat(),
        channel("people", "slack", &people.url(), ""),
        channel("programs", "webhook", &programs.url(), route),
    ];
    let mut watch = Watch::start(folder.path(), &configuration(&text), monday());
    let orphans = r#"INSERT INTO sessions SELECT 'o' || n, 'orphan-' || n, 900 + n, now() + interval '1 day'
        FROM generate_series(1, 11) AS n"#;
    database.psql(orphans).unwrap();
    // They fire at the second check run; people are notified ten seconds later.
    watch.all_to(monday() + 20 * MINUTE);
    watch.all_to(monday() + 30 * MINUTE);
    let each = programs.wait_for_requests(6);
    watch.set(monday() + 30 * MINUTE + 10 * SECOND);
    watch.delivered();
    let mut targets: Vec<String> =
        each.iter().map(|message| body(message)["target"].as_str().unwrap().to_owned()).collect();
    targets.sort();
    assert_eq!(targets, names);
    let once = people.received_requests();
    assert_eq!(once.len(), 1);
    let text = body(&once[0])["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*Failing: orphaned-sessions (high) on 6 targets*\n"), "{text}");
    assert!(names.iter().all(|name| text.contains(&format!("\n{name}: 11 sessions"))), "{text}");
    assert!(watch.stop());
}

#[test]
fn ten_thousand_findings_at_once_are_a_few_short_messages() {
    let database = testkit::healthy_database();
    let sink = HttpSink::start(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sessionwatch.toml");
    let text = configuration(&[target("app", &database), channel("people", "slack", &sink.url(), "")]);
    let text = text.replace("[serve]", "[serve]\nstore = \"state.db\"");
    std::fs::write(&file, text).unwrap();
    let store = Store::open(&Config::load(Some(&file)).unwrap().serve.store).unwrap();
    let written = |number: u32| NotificationMessage {
        schema: 2,
        key: format!("k{number}"),
        notice: "firing".into(),
        target: format!("target-{number}"),
        check: "orphaned-sessions".into(),
        severity: "high".into(),
        summary: "many sessions whose user does not exist".repeat(5),
        since: None,
        at: clock::format_rfc3339(monday()),
        finding: Some(json!({ "action": "clean up", "evidence": "e".repeat(1_000) })),
        possible_duplicate: false,
        text: None,
    };
    let put = |db: sessionwatch_store::transaction::Tx<'_>| {
        for message in (0..10_000).map(written) {
            let text = serde_json::to_string(&message).unwrap();
            let letter = NewOutboxMessage {
                idempotency_key: &message.key,
                channel: "people",
                recipient: None,
                subject: &message.target,
                message: &text,
                due_at: monday(),
            };
            outbox::enqueue_message(db, letter, monday())?;
        }
        Ok(())
    };
    store.write(put).unwrap();
    let mut watch = Apart::start(folder.path(), monday());
    // One by one, the messages would not arrive within the timeout.
    let received = sink.wait_for_requests(10);
    assert_eq!(received.len(), 10);
    let texts: Vec<String> =
        received.iter().map(|message| body(message)["text"].as_str().unwrap().to_owned()).collect();
    assert!(texts.iter().all(|text| text.len() < 8_000 && text.contains("on 1000 targets")), "{}", texts[0]);
    assert!(texts[0].contains("target-19: ") && texts[0].contains("… and 980 more"), "{}", texts[0]);
    assert!(watch.resident() < 150_000, "{} kB", watch.resident());
    watch.kill();
}
