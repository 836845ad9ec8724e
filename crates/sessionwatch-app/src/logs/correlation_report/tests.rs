use std::path::Path;

use sessionwatch_core::{
    duration::{DAY, HOUR, SECOND},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::{Store, log_events::NewLogEvent, log_sources};

use super::*;
use crate::logs::LogSourceRecord;

const CONFIG: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n\
                      [[logs]]\nname = \"web\"\nfile = \"web.log\"\n";

fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + 1_000 * DAY
}

struct Scene {
    store: Store,
    inserted: i64,
}

impl Scene {
    /// Creates a store in which the source `web` has been read.
    fn new() -> Self {
        let store = Store::open_in_memory().unwrap();
        let source =
            LogSourceRecord { name: "web".into(), target: "shop".into(), ..LogSourceRecord::default() };
        store.write(|db| log_sources::upsert_log_source(db, &source)).unwrap();
        Self { store, inserted: 0 }
    }

    /// Adds an event read an hour ago, `delay` after its own time, with a match kind and a clock offset.
    fn add(&mut self, kind: &str, prefix: Option<&str>, fit: Option<&str>, detail: &Value) {
        let event = NewLogEvent {
            source: "web",
            target: "shop",
            kind,
            severity: None,
            at: Some(now() - HOUR - 3 * SECOND),
            read_at: now() - HOUR,
            user: Some("7\u{1b}[31m"),
            other_user: None,
            token_prefix: prefix,
            expires_at: None,
            reason: None,
            request: None,
            byte_range: (0, 1),
            text: "event",
        };
        self.inserted += 1;
        let (id, detail) = (self.inserted, detail.to_string());
        self.store
            .write(|db| {
                log_events::insert_log_event(db, &event)?;
                log_events::mark_evaluated(db, id, fit, &detail)
            })
            .unwrap();
    }

    fn report(&self, more: &str, rows: Result<&[ListedSession], &str>) -> CorrelationReport {
        let config = Config::parse(Path::new("sessionwatch.toml"), &format!("{CONFIG}{more}")).unwrap();
        let window = LogEventWindow { target: "shop", from: now() - 2 * HOUR, to: now() };
        self.store.read(|db| correlate_period(db, &config, window, rows)).unwrap()
    }
}

fn row(prefix: Option<&str>, created_at: Option<UtcTimestamp>) -> ListedSession {
    ListedSession {
        token_prefix: prefix.map(Into::into),
        id: None,
        user: None,
        expires_at: None,
        created_at,
        ip: None,
        agent: None,
        problem: None,
        display: vec![],
    }
}

#[test]
fn events_with_a_token_are_counted_by_their_match() {
    let mut scene = Scene::new();
    let none = json!({});
    for (count, fit) in [(1, Some("exact")), (2, Some("ambiguous")), (4, Some("gone")), (5, None)] {
        for _ in 0..count {
            scene.add("refreshed", Some("0a1b2c3d"), fit, &none);
        }
    }
    for _ in 0..25 {
        scene.add("refreshed", Some("0a1b2c3d"), Some("contradicting"), &none);
    }
    scene.add("refreshed", None, None, &none);
    let report = scene.report("", Ok(&[]));
    let counts = [("exact", 1), ("ambiguous", 2), ("contradicting", 25), ("gone", 4), ("not correlated", 5)];
    assert_eq!(report.match_counts, counts);
    assert_eq!(report.contradicting.len(), 20);
    let text = report.render_text("shop", 1);
    assert!(
        text.starts_with("shop, last 1 hour: 37 log events with a token\n  exact          1\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let document = report.to_json().unwrap();
    assert_eq!(document["match_kinds"]["not_correlated"], 5);
    assert_eq!(document["contradicting"].as_array().map(Vec::len), Some(20));
}

#[test]
fn sessions_without_a_creation_in_the_log_are_counted_since_the_first_one() {
    let mut scene = Scene::new();
    scene.add("created", Some("0a1b2c3d"), Some("exact"), &json!({}));
    scene.add("created", Some("ffffffff"), Some("gone"), &json!({}));
    let first = now() - HOUR;
    let rows = [
        row(Some("0a1b2c3d"), Some(first)),
        row(Some("11111111"), Some(first)),
        row(Some("22222222"), Some(first + SECOND)),
        row(Some("33333333"), Some(first - SignedDuration::from_micros(1))),
        row(Some("44444444"), None),
        row(None, Some(first)),
    ];
    let report = scene.report("", Ok(&rows));
    assert_eq!((report.created, report.without_row, report.without_line), (2, 1, Ok(2)));
}

#[test]
fn a_missing_line_proves_nothing_if_lines_may_be_missing() {
    let mut scene = Scene::new();
    let rows = [row(Some("11111111"), Some(now()))];
    let reason = |scene: &Scene, more: &str| scene.report(more, Ok(&rows)).without_line.unwrap_err();
    assert_eq!(reason(&scene, ""), "no session creation was logged in this period");
    scene.add("created", Some("0a1b2c3d"), Some("exact"), &json!({}));
    assert_eq!(reason(&scene, "sampled = true\n"), "`web` is sampled, so lines may be missing");
    let failed = scene.report("", Err("the database did not answer"));
    assert_eq!(failed.without_line.as_ref().unwrap_err(), "the database did not answer");
    assert!(failed.render_text("shop", 2).contains(": unknown, the database did not answer\n"));
    let document = failed.to_json().unwrap();
    assert_eq!(document["rows_without_creation"], Value::Null);
    assert_eq!(document["not_counted"], "the database did not answer");
    let unread = Scene { store: Store::open_in_memory().unwrap(), inserted: 0 };
    assert_eq!(reason(&unread, ""), "no log lines have been read yet");
}

#[test]
fn one_delayed_line_does_not_move_the_difference_of_the_clocks() {
    let mut scene = Scene::new();
    for offset in [1_500_000, 86_400_000_000_i64, 1_499_999] {
        scene.add("created", Some("0a1b2c3d"), Some("exact"), &json!({ "clock_offset_us": offset }));
    }
    scene.add("refreshed", Some("0a1b2c3d"), Some("exact"), &json!({ "clock_offset_us": -9 }));
    let report = scene.report("", Ok(&[]));
    assert_eq!(report.clock_skew, Some((SignedDuration::from_micros(1_500_000), 3)));
    assert_eq!(
        report.describe_clocks(),
        "The log's clock is 1.500 s ahead of the database's (median of 3 session creations)\n"
    );
}

#[test]
fn the_clocks_are_described_by_what_is_known_about_them() {
    let with = |clock_skew, clock_lag| CorrelationReport {
        clock_skew,
        clock_lag,
        ..Scene::new().report("", Ok(&[]))
    };
    let (second, tick) = (SECOND, SignedDuration::from_micros(1));
    for (report, text) in [
        (with(None, None), "The log's clock is unknown: no log event of this period has a timestamp\n"),
        (
            with(None, Some(2 * second)),
            "The log's clock is at most 2.000 s behind this machine's (this includes the delay of lines)\n",
        ),
        (with(None, Some(-second)), "The log's clock is at least 1.000 s ahead of this machine's\n"),
        (
            with(Some((-90 * second - tick, 1)), Some(second)),
            "The log's clock is 90.000 s behind the database's (median of 1 session creation)\n",
        ),
    ] {
        assert_eq!(report.describe_clocks(), text);
    }
    let mut scene = Scene::new();
    scene.add("refreshed", Some("0a1b2c3d"), None, &json!({}));
    assert_eq!(scene.report("", Ok(&[])).clock_lag, Some(3 * SECOND));
}
