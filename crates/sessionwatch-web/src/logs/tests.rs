use sessionwatch_app::app::{accounts::AccountRole, logs::LogSourceRecord};
use sessionwatch_store::{
    log_events::{self, NewLogEvent},
    log_sources,
};

use super::super::test_dashboard::{HOSTILE_TEXT, TestDashboard};

const WITH_LOGS: &str = "[[target]]\nname = \"app\"\nurl = \"sqlite:missing.db\"\n
[[logs]]\nname = \"web\"\ntarget = \"app\"\nfile = \"missing.log\"\n";

#[tokio::test]
async fn without_sources_the_page_shows_how_to_configure_one() {
    let dashboard = TestDashboard::new();
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/logs").await;
    assert_eq!(page.select_text("h1"), "No log sources yet");
    assert_eq!(
        page.select_text("section[aria-labelledby=sources] pre"),
        "[[logs]] name = \"web\" target = \"app\" file = \"/var/log/app.log\""
    );
    assert_eq!(page.count_elements("form.filters"), 0, "there is nothing to filter");
    let filtered = dashboard.log_in_as(AccountRole::Viewer).await.get("/logs?user=x").await;
    assert_eq!(filtered.select_text("section[aria-labelledby=log-events] .empty b"), "No matching events");
}

#[tokio::test]
async fn a_source_that_was_never_read_has_no_lines_yet() {
    let dashboard = TestDashboard::with_config(WITH_LOGS);
    let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/logs").await;
    let row = page.select_texts("section[aria-labelledby=sources] tbody td");
    assert_eq!(page.select_text("h1"), "No log lines yet");
    assert_eq!(row, ["web", "No lines yet", "missing.log", "app", "–", "0", "–"]);
}

#[tokio::test]
async fn log_events_are_listed_filtered_and_shown_as_text() {
    let dashboard = TestDashboard::with_config(WITH_LOGS);
    let now = dashboard.now();
    let event = NewLogEvent {
        source: "web",
        target: "app",
        kind: "created",
        severity: None,
        at: None,
        read_at: now,
        user: Some(HOSTILE_TEXT),
        other_user: None,
        token_prefix: Some("abcdefgh"),
        expires_at: None,
        reason: Some(HOSTILE_TEXT),
        request: None,
        byte_range: (0, 10),
        text: "x",
    };
    dashboard.write_store(|db| log_events::insert_log_event(db, &event));
    dashboard.write_store(|db| {
        log_events::insert_log_event(db, &NewLogEvent { token_prefix: Some("other"), user: None, ..event })
    });
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page = viewer.get("/logs").await;
    assert_eq!(page.select_texts("section[aria-labelledby=log-events] tbody code"), ["other…", "abcdefgh…"]);
    page.assert_shows_hostile_text("section[aria-labelledby=log-events] td");
    let page = viewer.get("/logs?source=none").await;
    assert_eq!(page.count_elements("section[aria-labelledby=log-events] tbody tr"), 0);
    let page = viewer.get("/logs?token=abcdefgh").await;
    assert_eq!(page.select_text("section[aria-labelledby=log-events] .card-foot > span"), "1 of 1 shown");
    assert_eq!(page.count_elements("section[aria-labelledby=log-events] tbody tr"), 1);
    assert_eq!(page.select_attributes("input[name=token]", "value"), ["abcdefgh"]);
    assert_eq!(
        viewer.get("/logs?bad=yes").await.count_elements("section[aria-labelledby=log-events] tbody tr"),
        0
    );
}

#[tokio::test]
async fn a_page_that_the_events_fill_exactly_is_the_last_one() {
    let dashboard = TestDashboard::with_config(WITH_LOGS);
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let page_size = usize::try_from(super::LOG_EVENT_PAGE_SIZE).unwrap();
    for (count, next) in [(page_size, 0), (1, 1)] {
        for _ in 0..count {
            insert_event(&dashboard);
        }
        let page = viewer.get("/logs").await;
        assert_eq!(page.count_elements("section[aria-labelledby=log-events] tbody tr"), page_size);
        assert_eq!(page.count_elements("a[rel=next]"), next);
    }
    let older = viewer.get("/logs").await.select_attributes("a[rel=next]", "href").remove(0);
    let page = viewer.get(&older).await;
    assert_eq!(page.count_elements("section[aria-labelledby=log-events] tbody tr"), 1);
    assert_eq!(page.count_elements("a[rel=next]"), 0);
}

/// Stores an event of the source `web`.
fn insert_event(dashboard: &TestDashboard) {
    let event = NewLogEvent {
        source: "web",
        target: "app",
        kind: "created",
        severity: None,
        at: None,
        read_at: dashboard.now(),
        user: None,
        other_user: None,
        token_prefix: None,
        expires_at: None,
        reason: None,
        request: None,
        byte_range: (0, 10),
        text: "x",
    };
    dashboard.write_store(|db| log_events::insert_log_event(db, &event));
}

/// Stores a source that has just sent a line.
fn insert_active_source(dashboard: &TestDashboard, name: &str) {
    let source = LogSourceRecord {
        name: name.into(),
        target: "app".into(),
        last_line_at: Some(dashboard.now()),
        ..LogSourceRecord::default()
    };
    dashboard.write_store(|db| log_sources::upsert_log_source(db, &source));
}

#[tokio::test]
async fn no_problem_is_claimed_while_a_source_sends_nothing() {
    let two = format!("{WITH_LOGS}[[logs]]\nname = \"api\"\ntarget = \"app\"\nfile = \"api.log\"\n");
    // The secret of the third one is missing, so it is not read.
    let drain = "[[logs]]\nname = \"drain\"\ntarget = \"app\"\nkind = \"vercel\"\nsecret_file = \"none\"\n";
    let three = format!("{two}{drain}");
    for (config, sources, expected) in [
        (WITH_LOGS, &["web"][..], "No problems in the logs"),
        (&two, &[], "No log lines yet"),
        (&two, &["web"], "1 log source has not sent a line yet"),
        (&two, &["web", "api"], "No problems in the logs"),
        (&three, &["web", "api"], "1 log source is not read"),
        (&three, &[], "1 log source is not read"),
    ] {
        let dashboard = TestDashboard::with_config(config);
        for source in sources {
            insert_active_source(&dashboard, source);
        }
        let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/logs").await;
        assert_eq!(page.select_text("h1"), expected, "{config} {sources:?}");
    }
}
