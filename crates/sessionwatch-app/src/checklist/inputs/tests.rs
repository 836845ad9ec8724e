use std::path::Path;

use serde_json::json;
use sessionwatch_core::duration::{DAY, HOUR, SECOND};
use sessionwatch_store::{Store, log_sources};

use super::*;
use crate::logs::LogSourceRecord;

const TICK: SignedDuration = SignedDuration::from_micros(1);

fn start() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

/// Returns the stored report of a check run with these facts.
fn report(stats: &Value) -> Value {
    json!({ "checked_at": "2026-01-31T12:00:00Z", "stats": stats })
}

#[test]
fn the_expiry_horizon_counts_from_the_check_run() {
    let stats = json!({ "furthest_expiry": "2026-02-02T12:00:00Z", "never_expiring": 3, "undecodable": 1 });
    let horizon = parse_expiry_horizon(&report(&stats)).unwrap().unwrap();
    assert_eq!(horizon, ExpiryHorizon { ahead: Some(2 * DAY), never_expiring: 3, unreadable: 1 });
    let none = json!({ "furthest_expiry": null, "never_expiring": 0, "undecodable": 0 });
    let horizon = parse_expiry_horizon(&report(&none)).unwrap().unwrap();
    assert_eq!(horizon, ExpiryHorizon { ahead: None, never_expiring: 0, unreadable: 0 });
    assert_eq!(parse_expiry_horizon(&report(&Value::Null)).unwrap(), None, "the check run failed");
}

#[test]
fn a_damaged_report_is_an_error_and_never_a_pass() {
    let sound = json!({ "furthest_expiry": null, "never_expiring": 0, "undecodable": 0 });
    for (key, damaged) in [
        ("furthest_expiry", json!("soon")),
        ("furthest_expiry", json!(1_795_564_800)),
        ("furthest_expiry", json!("")),
        ("never_expiring", Value::Null),
        ("never_expiring", json!(-1)),
        ("never_expiring", json!("0")),
        ("never_expiring", json!(0.5)),
        ("undecodable", Value::Null),
        ("undecodable", json!([])),
    ] {
        let mut stats = sound.clone();
        stats[key] = damaged.clone();
        let parsed = parse_expiry_horizon(&report(&stats));
        assert!(matches!(&parsed, Err(StoreError::Undecodable { .. })), "{key} {damaged}: {parsed:?}");
    }
    for time in [Value::Null, json!("yesterday")] {
        let parsed = parse_expiry_horizon(&json!({ "checked_at": time, "stats": sound }));
        assert!(matches!(&parsed, Err(StoreError::Undecodable { .. })), "{time}: {parsed:?}");
    }
    assert!(parse_expiry_horizon(&report(&json!("text"))).is_err());
}

fn sample(at: UtcTimestamp) -> GaugeSample {
    GaugeSample::from_run(at, Some(&[]))
}

#[test]
fn an_hour_is_covered_by_one_check_run_in_it() {
    let period = Period { from: start(), to: start() + 4 * HOUR };
    let at = |offset: SignedDuration| sample(start() + offset);
    for (samples, covered, gap) in [
        (vec![], 0, (SignedDuration::ZERO, 4 * HOUR)),
        // A bucket that starts before the period holds runs of its first hour.
        (vec![at(-30 * SECOND)], 1, (SignedDuration::ZERO, 4 * HOUR)),
        (vec![at(HOUR - TICK), at(HOUR)], 2, (HOUR, 4 * HOUR)),
        (vec![at(2 * HOUR), at(2 * HOUR + TICK)], 1, (SignedDuration::ZERO, 2 * HOUR)),
        (
            vec![at(SignedDuration::ZERO), at(HOUR), at(2 * HOUR), at(3 * HOUR)],
            4,
            (SignedDuration::ZERO, HOUR),
        ),
    ] {
        let coverage = compute_coverage(&samples, 9, 2, period);
        assert_eq!((coverage.runs, coverage.failed_runs), (9, 2));
        assert_eq!((coverage.hours_covered, coverage.hours_total), (covered, 4), "{samples:?}");
        let expected = Period { from: start() + gap.0, to: start() + gap.1 };
        assert_eq!(coverage.longest_gap, expected, "{samples:?}");
    }
}

#[test]
fn a_partial_hour_is_an_hour_to_cover() {
    for (length, hours) in
        [(SignedDuration::ZERO, 0), (TICK, 1), (HOUR - TICK, 1), (HOUR, 1), (HOUR + TICK, 2), (7 * DAY, 168)]
    {
        let period = Period { from: start(), to: start() + length };
        assert_eq!(compute_coverage(&[], 0, 0, period).hours_total, hours, "{length:?}");
    }
}

const CONFIG: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n";

/// Returns the critical events of a week, for sources that were last read at these times.
fn critical_events(last_read: &[(&str, Option<UtcTimestamp>)]) -> Result<CriticalLogEvents, String> {
    let mut text = CONFIG.to_owned();
    let store = Store::open_in_memory().unwrap();
    for (name, at) in last_read {
        text.push_str(&format!("[[logs]]\nname = {name:?}\nfile = \"{name}.log\"\n"));
        let Some(at) = at else { continue };
        let (name, target) = ((*name).to_owned(), "shop".to_owned());
        let source = LogSourceRecord { name, target, last_line_at: Some(*at), ..LogSourceRecord::default() };
        store.write(|db| log_sources::upsert_log_source(db, &source)).unwrap();
    }
    let config = Config::parse(Path::new("sessionwatch.toml"), &text).unwrap();
    let period = Period { from: start(), to: start() + 7 * DAY };
    store.read(|db| count_critical_events(db, &config, &config.targets[0], period)).unwrap()
}

#[test]
fn no_critical_event_is_known_only_if_every_source_was_read_in_the_period() {
    let unread = |name: &str| Err(format!("no line of log source `{name}` was read in this period"));
    let (before, within) = (Some(start() - TICK), Some(start()));
    for (sources, expected) in [
        (vec![], Err("no log source is configured".to_owned())),
        (vec![("web", None)], unread("web")),
        (vec![("web", before)], unread("web")),
        (vec![("web", within), ("jobs", before)], unread("jobs")),
        (vec![("web", within), ("jobs", None)], unread("jobs")),
        (vec![("web", within), ("jobs", within)], Ok(CriticalLogEvents::default())),
    ] {
        assert_eq!(critical_events(&sources), expected, "{sources:?}");
    }
}
