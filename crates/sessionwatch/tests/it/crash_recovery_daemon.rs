//! The daemon is killed at any moment, and other daemons take over: no alert is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant as Monotonic},
};

use serde_json::Value;
use sessionwatch_app::config::Config;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{Store, audit, history_events, outbox};
use testkit::{Database, HttpSink};

use crate::{
    fastforward::{Apart, MINUTE, monday},
    takeovers,
};

const KILLS: i64 = 200;

fn configuration(url: &str, sink: &HttpSink, store: &str) -> String {
    format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[checks.slow-check-run]\nenabled = false\n\
         [checks.reappeared-sessions]\nenabled = false\n\
         [alerts.critical]\nsuccess_threshold = 1\n[serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{store}\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        sink.url()
    )
}

/// Makes the two tokens equal, or different again.
fn toggle(database: &Database<'_>, leaked: bool) {
    let token = if leaked { "'same-token'" } else { "'token-' || id" };
    database
        .psql(&format!(r#"UPDATE sessions SET "sessionToken" = {token} WHERE id IN ('s1', 's2')"#))
        .unwrap();
}

fn open(folder: &Path) -> Store {
    let config = Config::load(Some(&folder.join("sessionwatch.toml"))).unwrap();
    Store::open(&config.serve.store).unwrap()
}

/// Firing, reminded and resolved alerts of the history, oldest first.
pub(crate) fn alert_events(store: &Store) -> Vec<history_events::EventRecord> {
    let search = history_events::EventSearch {
        from: UtcTimestamp::MIN,
        to: UtcTimestamp::MAX,
        target: None,
        check: None,
        text: None,
        alerts_only: true,
        before_id: None,
        limit: 1_000_000,
    };
    store.read(|db| history_events::search_events(db, &search)).unwrap()
}

/// History of alerts in order: check and notice.
fn happened(store: &Store) -> Vec<(String, String)> {
    alert_events(store).into_iter().map(|event| (event.check, event.kind)).collect()
}

/// Messages by key, with the `possible_duplicate` flag of each delivery.
fn list_deliveries(sink: &HttpSink) -> BTreeMap<String, Vec<bool>> {
    let mut deliveries = BTreeMap::<String, Vec<bool>>::new();
    for received in sink.received_requests() {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        let key = message["key"].as_str().unwrap().to_owned();
        deliveries.entry(key).or_default().push(message["possible_duplicate"].as_bool().unwrap());
    }
    deliveries
}

/// Pseudorandom numbers, the same in every run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Milliseconds from the start of the daemon to its first check run, on this machine.
fn measure_first_run(folder: &Path) -> u64 {
    let begun = Monotonic::now();
    let mut watch = Apart::start(folder, monday());
    assert!(watch.looked());
    watch.kill();
    u64::try_from(begun.elapsed().as_millis()).unwrap() + 1
}

#[test]
fn two_hundred_kills_lose_no_alert_and_break_no_store() {
    // Four daemons at once, each with its own store and database: most of the time they wait.
    std::thread::scope(|scope| {
        let lanes = [7, 8, 9, 10].map(|seed| scope.spawn(move || kill_again_and_again(seed)));
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
    });
}

/// A quarter of the kills.
fn kill_again_and_again(mut seed: u64) {
    let database = testkit::healthy_database();
    let sink = HttpSink::start(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(&database.url("postgres"), &sink, "state.db");
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let pause = measure_first_run(folder.path());
    let (mut minute, mut leaked) = (0, false);
    for _ in 0..KILLS / 4 {
        let mut watch = Apart::start(folder.path(), monday() + minute * MINUTE);
        // Check runs, changes and deliveries continue until the kill, which may come at any time, even before the first
        // run.
        for _ in 0..random(&mut seed) % 4 {
            testkit::let_time_pass(Duration::from_millis(random(&mut seed) % pause));
            minute += 1;
            leaked = !leaked;
            toggle(&database, leaked);
            watch.set(monday() + minute * MINUTE);
        }
        testkit::let_time_pass(Duration::from_millis(random(&mut seed) % pause));
        watch.kill();
        minute += 1;
    }
    // A last, undisturbed daemon delivers the rest.
    let mut watch = Apart::start(folder.path(), monday() + minute * MINUTE);
    let store = open(folder.path());
    assert!(watch.looked());
    testkit::wait_until_none_left("everything arrives", || {
        minute += 1;
        watch.set(monday() + minute * MINUTE);
        store.read(outbox::count_messages).unwrap().iter().map(|(_, _, count)| count).sum()
    });
    assert!(watch.stop());
    assert_eq!(store.read(outbox::count_messages).unwrap(), []);
    let duplicates: Vec<String> = happened(&store)
        .into_iter()
        .filter(|(check, _)| check == "duplicate-tokens")
        .map(|(_, kind)| kind)
        .collect();
    assert!(duplicates.len() > 50 / 4, "{duplicates:?}");
    for (number, kind) in duplicates.iter().enumerate() {
        assert_eq!(kind, if number % 2 == 0 { "firing" } else { "resolved" }, "{number} of {duplicates:?}");
    }
    let deliveries = list_deliveries(&sink);
    assert_eq!(deliveries.len(), happened(&store).len(), "one message for each thing that happened");
    for (key, times) in &deliveries {
        assert!(
            times.iter().skip(1).all(|again| *again),
            "{key} was delivered twice without saying so: {times:?}"
        );
    }
    assert!(matches!(store.read(audit::verify_chain).unwrap(), audit::ChainStatus::Intact(_)));
    drop(store);
    let file = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn another_daemon_takes_over_within_ten_seconds_and_no_alert_is_lost() {
    const TAKEOVERS: usize = 5;
    let database = testkit::healthy_database();
    let shared = testkit::empty_database();
    let sink = HttpSink::start(&[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Through a pooler that gives each transaction another connection.
    let text = configuration(&database.url("postgres"), &sink, &shared.urls("postgres")[1]);
    std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    let store = open(folder.path());
    takeovers::note(&shared);
    let holder = || {
        let query = "SELECT holder FROM leases WHERE name = 'target/app'";
        let row = store.read(|db| db.query_row(query, &[])).unwrap();
        row.map(|row| {
            row.read_text(0).unwrap().rsplit(':').next().unwrap_or_default().parse::<u32>().unwrap()
        })
    };
    let mut minute = 0;
    let mut watches: Vec<Apart> = (0..3).map(|_| Apart::start(folder.path(), monday())).collect();
    let mut leaders = BTreeSet::new();
    for round in 0..=TAKEOVERS {
        toggle(&database, round % 2 == 0);
        // Time passes for all of them, and one of them runs checks.
        let mut leader = None;
        testkit::wait_until("somebody leads", || {
            minute += 1;
            for watch in &mut watches {
                watch.set(monday() + minute * MINUTE);
            }
            let leading = holder();
            let looked = watches.iter().position(Apart::has_looked);
            leader = looked.filter(|leader| leading == Some(watches[*leader].id()));
            leader.is_some()
        });
        let leader = leader.unwrap();
        // A message may be delivered twice.
        loop {
            // Counted first: a message that arrives in between must not be waited for.
            let before = sink.received_requests().len();
            if list_deliveries(&sink).len() > round {
                break;
            }
            assert!(
                sink.wait_for_requests(before + 1).len() > before,
                "no message was sent in round {round}"
            );
        }
        leaders.insert(watches[leader].id());
        if round < TAKEOVERS {
            watches.remove(leader).kill();
            watches.push(Apart::start(folder.path(), monday() + minute * MINUTE));
        }
    }
    assert_eq!(leaders.len(), TAKEOVERS + 1);
    takeovers::assert_in_time(&shared, "target/app", TAKEOVERS);
    assert!(watches.into_iter().all(Apart::stop));
    let notices: Vec<String> = happened(&store).into_iter().map(|(_, kind)| kind).collect();
    let expected: Vec<&str> = ["firing", "resolved"].into_iter().cycle().take(TAKEOVERS + 1).collect();
    assert_eq!(notices, expected);
    let deliveries = list_deliveries(&sink);
    assert_eq!(deliveries.len(), TAKEOVERS + 1);
    let twice: usize = deliveries.values().map(|times| times.len() - 1).sum();
    assert!(twice <= TAKEOVERS, "at most one a takeover: {deliveries:?}");
    assert!(deliveries.values().all(|times| times.iter().skip(1).all(|again| *again)), "{deliveries:?}");
}
