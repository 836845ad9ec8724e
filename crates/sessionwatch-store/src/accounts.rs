//! Accounts of the dashboard, and their log-ins.

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{StoreError, confirmed_time, row::StoreRow, transaction::Tx};
use credentials::Secret;

/// What an account may do.
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
    /// Look at everything.
    Viewer,
    /// Also act on alerts, sessions and incidents.
    Responder,
    /// Also decide who may.
    Admin,
}

impl AccountRole {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: AccountRole,
    /// The hash of its password; empty where a provider of identities vouches for it.
    pub password_hash: Secret,
    /// Who that is at the provider: issuer and subject; empty where there is a password.
    pub oidc_subject: String,
    /// When it was made.
    pub created_at: UtcTimestamp,
}

/// A log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSession {
    /// The SHA-256 of its token, in hexadecimal digits.
    pub token_hash: String,
    /// The account.
    pub account: String,
    /// When it began.
    pub created_at: UtcTimestamp,
    /// When it was used last.
    pub last_used_at: UtcTimestamp,
    /// When it ends if it is not used any more, to the millisecond.
    pub expires_at: UtcTimestamp,
    /// From where.
    pub client_address: String,
    /// With what.
    pub user_agent: String,
}

/// How far ahead of the clock a log-in may have been used last.
const MAX_CLOCK_AHEAD: SignedDuration = SignedDuration::from_secs(60);

impl LoginSession {
    /// Returns `true` if the log-in is valid at `now`. One that was used in the future is not: a clock that was ahead has set
    /// its end.
    #[must_use]
    pub fn is_valid(&self, now: UtcTimestamp) -> bool {
        now < self.expires_at && self.last_used_at.duration_since(now) <= MAX_CLOCK_AHEAD
    }
}

/// Microseconds of a millisecond.
const MICROS_PER_MILLI: i64 = 1_000;
/// How long a network is remembered from which somebody logged in.
const LOGIN_NETWORK_RETENTION: SignedDuration = SignedDuration::from_hours(90 * 24);

fn epoch_millis(at: UtcTimestamp) -> i64 {
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

/// Keeps an account; one of that name is replaced.
///
/// # Errors
///
/// If it cannot be written.
pub fn upsert_account(db: Tx<'_>, account: &AccountRecord) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO accounts (name, role, password, created_at, subject) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password, subject = excluded.subject",
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

/// The account of a name.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_account(db: Tx<'_>, name: &str) -> Result<Option<AccountRecord>, StoreError> {
    let query = "SELECT name, role, password, created_at, subject FROM accounts WHERE name = $1";
    db.query_row(query, &[name.into()])?.as_ref().map(account_from_row).transpose()
}

/// The account of somebody at a provider of identities.
///
/// # Errors
///
/// If it cannot be read.
pub fn find_account_by_oidc_subject(db: Tx<'_>, subject: &str) -> Result<Option<AccountRecord>, StoreError> {
    let query =
        "SELECT name, role, password, created_at, subject FROM accounts WHERE subject = $1 AND subject <> ''";
    db.query_row(query, &[subject.into()])?.as_ref().map(account_from_row).transpose()
}

/// Every account, by name.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_accounts(db: Tx<'_>) -> Result<Vec<AccountRecord>, StoreError> {
    let query = "SELECT name, role, password, created_at, subject FROM accounts ORDER BY name";
    db.query_rows(query, &[])?.iter().map(account_from_row).collect()
}

/// Removes an account, its log-ins and its tokens: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn delete_account(db: Tx<'_>, name: &str) -> Result<bool, StoreError> {
    delete_login_sessions(db, name)?;
    db.execute("DELETE FROM tokens WHERE account = $1", &[name.into()])?;
    db.execute("DELETE FROM login_networks WHERE account = $1", &[name.into()])?;
    Ok(db.execute("DELETE FROM accounts WHERE name = $1", &[name.into()])? > 0)
}

