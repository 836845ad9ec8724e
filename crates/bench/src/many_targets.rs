//! Benchmark of one `serve` with many targets, each its own database. Measures whether a round finishes within its
//! minute, and the memory per target.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testkit::{Database, PostgresServer};

const PROGRAM_PATH: &str = "target/release/sessionwatch";
/// Check runs per target, a minute apart.
const RUNS_PER_TARGET: u64 = 3;
/// Interval for polling the daemon's metrics.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Result for one number of targets.
struct ManyTargetsMeasurement {
    targets: usize,
    /// Time from the first to the last check run of the last round.
    round_seconds: f64,
    /// Maximum delay of a check run.
    lag_seconds: f64,
    /// CPU time of the daemon per minute.
    cpu_seconds_per_minute: f64,
    resident_kib: u64,
}

/// Measures each number of targets, and prints the results.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(counts: &[usize], sessions: u64) -> Result<Value> {
    let server = PostgresServer::start(&["shared_buffers = '256MB'"])?;
    let template = server.create_database(None)?;
    super::load_guide_tables(&template, sessions)?;
    let most = counts.iter().copied().max().unwrap_or(0);
    // Created once: each further number of targets uses the first of the same databases.
    let databases: Vec<Database<'_>> =
        (0..most).map(|_| server.create_database(Some(&template))).collect::<Result<_>>()?;
    println!(
        "{:>8} {:>14} {:>12} {:>16} {:>13}",
        "targets", "round s", "lag s", "CPU s per min", "resident MiB"
    );
    let mut figures = vec![];
    for count in counts {
        let figure = measure_targets(&databases[..*count])?;
        println!(
            "{:>8} {:>14.1} {:>12.2} {:>16.2} {:>13.1}",
            figure.targets,
            figure.round_seconds,
            figure.lag_seconds,
            figure.cpu_seconds_per_minute,
            kib_as_mib(figure.resident_kib)
        );
        figures.push(figure);
    }
    if let [first, .., last] = figures.as_slice() {
        let kib = last.resident_kib.saturating_sub(first.resident_kib);
        let more = last.targets.saturating_sub(first.targets).max(1) as u64;
        println!("each additional target costs {} KiB", kib / more);
    }
    let figure = |figure: &ManyTargetsMeasurement| {
        json!({
            "targets": figure.targets, "round_seconds": figure.round_seconds, "lag_seconds": figure.lag_seconds,
            "cpu_seconds_a_minute": figure.cpu_seconds_per_minute, "resident_kib": figure.resident_kib,
        })
    };
    Ok(figures.iter().map(figure).collect())
}

/// A running daemon. Dropping the value kills the process.
struct ManyTargetsDaemon {
    child: Child,
    address: String,
}

impl Drop for ManyTargetsDaemon {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure_targets(databases: &[Database<'_>]) -> Result<ManyTargetsMeasurement> {
    let folder = tempfile::tempdir()?;
    let daemon = start_daemon(folder.path(), databases)?;
    let begun = Instant::now();
    let (mut first, mut used) = (None, 0.0);
    loop {
        let metrics = daemon.fetch_metrics()?;
        let runs = parse_metric_values(&metrics, "sessionwatch_check_runs_total");
        let (least, most) = (min_value(&runs), max_value(&runs));
        if most >= count_as_f64(RUNS_PER_TARGET) && first.is_none() {
            first = Some(begun.elapsed());
            used = daemon.read_cpu_seconds()?;
        }
        if least >= count_as_f64(RUNS_PER_TARGET) && runs.len() == databases.len() {
            break;
        }
        // Two minutes of grace for the start, after which the machine is too slow for the number.
        if begun.elapsed() > Duration::from_secs(60 * (RUNS_PER_TARGET + 2)) {
            bail!("{RUNS_PER_TARGET} rounds did not finish within {} s", begun.elapsed().as_secs());
        }
        testkit::let_time_pass(POLL_INTERVAL);
    }
    let round = begun.elapsed() - first.unwrap_or_default();
    // CPU time includes the rest of the minute, in which the daemon is idle.
    testkit::let_time_pass(Duration::from_secs(20));
    let metrics = daemon.fetch_metrics()?;
    let all = begun.elapsed() - first.unwrap_or_default();
    Ok(ManyTargetsMeasurement {
        targets: databases.len(),
        round_seconds: round.as_secs_f64(),
        lag_seconds: max_value(&parse_metric_values(&metrics, "sessionwatch_scheduler_lag_seconds")),
        cpu_seconds_per_minute: (daemon.read_cpu_seconds()? - used) * 60.0 / all.as_secs_f64(),
        resident_kib: daemon.read_resident_kib()?,
    })
}

fn start_daemon(folder: &Path, databases: &[Database<'_>]) -> Result<ManyTargetsDaemon> {
    let mut text = String::from("[serve]\nlisten = \"127.0.0.1:0\"\n");
    for database in databases {
        text.push_str(&format!(
            "[[target]]\nname = \"{}\"\nurl = \"{}\"\n",
            database.name(),
            database.url("postgres")
        ));
    }
    fs::write(folder.join("sessionwatch.toml"), text)?;
    let mut child = Command::new(fs::canonicalize(PROGRAM_PATH)?)
        .arg("serve")
        .current_dir(folder)
        // No environment, so that no variable of the developer's shell changes the result.
        .env_clear()
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run the release build of sessionwatch")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("standard output is not piped")?).read_line(&mut line)?;
    let address = line
        .split("http://")
        .nth(1)
        .context("sessionwatch prints no address")?
        .trim_end()
        .trim_end_matches("/metrics");
    Ok(ManyTargetsDaemon { address: address.to_owned(), child })
}

impl ManyTargetsDaemon {
    fn fetch_metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn read_resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("/proc has no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Reads the user and system time of the process, in seconds.
    fn read_cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Split after the last parenthesis, as the name of the program may contain spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // Fields 14 and 15 of the file, in ticks of 10 ms; the split drops the first two.
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / 100.0)
    }
}

/// Returns the values of a metric over all its labels.
fn parse_metric_values(metrics: &str, name: &str) -> Vec<f64> {
    let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
}

fn max_value(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn min_value(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn count_as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a rounded size")]
fn kib_as_mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
