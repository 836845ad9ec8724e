//! A target with a replica: the replica is checked first, the database itself only if that fails.

use std::path::Path;

use serde_json::Value;
use testkit::{Database, FaultProxy, HttpSink, NetworkFault, PostgresServer, ReplicaServer};

use crate::fastforward::{MINUTE, Watch, monday};

/// A server with the operator guide's tables, and its replica, each behind a proxy.
struct Pair<'a> {
    database: Database<'a>,
    server: &'a PostgresServer,
    replica: ReplicaServer,
    before_server: FaultProxy,
    before_replica: FaultProxy,
}

impl<'a> Pair<'a> {
    fn start(server: &'a PostgresServer) -> Self {
        let database = server.create_database(None).unwrap();
        database.psql(testkit::sample_databases::GUIDE_SCHEMA).unwrap();
        let replica = server.start_replica().unwrap();
        replica.wait_for_catch_up(server).unwrap();
        let proxy = |port| FaultProxy::start(port, NetworkFault::None).unwrap();
        let (before_server, before_replica) = (proxy(server.ports()[0]), proxy(replica.port()));
        Self { database, server, replica, before_server, before_replica }
    }

    /// A configuration of both, and a channel.
    fn configuration(&self, more: &str) -> String {
        let url = |proxy: &FaultProxy| self.database.url_at_port("postgres", proxy.port());
        format!(
            "[checks.slow-check-run]\nenabled = false\n[serve]\nlisten = \"127.0.0.1:0\"\n\
             [[target]]\nname = \"app\"\nurl = \"{}\"\nreplica_url = \"{}\"\n{more}",
            url(&self.before_server),
            url(&self.before_replica)
        )
    }

    /// Runs `check` with that configuration, and returns the report.
    fn check(&self, folder: &Path) -> Value {
        let said = testkit::run_program_in(folder, &[], &["check", "--format", "json"]);
        assert_eq!(said.exit_code, 0, "{} {}", said.stdout, said.stderr);
        said.check_report()
    }
}

/// The lag in the metrics.
fn lag(watch: &Watch) -> f64 {
    let metrics = watch.page("/metrics");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sessionwatch_replica_lag_seconds{target=\"app\"} "));
    line.unwrap_or_else(|| panic!("no lag in {metrics}")).parse().unwrap()
}

#[test]
fn the_replica_is_checked_and_its_lag_is_reported() {
    let server = PostgresServer::start(&[]).unwrap();
    let pair = Pair::start(&server);
    let folder = tempfile::tempdir().unwrap();
    let text = pair.configuration("");
    std::fs::write(folder.path().join("sessionwatch.toml"), &text).unwrap();
    let notes = pair.check(folder.path())["notes"].to_string();
    assert!(notes.contains("checked the replica, which lags by 0 ms"), "{notes}");
    let mut watch = Watch::start(folder.path(), &text, monday());
    assert_eq!(lag(&watch), 0.0);
    pair.replica.pause_replay().unwrap();
    pair.database.psql("DELETE FROM sessions WHERE id = 's5'").unwrap();
    let received = "pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()";
    testkit::wait_until("the replica receives", || {
        pair.replica.psql("postgres", &format!("SELECT {received}")).unwrap().trim() == "t"
    });
    watch.to(monday() + MINUTE);
    let first = lag(&watch);
    watch.to(monday() + 2 * MINUTE);
    let second = lag(&watch);
    assert!(first > 0.0 && second > first, "{first} {second}");
    let stored = watch
        .shared
        .app
        .store
        .read(|db| db.query_row("SELECT report FROM latest_reports", &[]))
        .unwrap()
        .unwrap()
        .read_text(0)
        .unwrap();
    assert!(stored.contains("checked the replica, which lags by"), "{stored}");
    pair.replica.resume_replay().unwrap();
    pair.replica.wait_for_catch_up(&server).unwrap();
    watch.to(monday() + 3 * MINUTE);
    assert_eq!(lag(&watch), 0.0);
    assert!(pair.before_server.captured_bytes().is_empty(), "nobody spoke to the database itself");
    // Disconnected from its server, the replica has replayed all that it received, and still lags.
    server.stop_immediately().unwrap();
    testkit::wait_until("the replica is cut off", || {
        pair.replica.psql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver").unwrap().trim() == "0"
    });
    watch.to(monday() + 4 * MINUTE);
    assert!(lag(&watch) > 0.0);
    assert!(watch.stop());
}

