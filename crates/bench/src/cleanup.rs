//! Benchmark of cleanup: expired rows are removed while `pgbench` simulates an application on the same table. Measures
//! the removal rate, and the latency of the application's transactions.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::{Database, PostgresServer};

const PROGRAM_PATH: &str = "target/release/sessionwatch";
/// Transactions per second of the application, over four connections.
const TRANSACTIONS_PER_SEC: u32 = 400;
/// Time that the application runs before the removal starts, so that it has warmed up.
const BASELINE_DURATION: Duration = Duration::from_secs(3);

/// Workload of the application. Every transaction reads a session; 10 % extend it, 2 % are logins, 2 % logouts, and 2 %
/// present an expired token, whose row the framework deletes.
const WORKLOAD_SCRIPT: &str = r#"
\set live random(1, :live)
\set dead random(1, :dead)
\set kind random(1, 100)
SELECT s.*, u.name FROM sessions s JOIN users u ON u.id = s."userId"
  WHERE s."sessionToken" = 'live-' || md5(:live::text);
\if :kind <= 10
UPDATE sessions SET expires = now() + interval '30 days' WHERE "sessionToken" = 'live-' || md5(:live::text);
\elif :kind <= 12
INSERT INTO sessions VALUES ('n' || gen_random_uuid(), gen_random_uuid()::text, 1 + :live % 1000,
  now() + interval '30 days');
\elif :kind <= 14
DELETE FROM sessions WHERE "sessionToken" = 'live-' || md5(:live::text);
\elif :kind <= 16
DELETE FROM sessions WHERE "sessionToken" = 'dead-' || md5(:dead::text);
\endif
"#;

/// Method of removing the rows.
#[derive(Clone, Copy)]
enum CleanupMethod {
    Nothing,
    OneDelete,
    CopyAndDelete,
    Program,
    ProgramPooled,
}

/// Result of one method.
struct CleanupMeasurement {
    name: &'static str,
    seconds: f64,
    removed: u64,
    // Latencies of the application's transactions during the removal.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Number of lock waits of more than 50 ms.
    lock_waits: usize,
    longest_hold_ms: Option<f64>,
}

/// Removes `rows` expired rows from a table with as many live ones, by each method, and prints the results.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(rows: u64) -> Result<Value> {
    // Durable like a production server, unlike those of the tests. Lock waits of more than 50 ms are logged.
    let settings = [
        "fsync = on",
        "synchronous_commit = on",
        "full_page_writes = on",
        "shared_buffers = '512MB'",
        "max_wal_size = '4GB'",
        "autovacuum = off",
        "log_lock_waits = on",
        "deadlock_timeout = '50ms'",
    ];
    let server = PostgresServer::start(&settings)?;
    let template = server.create_database(None)?;
    load_tables(&template, rows)?;
    println!(
        "{:<34} {:>9} {:>10} {:>8} {:>9} {:>9} {:>9} {:>11} {:>12}",
        "removed by",
        "seconds",
        "rows/s",
        "÷ one",
        "p50 ms",
        "p99 ms",
        "worst ms",
        "waits>50ms",
        "longest hold"
    );
    let mut figures: Vec<CleanupMeasurement> = Vec::new();
    for way in [
        CleanupMethod::Nothing,
        CleanupMethod::OneDelete,
        CleanupMethod::CopyAndDelete,
        CleanupMethod::Program,
        CleanupMethod::ProgramPooled,
    ] {
        // A copy of the same files for each method, so that none inherits the bloat of another.
        let database = server.create_database(Some(&template))?;
        // A checkpoint now does not fall into the measurement.
        database.psql("CHECKPOINT")?;
        let figure = measure_cleanup(&server, &database, rows, way)?;
        let one = figures
            .iter()
            .find(|figure| figure.name == CleanupMethod::OneDelete.name())
            .map(CleanupMeasurement::rows_per_sec);
        println!(
            "{:<34} {:>9.2} {:>10.0} {:>8} {:>9.2} {:>9.2} {:>9.1} {:>11} {:>12}",
            figure.name,
            figure.seconds,
            figure.rows_per_sec(),
            one.map_or("-".into(), |one| format!("{:.2}", figure.rows_per_sec() / one)),
            figure.p50_ms,
            figure.p99_ms,
            figure.max_ms,
            figure.lock_waits,
            figure.longest_hold_ms.map_or("-".into(), |hold| format!("{hold:.1} ms")),
        );
        figures.push(figure);
    }
    Ok(json!({ "cleanup": figures.iter().map(CleanupMeasurement::to_json).collect::<Vec<_>>() }))
}

