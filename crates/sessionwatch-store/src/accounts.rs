//! Dashboard accounts, and their login sessions.

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, confirmed_time, row::StoreRow, transaction::Tx};
use credentials::Secret;

/// The role of an account.
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
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "kebab-case")]
pub enum AccountRole {
    /// Read-only.
    Viewer,
    /// Can also act on alerts, sessions and incidents.
    Responder,
    /// Can also manage accounts.
    Admin,
}

impl AccountRole {
    /// Returns the name of the role.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// The account's name.
    pub name: String,
    /// The account's role.
    pub role: AccountRole,
    /// The password hash; empty for an account of an identity provider.
    pub password_hash: Secret,
    /// Issuer and subject at the identity provider; empty for an account with a password.
    pub oidc_subject: String,
    /// Time of creation.
    pub created_at: UtcTimestamp,
}

/// A login session of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSession {
    /// SHA-256 of the session token, in hexadecimal.
    pub token_hash: String,
    /// The account's name.
    pub account: String,
    /// Time of login.
    pub created_at: UtcTimestamp,
    /// Time of last use.
    pub last_used_at: UtcTimestamp,
    /// Time of expiry unless used again, in whole milliseconds.
    pub expires_at: UtcTimestamp,
    /// The client's IP address.
    pub client_address: String,
    /// The client's user agent.
    pub user_agent: String,
}

/// Largest lead of the last use over the clock, above which a login session is rejected.
const MAX_CLOCK_AHEAD: SignedDuration = SignedDuration::from_secs(60);

impl LoginSession {
    /// Returns `true` if the session is valid at `now`. One that was last used in the future is not: its expiry was set
    /// by a clock that was ahead.
    #[must_use]
    pub fn is_valid(&self, now: UtcTimestamp) -> bool {
        // Without this check, a session that was extended by a wrong clock would stay valid for too long.
        now < self.expires_at && self.last_used_at.duration_since(now) <= MAX_CLOCK_AHEAD
    }
}

/// Microseconds per millisecond.
const MICROS_PER_MILLI: i64 = 1_000;
/// Time for which a network counts as known after a login.
const LOGIN_NETWORK_RETENTION: SignedDuration = SignedDuration::from_hours(90 * 24);

fn epoch_millis(at: UtcTimestamp) -> i64 {
    // Euclidean, so that instants before 1970 round down like all others.
    at.micros().div_euclid(MICROS_PER_MILLI)
}

fn account_from_row(row: &StoreRow) -> Result<AccountRecord, StoreError> {
    Ok(AccountRecord {
        name: row.read_text(0)?,
        role: row.parse_text(1)?,
        password_hash: row.read_text(2)?.into(),
        oidc_subject: row.read_text(4)?,
        created_at: row.read_timestamp(3)?,
    })
}

fn login_session_from_row(row: &StoreRow) -> Result<LoginSession, StoreError> {
    // Saturated instead of wrapped: a damaged value is then out of range, and reported as such.
    let ends_at = UtcTimestamp::from_micros(row.read_i64(6)?.saturating_mul(MICROS_PER_MILLI));
    Ok(LoginSession {
        token_hash: row.read_text(0)?,
        account: row.read_text(1)?,
        created_at: row.read_timestamp(2)?,
        last_used_at: row.read_timestamp(3)?,
        client_address: row.read_text(4)?,
        user_agent: row.read_text(5)?,
        expires_at: ends_at.ok_or_else(|| row.undecodable_column(6))?,
    })
}

/// Stores an account, replacing one of the same name.
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_account(db: Tx<'_>, account: &AccountRecord) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO accounts (name, role, password, created_at, subject) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password, subject = \
         excluded.subject",
        &[
            (&account.name).into(),
            account.role.name().into(),
            account.password_hash.expose().into(),
            account.created_at.into(),
            (&account.oidc_subject).into(),
        ],
    )?;
    Ok(())
}

/// Returns an account by its name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_account(db: Tx<'_>, name: &str) -> Result<Option<AccountRecord>, StoreError> {
    let query = "SELECT name, role, password, created_at, subject FROM accounts WHERE name = $1";
    db.query_row(query, &[name.into()])?.as_ref().map(account_from_row).transpose()
}

/// Returns the account of an identity provider's user.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_account_by_oidc_subject(db: Tx<'_>, subject: &str) -> Result<Option<AccountRecord>, StoreError> {
    let query =
        // Accounts with a password have an empty subject: it must never match.
        "SELECT name, role, password, created_at, subject FROM accounts WHERE subject = $1 AND subject <> ''";
    db.query_row(query, &[subject.into()])?.as_ref().map(account_from_row).transpose()
}

