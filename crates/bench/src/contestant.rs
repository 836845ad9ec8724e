//! What races: commands that are run to their end, and the exporter's rounds.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use testkit::{Database, Server};
use wait4::Wait4;

use crate::{exporter::Exporter, run::Run};

const GUIDE: &str = include_str!("guide.sql");
const COPY: &str = r#"COPY (SELECT hashtextextended(s."sessionToken", 42), s."userId", s.expires FROM sessions AS s) TO STDOUT (FORMAT binary)"#;
const PROGRAM: &str = "target/release/sessionwatch";

/// Names that the budgets refer to.
pub(crate) const SCAN: &str = "check --engine scan";
pub(crate) const PUSHDOWN: &str = "check --engine pushdown";
pub(crate) const BARE_SCAN: &str = "bare table: check --engine scan";
pub(crate) const SICK_SCAN: &str = "bare table in trouble: check --engine scan";
pub(crate) const SICK_PUSHDOWN: &str = "bare table in trouble: --engine pushdown";
pub(crate) const SICK_SEVEN: &str = "bare table in trouble: the seven, psql";
pub(crate) const SEVEN: &str = "the guide's seven queries, psql";
pub(crate) const BARE: &str = "bare binary COPY of the same columns, psql";
pub(crate) const EXPORTER: &str = "prometheus-sql-exporter, five queries";

/// Something that is timed.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    /// A command line of this program, whose answer at 10 000 sessions has a budget.
    pub(crate) ours: bool,
    work: Work,
    pub(crate) runs: Vec<Run>,
}

enum Work {
    Command(Vec<String>),
    Exporter(Exporter),
}

impl Contestant {
    fn command(name: &'static str, parts: &[&str]) -> Self {
        let command = parts.iter().map(|part| (*part).to_owned()).collect();
        Self { name, ours: parts.first() == Some(&PROGRAM), work: Work::Command(command), runs: vec![] }
    }

    /// Everybody who races on a database; the exporter only where it is installed.
    pub(crate) fn all(server: &Server, database: &Database<'_>) -> Result<Vec<Self>> {
        let url = database.url("postgres");
        let psql = psql(server);
        let guide = guide_file(server);
        std::fs::write(&guide, GUIDE)?;
        let check = [PROGRAM, "check", &url, "--format", "json", "--engine"];
        let mut all = vec![
            Self::command(SCAN, &[&check[..], &["scan"]].concat()),
            Self::command(PUSHDOWN, &[&check[..], &["pushdown"]].concat()),
            Self::command("sessions list", &[PROGRAM, "sessions", "list", &url]),
            Self::command("sessions top", &[PROGRAM, "sessions", "top", &url]),
            Self::command("doctor", &[PROGRAM, "doctor", &url]),
            Self::command("sql", &[PROGRAM, "sql", &url]),
            Self::command(SEVEN, &[&psql, "-X", "-q", "-f", &guide, &url]),
            Self::command(BARE, &[&psql, "-X", "-q", "-c", COPY, &url]),
        ];
        if let Some(exporter) = Exporter::find(&url)? {
            all.push(Self { name: EXPORTER, ours: false, work: Work::Exporter(exporter), runs: vec![] });
        }
        Ok(all)
    }

    /// Who races on tables without any constraint or index but their keys, healthy and in trouble. [`Self::all`] has written
    /// the guide's queries.
    pub(crate) fn in_trouble(server: &Server, healthy: &Database<'_>, sick: &Database<'_>) -> Vec<Self> {
        let check = |name, database: &Database<'_>, engine| {
            let url = database.url("postgres");
            let arguments = [PROGRAM, "check", &url, "--format", "json", "--engine", engine];
            Self { ours: false, ..Self::command(name, &arguments) }
        };
        let url = sick.url("postgres");
        vec![
            check(BARE_SCAN, healthy, "scan"),
            check(SICK_SCAN, sick, "scan"),
            check(SICK_PUSHDOWN, sick, "pushdown"),
            Self::command(SICK_SEVEN, &[&psql(server), "-X", "-q", "-f", &guide_file(server), &url]),
        ]
    }

    /// Runs once.
    pub(crate) fn run(&self) -> Result<Run> {
        match &self.work {
            Work::Command(command) => run(command),
            Work::Exporter(exporter) => exporter.round(),
        }
    }
}

fn psql(server: &Server) -> String {
    server.bin().join("psql").display().to_string()
}

fn guide_file(server: &Server) -> String {
    server.socket().0.join("guide.sql").display().to_string()
}

fn run(command: &[String]) -> Result<Run> {
    let (program, arguments) = command.split_first().context("a command has a program")?;
    let started = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("`{program}` cannot be run"))?;
    let ended = child.wait4()?;
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    match ended.status.code() {
        // A check that fails has been made.
        Some(0 | 1) => Ok(Run { milliseconds, peak_bytes: ended.rusage.maxrss }),
        code => bail!("`{program}` ended with {code:?}"),
    }
}
