//! The application's logs: from where they come to what the watch says of them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Stdio,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use testkit::{Daemon, Database, Sink, run_in, wait_until};

const SECRET: &str = "a-secret-of-the-drain";
const TOKEN: &str = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
/// One session whose token is known, of user 8.
const KNOWN: &str =
    r#"UPDATE sessions SET "sessionToken" = 'f47ac10b-58cc-4372-a567-0e02b2c3d479' WHERE id = 's7'"#;

/// A target, a channel, and sources of log lines.
fn configuration(url: &str, hook: &str, sources: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-observation]\nbudget_ms = 3600000\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n{sources}"
    )
}

pub(crate) fn vercel() -> String {
    format!(
        "[[logs]]\nname = \"drain\"\nkind = \"vercel\"\nsecret = \"{SECRET}\"\nverify = \"owner-of-this\"\n"
    )
}

/// Posts something: the status, and head and body of the answer.
pub(crate) fn post(watch: &Daemon, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    watch.post(path, headers, body).parts()
}

pub(crate) fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a drain sends.
pub(crate) fn drained(watch: &Daemon, messages: &[(&str, &str)]) -> (u16, String) {
    let entries: Vec<Value> = messages
        .iter()
        .map(|(id, message)| json!({ "id": id, "message": message, "timestamp": 1_795_608_000_123_i64, "source": "lambda", "requestId": "iad1::abc" }))
        .collect();
    let body = Value::from(entries).to_string().into_bytes();
    post(watch, "/ingest/vercel", &[("x-vercel-signature", &signature(&body))], &body)
}

/// What the webhook was told, by check.
pub(crate) fn told(sink: &Sink, check: &str) -> Vec<Value> {
    let messages = sink.received().into_iter().map(|received| serde_json::from_str(&received.body).unwrap());
    messages.filter(|message: &Value| message["check"] == check).collect()
}

/// Signals that are kept, as JSON.
fn signals(folder: &Path) -> Vec<Value> {
    let said = run_in(folder, &[], &["logs", "list", "--format", "ndjson"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names of the signals that are kept, the oldest first.
pub(crate) fn kinds(folder: &Path) -> Vec<String> {
    let mut kinds: Vec<String> =
        signals(folder).iter().map(|signal| signal["kind"].as_str().unwrap().to_owned()).collect();
    kinds.reverse();
    kinds
}

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database<'static>,
    pub(crate) sink: Sink,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let database = testkit::healthy();
        database.psql(KNOWN).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), database, sink: Sink::start(&[]).unwrap() }
    }

    pub(crate) fn start(&self, sources: &str) -> Daemon {
        let text = configuration(&self.database.url("postgres"), &self.sink.url(), sources);
        std::fs::write(self.folder.path().join("sessionwatch.toml"), text).unwrap();
        Daemon::start(self.folder.path())
    }
}

pub(crate) const MISMATCH: &str = "[SESSION-CALLBACK] 🚨 CRITICAL: User ID mismatch {\n  sessionToken: 'f47ac10b...',\n  sessionUserId: 8,\n  dbUserId: 9\n}";
pub(crate) const DUPLICATE: &str = "[AUTH-ADAPTER] Duplicate session token detected { sessionToken: 'f47ac10b...', existingUserId: 8, newUserId: 9 }";
/// In the table it is user 8.
const WRONG: &str = "[AUTH-ADAPTER] Session created { sessionToken: 'f47ac10b...', userId: 5 }";

