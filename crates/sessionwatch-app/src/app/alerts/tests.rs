use jiff::SignedDuration;
use sessionwatch_core::alert::Alert;
use sessionwatch_store::outbox;

use super::*;
use crate::app::test_app::TestApp;

const CHANNEL: &str =
    "[[channel]]\nname = \"chat\"\nkind = \"slack\"\nurl = \"https://hooks.example.org/1\"\n";

fn unreachable_alert() -> AlertRef {
    AlertRef { target: "shop".into(), check: "target-unreachable".into() }
}

fn firing(app: &AppState) -> AlertState {
    AlertState::Firing { since: app.clock.now(), passing_runs: 0, notified_at: Some(app.clock.now()) }
}

/// Returns an app in which the alert of the target `shop` has that state.
fn scene(state: impl FnOnce(&AppState) -> AlertState) -> TestApp {
    let scene = TestApp::with_config(CHANNEL);
    let alert = AlertRecord {
        target: "shop".into(),
        check: "target-unreachable".into(),
        alert: Alert { state: state(&scene), ..Alert::default() },
        severity: "high".into(),
        summary: "nothing was seen for an hour".into(),
        acknowledged_by: None,
        note: None,
        verdict: Some("failing".into()),
        unknown_reason: None,
        finding: None,
        updated_at: scene.clock.now(),
    };
    scene.store.write(|db| alerts::upsert_alert(db, &alert)).unwrap();
    scene
}

async fn record(scene: &TestApp) -> AlertRecord {
    find_alert(scene, unreachable_alert()).await.unwrap().unwrap()
}

/// Returns kind and summary of each event of the target `shop`.
async fn events(scene: &TestApp) -> Vec<(String, String)> {
    let search = EventSearch {
        from: UtcTimestamp::MIN,
        to: UtcTimestamp::MAX,
        target: Some("shop".into()),
        check: None,
        text: None,
        alerts_only: false,
        before_id: None,
        limit: 10,
    };
    let found = search_events(scene, search).await.unwrap().into_iter();
    found.map(|event| (event.kind, event.summary)).collect()
}

#[tokio::test]
async fn the_last_acknowledgment_of_an_alert_counts() {
    let scene = scene(firing);
    acknowledge_alert(&scene, &Actor::from_account("ada"), unreachable_alert(), "on it".into())
        .await
        .unwrap();
    let alert = record(&scene).await;
    assert_eq!((alert.acknowledged_by.as_deref(), alert.note.as_deref()), (Some("ada"), Some("on it")));
    acknowledge_alert(&scene, &Actor::from_token("bob", "deploys"), unreachable_alert(), String::new())
        .await
        .unwrap();
    let alert = record(&scene).await;
    assert_eq!((alert.acknowledged_by.as_deref(), alert.note), (Some("bob (deploys)"), None));
    assert_eq!(alert.alert.state, firing(&scene), "the alert keeps firing");
    assert_eq!(
        scene.audit_trail(),
        [
            ["ada", "alert.acknowledged", r#"{"target":"shop","check":"target-unreachable","note":"on it"}"#],
            [
                "bob (deploys)",
                "alert.acknowledged",
                r#"{"target":"shop","check":"target-unreachable","note":""}"#
            ],
        ]
    );
}

#[tokio::test]
async fn only_a_firing_alert_can_be_acknowledged_or_resolved() {
    let pending = scene(|app| AlertState::Pending { failing_runs: 1, since: app.clock.now() });
    let healthy = scene(|_| AlertState::Resolved);
    let unknown = TestApp::with_config("");
    for scene in [&pending, &healthy, &unknown] {
        let ada = Actor::from_account("ada");
        let tried = [
            acknowledge_alert(scene, &ada, unreachable_alert(), String::new()).await,
            resolve_firing_alert(scene, &ada, unreachable_alert(), String::new()).await,
        ];
        for refused in tried {
            let message = "This alert is no longer firing. Another user may have resolved the alert.";
            assert!(matches!(refused, Err(AppError::Conflict(text)) if text == message));
        }
        assert!(
            scene.audit_trail().is_empty() && events(scene).await.is_empty(),
            "a rejected action leaves no record"
        );
    }
}

#[tokio::test]
async fn a_resolved_alert_is_notified_with_the_reason_and_resolved_once() {
    let scene = scene(firing);
    scene.advance_clock(SignedDuration::from_mins(5));
    let ada = Actor::from_account("ada");
    resolve_firing_alert(&scene, &ada, unreachable_alert(), "the network is back".into()).await.unwrap();
    assert_eq!(record(&scene).await.alert.state, AlertState::Resolved);
    let recorded = events(&scene).await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0].0, "resolved");
    assert!(recorded[0].1.contains("resolved by ada: the network is back"), "{recorded:?}");
    let pending = scene.store.read(outbox::list_pending_channels).unwrap();
    assert_eq!(pending, ["chat"], "a channel that was notified of the alert is notified of its end");
    assert!(matches!(
        resolve_firing_alert(&scene, &ada, unreachable_alert(), String::new()).await,
        Err(AppError::Conflict(_))
    ));
    assert_eq!(scene.audit_trail().len(), 1);
}

#[tokio::test]
async fn a_comment_needs_a_known_check_but_not_a_firing_alert() {
    let (known, unknown) = (scene(|_| AlertState::Resolved), TestApp::with_config(""));
    let ada = Actor::from_account("ada");
    add_comment(&known, &ada, unreachable_alert(), "was a deployment".into()).await.unwrap();
    assert_eq!(events(&known).await, [("comment".into(), "ada: was a deployment".into())]);
    assert_eq!(known.audit_trail()[0][..2], ["ada", "alert.commented"]);
    let refused = add_comment(&unknown, &ada, unreachable_alert(), "?".into()).await;
    let message = "This check has no results on this target.";
    assert!(matches!(refused, Err(AppError::NotFound(text)) if text == message));
    assert!(unknown.audit_trail().is_empty());
}

#[tokio::test]
async fn pending_and_firing_alerts_are_active() {
    for (scene, is_active) in [
        (scene(firing), true),
        (scene(|app| AlertState::Pending { failing_runs: 1, since: app.clock.now() }), true),
        (scene(|_| AlertState::Resolved), false),
    ] {
        let count = async |filter| list_alerts(&scene, filter).await.unwrap().len();
        assert_eq!(count(AlertFilter::Active).await, usize::from(is_active));
        assert_eq!(count(AlertFilter::All).await, 1);
    }
}
