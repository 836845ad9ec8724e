//! PostgreSQL servers with PgBouncer, and their databases.
//!
//! A [`PostgresServer`] runs in a temporary folder, and never as root. A watchdog shell with a pipe from this process
//! stops it and removes the folder when this process ends, however it ends.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};

use crate::{
    TestCertificates,
    processes::{Psql, find_free_port, find_unprivileged_user, run_as, spawn_watchdog},
    server_binaries,
};

const TEST_PASSWORD: &str = "testkit";

/// A PostgreSQL server with a PgBouncer in transaction mode in front of it. Dropping the value stops both.
#[derive(Debug)]
pub struct PostgresServer {
    bin_folder: PathBuf,
    /// Folder of `psql`, which downloaded server programs lack.
    client_bin_folder: PathBuf,
    folder: PathBuf,
    port: u16,
    pgbouncer_port: u16,
    certificates: Option<TestCertificates>,
    /// Closing its standard input stops the servers.
    _watchdog: Child,
}

/// Options of a server.
#[derive(Debug)]
struct ServerOptions<'a> {
    /// Folder of server programs.
    bin_folder: PathBuf,
    /// Lines of `postgresql.conf`.
    settings: &'a [&'a str],
    tls: bool,
}

/// A database of a [`PostgresServer`]. Dropping the value drops the database, so that a test run needs room for a few
/// databases, not for hundreds.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a PostgresServer,
    name: String,
}

/// Returns the server that all tests of a binary share.
///
/// # Panics
///
/// Panics if the server cannot be started.
#[must_use]
pub fn shared_server() -> &'static PostgresServer {
    static SHARED_SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SHARED_SERVER.get_or_init(|| PostgresServer::start(&[]).expect("a private PostgreSQL server starts"))
}

impl PostgresServer {
    /// Starts a server with lines of `postgresql.conf`, in addition to settings for speed.
    ///
    /// # Errors
    ///
    /// Fails if the server programs are missing or do not start.
    pub fn start(settings: &[&str]) -> Result<Self> {
        Self::start_with_options(ServerOptions { bin_folder: find_newest_installed()?, settings, tls: false })
    }

    /// Starts a server of a major version of PostgreSQL, installed or downloaded by `cargo xtask setup`, with lines of
    /// `postgresql.conf` in addition to settings for speed.
    ///
    /// # Errors
    ///
    /// Fails if that version is missing or does not start.
    pub fn start_version(major: u32, settings: &[&str]) -> Result<Self> {
        Self::start_with_options(ServerOptions {
            bin_folder: server_binaries::find_version_binaries(major)?,
            settings,
            tls: false,
        })
    }

    /// Starts a server with TimescaleDB, which `cargo xtask setup` downloads.
    ///
    /// # Errors
    ///
    /// Fails if TimescaleDB is missing, or the server does not start.
    pub fn start_timescale() -> Result<Self> {
        let settings = [
            "shared_preload_libraries = 'timescaledb'",
            "timescaledb.telemetry_level = off",
            "max_worker_processes = 16",
        ];
        Self::start_with_options(ServerOptions {
            bin_folder: server_binaries::find_timescale_binaries()?,
            settings: &settings,
            tls: false,
        })
    }

    /// Starts a server that accepts TCP connections only with TLS, with a certificate for `localhost`.
    ///
    /// # Errors
    ///
    /// Fails if the server programs are missing or do not start.
    pub fn start_with_tls() -> Result<Self> {
        let settings = ["ssl = on", "ssl_cert_file = '../server.pem'", "ssl_key_file = '../server.key'"];
        Self::start_with_options(ServerOptions {
            bin_folder: find_newest_installed()?,
            settings: &settings,
            tls: true,
        })
    }

