//! A believable small application in a SQLite file, with an anomaly of every kind.

pub mod application;

use std::path::Path;

use rusqlite::{Connection, Transaction, params};
use sessionwatch_core::instant::{Instant, MICROS_PER_DAY, MICROS_PER_HOUR};

const FIRST: [&str; 12] =
    ["Ada", "Bilal", "Chiara", "Dmitri", "Esra", "Femi", "Greta", "Hiro", "Ines", "Jonas", "Kavya", "Leila"];
const LAST: [&str; 12] = [
    "Abara",
    "Brandt",
    "Castillo",
    "Dahl",
    "Eriksen",
    "Farouk",
    "Gruber",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalska",
    "Lindqvist",
];
const USERS: u64 = 3_000;
const MINUTE: i64 = MICROS_PER_HOUR / 60;
/// The framework's lifetime of a session.
const LIFETIME: i64 = 30 * MICROS_PER_DAY;

const SCHEMA: &str = r#"
CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE accounts ("userId" TEXT, provider TEXT, "providerAccountId" TEXT);
CREATE TABLE sessions (id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" TEXT, expires DATETIME NOT NULL, "createdAt" DATETIME NOT NULL);
CREATE INDEX sessions_user ON sessions ("userId");
"#;

/// Why the demonstration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is a file already; it is left as it is.
    #[error("there is a file of that name already")]
    Exists,
    /// The log could not be written.
    #[error("cannot write the demonstration's log")]
    Log,
    /// The file could not be written.
    #[error("cannot write the demonstration's database")]
    Write(#[from] rusqlite::Error),
}

/// Makes the application; the same `now` makes the same rows.
///
/// # Errors
///
/// If the file exists or cannot be written.
pub fn create(path: &Path, now: Instant) -> Result<(), DemoError> {
    make(path, now, |planter| planter.plant())
}

/// Makes the application with nothing wrong yet.
///
/// # Errors
///
/// If the file exists or cannot be written.
pub fn create_healthy(path: &Path, now: Instant) -> Result<(), DemoError> {
    make(path, now, |planter| planter.plant_healthy())
}

fn make(
    path: &Path,
    now: Instant,
    plant: impl FnOnce(&mut Planter<'_>) -> rusqlite::Result<()>,
) -> Result<(), DemoError> {
    if path.exists() {
        return Err(DemoError::Exists);
    }
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    plant(&mut Planter { transaction: &transaction, now, seed: 1, made: 0 })?;
    transaction.commit()?;
    Ok(())
}

struct Planter<'a> {
    transaction: &'a Transaction<'a>,
    now: Instant,
    seed: u64,
    made: u64,
}

impl Planter<'_> {
    /// The next number of a fixed sequence (SplitMix64).
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn within(&mut self, limit: i64) -> i64 {
        i64::try_from(self.next() % limit.unsigned_abs().max(1)).unwrap_or(0)
    }

    fn token(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    fn session(&mut self, token: &str, user: &str, created: i64, expires: i64) -> rusqlite::Result<()> {
        self.made += 1;
        let id = format!("s{:06}", self.made);
        let row = params![id, token, user, expires / 1_000, created / 1_000];
        self.transaction.prepare_cached("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)")?.execute(row)?;
        Ok(())
    }

    fn fresh(&mut self, user: &str, age: i64) -> rusqlite::Result<()> {
        let created = self.now.micros() - age;
        let token = self.token();
        self.session(&token, user, created, created + LIFETIME)
    }

    /// Users, and a few hundred of them logged in.
    fn plant_healthy(&mut self) -> rusqlite::Result<()> {
        self.users()?;
        for number in 0..300 {
            let age = self.within(20 * MICROS_PER_DAY) + MICROS_PER_HOUR;
            self.fresh(&format!("u{number:04}"), age)?;
        }
        Ok(())
    }

    fn users(&mut self) -> rusqlite::Result<()> {
        for number in 0..USERS {
            let (first, last) = (FIRST[(number % 12) as usize], LAST[(number / 12 % 12) as usize]);
            let (id, email) = (
                format!("u{number:04}"),
                format!("{}.{}{number}@example.org", first.to_lowercase(), last.to_lowercase()),
            );
            self.transaction.execute(
                "INSERT INTO users VALUES (?, ?, ?)",
                params![id, format!("{first} {last}"), email],
            )?;
            self.transaction
                .execute("INSERT INTO accounts VALUES (?, 'github', ?)", params![id, number.to_string()])?;
        }
        Ok(())
    }

    fn plant(&mut self) -> rusqlite::Result<()> {
        self.users()?;
        for _ in 0..3_600 {
            let (user, age) = (self.next() % USERS, self.within(29 * MICROS_PER_DAY));
            self.fresh(&format!("u{user:04}"), age)?;
        }
        for user in 0..14 {
            self.fresh(&format!("gone{user:02}"), MICROS_PER_DAY)?;
        }
        for _ in 0..37 {
            let age = self.within(20 * MICROS_PER_DAY) + MICROS_PER_DAY;
            self.fresh("u0042", age)?;
        }
        for turn in 0..26 {
            self.fresh("u1337", turn * 2 * MINUTE)?;
        }
        self.expired()?;
        self.duplicates()?;
        for user in ["u0007", "u0008"] {
            let (token, now) = (self.token(), self.now.micros());
            self.session(&token, user, now - MICROS_PER_DAY, now + 3_650 * MICROS_PER_DAY)?;
        }
        Ok(())
    }

    fn expired(&mut self) -> rusqlite::Result<()> {
        for turn in 0..420 {
            let ended = self.now.micros() - (turn * 63 * MICROS_PER_DAY / 419).max(MICROS_PER_HOUR);
            let (token, user) = (self.token(), self.next() % USERS);
            self.session(&token, &format!("u{user:04}"), ended - LIFETIME, ended)?;
        }
        Ok(())
    }

    /// Two tokens twice for one user, and one that two users share.
    fn duplicates(&mut self) -> rusqlite::Result<()> {
        for (one, other) in [("u0100", "u0100"), ("u0200", "u0200"), ("u0300", "u0301")] {
            let (token, created) = (self.token(), self.now.micros() - 3 * MICROS_PER_DAY);
            self.session(&token, one, created, created + LIFETIME)?;
            self.session(&token, other, created + MICROS_PER_HOUR, created + MICROS_PER_HOUR + LIFETIME)?;
        }
        Ok(())
    }
}
