//! What happens, as it happens: server-sent events, by which open pages know that they are out of date.

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

use super::{auth::LoggedIn, layout::said};

/// After so long a browser asks again.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often something is said so that nobody on the way takes the connection for dead, and how often the login is looked up.
const ALIVE: Duration = Duration::from_secs(20);

/// An open page that listens, for as long as its login holds.
struct Listener {
    app: Arc<AppState>,
    events: Receiver<LiveEvent>,
    /// The hash of the login's token.
    login: String,
    ends_at: Monotonic,
    checked_at: Monotonic,
}

impl Listener {
    /// The next event. Returns `None` once the login has ended, or it is time to ask again.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            let check_at = self.checked_at + ALIVE;
            let heard = timeout_at(check_at.min(self.ends_at), self.events.recv()).await;
            let now = Monotonic::now();
            if now >= self.ends_at {
                return None;
            }
            if now >= check_at || matches!(heard, Ok(Ok(LiveEvent::LoginsEnded))) {
                if !is_login_valid(&self.app, &self.login).await {
                    return None;
                }
                self.checked_at = now;
            }
            let (name, about) = match heard {
                Err(_) | Ok(Ok(LiveEvent::LoginsEnded)) => continue,
                Ok(Ok(LiveEvent::Looked { target, .. })) => ("looked", target),
                Ok(Ok(LiveEvent::Judged { target, .. })) => ("judged", target),
                Ok(Ok(LiveEvent::Acted { target })) => ("acted", target),
                Ok(Ok(LiveEvent::Delivered { channel })) => ("delivered", channel),
                // Something was missed, maybe also the end of the login: the page is out of date all the same.
                Ok(Err(RecvError::Lagged(_))) if is_login_valid(&self.app, &self.login).await => {
                    ("looked", String::new())
                }
                Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return None,
            };
            return Some(sse::Event::default().event(name).data(said(&about)).retry(Duration::from_secs(3)));
        }
    }
}

pub(super) async fn stream(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (events, now) = (app.events.subscribe(), Monotonic::now());
    let listener = Listener { app, events, login: person.login, ends_at: now + LONGEST, checked_at: now };
    let stream = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}