    fn start_with_options(ServerOptions { bin_folder, settings, tls }: ServerOptions<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("testkit-").tempdir()?.keep();
        let owner = find_unprivileged_user()?;
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group))?;
        }
        let bin_folder = server_binaries::make_accessible(bin_folder, &folder, owner)?;
        let client_bin_folder =
            if bin_folder.join("psql").exists() { bin_folder.clone() } else { find_newest_installed()? };
        // Another process may take a port before the server binds it; the start then fails.
        let (port, pgbouncer_port) = (find_free_port()?, find_free_port()?);
        let data = folder.join("data");
        let secret = folder.join("password");
        fs::write(&secret, TEST_PASSWORD)?;
        let run = |program: &Path, arguments: &[&str]| run_as(owner, program, arguments);
        let text = |path: &Path| path.display().to_string();
        let (data_text, secret_text) = (text(&data), text(&secret));
        let initdb = [
            "-D",
            &data_text,
            "-U",
            "postgres",
            "--pwfile",
            &secret_text,
            "-A",
            "scram-sha-256",
            "--auth-local=trust",
        ];
        run(&bin_folder.join("initdb"), &[&initdb[..], &["-E", "UTF8", "--locale=C", "--no-sync"]].concat())?;
        let certificates = if tls { Some(require_tls(&folder, &data, owner)?) } else { None };
        let mut configuration = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(
            configuration,
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = off\n\
             synchronous_commit = off\n\
             full_page_writes = off\nmax_connections = 200\ntimezone = 'UTC'\n{}",
            folder.display(),
            settings.join("\n")
        )?;
        let watchdog = spawn_watchdog(&folder, &data)?;
        let server = Self {
            bin_folder,
            client_bin_folder,
            folder,
            port,
            pgbouncer_port,
            certificates,
            _watchdog: watchdog,
        };
        let log = text(&server.folder.join("postgres.log"));
        run(&server.bin_folder.join("pg_ctl"), &["start", "-w", "-s", "-D", &data_text, "-l", &log])?;
        server.start_pgbouncer(owner)?;
        Ok(server)
    }

    fn start_pgbouncer(&self, owner: Option<(u32, u32)>) -> Result<()> {
        let configuration = self.folder.join("pgbouncer.ini");
        let folder = self.folder.display();
        let text = format!(
            "[databases]\n* = host={folder} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {folder}/users\nauth_user = postgres\npool_mode = transaction\n\
             ignore_startup_parameters = extra_float_digits\n\
             tcp_user_timeout = 3000\npidfile = {folder}/pgbouncer.pid\nlogfile = {folder}/pgbouncer.log\n",
            self.port, self.pgbouncer_port
        );
        fs::write(&configuration, text)?;
        // PgBouncer looks up the passwords of other users in the server, whose Unix socket trusts every connection.
        fs::write(self.folder.join("users"), format!("\"postgres\" \"{TEST_PASSWORD}\"\n"))?;
        // With `-d`, the command returns once PgBouncer listens.
        run_as(owner, Path::new("pgbouncer"), &["-q", "-d", &configuration.display().to_string()])
    }

    /// Creates a database, empty or as a copy of another one.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be created.
    pub fn create_database(&self, template: Option<&Database<'_>>) -> Result<Database<'_>> {
        static NEXT_DATABASE_NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT_DATABASE_NUMBER.fetch_add(1, Ordering::Relaxed));
        let template = template.map_or("template0", |template| template.name.as_str());
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"))?;
        Ok(Database { server: self, name })
    }

    /// Runs SQL as superuser with the real `psql`, in a UTC session, and returns the unaligned output with fields
    /// separated by `|`.
    ///
    /// # Errors
    ///
    /// Fails with the error output of `psql`.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        Psql { bin_folder: &self.client_bin_folder, socket_folder: &self.folder, port: self.port }
            .run(database, sql)
    }

    /// Stops the server at once, without a shutdown checkpoint, as a crash would.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be stopped.
    pub fn stop_immediately(&self) -> Result<()> {
        let data = self.folder.join("data").display().to_string();
        run_as(
            find_unprivileged_user()?,
            &self.bin_folder.join("pg_ctl"),
            &["stop", "-s", "-m", "immediate", "-D", &data],
        )
    }

    /// Starts a stopped server.
    ///
    /// # Errors
    ///
    /// Fails if the server does not start.
    pub fn restart_stopped(&self) -> Result<()> {
        let [data, log] = ["data", "postgres.log"].map(|name| self.folder.join(name).display().to_string());
        let start = ["start", "-w", "-s", "-D", &data, "-l", &log];
        run_as(find_unprivileged_user()?, &self.bin_folder.join("pg_ctl"), &start)
    }

    /// Certificates of a TLS server.
    ///
    /// # Panics
    ///
    /// Panics if the server was started without TLS.
    #[must_use]
    pub fn certificates(&self) -> &TestCertificates {
        self.certificates.as_ref().expect("the server was started with TLS")
    }

    /// Ports of PostgreSQL and of PgBouncer, in this order.
    #[must_use]
    pub fn ports(&self) -> [u16; 2] {
        [self.port, self.pgbouncer_port]
    }

    /// Folder of server programs. For an installed server, it also has the client programs.
    #[must_use]
    pub fn bin_folder(&self) -> &Path {
        &self.bin_folder
    }

    /// Folder of the Unix socket, and port.
    #[must_use]
    pub fn socket_address(&self) -> (&Path, u16) {
        (&self.folder, self.port)
    }
}

impl Database<'_> {
    /// Name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL as superuser, and returns the unaligned output.
    ///
    /// # Errors
    ///
    /// Fails with the error output of `psql`.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.server.psql(&self.name, sql)
    }

    /// Connection URL for a user.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        self.url_at_port(user, self.server.port)
    }

    /// Connection URLs for a user: direct, and through PgBouncer.
    #[must_use]
    pub fn urls(&self, user: &str) -> [String; 2] {
        self.server.ports().map(|port| self.url_at_port(user, port))
    }

    /// Connection URL for a user, with another port.
    #[must_use]
    pub fn url_at_port(&self, user: &str, port: u16) -> String {
        format!("postgres://{user}:{TEST_PASSWORD}@127.0.0.1:{port}/{}", self.name)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // A test that has stopped its server has nothing to drop.
        let _ = self.server.psql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// Creates certificates, and rejects TCP connections without TLS.
fn require_tls(folder: &Path, data: &Path, owner: Option<(u32, u32)>) -> Result<TestCertificates> {
    let certificates = TestCertificates::generate(folder)?;
    let key = folder.join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    if let Some((user, group)) = owner {
        chown(&key, Some(user), Some(group))?;
    }
    fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")?;
    Ok(certificates)
}

/// Returns the program folder of the newest installed server.
fn find_newest_installed() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .context("no PostgreSQL server is installed: run `cargo xtask setup`")?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).context("no PostgreSQL server is installed: run `cargo xtask setup`")
}
