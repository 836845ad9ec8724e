//! Connections that a client holds open: check runs continue, and pages respond.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use testkit::{DaemonProcess, TestCertificates};

/// The soft limit that most shells start with.
const OPEN_FILES: usize = 1_024;
const HELD: usize = 1_100;

/// Starts a daemon with this limit of open files.
fn started(folder: &Path) -> DaemonProcess {
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_sessionwatch");
    command.args(["-c", &format!("ulimit -n {OPEN_FILES}; exec {program} serve")]).current_dir(folder);
    testkit::DaemonProcess::start_with_command(command.env_clear().env("PATH", "/usr/bin:/bin"))
}

/// Opens connections that send a few bytes and then wait.
fn held(watch: &DaemonProcess, sent: &str) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(&watch.address).unwrap();
        // One that makes room for others may be closed already.
        let _ = stream.write_all(sent.as_bytes());
        stream
    };
    (0..HELD).map(connect).collect()
}

/// Waits until the daemon has closed all of them.
fn are_ended(streams: Vec<TcpStream>) {
    for mut stream in streams {
        let mut rest = vec![];
        // A reset closes the connection too.
        let _ = stream.read_to_end(&mut rest);
    }
}

fn open_files(watch: &DaemonProcess) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", watch.child.id())).unwrap().count()
}

/// Waits until the daemon has closed the oldest connections, which takes a moment after new ones.
fn leaves_room(watch: &DaemonProcess) {
    testkit::wait_until("room for other files", || open_files(watch) < OPEN_FILES - 200);
}

#[test]
fn check_runs_and_metrics_continue_while_connections_are_held_open() {
    sessionwatch_app::daemon::raise_open_files_limit();
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(folder.path(), "");
    let watch = started(folder.path());
    let is_up = || watch.get_body("/metrics").contains("sessionwatch_target_up{target=\"app\"} 1");
    testkit::wait_until("the first run", is_up);
    for sent in [
        "GET /login HTTP/1.1\r\nHost: x\r\nX-A: ",
        "",
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nname=",
    ] {
        let held = held(&watch, sent);
        leaves_room(&watch);
        // Connections from the kernel's backlog may be accepted only now, and take the place of one that has sent no
        // request yet.
        let is_taken = || testkit::http::post(&watch.address, "/targets/app/wake", &[], b"").status == 202;
        testkit::wait_until("a request that is taken", is_taken);
        testkit::wait_until("a page that is answered", is_up);
        are_ended(held);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", watch.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    assert!(peak.trim_end_matches(" kB").parse::<u64>().unwrap() < 150 << 10, "{peak}");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn half_open_handshakes_are_closed_and_make_room() {
    sessionwatch_app::daemon::raise_open_files_limit();
    let folder = tempfile::tempdir().unwrap();
    let certificates = TestCertificates::generate(folder.path()).unwrap();
    let (certificate, key) = (certificates.server_certificate(), certificates.server_key());
    let (certificate, key) = (certificate.display(), key.display());
    let _database = testkit::configure_healthy_target(
        folder.path(),
        &format!("tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\n"),
    );
    let watch = started(folder.path());
    let held = held(&watch, "\u{16}\u{3}\u{1}");
    leaves_room(&watch);
    are_ended(held);
    assert_eq!(watch.stop(), Some(0));
}
