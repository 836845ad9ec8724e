//! Contenders of the race: commands, and rounds of the SQL exporter.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use testkit::{Database, PostgresServer};
use wait4::Wait4;

use crate::{run_cost::RunCost, sql_exporter::SqlExporter};

const GUIDE_QUERIES: &str = include_str!("guide.sql");
const BINARY_COPY_SQL: &str = r#"COPY (SELECT hashtextextended(s."sessionToken", 42), s."userId", s.expires
  FROM sessions AS s) TO STDOUT (FORMAT binary)"#;
const PROGRAM_PATH: &str = "target/release/sessionwatch";

// Names that the budgets in `race_report` refer to.
pub(crate) const CHECK_SCAN: &str = "check --engine scan";
pub(crate) const CHECK_PUSHDOWN: &str = "check --engine pushdown";
pub(crate) const BARE_TABLE_SCAN: &str = "bare table: check --engine scan";
pub(crate) const ANOMALOUS_TABLE_SCAN: &str = "anomalous bare table: check --engine scan";
pub(crate) const ANOMALOUS_TABLE_PUSHDOWN: &str = "anomalous bare table: --engine pushdown";
pub(crate) const ANOMALOUS_TABLE_GUIDE_QUERIES: &str = "anomalous bare table: the seven, psql";
pub(crate) const GUIDE_QUERIES_BY_PSQL: &str = "operator guide's seven queries, psql";
pub(crate) const BINARY_COPY_BY_PSQL: &str = "bare binary COPY of the same columns, psql";
pub(crate) const SQL_EXPORTER: &str = "prometheus-sql-exporter, five queries";

/// A program that is timed.
pub(crate) struct BenchCandidate {
    pub(crate) name: &'static str,
    /// `true` for commands of sessionwatch with a budget at 10,000 sessions.
    pub(crate) is_sessionwatch: bool,
    kind: CandidateKind,
    pub(crate) runs: Vec<RunCost>,
}

enum CandidateKind {
    Command(Vec<String>),
    Exporter(SqlExporter),
}

impl BenchCandidate {
    fn from_command(name: &'static str, parts: &[&str]) -> Self {
        let command = parts.iter().map(|part| (*part).to_owned()).collect();
        Self {
            name,
            is_sessionwatch: parts.first() == Some(&PROGRAM_PATH),
            kind: CandidateKind::Command(command),
            runs: vec![],
        }
    }

    /// Lists the candidates for a database; the exporter only if it is installed.
    pub(crate) fn list_installed(server: &PostgresServer, database: &Database<'_>) -> Result<Vec<Self>> {
        let url = database.url("postgres");
        let psql = psql_path(server);
        let guide = guide_queries_path(server);
        std::fs::write(&guide, GUIDE_QUERIES)?;
        let check = [PROGRAM_PATH, "check", &url, "--format", "json", "--engine"];
        let mut all = vec![
            Self::from_command(CHECK_SCAN, &[&check[..], &["scan"]].concat()),
            Self::from_command(CHECK_PUSHDOWN, &[&check[..], &["pushdown"]].concat()),
            Self::from_command("sessions list", &[PROGRAM_PATH, "sessions", "list", &url]),
            Self::from_command("sessions top", &[PROGRAM_PATH, "sessions", "top", &url]),
            Self::from_command("doctor", &[PROGRAM_PATH, "doctor", &url]),
            Self::from_command("sql", &[PROGRAM_PATH, "sql", &url]),
            Self::from_command(GUIDE_QUERIES_BY_PSQL, &[&psql, "-X", "-q", "-f", &guide, &url]),
            Self::from_command(BINARY_COPY_BY_PSQL, &[&psql, "-X", "-q", "-c", BINARY_COPY_SQL, &url]),
        ];
        if let Some(exporter) = SqlExporter::find_installed(&url)? {
            all.push(Self {
                name: SQL_EXPORTER,
                is_sessionwatch: false,
                kind: CandidateKind::Exporter(exporter),
                runs: vec![],
            });
        }
        Ok(all)
    }

    /// Lists the candidates for tables with primary keys only, healthy and anomalous. [`Self::list_installed`] must
    /// have been called, since it writes the file of the operator guide's queries.
    pub(crate) fn list_for_bare_tables(
        server: &PostgresServer,
        healthy: &Database<'_>,
        anomalous: &Database<'_>,
    ) -> Vec<Self> {
        let check = |name, database: &Database<'_>, engine| {
            let url = database.url("postgres");
            let arguments = [PROGRAM_PATH, "check", &url, "--format", "json", "--engine", engine];
            // Budgets apply to the indexed tables only.
            Self { is_sessionwatch: false, ..Self::from_command(name, &arguments) }
        };
        let url = anomalous.url("postgres");
        vec![
            check(BARE_TABLE_SCAN, healthy, "scan"),
            check(ANOMALOUS_TABLE_SCAN, anomalous, "scan"),
            check(ANOMALOUS_TABLE_PUSHDOWN, anomalous, "pushdown"),
            Self::from_command(
                ANOMALOUS_TABLE_GUIDE_QUERIES,
                &[&psql_path(server), "-X", "-q", "-f", &guide_queries_path(server), &url],
            ),
        ]
    }

    /// Runs the candidate once.
    pub(crate) fn measure_run(&self) -> Result<RunCost> {
        match &self.kind {
            CandidateKind::Command(command) => run_command(command),
            CandidateKind::Exporter(exporter) => exporter.measure_round(),
        }
    }
}

fn psql_path(server: &PostgresServer) -> String {
    server.bin_folder().join("psql").display().to_string()
}

fn guide_queries_path(server: &PostgresServer) -> String {
    server.socket_address().0.join("guide.sql").display().to_string()
}

fn run_command(command: &[String]) -> Result<RunCost> {
    let (program, arguments) = command.split_first().context("a command has a program")?;
    let started = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        // No standard input, so that a program that asks for something fails instead of waiting.
        .stdin(Stdio::null())
        // The output is dropped: a terminal would be slower than the programs.
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run `{program}`"))?;
    // `wait4` also returns the peak memory of this child alone.
    let ended = child.wait4()?;
    let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
    match ended.status.code() {
        // Exit code 1 means that checks are failing, which is a complete run.
        Some(0 | 1) => Ok(RunCost { duration_ms, peak_bytes: ended.rusage.maxrss }),
        code => bail!("`{program}` failed with exit code {code:?}"),
    }
}
