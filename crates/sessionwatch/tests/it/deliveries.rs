//! Failing channels: no other channel waits for them, nothing is lost, and the problem is reported.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use sessionwatch_core::duration::SECOND;
use sessionwatch_store::outbox;
use testkit::{Database, HttpSink, MailOptions, MailSink, ReceivedRequest};

use crate::{
    channels::{body, channel, configuration, header, leak, target},
    fastforward::{MINUTE, Watch, monday},
};

/// Messages that a webhook received: check, notice, and the `possible_duplicate` flag.
fn list_messages(received: &[ReceivedRequest]) -> Vec<String> {
    let line = |received: &ReceivedRequest| {
        let message = body(received);
        let again = if message["possible_duplicate"] == true { " again" } else { "" };
        format!("{} {}{again}", message["check"].as_str().unwrap(), message["notice"].as_str().unwrap())
    };
    received.iter().map(line).collect()
}

/// A daemon for a healthy database with a channel `bad`, which may fail, and a channel `good`.
fn watched(database: &Database<'_>, folder: &std::path::Path, bad: &HttpSink, good: &HttpSink) -> Watch {
    let route = "[[route]]\nchannels = [\"bad\", \"good\"]\n\
        checks = [\"duplicate-tokens\", \"token-reassigned\", \"channel-failing\"]\n";
    let text = configuration(&[
        target("app", database),
        channel("bad", "webhook", &bad.url(), ""),
        channel("good", "webhook", &good.url(), route),
    ]);
    Watch::start(folder, &text, monday())
}