/// Keeps a log-in.
///
/// # Errors
///
/// If it cannot be written.
pub fn insert_login_session(db: Tx<'_>, login: &LoginSession) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO logins (hash, account, created_at, seen_at, address, agent, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
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

/// A log-in and its account, by the hash of the token.
///
/// # Errors
///
/// If they cannot be read.
pub fn find_login_session(
    db: Tx<'_>,
    hash: &str,
) -> Result<Option<(LoginSession, AccountRecord)>, StoreError> {
    let query =
        "SELECT hash, account, created_at, seen_at, address, agent, expires_at FROM logins WHERE hash = $1";
    let Some(login) =
        db.query_row(query, &[hash.into()])?.as_ref().map(login_session_from_row).transpose()?
    else {
        return Ok(None);
    };
    Ok(find_account(db, &login.account)?.map(|account| (login, account)))
}

/// The use of a log-in.
#[derive(Clone, Copy, Debug)]
pub struct LoginSessionUse {
    /// When it was used.
    pub used_at: UtcTimestamp,
    /// When the log-in ends, if it is not used again.
    pub expires_at: UtcTimestamp,
}

/// Notes that a log-in was used, and when it ends if that was the last time.
///
/// # Errors
///
/// If it cannot be written.
pub fn touch_login_session(db: Tx<'_>, hash: &str, login_use: LoginSessionUse) -> Result<(), StoreError> {
    let LoginSessionUse { used_at: now, expires_at: ends_at } = login_use;
    let query = "UPDATE logins SET seen_at = $2, expires_at = $3 WHERE hash = $1";
    db.execute(query, &[hash.into(), now.into(), epoch_millis(ends_at).into()])?;
    Ok(())
}

/// The log-ins of an account, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn list_login_sessions(db: Tx<'_>, name: &str) -> Result<Vec<LoginSession>, StoreError> {
    let query = "SELECT hash, account, created_at, seen_at, address, agent, expires_at FROM logins
                 WHERE account = $1 ORDER BY seen_at DESC, hash";
    db.query_rows(query, &[name.into()])?.iter().map(login_session_from_row).collect()
}

/// Ends a log-in of an account, by the start of its hash: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn delete_login_session(db: Tx<'_>, name: &str, hash: &str) -> Result<bool, StoreError> {
    let ended =
        db.execute("DELETE FROM logins WHERE account = $1 AND hash = $2", &[name.into(), hash.into()])?;
    Ok(ended > 0)
}

/// Ends every log-in of an account.
///
/// # Errors
///
/// If it cannot be written.
pub fn delete_login_sessions(db: Tx<'_>, name: &str) -> Result<(), StoreError> {
    db.execute("DELETE FROM logins WHERE account = $1", &[name.into()])?;
    Ok(())
}

/// Removes log-ins that have passed their end.
///
/// # Errors
///
/// If it cannot be written.
pub fn prune_login_sessions(db: Tx<'_>, now: UtcTimestamp) -> Result<(), StoreError> {
    let passed = confirmed_time::confirmed_retention_time(db, now)?;
    db.execute("DELETE FROM logins WHERE expires_at <= $1", &[epoch_millis(passed).into()])?;
    Ok(())
}

/// An account, and a network from which somebody logs in to it, in CIDR notation.
#[derive(Clone, Copy, Debug)]
pub struct LoginNetwork<'a> {
    /// The name of the account.
    pub account: &'a str,
    /// The network.
    pub network: &'a str,
}

/// Notes that somebody logged in to an account from a network. Networks that were not used for
/// [`LOGIN_NETWORK_RETENTION`] are forgotten.
///
/// # Errors
///
/// If it cannot be written.
pub fn upsert_login_network(
    db: Tx<'_>,
    login: LoginNetwork<'_>,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let LoginNetwork { account, network } = login;
    let passed = confirmed_time::confirmed_retention_time(db, now)?;
    db.execute("DELETE FROM login_networks WHERE at < $1", &[(passed - LOGIN_NETWORK_RETENTION).into()])?;
    db.execute(
        "INSERT INTO login_networks (account, network, at) VALUES ($1, $2, $3)
         ON CONFLICT (account, network) DO UPDATE SET at = excluded.at",
        &[account.into(), network.into(), now.into()],
    )?;
    Ok(())
}

/// Returns `true` if somebody logged in to an account from a network lately.
///
/// # Errors
///
/// If it cannot be read.
pub fn is_known_login_network(db: Tx<'_>, login: LoginNetwork<'_>) -> Result<bool, StoreError> {
    let LoginNetwork { account, network } = login;
    let query = "SELECT 1 FROM login_networks WHERE account = $1 AND network = $2";
    Ok(db.query_row(query, &[account.into(), network.into()])?.is_some())
}

/// Returns `true` if there is an account, or one was added since that instant, even if it is gone again.
///
/// # Errors
///
/// If it cannot be read.
pub fn has_or_had_account(db: Tx<'_>, since: UtcTimestamp) -> Result<bool, StoreError> {
    // Entries of earlier versions keep their word: the hash chain covers it.
    let query = "SELECT 1 WHERE EXISTS (SELECT 1 FROM accounts)
                 OR EXISTS (SELECT 1 FROM audit WHERE action IN ('account.created', 'account-added') AND at >= $1)";
    Ok(db.query_row(query, &[since.into()])?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::store_of_each_kind;

    #[test]
    fn accounts_and_their_log_ins_are_kept_and_end() {
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
