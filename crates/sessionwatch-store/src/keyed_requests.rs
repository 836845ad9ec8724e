//! API requests with an idempotency key, and the responses to replay when they are retried.

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, confirmed_time, transaction::Tx};

/// Time for which a response is stored, to replay it when the request is retried.
const IDEMPOTENT_RESPONSE_RETENTION: SignedDuration = SignedDuration::from_hours(24);
/// Time after which a request without a response counts as abandoned.
const UNANSWERED_REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// A request with an idempotency key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// Id of the API token that authenticated the request.
    pub token_id: &'a str,
    /// The idempotency key.
    pub idempotency_key: &'a str,
    /// Hash of the request.
    pub request_hash: &'a str,
}

/// An earlier request with the same idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriorRequest {
    /// There is none. The new request is now in progress.
    NotFound,
    /// The same request is in progress.
    InProgress,
    /// A different request used the same key.
    KeyReused,
    /// The same request was answered with this status and body.
    Answered(u16, String),
}

/// Begins a request with an idempotency key, unless there is an earlier one. Deletes expired responses first.
///
/// # Errors
///
/// If the store cannot be written.
pub fn begin_keyed_request(
    db: Tx<'_>,
    request: KeyedRequest<'_>,
    now: UtcTimestamp,
) -> Result<PriorRequest, StoreError> {
    let passed = confirmed_time::confirmed_retention_time(db, now)?;
    db.execute(
        // A process that crashed in the middle of a request leaves a row without status, which would block its key.
        "DELETE FROM keyed_requests WHERE at < $1 OR (status IS NULL AND at < $2)",
        &[(passed - IDEMPOTENT_RESPONSE_RETENTION).into(), (passed - UNANSWERED_REQUEST_TIMEOUT).into()],
    )?;
    let query = "SELECT request, status, content FROM keyed_requests WHERE token = $1 AND name = $2";
    if let Some(row) = db.query_row(query, &[request.token_id.into(), request.idempotency_key.into()])? {
        let status = row
            .read_optional_i64(1)?
            .map(|status| u16::try_from(status).map_err(|_| row.undecodable_column(1)));
        return Ok(match status.transpose()? {
            // Compared first: even an unanswered request must not be confused with another one.
            _ if row.read_text(0)? != request.request_hash => PriorRequest::KeyReused,
            None => PriorRequest::InProgress,
            Some(status) => PriorRequest::Answered(status, row.read_text(2)?),
        });
    }
    db.execute(
        "INSERT INTO keyed_requests (token, name, request, at, content) VALUES ($1, $2, $3, $4, '')",
        &[request.token_id.into(), request.idempotency_key.into(), request.request_hash.into(), now.into()],
    )?;
    Ok(PriorRequest::NotFound)
}

/// Stores the response to a request in progress. With `None`, forgets the request, so that it can be retried.
///
/// # Errors
///
/// If the store cannot be written.
pub fn finish_keyed_request(
    db: Tx<'_>,
    request: KeyedRequest<'_>,
    answer: Option<(u16, &str)>,
) -> Result<(), StoreError> {
    let (token, key) = (request.token_id.into(), request.idempotency_key.into());
    match answer {
        Some((status, content)) => db.execute(
            "UPDATE keyed_requests SET status = $3, content = $4 WHERE token = $1 AND name = $2",
            &[token, key, i64::from(status).into(), content.into()],
        )?,
        None => db.execute("DELETE FROM keyed_requests WHERE token = $1 AND name = $2", &[token, key])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    fn at(second: i64) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    #[test]
    fn a_request_with_a_key_runs_once_until_answered_or_abandoned() {
        for store in store_of_each_kind() {
            let request = KeyedRequest { token_id: "t1", idempotency_key: "k", request_hash: "c" };
            let begun = |request: KeyedRequest<'_>, second| {
                store.write(|db| begin_keyed_request(db, request, at(second))).unwrap()
            };
            assert_eq!(begun(request, 0), PriorRequest::NotFound);
            assert_eq!(begun(request, 1), PriorRequest::InProgress);
            assert_eq!(begun(KeyedRequest { request_hash: "d", ..request }, 1), PriorRequest::KeyReused);
            assert_eq!(begun(KeyedRequest { token_id: "t2", ..request }, 1), PriorRequest::NotFound);
            assert_eq!(begun(request, 601), PriorRequest::NotFound);
            store.write(|db| finish_keyed_request(db, request, Some((201, "made")))).unwrap();
            assert_eq!(begun(request, 9_000), PriorRequest::Answered(201, "made".into()));
            assert_eq!(begun(request, 90_000), PriorRequest::NotFound);
            store.write(|db| finish_keyed_request(db, request, None)).unwrap();
            assert_eq!(begun(request, 90_001), PriorRequest::NotFound);
        }
    }
}
