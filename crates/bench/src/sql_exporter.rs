//! A generic SQL exporter with the five alert queries of the operator guide. Measures a round from the start of the
//! process to its last result.

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
/// Log message at the end of a round.
const ROUND_END_MESSAGE: &str = "Sleeping until next run";

/// Names and texts of the five queries in the operator guide's alert table.
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
        r#"SELECT count(*)::float AS n FROM (SELECT 1 FROM sessions s JOIN users u ON s."userId" = u.id
             GROUP BY s."userId" HAVING count(*) > 5) AS r"#,
    ),
    ("expired", "SELECT count(*)::float AS n FROM sessions WHERE NOT expires > now()"),
];

/// A configured exporter.
pub(crate) struct SqlExporter {
    configuration: tempfile::NamedTempFile,
}

impl SqlExporter {
    /// Configures the exporter for a database. Returns `None` if it is not installed.
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

    /// Runs one round: the exporter runs its queries once when it starts.
    pub(crate) fn measure_round(&self) -> Result<RunCost> {
        // Asked for before the start, since the exporter cannot report a port of its own choice.
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
        let log = child.stdout.take().context("standard output is not piped")?;
        let is_over =
            BufReader::new(log).lines().map_while(Result::ok).any(|line| line.contains(ROUND_END_MESSAGE));
        let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
        // It would sleep until its next round.
        child.kill()?;
        let ended = child.wait4()?;
        if !is_over {
            bail!("the exporter ended before the end of its round");
        }
        Ok(RunCost { duration_ms, peak_bytes: ended.rusage.maxrss })
    }
}
