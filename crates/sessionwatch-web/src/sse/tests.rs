use axum::{
    body::{Body, BodyDataStream},
    http::{Request, StatusCode, header},
};
use futures_util::StreamExt as _;
use sessionwatch_app::app::accounts::AccountRole;

use super::*;
use crate::test_dashboard::{TestBrowser, TestDashboard};

/// Opens the stream of a browser.
async fn listen(dashboard: &TestDashboard, browser: &TestBrowser<'_>) -> BodyDataStream {
    let request = Request::get("/events").header(header::COOKIE, &browser.cookie);
    let response = dashboard.send_request(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    response.into_body().into_data_stream()
}

/// Returns the next event, or `None` once the stream has ended.
async fn next_event(stream: &mut BodyDataStream) -> Option<String> {
    let event = stream.next().await?.unwrap();
    Some(String::from_utf8(event.to_vec()).unwrap())
}

fn publish(dashboard: &TestDashboard, event: LiveEvent) {
    dashboard.app.events.send(event).unwrap();
}

fn target_changed(target: &str) -> LiveEvent {
    LiveEvent::TargetChanged { target: target.into() }
}

#[tokio::test]
async fn an_event_names_what_changed_on_one_line() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let mut stream = listen(&dashboard, &viewer).await;
    let at = dashboard.now();
    for (event, expected) in [
        (LiveEvent::RunFinished { target: "app".into(), at }, "event: run_finished\ndata: app\n"),
        (LiveEvent::LogsEvaluated { target: "app".into(), at }, "event: logs_evaluated\ndata: app\n"),
        (target_changed("app"), "event: target_changed\ndata: app\n"),
        (LiveEvent::DeliveryFinished { channel: "team".into() }, "event: delivered\ndata: team\n"),
        // A line break would begin another event.
        (
            target_changed("a\r\nevent: x\u{202e}"),
            "event: target_changed\ndata: a\u{fffd}\u{fffd}event: x\u{fffd}\n",
        ),
    ] {
        publish(&dashboard, event);
        assert_eq!(next_event(&mut stream).await.unwrap(), format!("{expected}retry: 3000\n\n"));
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_login_session_and_sends_nothing_more() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let other = dashboard.log_in_as(AccountRole::Responder).await;
    let (mut ended, mut open) = (listen(&dashboard, &viewer).await, listen(&dashboard, &other).await);
    assert_eq!(viewer.post("/logout", &[]).await.status, StatusCode::SEE_OTHER);
    publish(&dashboard, target_changed("app"));
    assert_eq!(next_event(&mut ended).await, None);
    // Of all streams, only that one.
    assert!(next_event(&mut open).await.unwrap().contains("target_changed"));
}

#[tokio::test]
async fn a_stream_ends_when_an_admin_deletes_the_account() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let admin = dashboard.log_in_as(AccountRole::Admin).await;
    let mut stream = listen(&dashboard, &viewer).await;
    let deleted = admin.post("/settings/accounts/delete", &[("name", "viewer")]).await;
    assert_eq!(deleted.status, StatusCode::SEE_OTHER);
    assert_eq!(next_event(&mut stream).await, None);
    assert_eq!(viewer.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn missed_events_make_an_open_page_refresh_and_end_a_stream_whose_login_session_is_over() {
    let dashboard = TestDashboard::new();
    let viewer = dashboard.log_in_as(AccountRole::Viewer).await;
    let mut stream = listen(&dashboard, &viewer).await;
    let flood = || (0..2_000).for_each(|_| publish(&dashboard, target_changed("app")));
    flood();
    // Browsers drop an event without data.
    assert_eq!(next_event(&mut stream).await.unwrap(), "event: run_finished\ndata: *\nretry: 3000\n\n");
    flood();
    // The event about the end is among those that were missed.
    dashboard.write_store(|db| db.execute("DELETE FROM login_sessions", &[]));
    let mut received = 0;
    while next_event(&mut stream).await.is_some() {
        received += 1;
    }
    assert_eq!(received, 0);
}
