//! Live events (SSE), on which open pages refresh.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::stream::{self, Stream};
use sessionwatch_app::app::{AppState, LiveEvent, login_sessions::is_login_valid};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant as Monotonic, timeout_at},
};

use super::{auth::LoggedIn, format::sanitize_text};

/// Lifetime of a stream, after which the browser reconnects.
const MAX_STREAM_DURATION: Duration = Duration::from_secs(3_600);
/// Interval of keep-alive comments, which stop proxies from closing an idle connection, and of checks of the login
/// session.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Data of an event that may concern any target. Browsers drop an event without data.
const ANY_TARGET: &str = "*";

/// An open page's subscription, which ends with its login session.
struct EventSubscription {
    app: Arc<AppState>,
    events: Receiver<LiveEvent>,
    /// The hash of the session token.
    login_hash: String,
    ends_at: Monotonic,
    checked_at: Monotonic,
}

impl EventSubscription {
    /// Waits for the next event. Returns `None` once the login session has ended, or the lifetime is over.
    async fn next_event(&mut self) -> Option<sse::Event> {
        loop {
            let check_at = self.checked_at + KEEP_ALIVE_INTERVAL;
            let received = timeout_at(check_at.min(self.ends_at), self.events.recv()).await;
            let now = Monotonic::now();
            if now >= self.ends_at {
                return None;
            }
            if now >= check_at || matches!(received, Ok(Ok(LiveEvent::LoginsEnded))) {
                if !is_login_valid(&self.app, &self.login_hash).await {
                    return None;
                }
                self.checked_at = now;
            }
            let (name, about) = match received {
                Err(_) | Ok(Ok(LiveEvent::LoginsEnded)) => continue,
                Ok(Ok(LiveEvent::RunFinished { target, .. })) => ("run_finished", target),
                Ok(Ok(LiveEvent::LogsEvaluated { target, .. })) => ("logs_evaluated", target),
                Ok(Ok(LiveEvent::TargetChanged { target })) => ("target_changed", target),
                Ok(Ok(LiveEvent::DeliveryFinished { channel })) => ("delivered", channel),
                // Events were missed, maybe also the end of the login session: check that, and make the page refresh.
                Ok(Err(RecvError::Lagged(_))) if is_login_valid(&self.app, &self.login_hash).await => {
                    ("run_finished", ANY_TARGET.to_owned())
                }
                Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return None,
            };
            return Some(
                sse::Event::default().event(name).data(sanitize_text(&about)).retry(Duration::from_secs(3)),
            );
        }
    }
}

pub(super) async fn stream_events(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (events, now) = (app.events.subscribe(), Monotonic::now());
    let listener = EventSubscription {
        app,
        events,
        login_hash: person.login_hash,
        ends_at: now + MAX_STREAM_DURATION,
        checked_at: now,
    };
    let stream = stream::unfold(listener, |mut listener| async move {
        let event = listener.next_event().await?;
        Some((Ok(event), listener))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL))
}

#[cfg(test)]
mod tests;
