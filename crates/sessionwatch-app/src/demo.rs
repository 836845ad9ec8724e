//! Demo: a realistic small application in a SQLite file, with an anomaly of every kind, and a simulated shop.

pub mod live_shop;

pub(crate) mod people;
pub(crate) mod random;
pub(crate) mod shop_database;

use std::path::Path;

use rusqlite::{Connection, Transaction, params};
use sessionwatch_core::timestamp::{MICROS_PER_DAY, MICROS_PER_HOUR, UtcTimestamp};

use self::random::DemoRandom;
const USER_COUNT: u64 = 3_000;
const MICROS_PER_MINUTE: i64 = MICROS_PER_HOUR / 60;
/// Session lifetime of the framework.
const SESSION_LIFETIME_US: i64 = 30 * MICROS_PER_DAY;

const SCHEMA_SQL: &str = r#"
CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE accounts ("userId" TEXT, provider TEXT, "providerAccountId" TEXT);
CREATE TABLE sessions (id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" TEXT,
  expires DATETIME NOT NULL, "createdAt" DATETIME NOT NULL);
CREATE INDEX sessions_user ON sessions ("userId");
"#;

/// Error of creating the demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The file exists; it is not changed.
    #[error("a file with this name already exists")]
    Exists,
    /// The log could not be written.
    #[error("cannot write the log of the demo application")]
    Log,
    /// The file could not be written.
    #[error("cannot write the demo database")]
    Write(#[from] rusqlite::Error),
}

/// Creates the application with anomalies. The same `now` creates the same rows.
///
/// # Errors
///
/// Fails if the file exists or cannot be written.
pub fn create_database(path: &Path, now: UtcTimestamp) -> Result<(), DemoError> {
    build_database(path, now, |planter| planter.insert_anomalous_data())
}

/// Creates the application without anomalies.
///
/// # Errors
///
/// Fails if the file exists or cannot be written.
pub fn create_healthy_database(path: &Path, now: UtcTimestamp) -> Result<(), DemoError> {
    build_database(path, now, |planter| planter.insert_healthy_data())
}

fn build_database(
    path: &Path,
    now: UtcTimestamp,
    plant: impl FnOnce(&mut DemoBuilder<'_>) -> rusqlite::Result<()>,
) -> Result<(), DemoError> {
    if path.exists() {
        return Err(DemoError::Exists);
    }
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA_SQL)?;
    plant(&mut DemoBuilder { transaction: &transaction, now, random: DemoRandom::new(1), session_count: 0 })?;
    transaction.commit()?;
    Ok(())
}

struct DemoBuilder<'a> {
    transaction: &'a Transaction<'a>,
    now: UtcTimestamp,
    random: DemoRandom,
    session_count: u64,
}

impl DemoBuilder<'_> {
    fn random_below(&mut self, limit: i64) -> i64 {
        self.random.below(limit.unsigned_abs()).cast_signed()
    }

    fn insert_session(
        &mut self,
        token: &str,
        user: &str,
        created: i64,
        expires: i64,
    ) -> rusqlite::Result<()> {
        self.session_count += 1;
        let id = format!("s{:06}", self.session_count);
        let row = params![id, token, user, expires / 1_000, created / 1_000];
        self.transaction.prepare_cached("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)")?.execute(row)?;
        Ok(())
    }

    fn insert_fresh_session(&mut self, user: &str, age: i64) -> rusqlite::Result<()> {
        let created = self.now.micros() - age;
        let token = self.random.token();
        self.insert_session(&token, user, created, created + SESSION_LIFETIME_US)
    }

    fn insert_healthy_data(&mut self) -> rusqlite::Result<()> {
        self.insert_users()?;
        for number in 0..300 {
            let age = self.random_below(20 * MICROS_PER_DAY) + MICROS_PER_HOUR;
            self.insert_fresh_session(&format!("u{number:04}"), age)?;
        }
        Ok(())
    }

    fn insert_users(&mut self) -> rusqlite::Result<()> {
        for number in 0..USER_COUNT {
            let mut person = people::invent_customer(number);
            if number >= people::MAX_PEOPLE {
                // There are more customers than names: the address distinguishes namesakes.
                person.email = person.email.replacen('@', "2@", 1);
            }
            self.transaction.prepare_cached("INSERT INTO users VALUES (?, ?, ?)")?.execute(params![
                person.id,
                person.name,
                person.email
            ])?;
            self.transaction
                .prepare_cached("INSERT INTO accounts VALUES (?, 'github', ?)")?
                .execute(params![person.id, number.to_string()])?;
        }
        Ok(())
    }

    fn insert_anomalous_data(&mut self) -> rusqlite::Result<()> {
        self.insert_users()?;
        for _ in 0..3_600 {
            let (user, age) =
                (self.random.next_number() % USER_COUNT, self.random_below(29 * MICROS_PER_DAY));
            self.insert_fresh_session(&format!("u{user:04}"), age)?;
        }
        // Orphans: these users do not exist.
        for user in 0..14 {
            self.insert_fresh_session(&format!("gone{user:02}"), MICROS_PER_DAY)?;
        }
        // One user with far too many sessions.
        for _ in 0..37 {
            let age = self.random_below(20 * MICROS_PER_DAY) + MICROS_PER_DAY;
            self.insert_fresh_session("u0042", age)?;
        }
        // One user who creates sessions every two minutes.
        for turn in 0..26 {
            self.insert_fresh_session("u1337", turn * 2 * MICROS_PER_MINUTE)?;
        }
        self.insert_expired()?;
        self.insert_duplicates()?;
        // Sessions that last ten years, beyond any policy.
        for user in ["u0007", "u0008"] {
            let (token, now) = (self.random.token(), self.now.micros());
            self.insert_session(&token, user, now - MICROS_PER_DAY, now + 3_650 * MICROS_PER_DAY)?;
        }
        Ok(())
    }

    fn insert_expired(&mut self) -> rusqlite::Result<()> {
        for turn in 0..420 {
            let ended = self.now.micros() - (turn * 63 * MICROS_PER_DAY / 419).max(MICROS_PER_HOUR);
            let (token, user) = (self.random.token(), self.random.next_number() % USER_COUNT);
            self.insert_session(&token, &format!("u{user:04}"), ended - SESSION_LIFETIME_US, ended)?;
        }
        Ok(())
    }

    /// Inserts two tokens twice for one user each, and one token shared by two users.
    fn insert_duplicates(&mut self) -> rusqlite::Result<()> {
        for (one, other) in [("u0100", "u0100"), ("u0200", "u0200"), ("u0300", "u0301")] {
            let (token, created) = (self.random.token(), self.now.micros() - 3 * MICROS_PER_DAY);
            self.insert_session(&token, one, created, created + SESSION_LIFETIME_US)?;
            self.insert_session(
                &token,
                other,
                created + MICROS_PER_HOUR,
                created + MICROS_PER_HOUR + SESSION_LIFETIME_US,
            )?;
        }
        Ok(())
    }
}
