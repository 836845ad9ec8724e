use sessionwatch_core::duration::SECOND;
use sessionwatch_store::log_events::NewLogEvent;

use super::*;
use crate::app::test_app::TestApp;

/// Stores events of these targets and kinds, read now.
fn scene(events: &[(&str, &str)]) -> TestApp {
    let scene = TestApp::with_config("");
    for (target, kind) in events {
        let event = NewLogEvent {
            source: "web",
            target,
            kind,
            severity: None,
            at: None,
            read_at: scene.clock.now(),
            user: Some("7"),
            other_user: None,
            token_prefix: Some("0a1b2c3d"),
            expires_at: None,
            reason: None,
            request: None,
            byte_range: (0, 1),
            text: "event",
        };
        scene.store.write(|db| log_events::insert_log_event(db, &event)).unwrap();
    }
    scene
}

fn query(app: &AppState, targets: &[&str], limit: u32) -> LogEventQuery {
    let now = app.clock.now();
    LogEventQuery {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        kind: None,
        token_prefix: None,
        user: None,
        source: None,
        only_warnings: false,
        period: Period { from: now - SECOND, to: now + SECOND },
        before: None,
        limit,
    }
}

async fn page(app: &Arc<AppState>, query: LogEventQuery) -> (Vec<i64>, u64) {
    let page = load_log_event_page(app, query).await.unwrap();
    (page.events.iter().map(|event| event.id).collect(), page.matching)
}

#[tokio::test]
async fn a_page_of_several_targets_has_the_latest_events_of_all() {
    let scene = scene(&[("shop", "created"), ("app", "created"), ("shop", "destroyed"), ("app", "created")]);
    let both = |limit| query(&scene, &["shop", "app"], limit);
    assert_eq!(page(&scene, both(3)).await, (vec![4, 3, 2], 4));
    assert_eq!(page(&scene, LogEventQuery { before: Some(2), ..both(3) }).await, (vec![1], 4));
    assert_eq!(page(&scene, both(0)).await, (vec![], 4));
    let created = LogEventQuery { kind: Some("created".into()), ..both(10) };
    assert_eq!(page(&scene, created).await, (vec![4, 2, 1], 3));
    assert_eq!(page(&scene, query(&scene, &["shop"], 10)).await, (vec![3, 1], 2));
    assert_eq!(page(&scene, query(&scene, &[], 10)).await, (vec![], 0));
    assert_eq!(count_log_events(&scene, both(1)).await.unwrap(), 4);
    for (limit, has_more) in [(3, true), (4, false), (5, false)] {
        assert_eq!(load_log_event_page(&scene, both(limit)).await.unwrap().has_more, has_more, "{limit}");
    }
}

#[tokio::test]
async fn pattern_characters_of_a_filter_match_only_themselves() {
    let scene = scene(&[("shop", "created")]);
    let with = |change: fn(&mut LogEventQuery)| {
        let mut query = query(&scene, &["shop"], 10);
        change(&mut query);
        query
    };
    for (query, found) in [
        (with(|query| query.user = Some("7".into())), 1),
        (with(|query| query.user = Some("%".into())), 0),
        (with(|query| query.token_prefix = Some("0a1b2c3d".into())), 1),
        (with(|query| query.token_prefix = Some("0a1b%".into())), 0),
        (with(|query| query.kind = Some("' OR '1'='1".into())), 0),
        (with(|query| query.only_warnings = true), 0),
        (with(|query| query.source = Some("WEB".into())), 0),
    ] {
        assert_eq!(count_log_events(&scene, query.clone()).await.unwrap(), found, "{query:?}");
    }
}