#[test]
fn if_the_replica_is_down_or_hangs_the_database_is_checked_in_the_same_run() {
    let server = PostgresServer::start(&[]).unwrap();
    let pair = Pair::start(&server);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sessionwatch.toml"), pair.configuration("timeout = 4\n")).unwrap();
    for (fault, why) in [
        (NetworkFault::CutAfter(0), "the replica could not be checked: "),
        (NetworkFault::FreezeAfter(0), "the replica could not be checked: check timed out after 2 s"),
        // In the middle of its response.
        (NetworkFault::FreezeAfter(3_000), "the replica could not be checked: check timed out after 2 s"),
    ] {
        pair.before_replica.set_fault(fault);
        // Both share four seconds: a hanging replica leaves the database half of them.
        let notes = pair.check(folder.path())["notes"].to_string();
        assert!(notes.contains(why), "{fault:?}: {notes}");
    }
    pair.before_replica.set_fault(NetworkFault::None);
    pair.replica.stop().unwrap();
    let notes = pair.check(folder.path())["notes"].to_string();
    assert!(notes.contains("the replica could not be checked"), "{notes}");
    pair.replica.start().unwrap();
    assert!(pair.check(folder.path())["notes"].to_string().contains("checked the replica"));
}

#[test]
fn runs_that_alternate_between_a_lagging_replica_and_the_database_find_only_real_changes() {
    let server = PostgresServer::start(&[]).unwrap();
    let pair = Pair::start(&server);
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let channel = format!(
        "[[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n[[route]]\nchannels = [\"hook\"]\n\
         checks = [\"token-reassigned\", \"reappeared-sessions\", \"rapid-creation\", \"target-unreachable\"]\n",
        sink.url()
    );
    let mut watch = Watch::start(folder.path(), &pair.configuration(&channel), monday());
    let mut minute = 0;
    let mut look = |watch: &mut Watch, fault: NetworkFault| {
        pair.before_replica.set_fault(fault);
        minute += 1;
        watch.to(monday() + minute * MINUTE);
    };
    pair.replica.pause_replay().unwrap();
    pair.database.psql(r#"UPDATE sessions SET "userId" = "userId" % 60 + 1 WHERE id = 's9'"#).unwrap();
    let token =
        pair.database.psql(r#"DELETE FROM sessions WHERE id = 's5' RETURNING "sessionToken" "#).unwrap();
    for _ in 0..4 {
        look(&mut watch, NetworkFault::CutAfter(0));
        look(&mut watch, NetworkFault::None);
    }
    pair.replica.resume_replay().unwrap();
    pair.replica.wait_for_catch_up(pair.server).unwrap();
    look(&mut watch, NetworkFault::None);
    look(&mut watch, NetworkFault::None);
    // The replica finds real changes too.
    pair.database
        .psql(&format!("INSERT INTO sessions SELECT 's5', '{}', 5, now() + interval '1 day'", token.trim()))
        .unwrap();
    pair.replica.wait_for_catch_up(pair.server).unwrap();
    look(&mut watch, NetworkFault::None);
    watch.delivered();
    assert!(watch.stop());
    let notifications: Vec<String> = sink
        .received_requests()
        .iter()
        .map(|received| {
            let message: Value = serde_json::from_str(&received.body).unwrap();
            format!("{} {}", message["check"].as_str().unwrap(), message["notice"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        notifications,
        ["token-reassigned firing", "token-reassigned resolved", "reappeared-sessions firing"]
    );
}

#[test]
fn remediation_is_refused_on_a_read_only_server() {
    let server = PostgresServer::start(&[]).unwrap();
    let pair = Pair::start(&server);
    let folder = tempfile::tempdir().unwrap();
    let [primary, replica] =
        [server.ports()[0], pair.replica.port()].map(|port| pair.database.url_at_port("postgres", port));
    let text = format!("[[target]]\nname = \"app\"\nurl = \"{primary}\"\nwrite_url = \"{replica}\"\n");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let said = testkit::run_program_in(folder.path(), &[], &["revoke", "user", "5", "--format", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    let plan = plan["plan"]["id"].as_str().unwrap();
    let said = testkit::run_program_in(folder.path(), &[], &["apply", plan]);
    assert!(said.exit_code == 3 && said.stderr.contains("the database is read-only"), "{}", said.stderr);
    assert!(said.stderr.contains("connect to the primary"), "{}", said.stderr);
    let left = pair.database.psql("SELECT COUNT(*) FROM sessions WHERE \"userId\" = 5").unwrap();
    assert_eq!(left, "2\n");
    let said = testkit::run_program_in(folder.path(), &[], &["archive", "list"]);
    assert_eq!(said.stdout, "No archived plans.\n");
}
