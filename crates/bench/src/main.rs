//! The race: this program against `psql` and a generic exporter on one private PostgreSQL, interleaved; medians, ratios
//! and budgets.

mod alerts;
mod candidate;
mod cleanup;
mod dashboard_pages;
mod exporter;
mod ingest;
mod logs;
mod many_targets;
mod report;
mod run_cost;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use testkit::{Database, PostgresServer};

use crate::{candidate::BenchCandidate, report::RoundReport};

/// Time sessionwatch against psql on a private PostgreSQL
#[derive(Debug, Parser)]
struct BenchArgs {
    /// Sessions in the table
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    rows: Vec<u64>,
    /// Counted runs of each, after one that is not counted
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Instead of the race: let one `serve` watch so many targets, and say how long a round takes and what it costs
    #[arg(long, value_delimiter = ',', value_name = "COUNT")]
    targets: Vec<usize>,
    /// Sessions of each target, with --targets
    #[arg(long, default_value_t = 1_000)]
    sessions: u64,
    /// Instead of the race: remove so many expired rows while an application is at work, in several ways
    #[arg(long, value_name = "ROWS")]
    cleanup: Option<u64>,
    /// Instead of the race: scan log files of so many bytes, beside programs that only count lines
    #[arg(long, value_name = "BYTES")]
    logs: Option<u64>,
    /// Instead of the race: send log lines to `serve` for so many seconds with each size of batches
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
    /// Instead of the race: ask for each page of the dashboard for so many seconds
    #[arg(long, value_name = "SECONDS")]
    pages: Option<u64>,
    /// Instead of the race: fire so many alerts at the same moment, and say when all of them have been told
    #[arg(long, value_name = "COUNT")]
    alerts: Option<usize>,
    /// Also write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = BenchArgs::parse();
    let instead = match &args {
        BenchArgs { cleanup: Some(rows), .. } => Some(cleanup::run(*rows)?),
        BenchArgs { logs: Some(bytes), .. } => Some(logs::run(*bytes, args.runs)?),
        BenchArgs { drain: Some(seconds), .. } => Some(ingest::run(*seconds)?),
        BenchArgs { pages: Some(seconds), .. } => Some(dashboard_pages::run(*seconds)?),
        BenchArgs { alerts: Some(count), .. } => Some(alerts::run(*count, args.runs)?),
        BenchArgs { targets, .. } if targets.is_empty() => None,
        BenchArgs { targets, sessions, .. } => Some(many_targets::run(targets, *sessions)?),
    };
    if let Some(figures) = instead {
        return match &args.json {
            Some(path) => Ok(std::fs::write(path, format!("{figures:#}\n"))?),
            None => Ok(()),
        };
    }
    // Every table of a round stays in memory, so that nobody pays for what another one has displaced.
    let server = PostgresServer::start(&["shared_buffers = '1536MB'"])?;
    let mut rounds = Vec::new();
    for rows in &args.rows {
        let [database, bare, sick] =
            [server.create_database(None)?, server.create_database(None)?, server.create_database(None)?];
        load_guide_tables(&database, *rows)?;
        load_bare_tables(&bare, *rows, false)?;
        load_bare_tables(&sick, *rows, true)?;
        let mut contestants = BenchCandidate::list_installed(&server, &database)?;
        contestants.extend(BenchCandidate::list_for_bare_tables(&server, &bare, &sick));
        for run in 0..=args.runs {
            for contestant in &mut contestants {
                let took = contestant.measure_run()?;
                if run > 0 {
                    contestant.runs.push(took);
                }
            }
        }
        let round = RoundReport::from_candidates(*rows, &contestants);
        round.print_table();
        rounds.push(round);
    }
    if !Path::new(exporter::EXPORTER_PATH).exists() {
        print_note(
            "left out: prometheus-sql-exporter is not installed (Debian: `apt-get install prometheus-sql-exporter`)",
        );
    }
    let budgets = report::print_budgets(&rounds);
    if let Some(path) = &args.json {
        let rounds: Vec<_> = rounds.iter().map(RoundReport::to_json).collect();
        let document = serde_json::json!({ "rounds": rounds, "budgets": budgets });
        std::fs::write(path, format!("{document:#}\n"))?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a word to the person who runs it")]
fn print_note(text: &str) {
    eprintln!("{text}");
}

/// The guide's tables as its application has them.
fn load_guide_tables(database: &Database<'_>, rows: u64) -> Result<()> {
    create_tables(database, rows)?;
    database.psql(
        r#"CREATE UNIQUE INDEX sessions_token ON sessions ("sessionToken");
        CREATE INDEX sessions_user ON sessions ("userId");
        ALTER TABLE sessions ADD CONSTRAINT sessions_user_fkey FOREIGN KEY ("userId") REFERENCES users (id) ON DELETE CASCADE;
        VACUUM (ANALYZE) users; VACUUM (ANALYZE) sessions;"#,
    )?;
    Ok(())
}

/// The same without any constraint or index but the primary keys; where it is sick, with 3 tokens on several rows, 14 orphans,
/// 2 hoarders, and a tenth of all rows long expired.
fn load_bare_tables(database: &Database<'_>, rows: u64, is_anomalous: bool) -> Result<()> {
    create_tables(database, rows)?;
    let trouble = if is_anomalous { "true" } else { "false" };
    // Both are written anew, so that they differ in nothing else.
    database.psql(&format!(
        r#"CREATE TABLE copied AS SELECT id,
          CASE WHEN {trouble} AND n IN (11, 12, 13) THEN 'shared-token-one' WHEN {trouble} AND n IN (21, 22) THEN 'shared-token-two'
            WHEN {trouble} AND n IN (31, 32) THEN 'shared-token-three' ELSE "sessionToken" END AS "sessionToken",
          CASE WHEN {trouble} AND n BETWEEN 41 AND 54 THEN 100000000 + n WHEN {trouble} AND n BETWEEN 101 AND 140 THEN 7
            WHEN {trouble} AND n BETWEEN 201 AND 230 THEN 9 ELSE "userId" END::int AS "userId",
          CASE WHEN {trouble} AND n % 10 = 3 THEN now() - interval '7 days' - n * interval '2 seconds' ELSE expires END::timestamp(3)
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
        CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" integer NOT NULL, expires timestamp(3) NOT NULL);
        INSERT INTO users (name, "xId", "xUsername") SELECT 'User ' || n, n::text, 'user' || n FROM generate_series(1, {users}) AS n;
        INSERT INTO sessions SELECT 'c' || md5(n::text), gen_random_uuid()::text, 1 + (random() * ({users} - 1))::int,
          now() + CASE WHEN n % 50 = 0 THEN -random() * interval '6 days' ELSE random() * interval '30 days' END
          FROM generate_series(1, {rows}) AS n;"#
    ))?;
    Ok(())
}
