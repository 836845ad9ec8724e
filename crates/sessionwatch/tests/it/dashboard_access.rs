//! Access to the dashboard ends as soon as it is revoked.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use testkit::{DaemonProcess, DashboardLogin, run_program_in};

/// Time limit for a stream to end.
const STREAM_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the event stream of a page, and waits for its first bytes.
fn listen(watch: &DaemonProcess, cookie: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(&watch.address).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", watch.address).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    stream
}

/// Reads a stream to its end.
fn ends(mut stream: BufReader<TcpStream>) {
    let (sender, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut rest = String::new();
        let read = stream.read_to_string(&mut rest);
        // The test has failed and waits no more.
        let _ = sender.send(read.map(|_| rest));
    });
    // Until then, the stream sends keep-alive comments.
    let rest = end.recv_timeout(STREAM_TIMEOUT).expect("the stream ends").unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
}

#[test]
fn open_pages_receive_no_events_once_their_login_session_has_ended() {
    let (database, folder) = (testkit::healthy_database(), tempfile::tempdir().unwrap());
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n",
        database.url("postgres")
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "ada", "admin");
    testkit::create_account(folder.path(), "bob", "viewer");
    let watch = testkit::DaemonProcess::start(folder.path());
    let act = |cookie: &str, path: &str, body: &str| {
        let status = testkit::http::post(&watch.address, path, &[("cookie", cookie)], body.as_bytes()).status;
        assert_eq!(status, 303, "{path}");
    };
    // By the user, who stays logged in elsewhere.
    let log_in = |name: &str| DashboardLogin::start(&watch.address, name);
    let stays = log_in("ada").cookie;
    let DashboardLogin { cookie, csrf_token: form } = log_in("ada");
    let (goes_on, streamed) = (listen(&watch, &stays), listen(&watch, &cookie));
    act(&cookie, "/logout", &format!("form={form}"));
    ends(streamed);
    // By an admin.
    let DashboardLogin { cookie: admin, csrf_token: form } = log_in("ada");
    let bob = log_in("bob").cookie;
    let streamed = listen(&watch, &bob);
    act(&admin, "/settings/accounts/delete", &format!("form={form}&name=bob"));
    ends(streamed);
    // From the command line, which does not inform the daemon.
    let streamed = listen(&watch, &admin);
    assert_eq!(run_program_in(folder.path(), &[], &["accounts", "remove", "ada"]).exit_code, 0);
    ends(streamed);
    ends(goes_on);
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn a_token_has_no_scope_above_the_role_of_its_account() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n[serve]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "vic", "viewer");
    testkit::create_account(folder.path(), "rob", "responder");
    let add = |account: &str, scopes: &str| {
        run_program_in(folder.path(), &[], &["tokens", "add", account, "--label", "bot", "--scope", scopes])
    };
    for (account, scopes, lacking) in
        [("vic", "read,admin", "admin"), ("vic", "alerts", "responder"), ("rob", "actions,admin", "admin")]
    {
        let said = add(account, scopes);
        assert_eq!(said.exit_code, 2, "{account} {scopes}: {}", said.stdout);
        assert!(said.stderr.contains(&format!("needs the role {lacking}")), "{}", said.stderr);
    }
    assert!(!run_program_in(folder.path(), &[], &["tokens", "list"]).stdout.contains("bot"));
    for (account, scopes) in [("vic", "read,account"), ("rob", "read,alerts,actions,incidents")] {
        assert_eq!(add(account, scopes).exit_code, 0, "{account} {scopes}");
    }
}
