//! API tokens.

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    accounts::{self, AccountRecord, AccountRole},
    row::StoreRow,
    transaction::Tx,
};

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
        "INSERT INTO api_tokens (id, hash, account, label, scopes, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
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
        "SELECT {TOKEN_COLUMNS} FROM api_tokens WHERE (CAST($1 AS TEXT) IS NULL OR account = $1) \
         ORDER BY created_at DESC, id"
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

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
}
