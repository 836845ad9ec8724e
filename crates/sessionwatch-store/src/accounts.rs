//! Accounts of the dashboard, and their log-ins.

use jiff::SignedDuration;
use sessionwatch_core::instant::Instant;

use crate::{StoreError, confirmed_time, db::Db, row::Row};
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
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Also act on alerts, sessions and incidents.
    Responder,
    /// Also decide who may.
    Admin,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The hash of its password; empty where a provider of identities vouches for it.
    pub password: Secret,
    /// Who that is at the provider: issuer and subject; empty where there is a password.
    pub subject: String,
    /// When it was made.
    pub created_at: Instant,
}

/// A log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The SHA-256 of its token, in hexadecimal digits.
    pub hash: String,
    /// The account.
    pub account: String,
    /// When it began.
    pub created_at: Instant,
    /// When it was used last.
    pub seen_at: Instant,
    /// When it ends if it is not used any more, to the millisecond.
    pub ends_at: Instant,
    /// From where.
    pub address: String,
    /// With what.
    pub agent: String,
}

/// How far ahead of the clock a log-in may have been used last.
const AHEAD_LIMIT: SignedDuration = SignedDuration::from_secs(60);

impl Login {
    /// Returns `true` if the log-in is valid at `now`. One that was used in the future is not: a clock that was ahead has set
    /// its end.
    #[must_use]
    pub fn is_valid(&self, now: Instant) -> bool {
        now < self.ends_at && self.seen_at.duration_since(now) <= AHEAD_LIMIT
    }
}

/// Microseconds of a millisecond.
const MILLI: i64 = 1_000;
/// How long a network is remembered from which somebody logged in.
const NETWORK_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

fn millis(at: Instant) -> i64 {
    at.micros().div_euclid(MILLI)
}

fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        name: row.text(0)?,
        role: row.parsed(1)?,
        password: row.text(2)?.into(),
        subject: row.text(4)?,
        created_at: row.instant(3)?,
    })
}

fn login(row: &Row) -> Result<Login, StoreError> {
    let ends_at = Instant::from_micros(row.int(6)?.saturating_mul(MILLI));
    Ok(Login {
        hash: row.text(0)?,
        account: row.text(1)?,
        created_at: row.instant(2)?,
        seen_at: row.instant(3)?,
        address: row.text(4)?,
        agent: row.text(5)?,
        ends_at: ends_at.ok_or_else(|| row.unreadable(6))?,
    })
}

/// Keeps an account; one of that name is replaced.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, account: &Account) -> Result<(), StoreError> {
    db.run(
        "INSERT INTO accounts (name, role, password, created_at, subject) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password, subject = excluded.subject",
        &[
            (&account.name).into(),
            account.role.name().into(),
            account.password.expose().into(),
            account.created_at.into(),
            (&account.subject).into(),
        ],
    )?;
    Ok(())
}

/// The account of a name.
///
/// # Errors
///
/// If it cannot be read.
pub fn get(db: Db<'_>, name: &str) -> Result<Option<Account>, StoreError> {
    let query = "SELECT name, role, password, created_at, subject FROM accounts WHERE name = $1";
    db.row(query, &[name.into()])?.as_ref().map(account).transpose()
}

/// The account of somebody at a provider of identities.
///
/// # Errors
///
/// If it cannot be read.
pub fn of_subject(db: Db<'_>, subject: &str) -> Result<Option<Account>, StoreError> {
    let query =
        "SELECT name, role, password, created_at, subject FROM accounts WHERE subject = $1 AND subject <> ''";
    db.row(query, &[subject.into()])?.as_ref().map(account).transpose()
}

/// Every account, by name.
///
/// # Errors
///
/// If they cannot be read.
pub fn list(db: Db<'_>) -> Result<Vec<Account>, StoreError> {
    let query = "SELECT name, role, password, created_at, subject FROM accounts ORDER BY name";
    db.rows(query, &[])?.iter().map(account).collect()
}

/// Removes an account, its log-ins and its tokens: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn remove(db: Db<'_>, name: &str) -> Result<bool, StoreError> {
    end_all(db, name)?;
    db.run("DELETE FROM tokens WHERE account = $1", &[name.into()])?;
    db.run("DELETE FROM login_networks WHERE account = $1", &[name.into()])?;
    Ok(db.run("DELETE FROM accounts WHERE name = $1", &[name.into()])? > 0)
}

/// Keeps a log-in.
///
/// # Errors
///
/// If it cannot be written.
pub fn begin(db: Db<'_>, login: &Login) -> Result<(), StoreError> {
    db.run(
        "INSERT INTO logins (hash, account, created_at, seen_at, address, agent, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&login.hash).into(),
            (&login.account).into(),
            login.created_at.into(),
            login.seen_at.into(),
            (&login.address).into(),
            (&login.agent).into(),
            millis(login.ends_at).into(),
        ],
    )?;
    Ok(())
}

/// A log-in and its account, by the hash of the token.
///
/// # Errors
///
/// If they cannot be read.
pub fn login_of(db: Db<'_>, hash: &str) -> Result<Option<(Login, Account)>, StoreError> {
    let query =
        "SELECT hash, account, created_at, seen_at, address, agent, expires_at FROM logins WHERE hash = $1";
    let Some(login) = db.row(query, &[hash.into()])?.as_ref().map(login).transpose()? else {
        return Ok(None);
    };
    Ok(get(db, &login.account)?.map(|account| (login, account)))
}

/// The use of a log-in.
#[derive(Clone, Copy, Debug)]
pub struct LoginUse {
    /// When it was used.
    pub at: Instant,
    /// When the log-in ends, if it is not used again.
    pub ends_at: Instant,
}