/// Returns all accounts, ordered by name.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_accounts(db: Tx<'_>) -> Result<Vec<AccountRecord>, StoreError> {
    let query = "SELECT name, role, password, created_at, subject FROM accounts ORDER BY name";
    db.query_rows(query, &[])?.iter().map(account_from_row).collect()
}

/// Deletes an account, its login sessions and its tokens. Returns `false` if there is no such account.
///
/// # Errors
///
/// If the store cannot be written.
pub fn delete_account(db: Tx<'_>, name: &str) -> Result<bool, StoreError> {
    // There are no foreign keys: the same SQL runs on both databases, and SQLite ignores them by default.
    delete_login_sessions(db, name)?;
    db.execute("DELETE FROM api_tokens WHERE account = $1", &[name.into()])?;
    db.execute("DELETE FROM login_networks WHERE account = $1", &[name.into()])?;
    Ok(db.execute("DELETE FROM accounts WHERE name = $1", &[name.into()])? > 0)
}

/// Stores a login session.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_login_session(db: Tx<'_>, login: &LoginSession) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO login_sessions (hash, account, created_at, seen_at, address, agent, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&login.token_hash).into(),
            (&login.account).into(),
            login.created_at.into(),
            login.last_used_at.into(),
            (&login.client_address).into(),
            (&login.user_agent).into(),
            epoch_millis(login.expires_at).into(),
        ],
    )?;
    Ok(())
}

/// Returns a login session and its account, by the hash of the session token.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_login_session(
    db: Tx<'_>,
    hash: &str,
) -> Result<Option<(LoginSession, AccountRecord)>, StoreError> {
    let query =
        // Two queries instead of a join, so that the account is decoded in one place only.
        "SELECT hash, account, created_at, seen_at, address, agent, expires_at FROM login_sessions WHERE hash = $1";
    let Some(login) =
        db.query_row(query, &[hash.into()])?.as_ref().map(login_session_from_row).transpose()?
    else {
        return Ok(None);
    };
    // A login session whose account is gone is treated as one that does not exist.
    Ok(find_account(db, &login.account)?.map(|account| (login, account)))
}

/// The use of a login session.
#[derive(Clone, Copy, Debug)]
pub struct LoginSessionUse {
    /// Time of use.
    pub used_at: UtcTimestamp,
    /// New time of expiry.
    pub expires_at: UtcTimestamp,
}

/// Records the use of a login session, and its new expiry.
///
/// # Errors
///
/// If the store cannot be written.
pub fn touch_login_session(db: Tx<'_>, hash: &str, login_use: LoginSessionUse) -> Result<(), StoreError> {
    let LoginSessionUse { used_at, expires_at } = login_use;
    let query = "UPDATE login_sessions SET seen_at = $2, expires_at = $3 WHERE hash = $1";
    db.execute(query, &[hash.into(), used_at.into(), epoch_millis(expires_at).into()])?;
    Ok(())
}

/// Returns the login sessions of an account, the last used first.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_login_sessions(db: Tx<'_>, name: &str) -> Result<Vec<LoginSession>, StoreError> {
    let query = "SELECT hash, account, created_at, seen_at, address, agent, expires_at FROM login_sessions
                 WHERE account = $1 ORDER BY seen_at DESC, hash";
    db.query_rows(query, &[name.into()])?.iter().map(login_session_from_row).collect()
}

/// Deletes a login session of an account, by its full hash. Returns `false` if there is no such session.
///
/// # Errors
///
/// If the store cannot be written.
pub fn delete_login_session(db: Tx<'_>, name: &str, hash: &str) -> Result<bool, StoreError> {
    // With the account in the condition: a hash alone must not end somebody else's session.
    let ended = db.execute(
        "DELETE FROM login_sessions WHERE account = $1 AND hash = $2",
        &[name.into(), hash.into()],
    )?;
    Ok(ended > 0)
}

/// Deletes all login sessions of an account.
///
/// # Errors
///
/// If the store cannot be written.
pub fn delete_login_sessions(db: Tx<'_>, name: &str) -> Result<(), StoreError> {
    db.execute("DELETE FROM login_sessions WHERE account = $1", &[name.into()])?;
    Ok(())
}

/// Deletes expired login sessions.
///
/// # Errors
///
/// If the store cannot be written.
pub fn prune_login_sessions(db: Tx<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    // By the confirmed time: with a clock ahead by mistake, everyone would be logged out for good.
    let passed = confirmed_time::confirmed_retention_time(db, now)?;
    db.execute("DELETE FROM login_sessions WHERE expires_at <= $1", &[epoch_millis(passed).into()])?;
    Ok(())
}

/// An account, and a network in CIDR notation from which somebody logs in to it.
#[derive(Clone, Copy, Debug)]
pub struct LoginNetwork<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The network.
    pub network: &'a str,
}

