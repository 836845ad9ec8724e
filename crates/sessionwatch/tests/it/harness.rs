//! The program as a child process, in a scrubbed environment, and databases to point it at.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use sessionwatch::{
    actions::{ActError, Applied, ArchiveKeys, Consent, Context, Control, Executor},
    archive::sealing::{Identity, Recipient},
};
use testbed::{Database, Server};

use crate::guide;

/// What the program said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// How long a look takes on a busy machine says nothing about the program.
const PATIENT: &str = "[checks.slow-observation]\nbudget_ms = 3600000\n";

/// The program, in an empty environment and a folder with nothing but patience.
pub(crate) fn command(arguments: &[&str]) -> Command {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sessionwatch.toml"), PATIENT).unwrap();
        folder
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionwatch"));
    command.args(arguments).env_clear().current_dir(folder.path()).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Said {
    said(&command(arguments).output().expect("the program runs"))
}

/// The same in that folder, with these variables.
pub(crate) fn run_in(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let output = command(arguments).current_dir(folder).envs(variables.iter().copied()).output();
    said(&output.expect("the program runs"))
}

pub(crate) fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `check --format json`.
pub(crate) fn check(url: &str, more: &[&str]) -> Value {
    json(&[&["check", url, "--format", "json"], more].concat())
}

/// Whatever prints JSON.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let said = run(arguments);
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("no JSON: {} {}", said.stdout, said.stderr))
}

/// The named check of a report.
pub(crate) fn outcome<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()
}

/// A database with the guide's tables, in order.
pub(crate) fn healthy() -> Database<'static> {
    static TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    clone(&TEMPLATE, &[guide::SCHEMA])
}

/// A database with the guide's tables, and something wrong of every kind.
pub(crate) fn anomalous() -> Database<'static> {
    static TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    clone(&TEMPLATE, &[guide::SCHEMA, guide::ANOMALIES])
}

/// A database with nothing in it.
pub(crate) fn empty() -> Database<'static> {
    testbed::shared().database(None).unwrap()
}

/// A copy of a template that is filled once.
pub(crate) fn clone(template: &'static OnceLock<Database<'static>>, scripts: &[&str]) -> Database<'static> {
    let template = template.get_or_init(|| {
        let database = empty();
        scripts.iter().for_each(|script| drop(database.psql(script).unwrap()));
        database
    });
    testbed::shared().database(Some(template)).unwrap()
}

/// A server that insists on TLS.
pub(crate) fn secure() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start_with_tls().expect("a private PostgreSQL server starts"))
}

/// A new role that may log in, of a name that no other story uses.
pub(crate) fn role(database: &Database<'_>, kind: &str) -> String {
    let role = format!("{kind}_{}", database.name());
    database.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'testbed'")).unwrap();
    role
}

/// Waits until the program's queries have left a server, asking a bounded number of times.
pub(crate) fn left_behind(database: &Database<'_>) -> String {
    let running = format!(
        "SELECT state, query FROM pg_stat_activity WHERE application_name = 'sessionwatch' AND datname = '{}' AND state <> 'idle'",
        database.name()
    );
    let mut left = String::new();
    for _ in 0..100 {
        left = database.psql(&running).unwrap();
        if left.is_empty() {
            break;
        }
        database.psql("SELECT pg_sleep(0.1)").unwrap();
    }
    left
}

/// The daemon, and the address of its pages.
pub(crate) struct Watch {
    pub(crate) child: Child,
    pub(crate) address: String,
}

/// What a page at an address says to a request: its status, and the text.
pub(crate) fn page(address: &str, (method, path): (&str, &str)) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The password of every account.
pub(crate) const PASSWORD: &str = "a sentence is a good one";

/// Makes an account of the dashboard whose configuration is in a folder.
pub(crate) fn account(folder: &Path, name: &str, role: &str) {
    let mut child = command(&["accounts", "add", name, "--role", role])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Starts the daemon with the configuration in a folder.
pub(crate) fn watch(folder: &Path) -> Watch {
    watch_by(command(&["serve"]).current_dir(folder))
}

/// What `serve` says that is to refuse the configuration in a folder; one that runs is ended, and has the code -1.
pub(crate) fn serve_refused(folder: &Path) -> Said {
    let mut command = command(&["serve"]);
    let mut child =
        command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // A line says that it runs; the end of its output that it does not.
    if !line.is_empty() {
        child.kill().unwrap();
    }
    said(&child.wait_with_output().unwrap())
}

/// Starts the daemon by that command.
pub(crate) fn watch_by(command: &mut Command) -> Watch {
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    // Whatever goes wrong from here on, it ends with the story.
    let mut watch = Watch { child, address: String::new() };
    let mut line = String::new();
    BufReader::new(watch.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_, address) = line.split_once("://").unwrap();
    watch.address = address.trim_end().trim_end_matches("/metrics").to_owned();
    watch
}

/// Asks again and again, for a minute at most, until something is so.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let (_open, closed) = std::sync::mpsc::channel::<()>();
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: waited for in vain");
        let _ = closed.recv_timeout(Duration::from_millis(50));
    }
}

impl Watch {
    /// What one of its pages says.
    pub(crate) fn page(&self, path: &str) -> String {
        page(&self.address, ("GET", path)).1
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits until it has ended: its exit code.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Asks it to end: its exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended where the story went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to a request for a page of that address.
pub(crate) fn get(address: &str, page: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Posts something to an address: the status, and head and body of the answer.
pub(crate) fn post(address: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    request(address, ("POST", path), headers, body)
}

/// An answer, as long as it says it is, or until the connection ends.
fn answer_of(stream: &mut TcpStream) -> String {
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.and_then(|length| length.trim().parse::<usize>().ok());
            if length.is_some_and(|length| answer.len() >= head.len() + 4 + length) {
                break;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request: the status, and head and body of the answer.
pub(crate) fn request(
    address: &str,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A server that has heard enough may not want the rest.
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", body].concat());
    let answer = answer_of(&mut stream);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

/// Applies a plan that ends sessions.
pub(crate) async fn apply(
    context: Context<'_>,
    plan: &str,
    recipient: &Recipient,
    consent: Consent<'_>,
    control: &Control,
) -> Result<Applied, ActError> {
    let keys = ArchiveKeys { recipient: Some(recipient), ..ArchiveKeys::default() };
    Executor { context, keys, consent, control }.run(context.plan(plan)?).await
}

/// Applies a plan that puts rows back.
pub(crate) async fn restore(
    context: Context<'_>,
    plan: &str,
    identity: &Identity,
    consent: Consent<'_>,
    control: &Control,
) -> Result<Applied, ActError> {
    let keys = ArchiveKeys { identity: Some(identity), ..ArchiveKeys::default() };
    Executor { context, keys, consent, control }.run(context.plan(plan)?).await
}
