//! Requests of programs that are done once, however often they are sent.

use std::sync::Arc;

use sessionwatch_store::api_tokens::{self, KeyedRequest};

use super::{AppError, AppState};

pub use sessionwatch_store::api_tokens::PriorRequest;

/// A request by its key, hashed so that it can be compared with a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// The id of the token that it came with.
    pub token_id: String,
    /// The key.
    pub key: String,
    /// What it asks for, hashed.
    pub content_hash: String,
}

/// An answer that is stored for when the request comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status.
    pub status: u16,
    /// The body; empty where it is kept nowhere.
    pub body: String,
}

impl IdempotentRequest {
    fn as_stored(&self) -> KeyedRequest<'_> {
        KeyedRequest {
            token_id: &self.token_id,
            idempotency_key: &self.key,
            request_hash: &self.content_hash,
        }
    }
}

/// Begins a request: what is known of it already.
///
/// # Errors
///
/// If the store does not answer.
pub async fn begin_request(
    app: &Arc<AppState>,
    request: IdempotentRequest,
) -> Result<PriorRequest, AppError> {
    let now = app.clock.now();
    app.write_store(move |db| api_tokens::begin_keyed_request(db, request.as_stored(), now)).await
}

/// Stores what a request was answered; without an answer, it may be sent again.
///
/// # Errors
///
/// If the store does not answer.
pub async fn store_response(
    app: &Arc<AppState>,
    request: IdempotentRequest,
    response: Option<StoredResponse>,
) -> Result<(), AppError> {
    app.write_store(move |db| {
        let answer = response.as_ref().map(|answer| (answer.status, answer.body.as_str()));
        api_tokens::finish_keyed_request(db, request.as_stored(), answer)
    })
    .await
}
