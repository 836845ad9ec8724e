//! Log lines over syslog.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;
use testkit::wait_until;

use super::{DUPLICATE, MISMATCH, Scene, kinds, signals};

#[test]
fn syslog_is_received_over_tcp_and_udp() {
    let scene = Scene::new();
    // The port was free a moment ago.
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
fn syslog_is_accepted_only_from_configured_senders() {
    let scene = Scene::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sources = format!(
        "[[logs]]\nname = \"syslog\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:{port}\"\n\
         senders = [\"10.0.0.0/8\", \"127.0.0.2\"]\n"
    );
    let running = scene.start(&sources);
    let message =
        |id: u32| format!("<11>1 - host app 1 - - [AUTH-ADAPTER] Session created {{ userId: {id} }}");
    wait_until("the port", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let from = |address: &str| std::net::UdpSocket::bind((address, 0)).unwrap();
    let (stranger, named) = (from("127.0.0.1"), from("127.0.0.2"));
    stranger.send_to(message(1).as_bytes(), ("127.0.0.1", port)).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // The connection may be closed before that.
    let _ = writeln!(stream, "{}", message(2));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut vec![]);
    named.send_to(message(3).as_bytes(), ("127.0.0.1", port)).unwrap();
    wait_until("the line of the named one is received", || !kinds(scene.folder.path()).is_empty());
    let users: Vec<Value> =
        signals(scene.folder.path()).iter().map(|signal| signal["user"].clone()).collect();
    assert_eq!(users, ["3"]);
    assert!(
        running.get_body("/metrics").contains("sessionwatch_log_dropped_total"),
        "what was refused is counted"
    );
    assert_eq!(running.stop(), Some(0));
}