impl CleanupMethod {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::OneDelete => "one DELETE, no copy kept",
            Self::CopyAndDelete => "copy into a table, one DELETE",
            Self::Program => "cleanup expired",
            Self::ProgramPooled => "cleanup expired through PgBouncer",
        }
    }
}

impl CleanupMeasurement {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn rows_per_sec(&self) -> f64 {
        self.removed as f64 / self.seconds
    }

    fn to_json(&self) -> Value {
        json!({
            "way": self.name, "seconds": self.seconds, "removed": self.removed,
            "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
            "worst_ms": self.max_ms, "lock_waits_over_50_ms": self.lock_waits, "longest_hold_ms": self.longest_hold_ms,
        })
    }
}

fn load_tables(database: &Database<'_>, rows: u64) -> Result<()> {
    database.psql(&format!(
        r#"CREATE TABLE users (id integer PRIMARY KEY, name text);
        CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" integer NOT NULL,
          expires timestamp(3) NOT NULL);
        INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, 1000) AS n;
        INSERT INTO sessions SELECT CASE n % 2 WHEN 0 THEN 'l' ELSE 'd' END || md5(n::text),
          CASE n % 2 WHEN 0 THEN 'live-' ELSE 'dead-' END || md5((n / 2 + n % 2)::text), 1 + n % 1000,
          now() + CASE n % 2 WHEN 0 THEN 1 ELSE -1 END * (2 + n % 20) * interval '1 day'
          FROM generate_series(1, {}) AS n;
        CREATE INDEX sessions_user ON sessions ("userId");
        ALTER TABLE sessions ADD CONSTRAINT sessions_user_fkey
          FOREIGN KEY ("userId") REFERENCES users (id) ON DELETE CASCADE;
        VACUUM (ANALYZE) users; VACUUM (ANALYZE) sessions;"#,
        rows * 2
    ))?;
    Ok(())
}

