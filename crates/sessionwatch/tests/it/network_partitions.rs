//! Networks that swallow everything, both ends of a connection left open: an answer in time, and nothing of ours left
//! running in a database that cannot be told that it is over.

use std::{
    process::{Child, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use testkit::{Database, FaultProxy, NetworkFault, PostgresServer, ProgramOutput};

use crate::target_failures::{ENDLESS, wait_for_scan};

/// Far more than all buffers between server and program hold, so that the server waits in the middle of an answer.
const WIDE: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL, expires timestamp(3) NOT NULL);
INSERT INTO sessions SELECT 's' || n, 'token-' || md5(n::text), rpad(n || '-', 400, 'x'), now() + interval '9 days' FROM generate_series(1, 50000) AS n;
ANALYZE
"#;
/// Into the scan, but far from its end.
const MIDDLE: usize = 1_000_000;
/// Into the log-in or the catalogue.
const EARLY: [usize; 3] = [0, 100, 1_500];
/// What a look may take on a busy machine besides its time limit of a second: less than it takes until the system gives up a
/// connection.
const LATE: Duration = Duration::from_secs(60);

fn wide() -> Database<'static> {
    static TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    testkit::clone_template(&TEMPLATE, &[WIDE])
}

fn frozen(database: &Database<'_>, port: u16, after: usize) -> (FaultProxy, String) {
    let proxy = FaultProxy::start(port, NetworkFault::FreezeAfter(after)).unwrap();
    let url = format!("{}?sslmode=disable", database.url_at_port("postgres", proxy.port()));
    (proxy, url)
}

/// Does it directly and through PgBouncer at the same time, since a story about waiting mostly waits.
fn both_ways(story: impl Fn(u16) + Sync) {
    std::thread::scope(|scope| {
        for port in testkit::shared_server().ports() {
            let story = &story;
            scope.spawn(move || story(port));
        }
    });
}

fn start(arguments: &[&str]) -> Child {
    testkit::program_command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn assert_unknown(said: &ProgramOutput, reasons: &[&str]) {
    assert_eq!(said.exit_code, 3, "{} {}", said.stdout, said.stderr);
    let given = reasons.iter().any(|reason| said.stderr.contains(reason));
    assert!(given && said.stderr.contains("hint:") && !said.stderr.contains("testkit"), "{}", said.stderr);
}

#[test]
fn a_black_hole_in_the_middle_of_a_scan_leaves_nothing_running() {
    both_ways(|port| {
        let database = wide();
        let (proxy, url) = frozen(&database, port, MIDDLE);
        let started = Instant::now();
        let said = testkit::run_program(&["check", &url, "--timeout", "1s"]);
        assert!(proxy.is_frozen() && started.elapsed() < LATE, "far past the limit");
        assert_unknown(&said, &["passed its limit of 1 s"]);
        // The hole is still there.
        assert_eq!(
            testkit::wait_for_remaining_queries(&database),
            "",
            "at port {port} of {:?}",
            testkit::shared_server().ports()
        );
    });
}

#[test]
fn a_program_that_dies_beyond_a_black_hole_leaves_nothing_running() {
    both_ways(|port| {
        let database = wide();
        let (proxy, url) = frozen(&database, port, MIDDLE);
        let mut child = start(&["check", &url, "--timeout", "2s"]);
        proxy.wait_until_frozen();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(testkit::wait_for_remaining_queries(&database), "");
    });
}

#[test]
fn every_command_gives_up_in_time_when_nothing_answers() {
    let commands = [&["check"][..], &["doctor"], &["sessions", "list"], &["sql"], &["grants"]];
    both_ways(|port| {
        let database = testkit::healthy_database();
        let started = Instant::now();
        // All of them at once, each in a hole of its own.
        let lose = |after: usize, command: &'static [&str]| {
            let (proxy, url) = frozen(&database, port, after);
            (command, start(&[command, &[&url, "--timeout", "1s"]].concat()), proxy)
        };
        let lost: Vec<_> =
            EARLY.into_iter().flat_map(|after| commands.map(|command| lose(after, command))).collect();
        for (command, child, proxy) in lost {
            let said = testkit::ProgramOutput::from(child.wait_with_output().unwrap());
            assert!(proxy.is_frozen() && said.exit_code == 3, "{command:?}: {} {}", said.stdout, said.stderr);
            let all = format!("{}{}", said.stdout, said.stderr);
            assert!(all.contains("passed its limit of 1 s"), "{command:?}: {all}");
        }
        assert!(started.elapsed() < LATE, "far past the limit");
        assert_eq!(testkit::wait_for_remaining_queries(&database), "");
    });
}

#[test]
fn a_connection_that_is_cut_while_it_is_made_is_not_healthy() {
    let database = testkit::healthy_database();
    for port in testkit::shared_server().ports() {
        for after in EARLY {
            let proxy = FaultProxy::start(port, NetworkFault::CutAfter(after)).unwrap();
            let said = testkit::run_program(&["check", &database.url_at_port("postgres", proxy.port())]);
            assert_unknown(
                &said,
                &["cannot connect: the server closed the connection", "connection was lost"],
            );
            assert_eq!(testkit::wait_for_remaining_queries(&database), "");
        }
    }
}

#[test]
fn a_server_that_dies_behind_the_pooler_is_not_healthy() {
    let server = PostgresServer::start(&[]).unwrap();
    let [answering, working] = [(); 2].map(|()| server.create_database(None).unwrap());
    answering.psql(WIDE).unwrap();
    working.psql(testkit::sample_databases::GUIDE_SCHEMA).unwrap();
    working.psql(ENDLESS).unwrap();
    let [_, pooler] = server.ports();
    let (proxy, url) = frozen(&answering, pooler, MIDDLE);
    let looks = [start(&["check", &url]), start(&["check", &working.url_at_port("postgres", pooler)])];
    proxy.wait_until_frozen();
    wait_for_scan(&working);
    server.stop_immediately().unwrap();
    proxy.set_fault(NetworkFault::None);
    for look in looks {
        assert_unknown(
            &testkit::ProgramOutput::from(look.wait_with_output().unwrap()),
            &["the connection was lost"],
        );
    }
    // A pooler waits for its server to come back.
    let said = testkit::run_program(&["check", &url, "--timeout", "1s"]);
    assert_unknown(&said, &["cannot connect", "the connection was lost", "passed its limit of 1 s"]);
}

#[test]
fn a_look_goes_on_once_the_hole_is_gone() {
    let database = testkit::healthy_database();
    for port in testkit::shared_server().ports() {
        let (proxy, url) = frozen(&database, port, EARLY[2]);
        let child = start(&["check", &url, "--format", "json"]);
        proxy.wait_until_frozen();
        proxy.set_fault(NetworkFault::None);
        let said = testkit::ProgramOutput::from(child.wait_with_output().unwrap());
        assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
    }
}