/// Records a login to an account from a network. Deletes networks without a login for [`LOGIN_NETWORK_RETENTION`].
///
/// # Errors
///
/// If the store cannot be written.
pub fn upsert_login_network(
    db: Tx<'_>,
    login: LoginNetwork<'_>,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let LoginNetwork { account, network } = login;
    let passed = confirmed_time::confirmed_retention_time(db, now)?;
    // Pruned here and not by a job, because the table changes only with logins.
    db.execute("DELETE FROM login_networks WHERE at < $1", &[(passed - LOGIN_NETWORK_RETENTION).into()])?;
    db.execute(
        "INSERT INTO login_networks (account, network, at) VALUES ($1, $2, $3)
         ON CONFLICT (account, network) DO UPDATE SET at = excluded.at",
        &[account.into(), network.into(), now.into()],
    )?;
    Ok(())
}

/// Returns `true` if somebody logged in to an account from a network recently.
///
/// # Errors
///
/// If the store cannot be read.
pub fn is_known_login_network(db: Tx<'_>, login: LoginNetwork<'_>) -> Result<bool, StoreError> {
    let LoginNetwork { account, network } = login;
    // No age condition: networks past their retention are deleted with the next recorded login.
    let query = "SELECT 1 FROM login_networks WHERE account = $1 AND network = $2";
    Ok(db.query_row(query, &[account.into(), network.into()])?.is_some())
}

/// Returns `true` if there is an account, or one was created since `since`, even if it was deleted again.
///
/// # Errors
///
/// If the store cannot be read.
pub fn has_or_had_account(db: Tx<'_>, since: UtcTimestamp) -> Result<bool, StoreError> {
    // Entries of earlier versions keep the old action name: the hash chain covers it.
    let query = "SELECT 1 WHERE EXISTS (SELECT 1 FROM accounts)
                 OR EXISTS (SELECT 1 FROM audit WHERE action IN ('account.created', 'account-added') AND at >= $1)";
    Ok(db.query_row(query, &[since.into()])?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    #[test]
    fn accounts_and_their_login_sessions_are_stored_and_pruned() {
        for store in store_of_each_kind() {
            let at = |second: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            let ada = AccountRecord {
                name: "ada".into(),
                role: AccountRole::Responder,
                password_hash: "x".into(),
                oidc_subject: String::new(),
                created_at: at(1),
            };
            let login = |hash: &str, second| LoginSession {
                token_hash: hash.into(),
                account: "ada".into(),
                created_at: at(second),
                last_used_at: at(second),
                expires_at: at(second + 10),
                client_address: "::1".into(),
                user_agent: "a".into(),
            };
            store
                .write(|db| {
                    upsert_account(db, &ada)?;
                    insert_login_session(db, &login("h1", 2))?;
                    insert_login_session(db, &login("h2", 5))?;
                    touch_login_session(db, "h1", LoginSessionUse { used_at: at(6), expires_at: at(16) })
                })
                .unwrap();
            assert_eq!(
                store.read(|db| find_login_session(db, "h2")).unwrap(),
                Some((login("h2", 5), ada.clone()))
            );
            let hashes = || -> Vec<String> {
                let all = store.read(|db| list_login_sessions(db, "ada")).unwrap();
                all.into_iter().map(|login| login.token_hash).collect()
            };
            assert_eq!(hashes(), ["h1", "h2"]);
            store.write(|db| prune_login_sessions(db, at(15))).unwrap();
            assert_eq!(hashes(), ["h1"]);
            store.write(|db| prune_login_sessions(db, at(16))).unwrap();
            assert_eq!(hashes(), Vec::<String>::new());
            store.write(|db| insert_login_session(db, &login("h3", 7))).unwrap();
            assert_eq!(store.read(|db| find_account_by_oidc_subject(db, "")).unwrap(), None);
            let eve = AccountRecord {
                name: "eve".into(),
                oidc_subject: "https://id.example 7".into(),
                ..ada.clone()
            };
            store.write(|db| upsert_account(db, &eve)).unwrap();
            assert_eq!(
                store.read(|db| find_account_by_oidc_subject(db, "https://id.example 7")).unwrap(),
                Some(eve)
            );
            assert!(store.write(|db| delete_account(db, "eve")).unwrap());
            assert!(!store.write(|db| delete_login_session(db, "bob", "h3")).unwrap());
            assert!(store.write(|db| delete_account(db, "ada")).unwrap());
            assert_eq!(store.read(|db| find_login_session(db, "h3")).unwrap(), None);
            assert_eq!(store.read(list_accounts).unwrap(), []);
        }
    }
}
