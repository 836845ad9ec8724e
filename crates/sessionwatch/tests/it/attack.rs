//! A flood of logins while connections are held open: check runs continue, metrics respond, and memory stays small.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use testkit::TestCertificates;

use crate::fastforward::{Apart, MINUTE, monday, program};

const LOGIN_COUNT: usize = 600;
const HELD: usize = 1_100;
/// The soft limit that most shells start with.
const OPEN_FILES: usize = 1_024;
/// Connections that are reopened in one sweep.
const REOPENED: usize = 50;
/// Bytes that held connections have sent: half of the headers, nothing, half of the body.
const SENT: &[&str] = &[
    "GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
    "",
    "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nname=",
];
/// The same for TLS: a part of a record's header, nothing, a record that is longer than what follows.
const SENT_BY_TLS: &[&str] = &["\u{16}\u{3}\u{1}", "", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}"];
/// Time limit for a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Connections that are held open, and reopened when the daemon closes them, until this value is dropped.
struct Held {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Held {
    /// Opens `count` connections, and returns once all are open.
    fn start(address: &str, sent: &'static [&'static str]) -> Self {
        let address = address.to_owned();
        let open = move |number: usize| open(&address, sent[number % sent.len()]);
        let mut held: Vec<Option<TcpStream>> = (0..HELD).map(&open).collect();
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || hold(&mut held, &open, &stopped));
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has printed its message.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Opens a connection and sends the first bytes. A connection that is closed at once is reopened later.
fn open(address: &str, sent: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(sent.as_bytes()).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

fn is_open(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1_024]) {
        Ok(read) => read > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

fn hold(held: &mut [Option<TcpStream>], open: &impl Fn(usize) -> Option<TcpStream>, stopped: &Receiver<()>) {
    while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
        let mut left = REOPENED;
        for (number, stream) in held.iter_mut().enumerate() {
            if left > 0 && !stream.as_mut().is_some_and(is_open) {
                *stream = open(number);
                left -= 1;
            }
        }
    }
}

/// Logins without their last byte, each from another network.
fn begin_logins(address: &str) -> Vec<TcpStream> {
    let begin = |number: usize| {
        let body = format!("name=nobody{number}&password=wrong{number}&next=/");
        let (length, unfinished) = (body.len(), &body[..body.len() - 1]);
        let from = format!("10.{}.{}.7", number / 256, number % 256);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        // The daemon may close it at once to make room for others.
        let _ = write!(
            stream,
            "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: {from}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{unfinished}"
        );
        stream
    };
    (0..LOGIN_COUNT).map(begin).collect()
}

/// Requests `/metrics` with a short timeout.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Peak memory of a process, in MiB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

/// Starts a daemon with this limit of open files, under its own clock, and waits for its first check run.
fn started(folder: &Path, more: &str) -> (testkit::Database<'static>, Apart) {
    let database = testkit::healthy_database();
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[checks.slow-check-run]\nenabled = false\n\
         [serve]\nlisten = \"127.0.0.1:0\"\n{more}",
        database.url("postgres")
    );
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
    let mut limited = Command::new("sh");
    let script = format!("ulimit -n {OPEN_FILES}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(program()).stderr(Stdio::null());
    let watch = Apart::start_by(&mut limited, folder, monday());
    assert!(watch.looked());
    (database, watch)
}

/// Asserts successful check runs in the next minutes, as `metrics` shows them.
fn runs_succeed(watch: &mut Apart, metrics: impl Fn() -> String) {
    for minute in 1..=3 {
        watch.set(monday() + minute * MINUTE);
        assert!(watch.looked(), "the run in minute {minute}");
        let metrics = metrics();
        for line in [
            "sessionwatch_target_up{target=\"app\"} 1".to_owned(),
            format!("sessionwatch_check_runs_total{{target=\"app\"}} {}", minute + 1),
            "sessionwatch_check_run_failures_total{target=\"app\"} 0".to_owned(),
        ] {
            assert!(metrics.contains(&format!("{line}\n")), "{line} is missing in {metrics}");
        }
    }
}

#[test]
fn check_runs_continue_while_tls_handshakes_are_held_open() {
    sessionwatch_app::daemon::raise_open_files_limit();
    let folder = tempfile::tempdir().unwrap();
    let certificates = TestCertificates::generate(folder.path()).unwrap();
    let (certificate, key) = (certificates.server_certificate(), certificates.server_key());
    let (certificate, key) = (certificate.display(), key.display());
    let more = format!("tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\n");
    let (_database, mut watch) = started(folder.path(), &more);
    let address = watch.address().to_owned();
    let held = Held::start(&address, SENT_BY_TLS);
    let client = crate::https_listener::client(&certificates.authority());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}/metrics");
    let metrics = || {
        let answer = async { client.get(&url).timeout(ANSWER_TIMEOUT).send().await?.text().await };
        runtime.block_on(answer).unwrap()
    };
    // Connections are accepted in order, so all the others are established by then.
    assert!(metrics().contains("sessionwatch_target_up"));
    runs_succeed(&mut watch, metrics);
    drop(held);
    let peak = peak_memory(watch.id());
    assert!(peak < 150, "{peak} MiB");
    assert!(watch.stop());
}

#[test]
fn check_runs_continue_under_a_flood_of_logins_while_connections_are_held_open() {
    sessionwatch_app::daemon::raise_open_files_limit();
    let folder = tempfile::tempdir().unwrap();
    let (_database, mut watch) = started(folder.path(), "trusted_proxies = [\"127.0.0.0/8\"]\n");
    let address = watch.address().to_owned();
    let held = Held::start(&address, SENT);
    let mut flood = begin_logins(&address);
    for stream in &mut flood {
        // The daemon may have closed it to make room.
        let _ = stream.write_all(b"/");
    }
    runs_succeed(&mut watch, || metrics(&address));
    let mut answers = 0;
    for mut stream in flood {
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        assert!(!read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "a login is not answered");
        answers += usize::from(["401", "429", "503"].iter().any(|status| answer.contains(status)));
    }
    assert!(answers > 0);
    drop(held);
    let peak = peak_memory(watch.id());
    assert!(peak < 150, "{peak} MiB");
    assert!(watch.stop());
}
