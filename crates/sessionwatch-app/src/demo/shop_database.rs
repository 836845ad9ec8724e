//! Database of the shop that `demo` monitors live: about 4,000 sessions of 2,300 customers, with a backlog of expired
//! rows and shared tokens, which the history of the demo cleans up.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};
use sessionwatch_core::{
    duration::DAY,
    timestamp::{MICROS_PER_DAY, MICROS_PER_HOUR, UtcTimestamp},
};

use super::{DemoError, people, random::DemoRandom};

/// Number of customers.
pub(crate) const CUSTOMER_COUNT: u64 = 2_300;
/// Number of sessions beside one for each customer.
const FURTHER_SESSION_COUNT: u64 = 1_665;
/// Customer with far too many sessions: an account for load tests.
pub(crate) const TEST_ACCOUNT: u64 = 1_042;
/// Number of sessions of [`TEST_ACCOUNT`].
const TEST_ACCOUNT_SESSIONS: u64 = 37;
/// Rows that expire a day.
pub(crate) const EXPIRED_PER_DAY: u64 = 20;
/// Days since the oldest row expired.
pub(crate) const OLDEST_EXPIRED_DAYS: u64 = 33;
/// Customers who shared tokens in the incident of the history, in pairs.
pub(crate) const INCIDENT_PAIRS: [[u64; 2]; 3] = [[117, 1_380], [402, 2_051], [866, 1_733]];
/// Session lifetime of the framework.
pub(crate) const SESSION_LIFETIME_US: i64 = 30 * MICROS_PER_DAY;

const SHOP_SCHEMA_SQL: &str = r#"
CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE accounts ("userId" TEXT, provider TEXT, "providerAccountId" TEXT);
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" TEXT, expires DATETIME NOT NULL,
  "createdAt" DATETIME NOT NULL, "ipAddress" TEXT, "userAgent" TEXT
);
CREATE INDEX sessions_user ON sessions ("userId");
CREATE INDEX sessions_token ON sessions ("sessionToken");
"#;

/// A row of the session table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewSession<'a> {
    pub(crate) id: &'a str,
    pub(crate) token: &'a str,
    pub(crate) customer: u64,
    /// Counts the customer's browsers.
    pub(crate) device: u64,
    pub(crate) created_us: i64,
}

/// What the session table holds, without what the history cleans up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShopTotals {
    pub(crate) active: u32,
    pub(crate) users: u32,
    pub(crate) created_last_hour: u32,
    pub(crate) max_per_user: u32,
}

/// Creates the database. The same `now` creates the same rows.
///
/// # Errors
///
/// Fails if the file exists or cannot be written.
pub(crate) fn create_shop_database(path: &Path, now: UtcTimestamp) -> Result<(), DemoError> {
    if path.exists() {
        return Err(DemoError::Exists);
    }
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SHOP_SCHEMA_SQL)?;
    let mut builder = ShopBuilder { transaction: &transaction, now, random: DemoRandom::new(11), count: 0 };
    builder.insert_customers()?;
    builder.insert_active_sessions()?;
    builder.insert_expired_sessions()?;
    builder.insert_shared_tokens()?;
    transaction.commit()?;
    Ok(())
}

/// Inserts a session, which lasts as long as the framework's.
pub(crate) fn insert_session(connection: &Connection, session: NewSession<'_>) -> rusqlite::Result<()> {
    let NewSession { id, token, customer, device, created_us } = session;
    let device = people::invent_device(customer, device);
    connection
        .prepare_cached("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            id,
            token,
            people::customer_id(customer),
            (created_us + SESSION_LIFETIME_US) / 1_000,
            created_us / 1_000,
            device.ip_address,
            device.user_agent
        ])
        .map(|_| ())
}

/// Counts the sessions, without those with a shared token.
pub(crate) fn count_sessions(path: &Path, now: UtcTimestamp) -> Result<ShopTotals, DemoError> {
    let connection = Connection::open(path)?;
    let (now_ms, hour_ms) = (now.micros() / 1_000, (now.micros() - MICROS_PER_HOUR) / 1_000);
    let query = r#"
        WITH own AS (SELECT "userId", "createdAt", COUNT(*) OVER (PARTITION BY "sessionToken") AS holders
                     FROM sessions WHERE expires > ?1)
        SELECT COUNT(*), COUNT(DISTINCT "userId"), COALESCE(SUM("createdAt" >= ?2), 0),
          (SELECT MAX(held) FROM (SELECT COUNT(*) AS held FROM own GROUP BY "userId"))
        FROM own WHERE holders = 1"#;
    Ok(connection.query_row(query, params![now_ms, hour_ms], |row| {
        Ok(ShopTotals {
            active: row.get(0)?,
            users: row.get(1)?,
            created_last_hour: row.get(2)?,
            max_per_user: row.get(3)?,
        })
    })?)
}

struct ShopBuilder<'a> {
    transaction: &'a Transaction<'a>,
    now: UtcTimestamp,
    random: DemoRandom,
    count: u64,
}