/// Removes the rows by one method while the application runs.
fn measure_cleanup(
    server: &PostgresServer,
    database: &Database<'_>,
    rows: u64,
    way: CleanupMethod,
) -> Result<CleanupMeasurement> {
    let folder = tempfile::tempdir()?;
    let plan = match way {
        CleanupMethod::Program | CleanupMethod::ProgramPooled => {
            Some(CleanupPlan::create(folder.path(), database, matches!(way, CleanupMethod::ProgramPooled))?)
        }
        _ => None,
    };
    // Counted before and after, as the log also contains the waits of earlier methods.
    let logged = count_lock_waits(server)?;
    let application = start_workload(server, database, rows, folder.path())?;
    testkit::let_time_pass(BASELINE_DURATION);
    let (begun, started) = (unix_time_secs(), Instant::now());
    let removed = match (way, &plan) {
        (CleanupMethod::Nothing, _) => {
            testkit::let_time_pass(Duration::from_secs(10));
            0
        }
        (_, Some(plan)) => plan.apply(folder.path())?,
        (CleanupMethod::OneDelete, None) => delete_expired(database)?,
        (_, None) => {
            database.psql(
                "CREATE TABLE kept AS SELECT * FROM sessions WHERE expires <= now() - interval '24 hours'",
            )?;
            delete_expired(database)?
        }
    };
    let (seconds, ended) = (started.elapsed().as_secs_f64(), unix_time_secs());
    stop_workload(application)?;
    // Only transactions during the removal: those before it are the baseline.
    let mut times = read_transaction_times_ms(folder.path(), begun, ended)?;
    times.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank"
    )]
    let at =
        |share: f64| times.get(((times.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(f64::NAN);
    Ok(CleanupMeasurement {
        name: way.name(),
        seconds,
        removed,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        lock_waits: count_lock_waits(server)? - logged,
        longest_hold_ms: plan.and_then(|_| read_longest_hold_ms(folder.path())),
    })
}

fn delete_expired(database: &Database<'_>) -> Result<u64> {
    // The testkit runs `psql --quiet`, which hides the count of deleted rows.
    let output = database
        .psql("\\set QUIET off\nDELETE FROM sessions WHERE expires <= now() - interval '24 hours';")?;
    let count = output.lines().find_map(|line| line.strip_prefix("DELETE "));
    count.and_then(|count| count.trim().parse().ok()).context("psql prints no count of deleted rows")
}

/// A plan of sessionwatch, created before the clock starts.
struct CleanupPlan {
    id: String,
    /// Name of the database. It confirms a plan above the safety limit if a URL names the target.
    database: String,
    url: String,
}

impl CleanupPlan {
    fn create(folder: &Path, database: &Database<'_>, pooled: bool) -> Result<Self> {
        let url = database.urls("postgres")[usize::from(pooled)].clone();
        let output = run_program(folder, &["cleanup", "expired", &url, "--format", "json"])?;
        let output: Value = serde_json::from_slice(&output)?;
        let id = output["plan"]["id"].as_str().context("the plan has no id")?.to_owned();
        let (_, database) = url.rsplit_once('/').context("the URL names no database")?;
        Ok(Self { id, database: database.to_owned(), url })
    }

    fn apply(&self, folder: &Path) -> Result<u64> {
        let Self { id, database, url } = self;
        let arguments = ["apply", id, url, "--confirm", database, "--format", "json"];
        let output = run_program(folder, &arguments)?;
        fs::write(folder.join("applied.json"), &output)?;
        // Kept for the longest hold, which is read once the application has stopped.
        let output: Value = serde_json::from_slice(&output)?;
        output["applied"]["done"].as_u64().context("the output has no count of applied rows")
    }
}

fn read_longest_hold_ms(folder: &Path) -> Option<f64> {
    let output: Value = serde_json::from_slice(&fs::read(folder.join("applied.json")).ok()?).ok()?;
    output["applied"]["longest_hold_ms"].as_f64()
}

fn run_program(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let program = fs::canonicalize(PROGRAM_PATH).context("the release build of sessionwatch is missing")?;
    let output = Command::new(program).args(arguments).current_dir(folder).output()?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!("sessionwatch: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// Starts the application, which runs until it is stopped or 10 minutes have passed.
fn start_workload(
    server: &PostgresServer,
    database: &Database<'_>,
    rows: u64,
    folder: &Path,
) -> Result<Child> {
    let script = folder.join("application.sql");
    fs::write(&script, WORKLOAD_SCRIPT)?;
    let (socket, port) = server.socket_address();
    Command::new(server.bin_folder().join("pgbench"))
        .args([
            "-n",
            "-c",
            "4",
            "-j",
            "1",
            "-T",
            "600",
            "-R",
            &TRANSACTIONS_PER_SEC.to_string(),
            "-l",
            "-M",
            "prepared",
            "--log-prefix",
            "times",
        ])
        .args(["-D", &format!("live={rows}"), "-D", &format!("dead={rows}"), "-U", "postgres"])
        .args(["-h", &socket.display().to_string(), "-p", &port.to_string(), "-f"])
        .args([&script.display().to_string(), database.name()])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run pgbench")
}

fn stop_workload(mut application: Child) -> Result<()> {
    let id = application.id().to_string();
    // An interrupt, so that pgbench still writes its last log lines.
    if !Command::new("kill").args(["-s", "INT", &id]).status()?.success() {
        bail!("pgbench ended before it was stopped");
    }
    application.wait()?;
    Ok(())
}

/// Reads the latencies, in milliseconds, of the transactions that ended between two Unix times.
fn read_transaction_times_ms(folder: &Path, begun: f64, ended: f64) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("times")) {
            continue;
        }
        // Columns of pgbench's log: client, number, latency in µs, script, end in s and µs, and lag in µs. The latency
        // includes the lag, by which the transaction started late.
        for line in fs::read_to_string(path)?.lines() {
            let fields: Vec<f64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
            if let [_, _, took, _, seconds, micros, ..] = fields[..] {
                let end = seconds + micros / 1e6;
                if (begun..=ended).contains(&end) {
                    times.push(took / 1e3);
                }
            }
        }
    }
    Ok(times)
}

/// Counts the lock waits of more than 50 ms that the server has logged.
fn count_lock_waits(server: &PostgresServer) -> Result<usize> {
    let log = fs::read_to_string(server.socket_address().0.join("postgres.log"))?;
    Ok(log.lines().filter(|line| line.contains("still waiting for")).count())
}

#[expect(clippy::disallowed_methods, reason = "the log of pgbench has Unix times")]
fn unix_time_secs() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
