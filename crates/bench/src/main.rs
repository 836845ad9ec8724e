//! The race: this program against `psql` on one private PostgreSQL, interleaved, medians and ratios.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use testbed::{Database, Server};

/// Time sessionwatch against psql on a private PostgreSQL
#[derive(Debug, Parser)]
struct Args {
    /// Sessions in the table
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    rows: Vec<u64>,
    /// Counted runs of each, after one that is not counted
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Also write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

const GUIDE: &str = include_str!("guide.sql");
const COPY: &str = r#"COPY (SELECT hashtextextended(s."sessionToken", 42), s."userId"::int8, s.expires FROM sessions AS s) TO STDOUT (FORMAT binary)"#;

/// What runs, and its times in milliseconds.
struct Contestant {
    name: &'static str,
    command: Vec<String>,
    times: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let server = Server::start(&["shared_buffers = '512MB'"])?;
    let mut all = Vec::new();
    for rows in &args.rows {
        let database = server.database(None)?;
        load(&database, *rows)?;
        let mut contestants = contestants(&server, &database)?;
        for run in 0..=args.runs {
            for contestant in &mut contestants {
                let took = time(&contestant.command)?;
                if run > 0 {
                    contestant.times.push(took);
                }
            }
        }
        all.push(report(*rows, &mut contestants));
    }
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", serde_json::Value::from(all)))?;
    }
    Ok(())
}

/// The guide's tables as its application has them.
fn load(database: &Database<'_>, rows: u64) -> Result<()> {
    let users = rows * 10 / 14 + 1;
    database.psql(&format!(
        r#"CREATE TABLE users (id serial PRIMARY KEY, name text, "xId" text UNIQUE, "xUsername" text);
        CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" integer NOT NULL, expires timestamp(3) NOT NULL);
        INSERT INTO users (name, "xId", "xUsername") SELECT 'User ' || n, n::text, 'user' || n FROM generate_series(1, {users}) AS n;
        INSERT INTO sessions SELECT 'c' || md5(n::text), gen_random_uuid()::text, 1 + (random() * ({users} - 1))::int,
          now() + CASE WHEN n % 50 = 0 THEN -random() * interval '6 days' ELSE random() * interval '30 days' END
          FROM generate_series(1, {rows}) AS n;
        CREATE UNIQUE INDEX sessions_token ON sessions ("sessionToken");
        CREATE INDEX sessions_user ON sessions ("userId");
        ALTER TABLE sessions ADD CONSTRAINT sessions_user_fkey FOREIGN KEY ("userId") REFERENCES users (id) ON DELETE CASCADE;
        VACUUM (ANALYZE) users; VACUUM (ANALYZE) sessions;"#
    ))?;
    Ok(())
}

fn contestants(server: &Server, database: &Database<'_>) -> Result<Vec<Contestant>> {
    let url = database.url("postgres");
    let psql = server.bin().join("psql").display().to_string();
    let guide = server.socket().0.join("guide.sql");
    std::fs::write(&guide, GUIDE)?;
    let program = "target/release/sessionwatch";
    let text = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let contestant = |name, command| Contestant { name, command, times: vec![] };
    let guide = guide.display().to_string();
    Ok(vec![
        contestant("scan", text(&[program, "check", &url, "--format", "json", "--engine", "scan"])),
        contestant("pushdown", text(&[program, "check", &url, "--format", "json", "--engine", "pushdown"])),
        contestant("guide's seven queries (psql)", text(&[&psql, "-X", "-q", "-f", &guide, &url])),
        contestant("bare COPY (psql)", text(&[&psql, "-X", "-q", "-c", COPY, &url])),
    ])
}

fn time(command: &[String]) -> Result<f64> {
    let (program, arguments) = command.split_first().context("a command has a program")?;
    let started = Instant::now();
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let took = started.elapsed().as_secs_f64() * 1000.0;
    match status.code() {
        Some(0 | 1) => Ok(took),
        code => bail!("`{program}` ended with {code:?}"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn report(rows: u64, contestants: &mut [Contestant]) -> serde_json::Value {
    println!("\n{rows} sessions\n{:<30} {:>10} {:>10} {:>10} {:>8}", "", "median ms", "min", "max", "÷ scan");
    let mut scan = f64::NAN;
    let mut figures = Vec::new();
    for contestant in contestants {
        contestant.times.sort_by(f64::total_cmp);
        let times = &contestant.times;
        let (Some(min), Some(max)) = (times.first(), times.last()) else { continue };
        let median = times[times.len() / 2];
        if contestant.name == "scan" {
            scan = median;
        }
        println!("{:<30} {median:>10.1} {min:>10.1} {max:>10.1} {:>8.2}", contestant.name, median / scan);
        figures.push(serde_json::json!({ "name": contestant.name, "median_ms": median, "min_ms": min, "max_ms": max, "ratio_to_scan": median / scan }));
    }
    serde_json::json!({ "rows": rows, "contestants": figures })
}
