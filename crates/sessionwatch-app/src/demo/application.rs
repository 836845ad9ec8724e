//! Simulated application: users log in and out, it writes a log, and it leaks a session token after a while.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, params};
use sessionwatch_clock as clock;
use sessionwatch_core::{duration::DAY, timestamp::UtcTimestamp};
use tokio_util::sync::CancellationToken;

use super::{DemoError, USER_COUNT};
use crate::blocking;

/// Time between two actions of users.
const STEP_INTERVAL: Duration = Duration::from_millis(1_500);
/// Steps until the first leak (about 20 s), and between two leaks.
const FIRST_LEAK_STEP: u64 = 14;
const STEPS_BETWEEN_LEAKS: u64 = 160;

/// Simulated application.
#[derive(Debug)]
pub struct DemoApplication {
    connection: Connection,
    log: File,
    seed: u64,
    steps: u64,
}

impl DemoApplication {
    /// Opens the database and the log file.
    ///
    /// # Errors
    ///
    /// Fails if one of them cannot be opened.
    pub fn open(database: &Path, log: &PathBuf) -> Result<Self, DemoError> {
        let connection = Connection::open(database)?;
        // A check run or a plan may lock the database for a moment.
        connection.busy_timeout(Duration::from_secs(5))?;
        let log = OpenOptions::new().create(true).append(true).open(log).map_err(|_| DemoError::Log)?;
        Ok(Self { connection, log, seed: 7, steps: 0 })
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

    fn random_below(&mut self, limit: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of a linear congruential generator are hardly random.
        (self.seed >> 33) % limit.max(1)
    }

    fn perform_step(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        self.steps += 1;
        if self.steps == FIRST_LEAK_STEP
            || self.steps > FIRST_LEAK_STEP
                && (self.steps - FIRST_LEAK_STEP).is_multiple_of(STEPS_BETWEEN_LEAKS)
        {
            return self.leak_token(now);
        }
        let user = format!("u{:04}", self.random_below(USER_COUNT));
        if self.random_below(3) == 0 {
            self.log_out(now)
        } else {
            let token = self.random_token();
            self.log_in(&token, &user, now)
        }
    }

    fn random_token(&mut self) -> String {
        let [a, b, c, d] = [
            self.random_below(1 << 31),
            self.random_below(1 << 16),
            self.random_below(1 << 16),
            self.random_below(1 << 31),
        ];
        format!("{a:08x}-{b:04x}-4{:03x}-9{:03x}-{d:012x}", c & 0xfff, b & 0xfff)
    }

    fn log_in(&mut self, token: &str, user: &str, now: UtcTimestamp) -> Result<(), DemoError> {
        let (created, expires) = (now.micros() / 1_000, (now + 30 * DAY).micros() / 1_000);
        let id = format!("live-{}-{}", created, self.random_below(1_000_000));
        self.connection.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?)",
            params![id, token, user, expires, created],
        )?;
        let ends = clock::format_rfc3339(now + 30 * DAY);
        self.write_log_line(now, &format!("[AUTH-ADAPTER] Session created {{\n  sessionToken: '{}...',\n  userId: '{user}',\n  expires: {ends}\n}}", &token[..8]))
    }

    /// Logs out the user who has been logged in longest. Sessions with a shared token stay, so that a leak lasts
    /// until it is contained.
    fn log_out(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        let query = "SELECT id, \"sessionToken\", \"userId\" FROM sessions AS s WHERE id LIKE 'live-%'
            AND NOT EXISTS (SELECT 1 FROM sessions AS o WHERE o.\"sessionToken\" = s.\"sessionToken\" AND o.id <> s.id) ORDER BY id LIMIT 1";
        let found = self.connection.query_row(query, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        });
        let Ok((id, token, user)) = found else { return self.write_log_line(now, "GET / 200 in 3ms") };
        self.connection.execute("DELETE FROM sessions WHERE id = ?", params![id])?;
        let user = user.unwrap_or_default();
        self.write_log_line(
            now,
            &format!("event=session_destroyed reason=logout user_id={user} token_prefix={}", &token[..8]),
        )
    }

    /// Issues one token to two users, and logs that the application noticed.
    fn leak_token(&mut self, now: UtcTimestamp) -> Result<(), DemoError> {
        let token = self.random_token();
        let (one, other) = (
            format!("u{:04}", self.random_below(USER_COUNT)),
            format!("u{:04}", self.random_below(USER_COUNT)),
        );
        self.log_in(&token, &one, now)?;
        self.log_in(&token, &other, now)?;
        let prefix = &token[..8];
        self.write_log_line(now, &format!("[AUTH-ADAPTER] 🚨 Duplicate session token detected {{ sessionToken: '{prefix}...', existingUserId: '{one}', newUserId: '{other}' }}"))?;
        self.write_log_line(now, &format!("[SESSION-CALLBACK] 🚨 CRITICAL: User ID mismatch {{ sessionToken: '{prefix}...', sessionUserId: '{one}', dbUserId: '{other}' }}"))
    }

    fn write_log_line(&mut self, now: UtcTimestamp, text: &str) -> Result<(), DemoError> {
        writeln!(self.log, "{} {text}", clock::format_rfc3339(now)).map_err(|_| DemoError::Log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_stays_until_it_is_contained() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE sessions (id text, \"sessionToken\" text, \"userId\" text, expires integer, created integer)";
        connection.execute_batch(table).unwrap();
        let log = File::create(folder.path().join("app.log")).unwrap();
        let mut application = DemoApplication { connection, log, seed: 7, steps: 0 };
        let now = clock::now();
        application.leak_token(now).unwrap();
        for number in 0..20 {
            application.log_in(&format!("some-token-{number}"), "u0001", now).unwrap();
        }
        for _ in 0..50 {
            application.log_out(now).unwrap();
        }
        let left =
            "SELECT COUNT(*), COUNT(DISTINCT \"sessionToken\"), COUNT(DISTINCT \"userId\") FROM sessions";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let left: (i64, i64, i64) = application.connection.query_row(left, [], row).unwrap();
        assert_eq!(left, (2, 1, 2));
    }
}