impl ShopBuilder<'_> {
    fn insert_customers(&self) -> rusqlite::Result<()> {
        for number in 0..CUSTOMER_COUNT {
            let mut person = people::invent_customer(number);
            if number == TEST_ACCOUNT {
                (person.name, person.email) = ("Load Test".into(), "load.test@example.com".into());
            }
            self.transaction.prepare_cached("INSERT INTO users VALUES (?, ?, ?)")?.execute(params![
                person.id,
                person.name,
                person.email
            ])?;
            self.transaction
                .prepare_cached("INSERT INTO accounts VALUES (?, 'github', ?)")?
                .execute(params![person.id, (48_210_000 + number * 37).to_string()])?;
        }
        Ok(())
    }

    fn insert_row(&mut self, token: &str, customer: u64, device: u64, age_us: i64) -> rusqlite::Result<()> {
        self.count += 1;
        let id = format!("s{:06}", self.count);
        let created_us = self.now.micros() - age_us;
        insert_session(self.transaction, NewSession { id: &id, token, customer, device, created_us })
    }

    /// Returns the age of a session: most are young, and a few are almost as old as the framework allows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "an age below 30 days")]
    fn random_age(&mut self) -> i64 {
        let oldest = (SESSION_LIFETIME_US - 2 * MICROS_PER_HOUR) as f64;
        (self.random.fraction().powf(2.4) * oldest) as i64
    }

    fn insert_active_sessions(&mut self) -> rusqlite::Result<()> {
        // The devices of each customer are counted, so that no two sessions are of the same browser.
        let mut devices = vec![0; usize::try_from(CUSTOMER_COUNT).unwrap_or_default()];
        for number in 0..CUSTOMER_COUNT + FURTHER_SESSION_COUNT {
            let customer = if number < CUSTOMER_COUNT { number } else { self.random.below(CUSTOMER_COUNT) };
            let (token, age) = (self.random.token(), self.random_age());
            let device = devices.get_mut(usize::try_from(customer).unwrap_or_default());
            let Some(device) = device else { continue };
            // The outliers are few and meant; everybody else has a handful of browsers at most.
            if customer == TEST_ACCOUNT || *device >= 4 {
                continue;
            }
            *device += 1;
            let device = *device - 1;
            self.insert_row(&token, customer, device, age)?;
        }
        for turn in 0..TEST_ACCOUNT_SESSIONS {
            let (token, age) = (self.random.token(), self.random.below(20 * 3_600) + 26 * 3_600);
            self.insert_row(&token, TEST_ACCOUNT, turn % 2, age.cast_signed() * 1_000_000)?;
        }
        Ok(())
    }

    fn insert_expired_sessions(&mut self) -> rusqlite::Result<()> {
        let step = MICROS_PER_DAY / EXPIRED_PER_DAY.cast_signed();
        for turn in 1..=(EXPIRED_PER_DAY * OLDEST_EXPIRED_DAYS).cast_signed() {
            let (token, customer) = (self.random.token(), self.random.below(CUSTOMER_COUNT));
            self.insert_row(&token, customer, 0, SESSION_LIFETIME_US + turn * step)?;
        }
        Ok(())
    }

    /// Inserts the shared tokens of the incident in the history, which was five days ago.
    fn insert_shared_tokens(&mut self) -> rusqlite::Result<()> {
        for pair in INCIDENT_PAIRS {
            let token = self.random.token();
            for (number, customer) in (0_i64..).zip(pair) {
                let age = 5 * MICROS_PER_DAY - number * 40_000_000;
                self.insert_row(&token, customer, 0, age)?;
            }
        }
        Ok(())
    }
}

/// Returns the number of expired rows at a time, before anything was cleaned up.
pub(crate) fn count_expired_at(at: UtcTimestamp, now: UtcTimestamp, kept_since: Option<UtcTimestamp>) -> i64 {
    let oldest = now - DAY * i32::try_from(OLDEST_EXPIRED_DAYS).unwrap_or(0);
    let step = MICROS_PER_DAY / EXPIRED_PER_DAY.cast_signed();
    (at.micros() - kept_since.unwrap_or(oldest).micros()).max(0) / step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shop_has_the_promised_size_and_the_same_rows_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let now = UtcTimestamp::UNIX_EPOCH + DAY * 20_000;
        let [one, other] = ["one.db", "other.db"].map(|name| folder.path().join(name));
        create_shop_database(&one, now).unwrap();
        create_shop_database(&other, now).unwrap();
        assert!(std::fs::read(&one).unwrap() == std::fs::read(&other).unwrap());
        let totals = count_sessions(&one, now).unwrap();
        assert!((3_900..4_100).contains(&totals.active), "{totals:?}");
        assert!((2_250..=2_300).contains(&totals.users), "{totals:?}");
        assert!((150..500).contains(&totals.created_last_hour), "{totals:?}");
        assert_eq!(totals.max_per_user, 37);
        assert!(matches!(create_shop_database(&one, now), Err(DemoError::Exists)));
    }
}
