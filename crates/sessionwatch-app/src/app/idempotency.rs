//! Requests of programs that are done once, however often they are sent.

use std::sync::Arc;

use sessionwatch_store::tokens::{self, Request};

use super::{AppError, AppState};

pub use sessionwatch_store::tokens::Earlier;

/// A request by its key, hashed so that it can be compared with a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// The id of the token that it came with.
    pub token: String,
    /// The key.
    pub key: String,
    /// What it asks for, hashed.
    pub content: String,
}

/// An answer that is stored for when the request comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The status.
    pub status: u16,
    /// The body; empty where it is kept nowhere.
    pub content: String,
}

impl IdempotentRequest {
    fn as_stored(&self) -> Request<'_> {
        Request { token: &self.token, key: &self.key, content: &self.content }
    }
}

/// Begins a request: what is known of it already.
///
/// # Errors
///
/// If the store does not answer.
pub async fn begin(app: &Arc<AppState>, request: IdempotentRequest) -> Result<Earlier, AppError> {
    let now = app.clock.now();
    app.write(move |db| tokens::begin(db, request.as_stored(), now)).await
}

/// Stores what a request was answered; without an answer, it may be sent again.
///
/// # Errors
///
/// If the store does not answer.
pub async fn store_answer(
    app: &Arc<AppState>,
    request: IdempotentRequest,
    answer: Option<StoredAnswer>,
) -> Result<(), AppError> {
    app.write(move |db| {
        let answer = answer.as_ref().map(|answer| (answer.status, answer.content.as_str()));
        tokens::answer(db, request.as_stored(), answer)
    })
    .await
}
