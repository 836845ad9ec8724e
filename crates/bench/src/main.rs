//! Benchmarks. By default a race: sessionwatch, `psql` and a generic exporter run in turns on one private PostgreSQL
//! server; the report has medians, ratios and budgets.

mod alert_delivery;
mod cleanup;
mod contenders;
mod dashboard_pages;
mod ingest;
mod logs;
mod many_targets;
mod race_report;
mod run_cost;
mod sql_exporter;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use testkit::{Database, PostgresServer};

use crate::{contenders::BenchCandidate, race_report::RoundReport};

/// Time sessionwatch against psql on a private PostgreSQL
#[derive(Debug, Parser)]
struct BenchArgs {
    /// Sessions in the table
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    rows: Vec<u64>,
    /// Counted runs of each program, after one warm-up run
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measure one `serve` that monitors COUNT targets instead
    #[arg(long, value_delimiter = ',', value_name = "COUNT")]
    targets: Vec<usize>,
    /// Sessions per target, with --targets
    #[arg(long, default_value_t = 1_000)]
    sessions: u64,
    /// Measure the removal of ROWS expired rows under application load instead
    #[arg(long, value_name = "ROWS")]
    cleanup: Option<u64>,
    /// Measure scans of log files of BYTES bytes against line counters instead
    #[arg(long, value_name = "BYTES")]
    logs: Option<u64>,
    /// Measure log ingestion for SECONDS per batch size instead
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
    /// Measure each page of the dashboard for SECONDS instead
    #[arg(long, value_name = "SECONDS")]
    pages: Option<u64>,
    /// Measure the delivery of COUNT simultaneous alerts instead
    #[arg(long, value_name = "COUNT")]
    alerts: Option<usize>,
    /// Write the figures as JSON to a file too
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = BenchArgs::parse();
    let other_benchmark = match &args {
        BenchArgs { cleanup: Some(rows), .. } => Some(cleanup::run(*rows)?),
        BenchArgs { logs: Some(bytes), .. } => Some(logs::run(*bytes, args.runs)?),
        BenchArgs { drain: Some(seconds), .. } => Some(ingest::run(*seconds)?),
        BenchArgs { pages: Some(seconds), .. } => Some(dashboard_pages::run(*seconds)?),
        BenchArgs { alerts: Some(count), .. } => Some(alert_delivery::run(*count, args.runs)?),
        BenchArgs { targets, .. } if targets.is_empty() => None,
        BenchArgs { targets, sessions, .. } => Some(many_targets::run(targets, *sessions)?),
    };
    if let Some(figures) = other_benchmark {
        return match &args.json {
            Some(path) => Ok(std::fs::write(path, format!("{figures:#}\n"))?),
            None => Ok(()),
        };
    }
    // All tables of a round fit into shared buffers, so that no candidate pays for pages that another one evicted.
    let server = PostgresServer::start(&["shared_buffers = '1536MB'"])?;
    let mut rounds = Vec::new();
    for rows in &args.rows {
        let [database, bare, anomalous] =
            [server.create_database(None)?, server.create_database(None)?, server.create_database(None)?];
        load_guide_tables(&database, *rows)?;
        load_bare_tables(&bare, *rows, false)?;
        load_bare_tables(&anomalous, *rows, true)?;
        let mut candidates = BenchCandidate::list_installed(&server, &database)?;
        candidates.extend(BenchCandidate::list_for_bare_tables(&server, &bare, &anomalous));
        // Candidates take turns, so that a change of the machine's load affects all of them. Run 0 warms up.
        for run in 0..=args.runs {
            for candidate in &mut candidates {
                let took = candidate.measure_run()?;
                if run > 0 {
                    candidate.runs.push(took);
                }
            }
        }
        let round = RoundReport::from_candidates(*rows, &candidates);
        round.print_table();
        rounds.push(round);
    }
    if !Path::new(sql_exporter::EXPORTER_PATH).exists() {
        print_note(
            "skipped: prometheus-sql-exporter is not installed (Debian: `apt-get install prometheus-sql-exporter`)",
        );
    }
    let budgets = race_report::print_budgets(&rounds);
    if let Some(path) = &args.json {
        let rounds: Vec<_> = rounds.iter().map(RoundReport::to_json).collect();
        let document = serde_json::json!({ "rounds": rounds, "budgets": budgets });
        std::fs::write(path, format!("{document:#}\n"))?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a note beside the table on stdout")]
fn print_note(text: &str) {
    eprintln!("{text}");
}

/// Creates the operator guide's tables with the indexes and constraints of its application.
fn load_guide_tables(database: &Database<'_>, rows: u64) -> Result<()> {
    create_tables(database, rows)?;
    database.psql(
        r#"CREATE UNIQUE INDEX sessions_token ON sessions ("sessionToken");
        CREATE INDEX sessions_user ON sessions ("userId");
        ALTER TABLE sessions ADD CONSTRAINT sessions_user_fkey
          FOREIGN KEY ("userId") REFERENCES users (id) ON DELETE CASCADE;
        VACUUM (ANALYZE) users; VACUUM (ANALYZE) sessions;"#,
    )?;
    Ok(())
}

/// Creates the operator guide's tables with primary keys only. Anomalous ones have 3 duplicate tokens, 14 orphaned
/// sessions, 2 users with too many sessions, and 10 % of the rows long expired.
fn load_bare_tables(database: &Database<'_>, rows: u64, is_anomalous: bool) -> Result<()> {
    create_tables(database, rows)?;
    let anomalous = if is_anomalous { "true" } else { "false" };
    // Healthy tables are rewritten too, so that both have the same physical order and no dead rows.
    database.psql(&format!(
        r#"CREATE TABLE copied AS SELECT id,
          CASE WHEN {anomalous} AND n IN (11, 12, 13) THEN 'shared-token-one'
            WHEN {anomalous} AND n IN (21, 22) THEN 'shared-token-two'
            WHEN {anomalous} AND n IN (31, 32) THEN 'shared-token-three' ELSE "sessionToken" END AS "sessionToken",
          CASE WHEN {anomalous} AND n BETWEEN 41 AND 54 THEN 100000000 + n
            WHEN {anomalous} AND n BETWEEN 101 AND 140 THEN 7
            WHEN {anomalous} AND n BETWEEN 201 AND 230 THEN 9 ELSE "userId" END::int AS "userId",
          CASE WHEN {anomalous} AND n % 10 = 3 THEN now() - interval '7 days' - n * interval '2 seconds'
            ELSE expires END::timestamp(3)
            AS expires
          FROM (SELECT *, row_number() OVER () AS n FROM sessions) AS numbered;
        TRUNCATE sessions; INSERT INTO sessions SELECT * FROM copied; DROP TABLE copied;
        VACUUM (ANALYZE) users; VACUUM (ANALYZE) sessions;"#
    ))?;
    Ok(())
}

fn create_tables(database: &Database<'_>, rows: u64) -> Result<()> {
    let users = rows * 10 / 14 + 1;
    database.psql(&format!(
        r#"CREATE TABLE users (id serial PRIMARY KEY, name text, "xId" text UNIQUE, "xUsername" text);
        CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" integer NOT NULL,
          expires timestamp(3) NOT NULL);
        INSERT INTO users (name, "xId", "xUsername") SELECT 'User ' || n, n::text, 'user' || n
          FROM generate_series(1, {users}) AS n;
        INSERT INTO sessions SELECT 'c' || md5(n::text), gen_random_uuid()::text, 1 + (random() * ({users} - 1))::int,
          now() + CASE WHEN n % 50 = 0 THEN -random() * interval '6 days' ELSE random() * interval '30 days' END
          FROM generate_series(1, {rows}) AS n;"#
    ))?;
    Ok(())
}
