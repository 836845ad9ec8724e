//! What happens, as it happens: server-sent events, by which open pages know that they are out of date.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::stream::{self, Stream};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant as Monotonic, timeout_at},
};

use super::{access::Person, layout::said, read};
use crate::{
    daemon::{Event, Shared},
    store::accounts,
};

/// After so long a browser asks again.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often something is said so that nobody on the way takes the connection for dead, and how often the login is looked up.
const ALIVE: Duration = Duration::from_secs(20);

/// An open page that listens, for as long as its login holds.
struct Listener {
    shared: Arc<Shared>,
    events: Receiver<Event>,
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
            if now >= check_at || matches!(heard, Ok(Ok(Event::LoginsEnded))) {
                if !self.holds().await {
                    return None;
                }
                self.checked_at = now;
            }
            let (name, about) = match heard {
                Err(_) | Ok(Ok(Event::LoginsEnded)) => continue,
                Ok(Ok(Event::Looked { target, .. })) => ("looked", target),
                Ok(Ok(Event::Judged { target, .. })) => ("judged", target),
                Ok(Ok(Event::Acted { target })) => ("acted", target),
                Ok(Ok(Event::Delivered { channel })) => ("delivered", channel),
                // Something was missed, maybe also the end of the login: the page is out of date all the same.
                Ok(Err(RecvError::Lagged(_))) if self.holds().await => ("looked", String::new()),
                Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return None,
            };
            return Some(sse::Event::default().event(name).data(said(&about)).retry(Duration::from_secs(3)));
        }
    }

    /// Returns `true` if the login holds. Where the store does not answer, it is not known to hold.
    async fn holds(&self) -> bool {
        let (login, now) = (self.login.clone(), self.shared.clock.now());
        let found = read(&self.shared, move |db| accounts::login_of(db, &login)).await;
        found.is_ok_and(|found| found.is_some_and(|(login, _)| login.is_valid(now)))
    }
}

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    person: Person,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (events, now) = (shared.events.subscribe(), Monotonic::now());
    let listener = Listener { shared, events, login: person.login, ends_at: now + LONGEST, checked_at: now };
    let stream = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}
