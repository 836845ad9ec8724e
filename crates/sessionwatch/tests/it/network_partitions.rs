//! Networks that drop all packets without closing a connection: commands end in time, and leave no query running in the
//! database.

use std::{
    process::{Child, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use testkit::{Database, FaultProxy, NetworkFault, PostgresServer, ProgramOutput};

use crate::target_failures::{ENDLESS, wait_for_scan};

/// Exceeds all buffers between server and program, so that the server blocks in the middle of a response.
const WIDE: &str = r#"
CREATE TABLE users (id text PRIMARY KEY, name text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" text NOT NULL,
  expires timestamp(3) NOT NULL);
INSERT INTO sessions SELECT 's' || n, 'token-' || md5(n::text), rpad(n || '-', 400, 'x'), now() + interval '9 days'
  FROM generate_series(1, 50000) AS n;
ANALYZE
"#;
/// Bytes into the scan, far from its end.
const MIDDLE: usize = 1_000_000;
/// Bytes into the login or the catalog queries.
const EARLY: [usize; 3] = [0, 100, 1_500];
/// Extra time for a check run on a busy machine, beyond its time limit of a second; less than the system's own timeout
/// for a connection.
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

/// Runs a test directly and through PgBouncer at the same time, since it mostly waits.
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
        assert_unknown(&said, &["timed out after 1 s"]);
        // The network is still down.
        assert_eq!(
            testkit::wait_for_remaining_queries(&database),
            "",
            "at port {port} of {:?}",
            testkit::shared_server().ports()
        );
    });
}

#[test]
fn a_program_killed_behind_a_black_hole_leaves_nothing_running() {
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
fn every_command_times_out_without_a_response() {
    let commands = [&["check"][..], &["doctor"], &["sessions", "list"], &["sql"], &["grants"]];
    both_ways(|port| {
        let database = testkit::healthy_database();
        let started = Instant::now();
        // All commands at once, each behind its own proxy.
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
            assert!(all.contains("timed out after 1 s"), "{command:?}: {all}");
        }
        assert!(started.elapsed() < LATE, "far past the limit");
        assert_eq!(testkit::wait_for_remaining_queries(&database), "");
    });
}

#[test]
fn a_connection_cut_during_its_setup_is_unknown() {
    let database = testkit::healthy_database();
    for port in testkit::shared_server().ports() {
        for after in EARLY {
            let proxy = FaultProxy::start(port, NetworkFault::CutAfter(after)).unwrap();
            let said = testkit::run_program(&["check", &database.url_at_port("postgres", proxy.port())]);
            assert_unknown(
                &said,
                &["the server closed the connection immediately", "the connection to the database was lost"],
            );
            assert_eq!(testkit::wait_for_remaining_queries(&database), "");
        }
    }
}

#[test]
fn a_server_stopped_behind_the_pooler_is_unknown() {
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
            &["the connection to the database was lost"],
        );
    }
    // A pooler waits for its server to come back.
    let said = testkit::run_program(&["check", &url, "--timeout", "1s"]);
    assert_unknown(
        &said,
        &["cannot connect", "the connection to the database was lost", "timed out after 1 s"],
    );
}

#[test]
fn a_check_run_continues_once_the_network_recovers() {
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