#[test]
fn an_unreachable_channel_delays_no_other_and_receives_everything_in_order_later() {
    let database = testkit::healthy_database();
    let (bad, good) = (HttpSink::start(&[]).unwrap(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watched(&database, folder.path(), &bad, &good);
    let port = bad.port();
    assert!(bad.stop().is_empty());
    let story = [
        "duplicate-tokens firing",
        "duplicate-tokens resolved",
        "duplicate-tokens firing",
        "duplicate-tokens resolved",
    ];
    for minute in 1..=4 {
        leak(&database, minute % 2 == 1);
        watch.to(monday() + minute * MINUTE);
        assert_eq!(
            list_messages(&good.wait_for_requests(usize::try_from(minute).unwrap())).len(),
            usize::try_from(minute).unwrap()
        );
    }
    assert_eq!(list_messages(&good.received_requests()), story);
    watch.tried("bad", 1);
    let back = HttpSink::start_at_port(port, &[]).unwrap();
    watch.set(monday() + 10 * MINUTE);
    // Failing to connect before anything was sent is not a possible duplicate.
    assert_eq!(list_messages(&back.wait_for_requests(4)), story);
    watch.delivered();
    assert!(watch.stop());
}

#[test]
fn a_channel_without_responses_delays_no_other_and_gets_marked_duplicates() {
    let database = testkit::healthy_database();
    let (bad, good) = (HttpSink::start_unresponsive().unwrap(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watched(&database, folder.path(), &bad, &good);
    leak(&database, true);
    watch.to(monday() + MINUTE);
    let first = bad.wait_for_requests(1);
    assert_eq!(
        (list_messages(&good.wait_for_requests(1)), list_messages(&first)),
        (vec!["duplicate-tokens firing".into()], vec!["duplicate-tokens firing".into()])
    );
    watch.tried("bad", 1);
    let port = bad.port();
    bad.stop();
    let back = HttpSink::start_at_port(port, &[]).unwrap();
    watch.set(monday() + MINUTE + 5 * SECOND);
    let second = back.wait_for_requests(1);
    assert_eq!(list_messages(&second), ["duplicate-tokens firing again"]);
    assert_eq!(header(&first[0], "webhook-id"), header(&second[0], "webhook-id"));
    watch.delivered();
    assert!(watch.stop());
}

#[test]
fn a_wrong_secret_is_retried_less_and_less_often_and_other_channels_are_notified() {
    let database = testkit::healthy_database();
    let (bad, good) = (
        HttpSink::start(&[
            "401 Unauthorized",
            "403 Forbidden",
            "401 Unauthorized",
            "401 Unauthorized",
            "401 Unauthorized",
        ])
        .unwrap(),
        HttpSink::start(&[]).unwrap(),
    );
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watched(&database, folder.path(), &bad, &good);
    leak(&database, true);
    let mut at = monday() + MINUTE;
    watch.to(at);
    for attempt in 1..=5 {
        watch.tried("bad", attempt);
        assert_eq!(bad.received_requests().len(), usize::try_from(attempt).unwrap());
        // Five seconds, then twice as long each time.
        let next = watch.shared.app.store.read(|db| outbox::next_due_at(db, "bad", at)).unwrap().unwrap();
        assert_eq!(next.duration_since(at), 5 * SECOND * (1 << (attempt - 1)));
        if attempt == 5 {
            assert_eq!(
                list_messages(&good.wait_for_requests(2)),
                ["duplicate-tokens firing", "channel-failing firing"]
            );
            let said = body(&good.received_requests()[1]);
            assert!(
                said["summary"].as_str().unwrap().contains("returned status 401: check `secret`"),
                "{said}"
            );
            assert_eq!((said["target"].as_str(), said["severity"].as_str()), (Some("bad"), Some("high")));
        } else {
            assert_eq!(good.wait_for_requests(1).len(), 1, "nobody is notified of it yet");
        }
        at = next;
        watch.set(at);
    }
    assert_eq!(list_messages(&good.wait_for_requests(3))[2], "channel-failing resolved");
    watch.delivered();
    assert_eq!(list_messages(&bad.received_requests()), ["duplicate-tokens firing"; 6]);
    assert!(watch.stop());
}

#[test]
fn retry_after_applies_to_all_messages_of_a_channel() {
    let database = testkit::healthy_database();
    let until = monday() + 3 * MINUTE + 7 * SECOND;
    let date = jiff::Timestamp::from_microsecond(until.micros()).unwrap();
    let busy =
        format!("429 Too Many Requests\r\nRetry-After: {}", date.strftime("%a, %d %b %Y %H:%M:%S GMT"));
    let (bad, good) = (HttpSink::start(&[&busy]).unwrap(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watched(&database, folder.path(), &bad, &good);
    leak(&database, true);
    watch.to(monday() + MINUTE);
    watch.tried("bad", 1);
    let next = watch.shared.app.store.read(|db| outbox::next_due_at(db, "bad", monday())).unwrap();
    assert_eq!(next, Some(until));
    // Meanwhile, the token of another check is reassigned.
    database.psql(r#"UPDATE sessions SET "userId" = "userId" % 60 + 1 WHERE id = 's9'"#).unwrap();
    watch.to(monday() + 2 * MINUTE);
    assert_eq!(
        list_messages(&good.wait_for_requests(2)),
        ["duplicate-tokens firing", "token-reassigned firing"]
    );
    assert_eq!(bad.received_requests().len(), 1);
    watch.set(until);
    assert_eq!(
        list_messages(&bad.wait_for_requests(3)),
        ["duplicate-tokens firing", "duplicate-tokens firing", "token-reassigned firing"]
    );
    watch.delivered();
    assert!(watch.stop());
}

/// Starts a server that sends these headers and an endless body. Returns the number of bytes that the client read.
fn endless(head: &'static str) -> (String, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/endless", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).unwrap();
        let mut taken = 0;
        let mut piece = format!("HTTP/1.1 {head}\r\n\r\n").into_bytes();
        while stream.write_all(&piece).is_ok() {
            taken += piece.len();
            piece = vec![b'x'; 65_536];
        }
        taken
    });
    (url, serving)
}

#[test]
fn redirects_of_a_channel_are_not_followed_and_bodies_are_not_read() {
    let elsewhere = HttpSink::start(&[]).unwrap();
    let moved = format!("307 Temporary Redirect\r\nLocation: {}", elsewhere.url());
    let sink = HttpSink::start(&[&moved]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let test = |url: &str| {
        let text = channel("hook", "webhook", url, "secret = \"key\"");
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        testkit::run_program_in(folder.path(), &[], &["notifications", "test", "hook"])
    };
    let said = test(&sink.url());
    assert!(
        said.exit_code == 3 && said.stderr.contains("returned status 307: redirects are not followed"),
        "{}",
        said.stderr
    );
    assert!(elsewhere.received_requests().is_empty());
    for (head, code) in [("200 OK", 0), ("500 Internal Server Error", 3)] {
        let (url, serving) = endless(head);
        let said = test(&url);
        assert_eq!(said.exit_code, code, "{}", said.stderr);
        assert!(serving.join().unwrap() < 64 << 20);
    }
}

#[test]
fn a_test_message_of_each_kind_reports_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let test = |kind: &str, url: &str, channel_name: &str| {
        let more = "secret = \"key\"\nchat = \"-1\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]";
        let text = channel("hook", kind, url, more);
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        testkit::run_program_in(folder.path(), &[], &["notifications", "test", channel_name])
    };
    let kinds = ["webhook", "slack", "discord", "teams", "telegram", "pagerduty", "alertmanager", "ntfy"];
    // The server speaks first, in plain text.
    let plain = MailSink::start(MailOptions::default()).unwrap();
    for kind in kinds {
        let sink = HttpSink::start(&["200 OK", "401 Unauthorized", "404 Not Found", "500 Oh"]).unwrap();
        let url = format!("http://127.0.0.1:{}/secret-path/topic", sink.port());
        let accepted = test(kind, &url, "hook");
        assert_eq!(
            (accepted.exit_code, accepted.stdout.as_str()),
            (0, "Channel hook accepted the test message.\n"),
            "{kind}: {}",
            accepted.stderr
        );
        assert!(sink.received_requests()[0].body.contains("test"), "{kind}");
        let encrypted = format!("https://127.0.0.1:{}/secret-path/topic", plain.port());
        for (url, part) in [
            (
                &url,
                "cannot send the test message to channel `hook`: the channel returned status 401: check `secret`",
            ),
            (&url, "the channel returned status 404: check `url`"),
            (&url, "the channel returned status 500\n"),
            (&encrypted, "the server does not support the TLS mode"),
        ] {
            let said = test(kind, url, "hook");
            assert!(said.exit_code == 3 && said.stderr.contains(part), "{kind}: {}", said.stderr);
            assert!(!said.stderr.contains("secret-path"), "{}", said.stderr);
        }
        sink.stop();
        let gone = test(kind, &url, "hook");
        assert!(
            gone.exit_code == 3 && gone.stderr.contains("cannot connect to the channel"),
            "{kind}: {}",
            gone.stderr
        );
    }
    let gone = test("email", "smtp://localhost:1", "hook");
    assert!(
        gone.exit_code == 3 && gone.stderr.contains("b@example.org: cannot connect to the channel"),
        "{}",
        gone.stderr
    );
    let unknown = test("slack", "http://127.0.0.1:1/", "hok");
    assert!(unknown.exit_code == 2 && unknown.stderr.contains("did you mean `hook`?"), "{}", unknown.stderr);
}

/// Lines of the daemon's log as they arrive.
fn log(child: &mut std::process::Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let log = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || log.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    lines
}

#[test]
fn no_secret_of_a_channel_is_printed() {
    let database = testkit::anomalous_database();
    let sinks = ["slack", "webhook", "ntfy", "telegram", "discord"]
        .map(|kind| (kind, HttpSink::start(&["401 Unauthorized"; 20]).unwrap()));
    let mut parts = vec![target("app", &database)];
    for (kind, sink) in &sinks {
        let url = format!("http://user:hidden-password@127.0.0.1:{}/hidden-path", sink.port());
        parts.push(channel(kind, kind, &url, "secret = \"hidden-secret\"\nchat = \"1\""));
    }
    parts.push(channel("down", "slack", "http://127.0.0.1:1/hidden-path", ""));
    let addresses = "from = \"a@example.org\"\nto = [\"b@example.org\"]";
    parts.push(channel("mail", "email", "smtp://user:hidden-password@localhost:1", addresses));
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("sessionwatch-state.db");
    std::fs::write(folder.path().join("sessionwatch.toml"), configuration(&parts)).unwrap();
    let mut child = testkit::program_command(&["--verbose", "serve"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = log(&mut child);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    let address = said.split("http://").nth(1).unwrap().trim_end().trim_end_matches("/metrics").to_owned();
    let mut left = vec!["slack", "webhook", "ntfy", "telegram", "discord", "down", "mail"];
    while !left.is_empty() {
        let line = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        left.retain(|name| {
            !(line.contains("delivery failed") && line.contains(&format!("channel=\"{name}\"")))
        });
        said.push_str(&line);
    }
    said.push_str(&testkit::http::get(&address, "/metrics").body);
    // Failed messages are listed too.
    let store = rusqlite::Connection::open(state).unwrap();
    store.busy_timeout(Duration::from_secs(30)).unwrap();
    store.execute("UPDATE outbox SET state = 'dead'", []).unwrap();
    for arguments in [
        &["alerts", "history"][..],
        &["notifications", "failed"],
        &["notifications", "failed", "--format", "json"],
        &["alerts", "list"],
    ] {
        let output = testkit::run_program_in(folder.path(), &[], arguments);
        assert!(!output.stdout.is_empty(), "{arguments:?}: {}", output.stderr);
        said.push_str(&format!("{}{}", output.stdout, output.stderr));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    said.extend(lines.iter());
    assert!(
        said.contains("the channel returned status 401") && said.contains("cannot connect to the channel"),
        "{said}"
    );
    assert!(!said.contains("hidden"), "{}", said.lines().find(|line| line.contains("hidden")).unwrap());
}
