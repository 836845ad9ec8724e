use axum::http::StatusCode;
use sessionwatch_app::app::accounts::AccountRole;
use sessionwatch_store::{
    latest_reports,
    samples::{self, GaugeSample, SampleRetention},
};

use super::*;
use crate::test_dashboard::TestDashboard;

const TWO_TARGETS: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:a.db\"\n
[[target]]\nname = \"shop\"\nurl = \"sqlite:b.db\"\n";

fn insert_report(dashboard: &TestDashboard, target: &str, stats: &str) {
    let report = format!(r#"{{"stats": {stats}}}"#);
    dashboard.write_store(|db| latest_reports::upsert_report(db, target, &report, dashboard.now()));
}

/// Returns the values of the key figures, in their order.
async fn figures(dashboard: &TestDashboard, path: &str) -> Vec<String> {
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get(path).await;
    assert_eq!(page.status, StatusCode::OK);
    page.select_texts(".stat-value")
}

#[tokio::test]
async fn figures_are_summed_over_targets_and_an_average_is_weighted() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let stats = [
        r#"{"active": 900, "users_active": 100, "sessions_per_user": 9, "expired": 1, "duplicate_tokens": 0}"#,
        r#"{"active": 100, "users_active": 100, "sessions_per_user": 1, "expired": 1999, "duplicate_tokens": 2}"#,
    ];
    insert_report(&dashboard, "app", stats[0]);
    insert_report(&dashboard, "shop", stats[1]);
    assert_eq!(figures(&dashboard, "/").await, ["1,000", "–", "200", "5", "2,000", "2"]);
    assert_eq!(figures(&dashboard, "/targets/shop").await, ["100", "–", "100", "1", "1,999", "2"]);
}

#[tokio::test]
async fn a_sum_is_unknown_if_the_figure_of_one_target_is() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let known =
        r#"{"active": 9, "users_active": 3, "sessions_per_user": 3, "expired": 0, "duplicate_tokens": 0}"#;
    insert_report(&dashboard, "app", known);
    for other in ["null", "{}", r#"{"active": null, "users_active": "3", "expired": "-"}"#] {
        insert_report(&dashboard, "shop", other);
        assert_eq!(figures(&dashboard, "/").await, ["–"; 6], "{other}");
    }
    // Nobody is logged in: there is no average of nothing.
    let nobody =
        r#"{"active": 0, "users_active": 0, "sessions_per_user": 0, "expired": 0, "duplicate_tokens": 0}"#;
    insert_report(&dashboard, "app", nobody);
    insert_report(&dashboard, "shop", nobody);
    assert_eq!(figures(&dashboard, "/").await, ["0", "–", "0", "–", "0", "0"]);
}

#[tokio::test]
async fn a_change_is_measured_against_the_same_hour_a_week_ago() {
    for (before, shown) in [
        (Some(100.0), "+50.0% vs. last"),
        (Some(300.0), "−50.0% vs. last"),
        (Some(150.0), "Same as last"),
        (Some(150.04), "Same as last"),
        // From nothing, no change can be stated.
        (Some(0.0), ""),
        (None, ""),
    ] {
        let dashboard = TestDashboard::new();
        insert_report(&dashboard, "app", r#"{"active": 150}"#);
        let now = dashboard.now();
        if let Some(before) = before {
            let run = GaugeSample::from_run(now - 7 * DAY, Some(&[("active", before)]));
            let retention = SampleRetention { max_age: 30 * DAY, confirmed_now: now };
            dashboard.write_store(|db| samples::record_sample(db, "app", &run, retention));
        }
        let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
        let note = page.select_texts(".stat").remove(0);
        if shown.is_empty() {
            assert!(!note.contains("last"), "{before:?}: {note}");
        } else {
            assert!(note.contains(shown), "{before:?}: {note}");
        }
    }
}

#[tokio::test]
async fn the_headline_of_several_targets_names_the_worst_state() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let headline = async || {
        let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/").await;
        (page.select_text("main h1"), page.select_texts("main p.lead").concat())
    };
    assert_eq!(headline().await.0, "The state of 2 targets is unknown");
    insert_report(&dashboard, "app", r#"{"active": 1}"#);
    assert_eq!(headline().await.0, "The state of shop is unknown");
    insert_report(&dashboard, "shop", r#"{"active": 1}"#);
    assert_eq!(headline().await, ("All 2 targets are healthy".into(), "No check fails.".into()));
    dashboard.insert_firing_alert("duplicate-tokens", "critical", "x");
    dashboard.insert_firing_alert("expired-backlog", "low", "x");
    let expected = ("2 problems need attention", "app has 2 problems. shop is healthy.");
    assert_eq!(headline().await, (expected.0.into(), expected.1.into()));
    insert_report(&dashboard, "shop", "null");
    assert!(headline().await.1.ends_with("The state of shop is unknown."));
}

#[test]
fn a_sparkline_ends_with_the_latest_value_and_stays_short() {
    let at = |minute: i64| UtcTimestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(minute);
    for count in [0, 1, 47, 48, 49, 96, 97, 1_440] {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let points: Vec<ChartPoint> = (0..count).map(|minute| (at(minute), Some(minute as f64))).collect();
        let values = thin_out(&points);
        assert!(
            values.len() <= SPARK_POINTS && values.len() >= points.len().min(SPARK_POINTS / 2),
            "{count}"
        );
        assert_eq!(values.last().copied().flatten(), points.last().and_then(|(_, value)| *value), "{count}");
        assert!(values.is_sorted(), "{count}");
    }
}

#[tokio::test]
async fn after_a_failed_run_the_figures_are_those_of_the_last_run_that_succeeded() {
    let dashboard = TestDashboard::with_config(TWO_TARGETS);
    let now = dashboard.now();
    let retention = SampleRetention { max_age: 9 * DAY, confirmed_now: now };
    let gauges = [
        ("active", 900.0),
        ("users_active", 300.0),
        ("created_last_hour", 5.0),
        ("per_user", 3.0),
        ("expired", 7.0),
        ("duplicate_tokens", 1.0),
    ];
    for target in ["app", "shop"] {
        for (minutes, values) in [(10, Some(gauges.as_slice())), (2, None), (1, None)] {
            let run = GaugeSample::from_run(now - jiff::SignedDuration::from_mins(minutes), values);
            dashboard.write_store(|db| samples::record_sample(db, target, &run, retention));
        }
        insert_report(&dashboard, target, "null");
    }
    assert_eq!(figures(&dashboard, "/targets/app").await, ["900", "5", "300", "3", "7", "1"]);
    assert_eq!(figures(&dashboard, "/").await, ["1,800", "10", "600", "3", "14", "2"]);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let table = "section[aria-labelledby=target-table] td[data-l=Active]";
    assert_eq!(viewer.get("/").await.select_texts(table), ["900", "900"]);
    // A run that succeeds without a figure has none: an older one would be out of date.
    insert_report(&dashboard, "app", r#"{"active": 1}"#);
    let run = GaugeSample::from_run(now, Some(&[("active", 1.0)]));
    dashboard.write_store(|db| samples::record_sample(db, "app", &run, retention));
    assert_eq!(figures(&dashboard, "/targets/app").await, ["1", "–", "–", "–", "–", "–"]);
}
