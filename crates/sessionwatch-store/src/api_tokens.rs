//! Tokens of programs, and what programs were answered.

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    accounts::{self, AccountRecord, AccountRole},
    confirmed_time,
    row::StoreRow,
    transaction::Tx,
};

/// How long an answer is kept for the case that the request is sent again.
const IDEMPOTENT_RESPONSE_RETENTION: SignedDuration = SignedDuration::from_hours(24);
/// After so long nobody works any more on what has no answer.
const UNANSWERED_REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// What a token is for.
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
    /// Look at everything
    Read,
    /// Acknowledge, resolve, comment on and silence alerts, and vouch for the checklist
    Alerts,
    /// Make plans, carry them out, and put back
    Actions,
    /// Work on incidents
    Incidents,
    /// The account's own log-ins and tokens
    Account,
    /// Accounts and channels
    Admin,
}

impl TokenScope {
    /// Every scope.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The role without which the scope gives nothing.
    #[must_use]
    pub const fn required_role(self) -> AccountRole {
        match self {
            Self::Read | Self::Account => AccountRole::Viewer,
            Self::Alerts | Self::Actions | Self::Incidents => AccountRole::Responder,
            Self::Admin => AccountRole::Admin,
        }
    }
}

/// A token of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id, which is no secret.
    pub id: String,
    /// The SHA-256 of it, in hexadecimal digits.
    pub token_hash: String,
    /// The account in whose name it acts.
    pub account: String,
    /// What it is called.
    pub label: String,
    /// What it is for.
    pub scopes: Vec<TokenScope>,
    /// When it was made.
    pub created_at: UtcTimestamp,
    /// When it ends.
    pub expires_at: UtcTimestamp,
    /// When it was used last.
    pub last_used_at: Option<UtcTimestamp>,
}

/// A request that carries a key, by which it is done once.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// The id of the token that it came with.
    pub token_id: &'a str,
    /// The key.
    pub idempotency_key: &'a str,
    /// What it asks for, hashed.
    pub request_hash: &'a str,
}

/// What is known of such a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriorRequest {
    /// Nothing; from now on it is under way.
    NotFound,
    /// It is under way.
    InProgress,
    /// Something else was asked for with the same key.
    KeyReused,
    /// It was answered so: a status, and a content.
    Answered(u16, String),
}

const TOKEN_COLUMNS: &str = "id, hash, account, label, scopes, created_at, expires_at, seen_at";

fn token_from_row(row: &StoreRow) -> Result<ApiToken, StoreError> {
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

/// Keeps a token.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_token(db: Tx<'_>, token: &ApiToken) -> Result<(), StoreError> {
    let scopes = token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ");
    db.execute(
        "INSERT INTO tokens (id, hash, account, label, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
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

/// A token and its account, by the hash of the token.
///
/// # Errors
///
/// If they cannot be read.
pub fn find_token_by_hash(db: Tx<'_>, hash: &str) -> Result<Option<(ApiToken, AccountRecord)>, StoreError> {
    let query = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE hash = $1");
    let Some(token) = db.query_row(&query, &[hash.into()])?.as_ref().map(token_from_row).transpose()? else {
        return Ok(None);
    };
    Ok(accounts::find_account(db, &token.account)?.map(|account| (token, account)))
}

/// The tokens of an account, or all, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_tokens(db: Tx<'_>, account: Option<&str>) -> Result<Vec<ApiToken>, StoreError> {
    let query = format!(
        "SELECT {TOKEN_COLUMNS} FROM tokens WHERE (CAST($1 AS TEXT) IS NULL OR account = $1) ORDER BY created_at DESC, id"
    );
    db.query_rows(&query, &[super::row::Param::Text(account)])?.iter().map(token_from_row).collect()
}

/// Notes that a token was used.
///
/// # Errors
///
/// If it cannot be written.
pub fn touch_token(db: Tx<'_>, id: &str, now: UtcTimestamp) -> Result<(), StoreError> {
    db.execute("UPDATE tokens SET seen_at = $2 WHERE id = $1", &[id.into(), now.into()])?;
    Ok(())
}

/// Removes a token of an account, or of anybody: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn delete_token(db: Tx<'_>, account: Option<&str>, id: &str) -> Result<bool, StoreError> {
    let query = "DELETE FROM tokens WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account = $2)";
    Ok(db.execute(query, &[id.into(), super::row::Param::Text(account)])? > 0)
}

/// Begins a request that carries a key, unless that was begun before. Answers that are too old are forgotten.
///
/// # Errors
///
/// If it cannot be written.
pub fn begin_keyed_request(
    db: Tx<'_>,
    request: KeyedRequest<'_>,
    now: UtcTimestamp,
) -> Result<PriorRequest, StoreError> {
    let passed = confirmed_time::confirmed_retention_time(db, now)?;
    db.execute(
        "DELETE FROM answers WHERE at < $1 OR (status IS NULL AND at < $2)",
        &[(passed - IDEMPOTENT_RESPONSE_RETENTION).into(), (passed - UNANSWERED_REQUEST_TIMEOUT).into()],
    )?;
    let query = "SELECT request, status, content FROM answers WHERE token = $1 AND name = $2";
    if let Some(row) = db.query_row(query, &[request.token_id.into(), request.idempotency_key.into()])? {
        let status = row
            .read_optional_i64(1)?
            .map(|status| u16::try_from(status).map_err(|_| row.undecodable_column(1)));
        return Ok(match status.transpose()? {
            _ if row.read_text(0)? != request.request_hash => PriorRequest::KeyReused,
            None => PriorRequest::InProgress,
            Some(status) => PriorRequest::Answered(status, row.read_text(2)?),
        });
    }
    db.execute(
        "INSERT INTO answers (token, name, request, at, content) VALUES ($1, $2, $3, $4, '')",
        &[request.token_id.into(), request.idempotency_key.into(), request.request_hash.into(), now.into()],
    )?;
    Ok(PriorRequest::NotFound)
}

/// Keeps the answer to a request that was begun; without one, it can be sent again as if it never had been.
///
/// # Errors
///
/// If it cannot be written.
pub fn finish_keyed_request(
    db: Tx<'_>,
    request: KeyedRequest<'_>,
    answer: Option<(u16, &str)>,
) -> Result<(), StoreError> {
    let (token, key) = (request.token_id.into(), request.idempotency_key.into());
    match answer {
        Some((status, content)) => db.execute(
            "UPDATE answers SET status = $3, content = $4 WHERE token = $1 AND name = $2",
            &[token, key, i64::from(status).into(), content.into()],
        )?,
        None => db.execute("DELETE FROM answers WHERE token = $1 AND name = $2", &[token, key])?,
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
    fn a_request_with_a_key_is_begun_once_until_it_is_answered_or_abandoned() {
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
