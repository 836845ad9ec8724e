//! API tokens, and the responses stored for idempotency keys.

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    accounts::{self, AccountRecord, AccountRole},
    confirmed_time,
    row::StoreRow,
    transaction::Tx,
};

/// Time for which a response is stored, to replay it when the request is retried.
const IDEMPOTENT_RESPONSE_RETENTION: SignedDuration = SignedDuration::from_hours(24);
/// Time after which a request without a response counts as abandoned.
const UNANSWERED_REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// A permission of a token.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "kebab-case")]
pub enum TokenScope {
    /// Read everything.
    Read,
    /// Acknowledge, resolve, comment on and silence alerts; attest checklist items.
    Alerts,
    /// Create and apply plans; restore archived rows.
    Actions,
    /// Work on incidents.
    Incidents,
    /// Manage the account's own login sessions and tokens.
    Account,
    /// Manage accounts and channels.
    Admin,
}

impl TokenScope {
    /// Every scope.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the name of the scope.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the lowest role for which the scope has an effect.
    #[must_use]
    pub const fn required_role(self) -> AccountRole {
        match self {
            Self::Read | Self::Account => AccountRole::Viewer,
            Self::Alerts | Self::Actions | Self::Incidents => AccountRole::Responder,
            Self::Admin => AccountRole::Admin,
        }
    }
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// The public id.
    pub id: String,
    /// SHA-256 of the token, in hexadecimal.
    pub token_hash: String,
    /// The account that the token acts for.
    pub account: String,
    /// The label chosen by its owner.
    pub label: String,
    /// The token's scopes.
    pub scopes: Vec<TokenScope>,
    /// Time of creation.
    pub created_at: UtcTimestamp,
    /// Time of expiry.
    pub expires_at: UtcTimestamp,
    /// Time of last use.
    pub last_used_at: Option<UtcTimestamp>,
}

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

const TOKEN_COLUMNS: &str = "id, hash, account, label, scopes, created_at, expires_at, seen_at";

fn token_from_row(row: &StoreRow) -> Result<ApiToken, StoreError> {
    // An unknown scope makes the token undecodable: ignoring it could change what the token may do.
    let scopes = |text: &str| text.split(' ').map(|scope| scope.parse().ok()).collect();
    Ok(ApiToken {
        id: row.read_text(0)?,
        token_hash: row.read_text(1)?,
        account: row.read_text(2)?,
        label: row.read_text(3)?,
        scopes: row.decode_text(4, scopes)?,
        created_at: row.read_timestamp(5)?,
        expires_at: row.read_timestamp(6)?,
        last_used_at: row.read_optional_timestamp(7)?,
    })
}

/// Stores a token.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_token(db: Tx<'_>, token: &ApiToken) -> Result<(), StoreError> {
    // Sorted by the caller, so that equal sets of scopes are stored as equal texts.
    let scopes = token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ");
    db.execute(
        "INSERT INTO api_tokens (id, hash, account, label, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&token.id).into(),
            (&token.token_hash).into(),
            (&token.account).into(),
            (&token.label).into(),
            (&scopes).into(),
            token.created_at.into(),
            token.expires_at.into(),
        ],
    )?;
    Ok(())
}

/// Returns a token and its account, by the token's hash.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_token_by_hash(db: Tx<'_>, hash: &str) -> Result<Option<(ApiToken, AccountRecord)>, StoreError> {
    let query = format!("SELECT {TOKEN_COLUMNS} FROM api_tokens WHERE hash = $1");
    let Some(token) = db.query_row(&query, &[hash.into()])?.as_ref().map(token_from_row).transpose()? else {
        return Ok(None);
    };
    // A token cannot outlive its account.
    Ok(accounts::find_account(db, &token.account)?.map(|account| (token, account)))
}

/// Returns the tokens of an account, or all tokens, latest first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_tokens(db: Tx<'_>, account: Option<&str>) -> Result<Vec<ApiToken>, StoreError> {
    let query = format!(
        "SELECT {TOKEN_COLUMNS} FROM api_tokens WHERE (CAST($1 AS TEXT) IS NULL OR account = $1) ORDER BY created_at DESC, id"
    );
    db.query_rows(&query, &[super::row::Param::Text(account)])?.iter().map(token_from_row).collect()
}

/// Records the use of a token.
///
/// # Errors
///
/// If the store cannot be written.
pub fn touch_token(db: Tx<'_>, id: &str, now: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("UPDATE api_tokens SET seen_at = $2 WHERE id = $1", &[id.into(), now.into()])?;
    Ok(())
}

/// Deletes a token of an account, or of any account if `None`. Returns `false` if there is no such token.
///
/// # Errors
///
/// If the store cannot be written.
pub fn delete_token(db: Tx<'_>, account: Option<&str>, id: &str) -> Result<bool, StoreError> {
    // The cast gives the parameter a type, which PostgreSQL cannot infer from `IS NULL`.
    let query = "DELETE FROM api_tokens WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account = $2)";
    Ok(db.execute(query, &[id.into(), super::row::Param::Text(account)])? > 0)
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
    fn tokens_are_kept_used_and_removed_with_their_account() {
        for store in store_of_each_kind() {
            let account = AccountRecord {
                name: "ada".into(),
                role: AccountRole::Viewer,
                password_hash: credentials::Secret::default(),
                oidc_subject: String::new(),
                created_at: at(1),
            };
            let mut token = ApiToken {
                id: "t1".into(),
                token_hash: "h1".into(),
                account: "ada".into(),
                label: "deploy bot".into(),
                scopes: vec![TokenScope::Read, TokenScope::Actions],
                created_at: at(1),
                expires_at: at(9),
                last_used_at: None,
            };
            store
                .write(|db| accounts::upsert_account(db, &account).and_then(|()| insert_token(db, &token)))
                .unwrap();
            store.write(|db| touch_token(db, "t1", at(3))).unwrap();
            token.last_used_at = Some(at(3));
            let found = |hash: &str| store.read(|db| find_token_by_hash(db, hash)).unwrap();
            assert_eq!(found("h1"), Some((token.clone(), account)));
            assert_eq!(found("h2"), None);
            assert_eq!(store.read(|db| list_tokens(db, Some("ada"))).unwrap(), [token.clone()]);
            assert_eq!(store.read(|db| list_tokens(db, Some("bob"))).unwrap(), []);
            assert!(!store.write(|db| delete_token(db, Some("bob"), "t1")).unwrap());
            assert!(store.write(|db| accounts::delete_account(db, "ada")).unwrap());
            assert_eq!(store.read(|db| list_tokens(db, None)).unwrap(), []);
        }
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