/// Notes that a log-in was used, and when it ends if that was the last time.
///
/// # Errors
///
/// If it cannot be written.
pub fn seen(db: Db<'_>, hash: &str, login_use: LoginUse) -> Result<(), StoreError> {
    let LoginUse { at: now, ends_at } = login_use;
    let query = "UPDATE logins SET seen_at = $2, expires_at = $3 WHERE hash = $1";
    db.run(query, &[hash.into(), now.into(), millis(ends_at).into()])?;
    Ok(())
}

/// The log-ins of an account, the latest first.
///
/// # Errors
///
/// If they cannot be read.
pub fn logins(db: Db<'_>, name: &str) -> Result<Vec<Login>, StoreError> {
    let query = "SELECT hash, account, created_at, seen_at, address, agent, expires_at FROM logins
                 WHERE account = $1 ORDER BY seen_at DESC, hash";
    db.rows(query, &[name.into()])?.iter().map(login).collect()
}

/// Ends a log-in of an account, by the start of its hash: whether there was one.
///
/// # Errors
///
/// If it cannot be written.
pub fn end(db: Db<'_>, name: &str, hash: &str) -> Result<bool, StoreError> {
    let ended = db.run("DELETE FROM logins WHERE account = $1 AND hash = $2", &[name.into(), hash.into()])?;
    Ok(ended > 0)
}

/// Ends every log-in of an account.
///
/// # Errors
///
/// If it cannot be written.
pub fn end_all(db: Db<'_>, name: &str) -> Result<(), StoreError> {
    db.run("DELETE FROM logins WHERE account = $1", &[name.into()])?;
    Ok(())
}

/// Removes log-ins that have passed their end.
///
/// # Errors
///
/// If it cannot be written.
pub fn expire(db: Db<'_>, now: Instant) -> Result<(), StoreError> {
    let passed = confirmed_time::passed(db, now)?;
    db.run("DELETE FROM logins WHERE expires_at <= $1", &[millis(passed).into()])?;
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
/// [`NETWORK_KEPT`] are forgotten.
///
/// # Errors
///
/// If it cannot be written.
pub fn note_network(db: Db<'_>, login: LoginNetwork<'_>, now: Instant) -> Result<(), StoreError> {
    let LoginNetwork { account, network } = login;
    let passed = confirmed_time::passed(db, now)?;
    db.run("DELETE FROM login_networks WHERE at < $1", &[(passed - NETWORK_KEPT).into()])?;
    db.run(
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
pub fn is_known_network(db: Db<'_>, login: LoginNetwork<'_>) -> Result<bool, StoreError> {
    let LoginNetwork { account, network } = login;
    let query = "SELECT 1 FROM login_networks WHERE account = $1 AND network = $2";
    Ok(db.row(query, &[account.into(), network.into()])?.is_some())
}

/// Returns `true` if there is an account, or one was added since that instant, even if it is gone again.
///
/// # Errors
///
/// If it cannot be read.
pub fn was_any(db: Db<'_>, since: Instant) -> Result<bool, StoreError> {
    let query = "SELECT 1 WHERE EXISTS (SELECT 1 FROM accounts)
                 OR EXISTS (SELECT 1 FROM audit WHERE action = 'account-added' AND at >= $1)";
    Ok(db.row(query, &[since.into()])?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::both;

    #[test]
    fn accounts_and_their_log_ins_are_kept_and_end() {
        for store in both() {
            let at = |second: i64| Instant::UNIX_EPOCH + SignedDuration::from_secs(second);
            let ada = Account {
                name: "ada".into(),
                role: Role::Responder,
                password: "x".into(),
                subject: String::new(),
                created_at: at(1),
            };
            let login = |hash: &str, second| Login {
                hash: hash.into(),
                account: "ada".into(),
                created_at: at(second),
                seen_at: at(second),
                ends_at: at(second + 10),
                address: "::1".into(),
                agent: "a".into(),
            };
            store
                .write(|db| {
                    put(db, &ada)?;
                    begin(db, &login("h1", 2))?;
                    begin(db, &login("h2", 5))?;
                    seen(db, "h1", LoginUse { at: at(6), ends_at: at(16) })
                })
                .unwrap();
            assert_eq!(store.read(|db| login_of(db, "h2")).unwrap(), Some((login("h2", 5), ada.clone())));
            let hashes = || -> Vec<String> {
                let all = store.read(|db| logins(db, "ada")).unwrap();
                all.into_iter().map(|login| login.hash).collect()
            };
            assert_eq!(hashes(), ["h1", "h2"]);
            store.write(|db| expire(db, at(15))).unwrap();
            assert_eq!(hashes(), ["h1"]);
            store.write(|db| expire(db, at(16))).unwrap();
            assert_eq!(hashes(), Vec::<String>::new());
            store.write(|db| begin(db, &login("h3", 7))).unwrap();
            assert_eq!(store.read(|db| of_subject(db, "")).unwrap(), None);
            let eve = Account { name: "eve".into(), subject: "https://id.example 7".into(), ..ada.clone() };
            store.write(|db| put(db, &eve)).unwrap();
            assert_eq!(store.read(|db| of_subject(db, "https://id.example 7")).unwrap(), Some(eve));
            assert!(store.write(|db| remove(db, "eve")).unwrap());
            assert!(!store.write(|db| end(db, "bob", "h3")).unwrap());
            assert!(store.write(|db| remove(db, "ada")).unwrap());
            assert_eq!(store.read(|db| login_of(db, "h3")).unwrap(), None);
            assert_eq!(store.read(list).unwrap(), []);
        }
    }
}