#[test]
fn a_leak_in_the_logs_is_told_once_with_its_session_and_is_on_the_timeline() {
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
    let critical = ["log-user-mismatch", "log-duplicate-token", "log-table-mismatch"];
    wait_until("the critical alerts", || critical.iter().all(|check| !told(&scene.sink, check).is_empty()));
    for check in critical {
        let messages = told(&scene.sink, check);
        assert_eq!((messages.len(), &messages[0]["notice"]), (1, &json!("firing")), "{check}");
        let finding = &messages[0]["finding"];
        assert_eq!(finding["evidence"][0]["id"], "s7", "{finding:#}");
        assert_eq!(finding["evidence"][0]["user"], "8", "{finding:#}");
        let fit = if check == "log-table-mismatch" { "contradicting" } else { "exact" };
        assert_eq!(finding["signals"][0]["fit"], fit, "{finding:#}");
    }
    // The drain had no answer, and sends it all again.
    let again = drained(&running, &[("1", MISMATCH), ("2", DUPLICATE), ("3", WRONG), ("4", &whole)]);
    assert_eq!(again.0, 200);
    assert_eq!(kinds(folder), ["user-mismatch", "duplicate-token", "created", "token-in-log"]);
    let url = scene.database.url("postgres");
    let run = |arguments: &[&str]| run_in(folder, &[("DATABASE_URL", &url), ("USER", "ada")], arguments);
    let opened = run(&["incident", "open", "app", "--severity", "P0", "--summary", "users see each other"]);
    assert_eq!(opened.code, 0, "{}{}", opened.stdout, opened.stderr);
    let report = run(&["incident", "report", "app"]).stdout;
    for part in ["user-mismatch token f47ac10b…", "duplicate-token token f47ac10b…", "token-in-log"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let shown = run(&["sessions", "show", "s7", "app"]).stdout;
    assert!(shown.contains("user-mismatch") && shown.contains("[exact]"), "{shown}");
    assert_eq!(running.stop(), Some(0));
    assert_secret(folder);
    let all = scene.sink.received().iter().map(|received| received.body.clone()).collect::<String>();
    assert!(!all.contains(&TOKEN[8..]), "{all}");
}

/// Nothing in the folder holds the token.
fn assert_secret(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = memchr::memmem::find(&bytes, &TOKEN.as_bytes()[8..]);
        assert!(found.is_none(), "{}", path.display());
    }
}

