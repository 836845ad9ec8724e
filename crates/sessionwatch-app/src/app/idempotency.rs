//! Idempotency keys of the API: a request is executed once, even if a program sends it again.

use std::sync::Arc;

use sessionwatch_store::keyed_requests::{self, KeyedRequest};

use super::{AppError, AppState};

pub use sessionwatch_store::keyed_requests::PriorRequest;

/// Request with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// Id of the API token. Keys of different tokens are independent.
    pub token_id: String,
    /// Idempotency key.
    pub key: String,
    /// Hash of method, path and body, to detect a key that is reused for another request.
    pub content_hash: String,
}

/// Response to replay when the request is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Body; empty if it must not be stored.
    pub body: String,
}

impl IdempotentRequest {
    fn as_stored(&self) -> KeyedRequest<'_> {
        KeyedRequest {
            // Part of the key: two programs may choose the same key by chance.
            token_id: &self.token_id,
            idempotency_key: &self.key,
            request_hash: &self.content_hash,
        }
    }
}

/// Registers a request. Returns the state of an earlier request with the same key.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn begin_request(
    app: &Arc<AppState>,
    request: IdempotentRequest,
) -> Result<PriorRequest, AppError> {
    let now = app.clock.now();
    app.write_store(move |db| keyed_requests::begin_keyed_request(db, request.as_stored(), now)).await
}

/// Stores the response to a request. `None` releases the key, so that the request can be sent again.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn store_response(
    app: &Arc<AppState>,
    request: IdempotentRequest,
    response: Option<StoredResponse>,
) -> Result<(), AppError> {
    app.write_store(move |db| {
        let answer = response.as_ref().map(|answer| (answer.status, answer.body.as_str()));
        keyed_requests::finish_keyed_request(db, request.as_stored(), answer)
    })
    .await
}
