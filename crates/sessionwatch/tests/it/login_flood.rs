//! The login form under attack: floods, attempts to lock users out, open redirects, and an old setup link.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};
use testkit::{ACCOUNT_PASSWORD, DaemonProcess};

/// Peak memory of a process, in MiB.
fn peak_memory(watch: &DaemonProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", watch.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Logs in from an address behind a trusted proxy. Returns the status.
fn log_in(watch: &DaemonProcess, name: &str, password: &str, from: &str) -> u16 {
    let body = format!("name={name}&password={}", password.replace(' ', "+"));
    testkit::http::post(&watch.address, "/login", &[("x-forwarded-for", from)], body.as_bytes()).status
}

#[test]
fn six_hundred_simultaneous_logins_take_little_memory_and_exceed_no_limit() {
    const FLOOD: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(folder.path(), "");
    let watch = testkit::DaemonProcess::start(folder.path());
    // Each request lacks its last byte, so that all can be completed at the same time.
    let mut waiting: Vec<TcpStream> = (0..FLOOD)
        .map(|number| {
            let body = format!("name=nobody{number}&password=wrong{number}&next=/");
            let mut stream = TcpStream::connect(&watch.address).unwrap();
            let (length, unfinished) = (body.len(), &body[..body.len() - 1]);
            write!(
                stream,
                "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n\
                 {unfinished}"
            )
            .unwrap();
            stream
        })
        .collect();
    for stream in &mut waiting {
        stream.write_all(b"/").unwrap();
    }
    assert!(testkit::http::get(&watch.address, "/metrics").status == 200);
    let mut statuses = std::collections::BTreeMap::<String, usize>::new();
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        *statuses.entry(answer.split(' ').nth(1).unwrap().to_owned()).or_default() += 1;
    }
    let checked = statuses.get("401").copied().unwrap_or_default();
    assert!(checked > 0 && checked <= 50, "{statuses:?}");
    let refused = [statuses.get("429"), statuses.get("503")].into_iter().flatten().sum::<usize>();
    assert_eq!(checked + refused, FLOOD, "{statuses:?}");
    assert!(peak_memory(&watch) < 150, "{} MiB", peak_memory(&watch));
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn password_guessing_does_not_lock_an_account_where_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(folder.path(), "trusted_proxies = [\"127.0.0.0/8\"]\n");
    testkit::create_account(folder.path(), "ada", "admin");
    let watch = testkit::DaemonProcess::start(folder.path());
    assert_eq!(log_in(&watch, "ada", ACCOUNT_PASSWORD, "198.51.100.7"), 303);
    let guesses: Vec<u16> =
        (0..12).map(|turn| log_in(&watch, "ada", "wrong", &format!("2001:db8:{turn:x}::1"))).collect();
    assert_eq!((guesses[9], guesses[10]), (401, 429), "{guesses:?}");
    assert_eq!(log_in(&watch, "ada", ACCOUNT_PASSWORD, "203.0.113.7"), 429, "no stranger goes on guessing");
    assert_eq!(log_in(&watch, "ada", ACCOUNT_PASSWORD, "198.51.100.99"), 303, "the network is known");
    // A restart forgets the counts, but not the known addresses.
    assert_eq!(watch.stop(), Some(0));
    let watch = testkit::DaemonProcess::start(folder.path());
    for turn in 0..12 {
        log_in(&watch, "ada", "wrong", &format!("203.0.{turn}.7"));
    }
    assert_eq!(log_in(&watch, "ada", ACCOUNT_PASSWORD, "198.51.100.7"), 303);
    // Other passwords can be guessed just as rarely from there, and an IPv6 network counts as one address.
    let guesses: Vec<u16> =
        (0..12).map(|turn| log_in(&watch, "ada", "wrong", &format!("198.51.100.{turn}"))).collect();
    assert_eq!((guesses[9], guesses[10]), (401, 429), "{guesses:?}");
    let guesses: Vec<u16> = (0..52)
        .map(|turn| log_in(&watch, &format!("nobody{turn}"), "wrong", &format!("2001:db8::{turn:x}")))
        .collect();
    assert_eq!((guesses[49], guesses[50]), (401, 429), "{guesses:?}");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn after_a_login_the_browser_stays_on_this_host() {
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(folder.path(), "");
    testkit::create_account(folder.path(), "ada", "viewer");
    let watch = testkit::DaemonProcess::start(folder.path());
    let leads = [
        "/%09/evil.example",
        "/%0d%0a/evil.example",
        "%09//evil.example",
        "/%5Cevil.example",
        "/%00",
        "/%E2%80%A8x",
        "/%20/e",
    ];
    for (next, expected) in
        leads.map(|next| (next, "/")).into_iter().chain([("/alerts%3Fa%3Db", "/alerts?a=b")])
    {
        let body = format!("name=ada&password={}&next={next}", ACCOUNT_PASSWORD.replace(' ', "+"));
        let answer = watch.post("/login", &[], body);
        assert_eq!((answer.status, answer.header("location")), (303, expected), "{next}: {answer:?}");
    }
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn requests_for_foreign_host_names_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(
        folder.path(),
        "public_url = \"https://watch.example.org\"\nallowed_hosts = [\"scrape.example.org\"]\n",
    );
    let watch = testkit::DaemonProcess::start(folder.path());
    let status = |method: &str, path: &str, host: &str| {
        let mut stream = TcpStream::connect(&watch.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    for own in [
        "watch.example.org",
        "scrape.example.org:9797",
        "127.0.0.1",
        "localhost:80",
        "watch.monitoring.svc.cluster.local",
        "[::1]:1",
    ] {
        assert_eq!(status("GET", "/metrics", own), 200, "{own}");
    }
    for (method, path) in [
        ("GET", "/metrics"),
        ("POST", "/targets/app/wake"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/api/v1/alerts"),
        ("GET", "/"),
    ] {
        assert_eq!(status(method, path, "rebinding.evil.example:9797"), 421, "{method} {path}");
    }
    assert_eq!(status("GET", "/healthz", "health.check.example"), 200);
    assert_eq!(status("POST", "/ingest/logs", "drain.example"), 404, "no source is configured");
    assert_eq!(watch.stop(), Some(0));
}

#[test]
fn the_setup_link_ends_with_the_first_account_however_it_was_created() {
    let folder = tempfile::tempdir().unwrap();
    let _database = testkit::configure_healthy_target(folder.path(), "");
    let remove =
        |name: &str| testkit::run_program_in(folder.path(), &[], &["accounts", "remove", name]).exit_code;
    for is_removed in [false, true] {
        let mut watch = DaemonProcess::start(folder.path());
        let path = watch.read_setup_path().unwrap();
        let open = || watch.get(&path).status;
        assert_eq!(open(), 200);
        testkit::create_account(folder.path(), "ada", "viewer");
        if is_removed {
            assert_eq!(remove("ada"), 0);
        }
        assert_eq!(open(), 404);
        let body = format!("name=eve&password={}", ACCOUNT_PASSWORD.replace(' ', "+"));
        assert_eq!(testkit::http::post(&watch.address, &path, &[], body.as_bytes()).status, 404);
        let listed = testkit::run_program_in(folder.path(), &[], &["accounts", "list"]).stdout;
        assert!(!listed.contains("eve"), "{listed}");
        assert_eq!(watch.stop(), Some(0));
        if !is_removed {
            assert_eq!(remove("ada"), 0);
        }
    }
}
