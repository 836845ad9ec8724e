//! Full messages to channels of every kind.

use sessionwatch_core::duration::SECOND;
use testkit::{HttpSink, MailOptions, MailSink, ReceivedMail, ReceivedRequest};

use super::Snapshots;
use crate::{
    channels::{channel, configuration, kinds, leak, target},
    fastforward::{MINUTE, Watch, monday},
};

/// The kinds, in the order of `kinds`.
const KINDS: [&str; 8] =
    ["webhook", "slack", "discord", "teams", "telegram", "pagerduty", "alertmanager", "ntfy"];

/// Headers of the transport, which are left out.
const TRANSPORT: [&str; 4] = ["host", "content-length", "accept", "user-agent"];

/// Sinks for channels of every kind.
struct Inboxes {
    sinks: Vec<HttpSink>,
    mails: MailSink,
}

impl Inboxes {
    fn start() -> Self {
        let sinks = KINDS.map(|_| HttpSink::start(&[]).unwrap()).into();
        Self { sinks, mails: MailSink::start(MailOptions::default()).unwrap() }
    }

    /// The channels, and a route that sends one check's alerts to all of them.
    fn configured(&self, check: &str) -> String {
        let addresses = "from = \"watch@example.org\"\nto = [\"ops@example.org\"]";
        let mail = channel("mail", "email", &format!("smtp://localhost:{}", self.mails.port()), addresses);
        let names = KINDS.map(|kind| format!("{kind:?}")).join(", ");
        let route = format!("[[route]]\nchannels = [{names}, \"mail\"]\nchecks = [{check:?}]\n");
        [kinds(&self.sinks).concat(), mail, route].concat()
    }

    /// Waits until each sink has this many messages, and compares them.
    fn compare(&self, notices: &[&str], prefix: &str) {
        let mut snapshots = snapshots();
        for (kind, sink) in KINDS.iter().zip(&self.sinks) {
            for (received, notice) in sink.wait_for_requests(notices.len()).iter().zip(notices) {
                snapshots.take(&format!("{kind}-{prefix}{notice}"), &written(received));
            }
        }
        for (mail, notice) in self.mails.wait_for_mails(notices.len()).iter().zip(notices) {
            snapshots.take(&format!("email-{prefix}{notice}"), &mailed(mail));
        }
        snapshots.finish();
    }
}

fn snapshots() -> Snapshots {
    let mut snapshots = Snapshots::new("channels");
    for (pattern, replacement) in [
        (r"v1,[A-Za-z0-9+/]+=*", "v1,[signature]"),
        (r"(?m)^webhook-timestamp: .*$", "webhook-timestamp: [number]"),
        (r"(?m)^(Date|Message-ID): .*$", "$1: [varies]"),
        (r"test/\d{10,}", "test/[number]"),
        // Targets are checked in no particular order.
        (r"(\\n|\b)[a-f]:(=\n)? 11 s", "$1[target]:$2 11 s"),
        (r#"boundary="[^"]*""#, r#"boundary="[boundary]""#),
        (r"(?m)^--\w{20,}(--)?$", "--[boundary]$1"),
    ] {
        snapshots.replace(pattern, replacement);
    }
    snapshots
}

/// A request as received, with its JSON formatted.
fn written(received: &ReceivedRequest) -> String {
    let headers = received.headers.iter().filter(|(name, _)| !TRANSPORT.contains(&name.as_str()));
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\n")).collect();
    let body = serde_json::from_str::<serde_json::Value>(&received.body)
        .map_or_else(|_| received.body.clone(), |body| format!("{body:#}"));
    format!("{} {}\n{headers}\n{body}\n", received.method, received.path)
}

fn mailed(mail: &ReceivedMail) -> String {
    format!("from {} to {}\n\n{}", mail.from, mail.to.join(", "), mail.data.replace("\r\n", "\n"))
}

#[test]
fn messages_for_an_alert_match_their_snapshots() {
    let (database, inboxes) = (testkit::healthy_database(), Inboxes::start());
    let folder = tempfile::tempdir().unwrap();
    let text = [target("app", &database), inboxes.configured("duplicate-tokens")];
    let mut watch = Watch::start(folder.path(), &configuration(&text), monday());
    leak(&database, true);
    watch.to(monday() + MINUTE);
    watch.delivered();
    leak(&database, false);
    watch.to(monday() + 2 * MINUTE);
    watch.delivered();
    inboxes.compare(&["firing", "resolved"], "");
    assert!(watch.stop());
}

#[test]
fn messages_for_many_simultaneous_alerts_match_their_snapshots() {
    let (database, inboxes) = (testkit::healthy_database(), Inboxes::start());
    let folder = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let text = [names.map(|name| target(name, &database)).concat(), inboxes.configured("orphaned-sessions")];
    let mut watch = Watch::start(folder.path(), &configuration(&text), monday());
    let orphans = r#"INSERT INTO sessions SELECT 'o' || n, 'orphan-' || n, 900 + n, now() + interval '1 day'
        FROM generate_series(1, 11) AS n"#;
    database.psql(orphans).unwrap();
    watch.all_to(monday() + 20 * MINUTE);
    watch.all_to(monday() + 30 * MINUTE);
    // Programs are notified at once, people ten seconds later.
    for program in ["webhook", "pagerduty", "alertmanager"] {
        let at = KINDS.iter().position(|kind| *kind == program).unwrap();
        assert_eq!(inboxes.sinks[at].wait_for_requests(names.len()).len(), names.len());
    }
    watch.set(monday() + 30 * MINUTE + 10 * SECOND);
    watch.delivered();
    let mut snapshots = snapshots();
    for (kind, sink) in KINDS.iter().zip(&inboxes.sinks) {
        let mut all: Vec<String> = sink.received_requests().iter().map(written).collect();
        // Programs get one message per target, in no particular order.
        all.sort();
        snapshots.take(&format!("{kind}-many"), &all.join("\n"));
    }
    let mails: Vec<String> = inboxes.mails.received_mails().iter().map(mailed).collect();
    snapshots.take("email-many", &mails.join("\n"));
    snapshots.finish();
    assert!(watch.stop());
}

#[test]
fn trial_messages_match_their_snapshots() {
    let inboxes = Inboxes::start();
    let folder = tempfile::tempdir().unwrap();
    let target = "[[target]]\nname = \"app\"\nurl = \"postgres://u@127.0.0.1:1/d\"\n";
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        format!("{target}{}", inboxes.configured("duplicate-tokens")),
    )
    .unwrap();
    for name in [&KINDS[..], &["mail"]].concat() {
        let said = testkit::run_program_in(folder.path(), &[], &["notifications", "test", name]);
        assert_eq!(
            (said.exit_code, said.stdout),
            (0, format!("Channel {name} accepted the test message.\n")),
            "{}",
            said.stderr
        );
    }
    inboxes.compare(&["test"], "");
}
