//! What happens, as it happens: server-sent events, by which open pages know that they are out of date.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::error::RecvError;

use crate::daemon::{Event, Shared};

/// After so long a browser asks again, and so shows whether its log-in still holds.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often something is said so that nobody on the way takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(20);

pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let events = shared.events.subscribe();
    let until = tokio::time::Instant::now() + LONGEST;
    let stream = stream::unfold(events, move |mut events| async move {
        let said = tokio::time::timeout_at(until, events.recv()).await.ok()?;
        let event = match said {
            Ok(Event::Looked { target, .. }) => sse::Event::default().event("looked").data(plain(&target)),
            Ok(Event::Judged { target, .. }) => sse::Event::default().event("judged").data(plain(&target)),
            Ok(Event::Acted { target }) => sse::Event::default().event("acted").data(plain(&target)),
            Ok(Event::Delivered { channel }) => {
                sse::Event::default().event("delivered").data(plain(&channel))
            }
            // Something was missed: the page is out of date all the same.
            Err(RecvError::Lagged(_)) => sse::Event::default().event("looked").data(""),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event.retry(Duration::from_secs(3))), events))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE))
}

/// A line break would end the event.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
