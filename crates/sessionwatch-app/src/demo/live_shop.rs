//! Simulated shop: customers log in and out, it writes a log, and it issues the same session tokens to several
//! customers after a while.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, params};
use sessionwatch_clock as clock;
use sessionwatch_core::{duration::DAY, timestamp::UtcTimestamp};
use tokio_util::sync::CancellationToken;

use super::{
    DemoError,
    people::customer_id,
    random::DemoRandom,
    shop_database::{self, CUSTOMER_COUNT, NewSession, TEST_ACCOUNT},
};
use crate::blocking;

/// Time between two actions of customers.
const STEP_INTERVAL: Duration = Duration::from_millis(1_500);
/// Tokens that leak, each to two customers.
const LEAKED_TOKENS: u64 = 3;
/// Pages that customers open.
const SHOP_PAGES: [&str; 6] = ["/", "/products", "/products/2", "/cart", "/api/cart", "/account"];

/// Simulated application.
#[derive(Debug)]
pub struct DemoApplication {
    connection: Connection,
    log: File,
    random: DemoRandom,
    /// Time of the leak; `None` once it has happened.
    leak_at: Option<UtcTimestamp>,
}

impl DemoApplication {
    /// Opens the database of the shop and the log file. The leak happens at `leak_at`.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be opened.
    pub fn open(database: &Path, log: &PathBuf, leak_at: UtcTimestamp) -> Result<Self, DemoError> {
        let connection = Connection::open(database)?;
        // A check run or a plan may lock the database for a moment.
        connection.busy_timeout(Duration::from_secs(5))?;
        let log = OpenOptions::new().create(true).append(true).open(log).map_err(|_| DemoError::Log)?;
        Ok(Self { connection, log, random: DemoRandom::new(7), leak_at: Some(leak_at) })
    }

    /// Runs until `stop` is cancelled. Failed steps are not fatal: the next step tries again.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            // SQLite calls block the thread.
            let step = blocking::run(move || {
                let outcome = self.perform_step(clock::now());
                (self, outcome)
            });
            let outcome;
            (self, outcome) = step.await;
            if let Err(error) = outcome {
                tracing::debug!("a step of the simulated application failed: {error}");
            }
            if stop.run_until_cancelled(clock::sleep(STEP_INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    fn perform_step(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        if self.leak_at.is_some_and(|leak_at| now >= leak_at) {
            // Once: a leak that comes back would undo what a person contained.
            self.leak_at = None;
            return (0..LEAKED_TOKENS).try_for_each(|_| self.leak_token(now));
        }
        match self.random.below(10) {
            0 => {
                let (token, customer) = (self.random.token(), self.random.below(CUSTOMER_COUNT));
                self.log_in(&token, customer, now)
            }
            1 => self.log_out(now),
            _ => self.view_page(now),
        }
    }

    fn view_page(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        let page = usize::try_from(self.random.below(SHOP_PAGES.len() as u64)).unwrap_or(0);
        let duration = self.random.below(60) + 3;
        self.write_log_line(now, &format!("GET {} 200 in {duration}ms", SHOP_PAGES[page]))
    }

    fn log_in(&mut self, token: &str, customer: u64, now: UtcTimestamp) -> Result<(), DemoError> {
        let id = format!("live-{:010x}", self.random.below(1 << 40));
        let device = self.random.below(4);
        let session = NewSession { id: &id, token, customer, device, created_us: now.micros() };
        shop_database::insert_session(&self.connection, session)?;
        let (ends, user) = (clock::format_rfc3339(now + 30 * DAY), customer_id(customer));
        self.write_log_line(
            now,
            &format!(
                "[AUTH-ADAPTER] Session created {{\n  sessionToken: '{}...',\n  \
                 userId: '{user}',\n  expires: {ends}\n}}",
                &token[..8]
            ),
        )
    }

    /// Logs out a customer. Sessions with a shared token stay, so that a leak lasts until it is contained.
    fn log_out(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        let query = r#"SELECT id, "sessionToken", "userId" FROM sessions AS s
            WHERE rowid >= ?1 AND expires > ?2 AND "userId" <> ?3
              AND NOT EXISTS (SELECT 1 FROM sessions AS o WHERE o."sessionToken" = s."sessionToken" AND o.id <> s.id)
            ORDER BY rowid LIMIT 1"#;
        let first = self.random.below(CUSTOMER_COUNT).cast_signed();
        let found = self.connection.query_row(
            query,
            params![first, now.micros() / 1_000, customer_id(TEST_ACCOUNT)],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?)),
        );
        let Some((id, token, user)) = found.optional()? else { return self.view_page(now) };
        self.connection.execute("DELETE FROM sessions WHERE id = ?", params![id])?;
        let user = user.unwrap_or_default();
        self.write_log_line(
            now,
            &format!("event=session_destroyed reason=logout user_id={user} token_prefix={}", &token[..8]),
        )
    }

    /// Issues one token to two customers, and logs that the application noticed.
    fn leak_token(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        let token = self.random.token();
        let (one, other) = (self.random.below(CUSTOMER_COUNT / 2), self.random.below(CUSTOMER_COUNT / 2));
        // From different halves, so that they are two customers.
        let other = CUSTOMER_COUNT / 2 + other;
        self.log_in(&token, one, now)?;
        self.log_in(&token, other, now)?;
        let (prefix, one, other) = (&token[..8], customer_id(one), customer_id(other));
        self.write_log_line(
            now,
            &format!(
                "[AUTH-ADAPTER] 🚨 Duplicate session token detected {{ \
                 sessionToken: '{prefix}...', existingUserId: '{one}', \
                 newUserId: '{other}' }}"
            ),
        )?;
        self.write_log_line(
            now,
            &format!(
                "[SESSION-CALLBACK] 🚨 CRITICAL: User ID mismatch {{ sessionToken: \
                 '{prefix}...', sessionUserId: '{one}', dbUserId: '{other}' }}"
            ),
        )
    }

    fn write_log_line(&mut self, now: UtcTimestamp, text: &str) -> Result<(), DemoError> {
        writeln!(self.log, "{} {text}", clock::format_rfc3339(now)).map_err(|_| DemoError::Log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leak_happens_once_and_stays_until_it_is_contained() {
        let folder = tempfile::tempdir().unwrap();
        let (database, log) = (folder.path().join("app.db"), folder.path().join("app.log"));
        let now = clock::now();
        shop_database::create_shop_database(&database, now).unwrap();
        let delete = "DELETE FROM sessions";
        Connection::open(&database).unwrap().execute(delete, []).unwrap();
        let leak_at = now + DAY;
        let mut application = DemoApplication::open(&database, &log, leak_at).unwrap();
        let shared = |application: &DemoApplication| -> i64 {
            let query = r#"SELECT COUNT(*) FROM (SELECT 1 FROM sessions GROUP BY "sessionToken"
                           HAVING COUNT(DISTINCT "userId") > 1)"#;
            application.connection.query_row(query, [], |row| row.get(0)).unwrap()
        };
        for _ in 0..50 {
            application.perform_step(now).unwrap();
        }
        assert_eq!(shared(&application), 0);
        application.perform_step(leak_at).unwrap();
        for _ in 0..60 {
            application.perform_step(leak_at).unwrap();
            application.log_out(leak_at).unwrap();
        }
        assert_eq!(shared(&application), 3);
        application.connection.execute(delete, []).unwrap();
        for _ in 0..60 {
            application.perform_step(leak_at).unwrap();
        }
        assert_eq!(shared(&application), 0, "a contained leak does not come back");
    }
}