#[test]
fn only_who_may_send_is_heard_and_nothing_is_too_large() {
    let scene = Scene::new();
    let sources =
        format!("{}[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n", vercel());
    let running = scene.start(&sources);
    let body = format!("[{}]", json!({ "id": "1", "message": MISMATCH }));
    let sign = |body: &[u8]| ("x-vercel-signature", signature(body));
    let vercel = |headers: &[(&str, &str)], body: &[u8]| post(&running, "/ingest/vercel", headers, body).0;
    assert_eq!(vercel(&[], body.as_bytes()), 401);
    assert_eq!(vercel(&[("x-vercel-signature", &"0".repeat(40))], body.as_bytes()), 401);
    let other = sign(b"other");
    assert_eq!(vercel(&[(other.0, &other.1)], body.as_bytes()), 401);
    let nonsense = sign(b"nonsense");
    assert_eq!(vercel(&[(nonsense.0, &nonsense.1)], b"nonsense"), 400);
    let packed = sign(body.as_bytes());
    assert_eq!(vercel(&[(packed.0, &packed.1), ("content-encoding", "gzip")], body.as_bytes()), 415);
    let forged = [("x-vercel-signature", &*"0".repeat(40))];
    assert_eq!(vercel(&forged, &vec![b'x'; 9 << 20]), 413);
    assert_eq!(post(&running, "/ingest/vercel/other", &[], b"").0, 404);
    assert!(running.get("/ingest/vercel").header("x-vercel-verify") == "owner-of-this");
    let lines = |token: &str, body: &str| {
        let header = format!("Bearer {token}");
        post(
            &running,
            "/ingest/logs",
            &[("authorization", &header), ("idempotency-key", "k")],
            body.as_bytes(),
        )
        .0
    };
    assert_eq!(lines("a-token-for-line", DUPLICATE), 401);
    assert_eq!(lines("", DUPLICATE), 401);
    assert_eq!(kinds(scene.folder.path()), Vec::<String>::new());
    let zipped = {
        let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packer.write_all(body.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let right = sign(&zipped);
    assert_eq!(vercel(&[(right.0, &right.1), ("content-encoding", "gzip")], &zipped), 200);
    // The same request twice.
    assert_eq!(lines("a-token-for-lines", DUPLICATE), 200);
    assert_eq!(lines("a-token-for-lines", DUPLICATE), 200);
    assert_eq!(kinds(scene.folder.path()), ["user-mismatch", "duplicate-token"]);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_file_is_followed_over_restarts_and_rotation_and_no_line_is_read_twice() {
    let scene = Scene::new();
    let path = scene.folder.path().join("app.log");
    let sources = "[[logs]]\nname = \"file\"\nfile = \"app.log\"\n";
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let users = || -> Vec<String> {
        let all = signals(scene.folder.path());
        all.iter().rev().map(|signal| signal["user"].as_str().unwrap().to_owned()).collect()
    };
    let line = |user: u32| format!("[AUTH-ADAPTER] Session created {{ userId: {user} }}\n");
    append(&line(1));
    let running = scene.start(sources);
    wait_until("the file is found", || {
        scene.folder.path().join("sessionwatch-state.db").exists() && {
            let said = run_in(scene.folder.path(), &[], &["logs", "sources", "--format", "json"]).stdout;
            said.contains("\"file\"")
        }
    });
    append(&line(2));
    wait_until("a line that is new", || users() == ["2"]);
    assert_eq!(running.stop(), Some(0));
    append(&line(3));
    std::fs::rename(&path, scene.folder.path().join("app.log.1")).unwrap();
    append(&line(4));
    let running = scene.start(sources);
    wait_until("what was added meanwhile", || users() == ["2", "3", "4"]);
    running.signal("KILL");
    let _ = running.wait();
    append(&line(5));
    let running = scene.start(sources);
    wait_until("what was added after the crash", || users() == ["2", "3", "4", "5"]);
    assert_eq!(running.stop(), Some(0));
    assert_eq!(users(), ["2", "3", "4", "5"]);
}

#[test]
fn syslog_is_heard_over_tcp_and_udp() {
    let scene = Scene::new();
    // Free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sources = format!("[[logs]]\nname = \"syslog\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:{port}\"\n");
    let running = scene.start(&sources);
    let mut stream = None;
    wait_until("the port", || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    let mut stream = stream.unwrap();
    let message = format!("<11>1 2026-11-25T12:00:00Z host app 1 - - {DUPLICATE}");
    write!(stream, "{} {message}", message.len()).unwrap();
    writeln!(stream, "<11>Nov 25 12:00:00 host app[1]: event=session_destroyed reason=logout user_id=7")
        .unwrap();
    drop(stream);
    wait_until("two signals over TCP", || kinds(scene.folder.path()).len() == 2);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(format!("<11>1 - host app 1 - - {MISMATCH}").as_bytes(), ("127.0.0.1", port)).unwrap();
    wait_until("one more over UDP", || kinds(scene.folder.path()).len() == 3);
    assert_eq!(kinds(scene.folder.path()), ["duplicate-token", "destroyed", "user-mismatch"]);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn syslog_is_taken_from_those_alone_who_are_named() {
    let scene = Scene::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sources = format!(
        "[[logs]]\nname = \"syslog\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:{port}\"\nsenders = [\"10.0.0.0/8\", \"127.0.0.2\"]\n"
    );
    let running = scene.start(&sources);
    let message =
        |id: u32| format!("<11>1 - host app 1 - - [AUTH-ADAPTER] Session created {{ userId: {id} }}");
    wait_until("the port", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let from = |address: &str| std::net::UdpSocket::bind((address, 0)).unwrap();
    let (stranger, named) = (from("127.0.0.1"), from("127.0.0.2"));
    stranger.send_to(message(1).as_bytes(), ("127.0.0.1", port)).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // It may be closed before that.
    let _ = writeln!(stream, "{}", message(2));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut vec![]);
    named.send_to(message(3).as_bytes(), ("127.0.0.1", port)).unwrap();
    wait_until("the named one is heard", || !kinds(scene.folder.path()).is_empty());
    let users: Vec<Value> =
        signals(scene.folder.path()).iter().map(|signal| signal["user"].clone()).collect();
    assert_eq!(users, ["3"]);
    assert!(
        running.page("/metrics").contains("sessionwatch_log_dropped_total"),
        "what was refused is counted"
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn patterns_of_ones_own_are_signals_and_checks() {
    let scene = Scene::new();
    let pattern = "[[log_pattern]]\nname = \"password-failures\"\nregex = \"password check failed for user (?P<user>[0-9]+)\"\nseverity = \"critical\"\nmax = 1\n";
    let running = scene.start(&format!("{}{pattern}", vercel()));
    let failed = |id: &str| drained(&running, &[(id, "password check failed for user 7")]).0;
    assert_eq!(failed("1"), 200);
    wait_until("it was judged", || {
        signals(scene.folder.path()).iter().any(|signal| !signal["joined"].is_null())
    });
    assert_eq!(told(&scene.sink, "password-failures").len(), 0);
    assert_eq!(failed("2"), 200);
    wait_until("the alert", || !told(&scene.sink, "password-failures").is_empty());
    let message = &told(&scene.sink, "password-failures")[0];
    assert_eq!(
        (&message["severity"], &message["finding"]["signals"][0]["user"]),
        (&json!("critical"), &json!("7"))
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn whole_files_are_scanned_however_they_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("{MISMATCH}\n{}{DUPLICATE}\n", "GET / 200\n".repeat(300_000));
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.log"), &lines).unwrap();
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packer.write_all(lines.as_bytes()).unwrap();
    std::fs::write(path("b.log.gz"), packer.finish().unwrap()).unwrap();
    std::fs::write(path("c.log.zst"), zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    let scan = |arguments: &[&str]| run_in(folder.path(), &[], &[&["logs", "scan"], arguments].concat());
    let all = scan(&["*.log*", "--format", "json"]);
    assert_eq!(all.code, 1, "{}", all.stderr);
    let document: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(document["read"]["lines"], 3 * 300_006);
    let kinds: Vec<(&str, u64)> = document["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| (kind["kind"].as_str().unwrap(), kind["signals"].as_u64().unwrap()))
        .collect();
    assert_eq!(kinds, [("duplicate-token", 3), ("user-mismatch", 3)]);
    let list = scan(&["a.log", "--format", "ndjson", "--only", "duplicate-token"]);
    let signal: Value = serde_json::from_str(&list.stdout).unwrap();
    let (from, to) = (signal["bytes"][0].as_u64().unwrap(), signal["bytes"][1].as_u64().unwrap());
    let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
    assert_eq!(lines[range].trim_end(), DUPLICATE);
    let mut piped = testkit::command(&["logs", "scan", "-", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let piped = testkit::ProgramOutput::from(piped.wait_with_output().unwrap());
    assert_eq!((piped.code, piped.stdout.lines().count()), (1, 3), "{}", piped.stdout);
    for (arguments, code, part) in [
        (&["missing.log"][..], 3, "cannot read missing.log"),
        (&["*.nothing"], 2, "no file matches"),
        (&["a.log", "--only", "user-mismatc"], 2, "did you mean `user-mismatch`?"),
    ] {
        let said = scan(arguments);
        assert_eq!((said.code, said.stderr.contains(part)), (code, true), "{}", said.stderr);
    }
    let broken = std::fs::read(path("b.log.gz")).unwrap();
    std::fs::write(path("d.log.gz"), &broken[..broken.len() / 2]).unwrap();
    let said = scan(&["d.log.gz"]);
    assert_eq!((said.code, said.stderr.contains("cannot be read beyond byte")), (3, true), "{}", said.stderr);
}

#[test]
fn a_huge_line_and_garbage_are_borne_and_what_comes_after_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.log");
    let garbage: Vec<u8> =
        (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for _ in 0..64 {
        file.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    file.write_all(&[b"\n", garbage.as_slice(), b"\n", DUPLICATE.as_bytes(), b"\r\n\0\0"].concat()).unwrap();
    drop(file);
    let said = run_in(folder.path(), &[], &["logs", "scan", "huge.log", "--format", "json"]);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["kinds"][0]["kind"], "duplicate-token", "{document:#}");
    assert_eq!(document["read"]["overlong"], 1, "{document:#}");
}

#[test]
fn a_line_is_explained_at_every_stage() {
    let explain = |line: &str| testkit::run(&["logs", "explain", line]).stdout;
    let tagged = explain(DUPLICATE);
    for part in ["because of `[AUTH-ADAPTER]`", "duplicate-token", "token f47ac10b… user 8, then 9"] {
        assert!(tagged.contains(part), "{part}: {tagged}");
    }
    assert!(explain("GET / 200").contains("passed over"));
    assert!(explain("[AUTH-ADAPTER] Session kreated").contains("one of these is expected"));
    let whole = explain(&format!("x session-token={TOKEN}"));
    assert!(whole.contains("token-in-log") && !whole.contains(&TOKEN[8..]), "{whole}");
}

#[test]
fn files_are_followed_by_hand_and_go_on_where_they_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let line = |user: u32| format!("[AUTH-ADAPTER] Session created {{ userId: {user} }}\n");
    // Follows until so many signals were printed: the users.
    let follow = |count: usize| -> Vec<String> {
        let arguments =
            ["logs", "follow", "app.log", "--state", "place.json", "--from-start", "--format", "ndjson"];
        let mut child =
            testkit::command(&arguments).current_dir(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut users = vec![];
        for line in lines.take(count) {
            let signal: Value = serde_json::from_str(&line.unwrap()).unwrap();
            users.push(signal["user"].as_str().unwrap().to_owned());
        }
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        users
    };
    append(&(line(1) + &line(2)));
    assert_eq!(follow(2), ["1", "2"]);
    append(&line(3));
    assert_eq!(follow(1), ["3"]);
    std::fs::write(folder.path().join("place.json"), "nonsense").unwrap();
    let said = run_in(folder.path(), &[], &["logs", "follow", "app.log", "--state", "place.json"]);
    assert_eq!(
        (said.code, said.stderr.contains("does not say how far was read")),
        (2, true),
        "{}",
        said.stderr
    );
}

#[test]
fn what_was_acknowledged_is_kept_whatever_is_refused() {
    let scene = Scene::new();
    let running = scene.start(&vercel());
    let acknowledged: usize = std::thread::scope(|scope| {
        let running = &running;
        let senders: Vec<_> = (0..40)
            .map(|sender| {
                scope.spawn(move || {
                    let send = |number: usize| {
                        let id = format!("{sender}-{number}");
                        let status = drained(running, &[(&id, "[AUTH-ADAPTER] Invalid userId")]).0;
                        assert!([200, 503].contains(&status), "{status}");
                        usize::from(status == 200)
                    };
                    (0..5).map(send).sum::<usize>()
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert!(acknowledged > 0);
    let kept = run_in(scene.folder.path(), &[], &["logs", "list", "--format", "ndjson", "--limit", "1000"]);
    assert_eq!(kept.stdout.lines().count(), acknowledged);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_nothing_is_lost() {
    let scene = Scene::new();
    let disk = scene.folder.path().join("disk");
    let store = format!("store = \"{}\"\n", disk.join("state.db").display());
    let sources =
        format!("{}[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n", vercel());
    let text = configuration(&scene.database.url("postgres"), &scene.sink.url(), &sources);
    let text = text.replace("[serve]\n", &format!("[serve]\n{store}"));
    std::fs::write(scene.folder.path().join("sessionwatch.toml"), text).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_sessionwatch"));
    let mut command = crate::disk_full::beside(&disk, program, "2m");
    let running = testkit::Daemon::start_with(
        command.arg("serve").env_clear().env("PATH", "/usr/bin:/bin").current_dir(scene.folder.path()),
    );
    let invalid = "[AUTH-ADAPTER] Invalid userId";
    assert_eq!(drained(&running, &[("1", invalid)]).0, 200);
    let inner = Path::new("/proc").join(running.child.id().to_string()).join("root");
    let filler = inner.join(disk.strip_prefix("/").unwrap()).join("filler");
    crate::disk_full::fill(&filler);
    let mut refused = 0;
    for number in 0..200 {
        let status = drained(&running, &[(&format!("full-{number}"), invalid)]).0;
        refused += u32::from(status == 503);
        assert!([200, 503].contains(&status), "{status}");
    }
    assert!(refused > 0);
    // Lines whose request has no name are known by their bytes while they are refused.
    let bearer = [("authorization", "Bearer a-token-for-lines")];
    let line = |running: &Daemon| post(running, "/ingest/logs", &bearer, invalid.as_bytes()).0;
    assert_eq!([line(&running), line(&running)], [503, 503]);
    std::fs::remove_file(&filler).unwrap();
    wait_until("room again", || drained(&running, &[("full-199", invalid)]).0 == 200);
    let metrics = running.page("/metrics");
    assert_eq!(line(&running), 200);
    let of_lines = "sessionwatch_log_signals_total{source=\"lines\",kind=\"invalid-user\"}";
    assert!(running.page("/metrics").contains(&format!("{of_lines} 1\n")));
    // What comes after that is another one.
    assert_eq!(line(&running), 200);
    assert!(running.page("/metrics").contains(&format!("{of_lines} 2\n")));
    // What was refused was sent again, and is there once.
    assert!(
        metrics.contains("sessionwatch_log_signals_total{source=\"drain\",kind=\"invalid-user\"} 201"),
        "{metrics}"
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_signed_request_that_is_sent_again_adds_nothing_also_without_ids() {
    let scene = Scene::new();
    let running = scene.start(&vercel());
    let send = |body: &str| {
        let signature = signature(body.as_bytes());
        assert_eq!(
            post(&running, "/ingest/vercel", &[("x-vercel-signature", &signature)], body.as_bytes()).0,
            200
        );
    };
    let invalid = |more: &str| format!("{{ \"message\": \"[AUTH-ADAPTER] Invalid userId\"{more} }}");
    let [array, lines] = [
        format!("[{0},{0},{1}]", invalid(""), invalid(", \"id\": \"1\"")),
        format!("{0}\n{0}\n", invalid("")),
    ];
    for body in [&array, &lines, &array, &lines, &array] {
        send(body);
    }
    assert_eq!(kinds(scene.folder.path()), ["invalid-user"; 5]);
    // Another request of the same kind is another one.
    send(&format!("[{}]", invalid(", \"timestamp\": 1795608000123")));
    assert_eq!(kinds(scene.folder.path()), ["invalid-user"; 6]);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn what_was_kept_before_a_crash_is_judged_after_it() {
    use sessionwatch::{
        clock,
        logs::intake::{self, Batch},
        store::{Place, Store},
    };
    use sessionwatch_logs::{matchers::Matchers, time::Clock};
    let scene = Scene::new();
    let path = scene.folder.path().join("sessionwatch-state.db");
    {
        let store = Store::open(&Place::File(path)).unwrap();
        let grammar = Matchers::new(vec![], Clock::default());
        let batch = sessionwatch::logs::drain::lines(DUPLICATE.as_bytes(), "drain", "app", &grammar, None);
        assert_eq!(batch.found.len(), 1);
        store.write(|db| intake::keep(db, &Batch { ..batch.clone() }, clock::now())).unwrap();
    }
    let running = scene.start(&vercel());
    wait_until("the alert", || !told(&scene.sink, "log-duplicate-token").is_empty());
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_source_that_goes_quiet_is_told_of_and_the_other_checks_know_nothing_then() {
    use crate::fastforward::{MINUTE, Watch, monday};
    let scene = Scene::new();
    let sources = "[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n[alerts.medium]\npending_looks = 1\n";
    let text = configuration(&scene.database.url("postgres"), &scene.sink.url(), sources);
    let mut watch = Watch::start(scene.folder.path(), &text, monday());
    let unknown = |watch: &Watch, check: &str| {
        let kept = watch.shared.store.read(|db| sessionwatch::store::alerts::get(db, "app", check)).unwrap();
        kept.and_then(|kept| kept.verdict).unwrap_or_default()
    };
    wait_until("nothing is known", || unknown(&watch, "log-user-mismatch") == "unknown");
    for hour in 0..5 {
        watch.to(monday().plus(hour * 60 * MINUTE + MINUTE));
        let headers = [("authorization", "Bearer a-token-for-lines")];
        assert_eq!(testkit::http::post(&watch.address, "/ingest/logs", &headers, b"GET / 200\n").status, 200);
    }
    watch.to(monday().plus(4 * 60 * MINUTE + 10 * MINUTE));
    wait_until("all is well", || unknown(&watch, "log-user-mismatch") == "healthy");
    assert_eq!(unknown(&watch, "log-silence"), "healthy");
    watch.to(monday().plus(5 * 60 * MINUTE + 30 * MINUTE));
    wait_until("the silence", || !told(&scene.sink, "log-silence").is_empty());
    assert_eq!(unknown(&watch, "log-user-mismatch"), "unknown");
    assert!(watch.stop());
}

#[test]
fn log_and_table_are_compared() {
    let database = testkit::empty();
    // Better Auth says when a session was created.
    database
        .psql(
            r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text);
            CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE,
              "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL, "ipAddress" text, "userAgent" text,
              "userId" text NOT NULL REFERENCES "user" (id) ON DELETE CASCADE);
            INSERT INTO "user" SELECT n::text, 'User ' || n FROM generate_series(1, 9) AS n;
            INSERT INTO session SELECT 's' || n, now() + interval '7 days', 'token00' || n || 'abcdefghijklmnopqrstuvw', now(), now(), NULL, NULL, n::text
              FROM generate_series(1, 5) AS n;"#,
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(&[]).unwrap();
    std::fs::write(
        folder.path().join("sessionwatch.toml"),
        configuration(&database.url("postgres"), &sink.url(), &vercel()),
    )
    .unwrap();
    let running = Daemon::start(folder.path());
    let now = database.psql("SELECT (extract(epoch FROM now()) * 1000)::bigint").unwrap();
    // Three of five are told of, by a clock that is ten seconds ahead; and one that has ended.
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
        let said = run_in(folder.path(), &[], &["logs", "join", "--format", "json"]);
        serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr))
    };
    wait_until("they are joined", || join()["fits"]["not_joined"] == 0);
    let fits = join();
    assert_eq!((&fits["fits"]["exact"], &fits["fits"]["gone"]), (&json!(3), &json!(1)), "{fits:#}");
    assert_eq!((&fits["created"], &fits["created_without_row"]), (&json!(4), &json!(1)), "{fits:#}");
    // Rows that were there before the first line was read are not counted.
    assert_eq!(fits["rows_without_creation"], 0, "{fits:#}");
    let skew = fits["ahead_of_database_us"].as_i64().unwrap();
    assert!((9_000_000..40_000_000).contains(&skew), "{fits:#}");
    database.psql("INSERT INTO session SELECT 'late', now() + interval '7 days', 'token009abcdefghijklmnopqrstuvw', now(), now(), NULL, NULL, '9'").unwrap();
    assert_eq!(join()["rows_without_creation"], 1);
    let text = run_in(folder.path(), &[], &["logs", "join"]).stdout;
    assert!(text.contains("ahead of the database's (median of 3 creations)"), "{text}");
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_critical_line_opens_an_incident_anew_whose_sessions_were_ended_and_a_milder_one_does_not() {
    use sessionwatch::{
        clock,
        store::{
            Place, Store,
            incidents::{self, Incident, State},
        },
    };
    let scene = Scene::new();
    let folder = scene.folder.path();
    let running = scene.start(&vercel());
    assert_eq!(drained(&running, &[("1", MISMATCH)]).0, 200);
    wait_until("the alert", || !told(&scene.sink, "log-user-mismatch").is_empty());
    let url = scene.database.url("postgres");
    let arguments = ["incident", "open", "app", "--severity", "P1", "--summary", "x"];
    assert_eq!(run_in(folder, &[("DATABASE_URL", &url), ("USER", "ada")], &arguments).code, 0);
    let store = Store::open(&Place::File(folder.join("sessionwatch-state.db"))).unwrap();
    let current = || store.read(|db| incidents::current(db, "app")).unwrap().unwrap();
    let ended = Incident { state: State::Contained, contained_at: Some(clock::now()), ..current() };
    store.write(|db| incidents::put(db, &ended)).unwrap();
    let signals_on = || {
        let timeline = store.read(|db| incidents::timeline(db, &ended.id)).unwrap();
        timeline.iter().filter(|entry| entry.kind == "signal").count()
    };
    let before = signals_on();
    assert_eq!(drained(&running, &[("2", &format!("x {{ sessionToken: '{TOKEN}' }}"))]).0, 200);
    wait_until("the milder one is on the timeline", || signals_on() == before + 1);
    assert_eq!(current().state, State::Contained);
    assert_eq!(drained(&running, &[("3", DUPLICATE)]).0, 200);
    wait_until("it is open anew", || current().state == State::Open);
    assert_eq!(running.stop(), Some(0));
}
