//! Single rounds, a minute apart, alert as a daemon does: each continues what the round before it left in the store.

use std::path::Path;

use sessionwatch_app::{config::Config, daemon};
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    duration::{DAY, MINUTE},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, StoreLocation};
use testkit::{Database, HttpSink};

use crate::{
    channels::{channel, configuration, leak, target},
    crash_recovery_daemon::alert_events,
    fastforward::{Watch, monday},
    lifecycle::list_notifications,
};

/// Number of rounds.
const ROUNDS: i32 = 100;
/// Lengths of the phases without and with a leak, in minutes: shorter and longer than what an alert waits for.
const PHASE_MINUTES: [i32; 11] = [3, 1, 2, 2, 5, 7, 1, 1, 1, 4, 6];

/// Returns `true` if tokens leak in this minute.
fn is_leaking(minute: i32) -> bool {
    let (mut ends_at, mut leaks) = (0, false);
    for length in PHASE_MINUTES.into_iter().cycle() {
        ends_at += length;
        if minute < ends_at {
            return leaks;
        }
        leaks = !leaks;
    }
    leaks
}

/// A target, and a channel that receives firing and resolved alerts.
fn configured(database: &Database<'_>, sink: &HttpSink) -> String {
    // Orphans alert only after several failing runs.
    let waits = "[alerts.high]\nfailure_threshold = 3\n".to_owned();
    configuration(&[target("app", database), channel("hook", "webhook", &sink.url(), ""), waits])
}

/// Returns what happened to alerts, oldest first: minute, check and kind.
fn list_alert_events(store: &Store) -> Vec<String> {
    let minute = |at: UtcTimestamp| at.duration_since(monday()).as_mins();
    alert_events(store)
        .iter()
        .map(|event| format!("{} {} {}", minute(event.at), event.check, event.kind))
        .collect()
}

/// Sets what the table holds in a minute.
fn prepare_minute(database: &Database<'_>, minute: i32) {
    leak(database, is_leaking(minute));
    let orphans = if is_leaking(minute + 3) { 12 } else { 0 };
    let sql = format!(
        "DELETE FROM sessions WHERE id LIKE 'orphan-%';
         INSERT INTO sessions SELECT 'orphan-' || n, 'orphan-' || n, 1000 + n, now() + interval '1 day'
         FROM generate_series(1, {orphans}) AS n"
    );
    database.psql(&sql).unwrap();
}

fn run_round(folder: &Path, text: &str, at: UtcTimestamp) {
    let config = Config::parse(&folder.join("sessionwatch.toml"), text).unwrap();
    let (clock, _hand) = Clock::manual(at);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results = runtime.block_on(daemon::run_single_round(config, clock)).unwrap();
    assert_eq!(results.len(), 1);
    assert!(results[0].problem.is_none(), "{results:?}");
}

#[test]
fn a_hundred_rounds_alert_as_a_daemon_does() {
    let database = testkit::healthy_database();
    let sinks = [(); 2].map(|()| HttpSink::start(&[]).unwrap());
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [of_daemon, of_rounds] = [0, 1].map(|number: usize| configured(&database, &sinks[number]));
    prepare_minute(&database, 0);
    let mut watch = Watch::start(folders[0].path(), &of_daemon, monday());
    for minute in 0..ROUNDS {
        let at = monday() + minute * MINUTE;
        prepare_minute(&database, minute);
        if minute > 0 {
            watch.to(at);
        }
        run_round(folders[1].path(), &of_rounds, at);
    }
    watch.delivered();
    let expected = list_alert_events(&watch.shared.app.store);
    assert!(watch.stop());
    let store = folders[1].path().join("sessionwatch-state.db");
    let store = Store::open_existing(&StoreLocation::File(store)).unwrap().unwrap();
    let events = list_alert_events(&store);
    assert!(events.len() > 20, "{events:?}");
    assert_eq!(events, expected);
    let [of_daemon, of_rounds] = sinks.each_ref().map(list_notifications);
    assert_eq!(of_rounds, of_daemon);
}

#[test]
fn a_report_that_became_due_between_rounds_is_sent_once() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}[report]\nchannels = [\"hook\"]\n", configured(&database, &sink));
    let reports = || list_notifications(&sink).iter().filter(|line| line.ends_with(" report")).count();
    for (days, sent) in [(0, 0), (1, 1), (6, 1), (8, 2), (30, 3)] {
        run_round(folder.path(), &text, monday() + days * DAY);
        assert_eq!(reports(), sent, "after {days} days");
    }
}
