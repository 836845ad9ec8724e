//! The generic SQL exporter with the five aggregate queries: a round from its start to its last answer.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

use crate::run_cost::RunCost;

pub(crate) const EXPORTER_PATH: &str = "/usr/bin/prometheus-sql-exporter";
/// What the exporter says when a round is over.
const ROUND_END_MESSAGE: &str = "Sleeping until next run";

/// What the five queries of the guide's alert table are called, and what they ask.
const ALERT_QUERIES: [(&str, &str); 5] = [
    (
        "duplicates",
        r#"SELECT count(*)::float AS n FROM (SELECT 1 FROM sessions GROUP BY "sessionToken" HAVING count(*) > 1) AS d"#,
    ),
    (
        "orphans",
        r#"SELECT count(*)::float AS n FROM sessions s LEFT JOIN users u ON s."userId" = u.id WHERE u.id IS NULL"#,
    ),
    (
        "ratio",
        r#"SELECT count(*)::float / NULLIF(count(DISTINCT "userId"), 0) AS n FROM sessions WHERE expires > now()"#,
    ),
    (
        "rapid",
        r#"SELECT count(*)::float AS n FROM (SELECT 1 FROM sessions s JOIN users u ON s."userId" = u.id GROUP BY s."userId" HAVING count(*) > 5) AS r"#,
    ),
    ("expired", "SELECT count(*)::float AS n FROM sessions WHERE NOT expires > now()"),
];

/// A configured exporter.
pub(crate) struct SqlExporter {
    configuration: tempfile::NamedTempFile,
}

impl SqlExporter {
    /// The exporter for a database, where it is installed.
    pub(crate) fn find_installed(url: &str) -> Result<Option<Self>> {
        if !Path::new(EXPORTER_PATH).exists() {
            return Ok(None);
        }
        let mut text = format!(
            "jobs:\n- name: sessions\n  interval: '1h'\n  connections:\n  - '{url}?sslmode=disable'\n  queries:\n"
        );
        for (name, query) in ALERT_QUERIES {
            text.push_str(&format!(
                "  - name: {name}\n    help: {name}\n    values: [n]\n    query: |\n      {query}\n"
            ));
        }
        let configuration = tempfile::NamedTempFile::new()?;
        std::fs::write(configuration.path(), text)?;
        Ok(Some(Self { configuration }))
    }

    /// One round: the exporter runs its queries once when it starts.
    pub(crate) fn measure_round(&self) -> Result<RunCost> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let started = Instant::now();
        let mut child = Command::new(EXPORTER_PATH)
            .arg("-config.file")
            .arg(self.configuration.path())
            .args(["-web.listen-address", &format!("127.0.0.1:{port}")])
            .env("LOGLEVEL", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = child.stdout.take().context("the log is piped")?;
        let over =
            BufReader::new(log).lines().map_while(Result::ok).any(|line| line.contains(ROUND_END_MESSAGE));
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        child.kill()?;
        let ended = child.wait4()?;
        if !over {
            bail!("the exporter ended before its round was over");
        }
        Ok(RunCost { duration_ms: milliseconds, peak_bytes: ended.rusage.maxrss })
    }
}
