//! A streaming replica of a server.

use std::{fs, io::Write as _, os::unix::fs::chown, path::PathBuf, process::Child};

use anyhow::{Context, Result};

use crate::{
    PostgresServer,
    polling::wait_until,
    processes::{Psql, find_free_port, find_unprivileged_user, run_as, spawn_watchdog},
};

/// A hot standby in a temporary folder. It is stopped and removed like a [`PostgresServer`].
#[derive(Debug)]
pub struct ReplicaServer {
    bin_folder: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Closing its standard input stops the server.
    _watchdog: Child,
}

impl PostgresServer {
    /// Starts a streaming replica of this server.
    ///
    /// # Errors
    ///
    /// Fails if the copy cannot be made, or the replica does not start.
    pub fn start_replica(&self) -> Result<ReplicaServer> {
        ReplicaServer::start_from(self)
    }
}

impl ReplicaServer {
    pub(crate) fn start_from(server: &PostgresServer) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkit-").tempdir()?.keep();
        let owner = find_unprivileged_user()?;
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group))?;
        }
        let (port, data) = (find_free_port()?, folder.join("data"));
        let (from, at) = server.socket_address();
        let (from, at, to) = (from.display().to_string(), at.to_string(), data.display().to_string());
        let copy = [
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
            "-U",
            "postgres",
            "-h",
            &from,
            "-p",
            &at,
            "-D",
            &to,
        ];
        run_as(owner, &server.bin_folder().join("pg_basebackup"), &copy)?;
        let mut configuration = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(configuration, "port = {port}\nunix_socket_directories = '{}'", folder.display())?;
        let watchdog = spawn_watchdog(&folder, &data)?;
        let replica = Self { bin_folder: server.bin_folder().to_owned(), folder, port, _watchdog: watchdog };
        replica.start()?;
        Ok(replica)
    }

    /// Port that the replica listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts a stopped replica.
    ///
    /// # Errors
    ///
    /// Fails if the replica does not start.
    pub fn start(&self) -> Result<()> {
        let log = self.folder.join("postgres.log").display().to_string();
        self.run_pg_ctl(&["start", "-w", "-s", "-l", &log])
    }

    /// Stops the replica.
    ///
    /// # Errors
    ///
    /// Fails if the replica does not stop.
    pub fn stop(&self) -> Result<()> {
        self.run_pg_ctl(&["stop", "-w", "-s", "-m", "fast"])
    }

    /// Pauses replay: the replica still receives changes, but does not apply them.
    ///
    /// # Errors
    ///
    /// Fails if `psql` fails.
    pub fn pause_replay(&self) -> Result<()> {
        self.psql("postgres", "SELECT pg_wal_replay_pause()")?;
        self.wait_until_true("pg_get_wal_replay_pause_state() = 'paused'")
    }

    /// Resumes replay.
    ///
    /// # Errors
    ///
    /// Fails if `psql` fails.
    pub fn resume_replay(&self) -> Result<()> {
        self.psql("postgres", "SELECT pg_wal_replay_resume()").map(drop)
    }

    /// Waits until the replica has applied all changes of its server.
    ///
    /// # Errors
    ///
    /// Fails if `psql` fails.
    ///
    /// # Panics
    ///
    /// Panics if the replica does not catch up within a minute.
    pub fn wait_for_catch_up(&self, server: &PostgresServer) -> Result<()> {
        // The servers run with `synchronous_commit = off`: only a synchronous commit flushes the WAL up to its
        // position.
        let sql = "BEGIN;\nSET LOCAL synchronous_commit = on;\nSELECT pg_logical_emit_message(true, 'testkit', '');\n\
                   COMMIT;\nSELECT pg_current_wal_flush_lsn();";
        let output = server.psql("postgres", sql)?;
        let position = output.lines().last().context("psql prints no WAL position")?;
        self.wait_until_true(&format!("pg_last_wal_replay_lsn() >= '{position}'"))
    }

    /// Runs SQL as superuser, and returns the unaligned output.
    ///
    /// # Errors
    ///
    /// Fails with the error output of `psql`.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        Psql { bin_folder: &self.bin_folder, socket_folder: &self.folder, port: self.port }.run(database, sql)
    }

    fn run_pg_ctl(&self, arguments: &[&str]) -> Result<()> {
        let data = self.folder.join("data").display().to_string();
        run_as(
            find_unprivileged_user()?,
            &self.bin_folder.join("pg_ctl"),
            &[arguments, &["-D", &data]].concat(),
        )
    }

    fn wait_until_true(&self, condition: &str) -> Result<()> {
        let query = format!("SELECT {condition};");
        let mut answer = Ok(String::new());
        wait_until(condition, || {
            answer = self.psql("postgres", &query);
            answer.as_ref().map_or(true, |answer| answer.trim_end().ends_with('t'))
        });
        answer.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applies_changes_unless_replay_is_paused() {
        let server = PostgresServer::start(&[]).unwrap();
        let replica = server.start_replica().unwrap();
        let seen = || replica.psql("postgres", "SELECT count(*) FROM t").unwrap().trim().to_owned();
        server.psql("postgres", "CREATE TABLE t (id int)").unwrap();
        replica.wait_for_catch_up(&server).unwrap();
        assert_eq!(seen(), "0");
        replica.pause_replay().unwrap();
        server.psql("postgres", "INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(seen(), "0");
        replica.resume_replay().unwrap();
        replica.wait_for_catch_up(&server).unwrap();
        assert_eq!(seen(), "1");
        replica.stop().unwrap();
        assert!(replica.psql("postgres", "SELECT 1").is_err());
        replica.start().unwrap();
        assert_eq!(seen(), "1");
    }
}
