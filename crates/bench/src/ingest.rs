//! Benchmark of log ingestion: lines per second that `serve` accepts from signed log drains. A response of 200 means
//! that the lines are on disk.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use testkit::PostgresServer;

pub(crate) const PROGRAM_PATH: &str = "target/release/sessionwatch";
const DRAIN_SECRET: &str = "a-secret-of-the-drain";
/// Number of concurrent senders.
const SENDER_COUNT: usize = 4;

/// Result of one batch size.
struct IngestMeasurement {
    lines: usize,
    one_in: usize,
    lines_per_sec: f64,
    refused_batches: u64,
    p99_ms: f64,
}

/// Sends batches of each size for `seconds` seconds, and prints the results.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(seconds: u64) -> Result<Value> {
    let server = PostgresServer::start(&[])?;
    let database = server.create_database(None)?;
    crate::load_guide_tables(&database, 10_000)?;
    println!(
        "\n{SENDER_COUNT} senders, {seconds} s each; a response of 200 means that the lines are on disk"
    );
    println!(
        "{:>15} {:>16} {:>12} {:>9} {:>10}",
        "lines per batch", "about sessions", "lines/s", "refused", "p99 ms"
    );
    let mut figures = Vec::new();
    for (lines, one_in) in [(10, 20), (100, 20), (1_000, 20), (1_000, 1_000)] {
        let figure = measure_batch_shape(
            &database.url("postgres"),
            BatchShape { lines, one_in },
            Duration::from_secs(seconds),
        )?;
        let IngestMeasurement { lines_per_sec, refused_batches, p99_ms, .. } = figure;
        println!(
            "{lines:>15} {:>16} {lines_per_sec:>12.0} {refused_batches:>9} {p99_ms:>10.1}",
            format!("1 in {one_in}")
        );
        figures.push(json!({
            "lines_a_batch": figure.lines, "one_in": figure.one_in, "lines_a_second": lines_per_sec,
            "refused": refused_batches, "p99_ms": p99_ms,
        }));
    }
    Ok(json!({ "drain": figures }))
}

/// A running daemon. Dropping the value kills the process.
pub(crate) struct ServeProcess(Child);

impl ServeProcess {
    /// Starts `serve` with the configuration in a folder. Returns the process and its host and port.
    pub(crate) fn start(folder: &Path) -> Result<(Self, String)> {
        let child = Command::new(std::fs::canonicalize(PROGRAM_PATH)?)
            .arg("serve")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut daemon = Self(child.context("cannot run sessionwatch")?);
        let mut line = String::new();
        BufReader::new(daemon.0.stdout.take().context("standard output is not piped")?)
            // The first line names the address; the rest stays unread in the pipe.
            .read_line(&mut line)?;
        let address = line.split("http://").nth(1).context("sessionwatch prints no address")?;
        Ok((daemon, address.trim_end().trim_end_matches("/metrics").to_owned()))
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Size and contents of batches.
#[derive(Clone, Copy)]
struct BatchShape {
    /// Lines per batch.
    lines: usize,
    /// One line in this many is about sessions.
    one_in: usize,
}

/// Totals over all senders.
#[derive(Default)]
struct IngestTotals {
    /// Lines in accepted batches.
    accepted_lines: AtomicU64,
    /// Batches rejected with 503.
    refused_batches: AtomicU64,
}

fn measure_batch_shape(url: &str, load: BatchShape, duration: Duration) -> Result<IngestMeasurement> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         [[logs]]\nname = \"drain\"\nkind = \"vercel\"\nsecret = \"{DRAIN_SECRET}\"\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), config)?;
    let (_daemon, address) = ServeProcess::start(folder.path())?;
    let answers = IngestTotals::default();
    let began = Instant::now();
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDER_COUNT)
            .map(|sender| {
                let (address, answers) = (&address, &answers);
                scope.spawn(move || send_batches(address, sender, load, duration, answers))
            })
            .collect();
        let all =
            senders.into_iter().map(|sender| sender.join().unwrap_or_else(|_| bail!("a sender failed")));
        Ok::<_, anyhow::Error>(all.collect::<Result<Vec<_>>>()?.concat())
    })?;
    let took = began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let p99_ms = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let lines_per_sec = answers.accepted_lines.load(Ordering::Relaxed) as f64 / took;
    let refused_batches = answers.refused_batches.load(Ordering::Relaxed);
    Ok(IngestMeasurement { lines: load.lines, one_in: load.one_in, lines_per_sec, refused_batches, p99_ms })
}

/// Sends batches until the time is up. Returns the times of accepted batches, in milliseconds.
fn send_batches(
    address: &str,
    sender: usize,
    load: BatchShape,
    duration: Duration,
    answers: &IngestTotals,
) -> Result<Vec<f64>> {
    let BatchShape { lines, one_in } = load;
    let IngestTotals { accepted_lines, refused_batches } = answers;
    let stream = TcpStream::connect(address)?;
    // Small requests would otherwise wait for the acknowledgment of the previous one.
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut stream, began, mut times, mut number) = (stream, Instant::now(), Vec::new(), 0);
    while began.elapsed() < duration {
        let entries: Vec<Value> = (0..lines)
            .map(|_| {
                number += 1;
                let message = if number % one_in == 0 {
                    format!("[AUTH-ADAPTER] Session created {{\n  sessionToken: '{number:08x}...',\
                        \n  userId: {number}\n}}")
                } else {
                    format!("GET /api/posts/{number}?page=2 200 in 17ms")
                };
                json!({
                    "id": format!("{sender}-{number}"), "message": message, "timestamp": 1_795_608_000_123_i64,
                    "source": "lambda", "level": "info", "projectId": "prj_1", "requestId": format!("iad1::{number:x}"),
                    "proxy": { "path": "/api", "statusCode": 200, "host": "app.example" },
                })
            })
            .collect();
        let body = Value::from(entries).to_string();
        let mut mac = Hmac::<Sha1>::new_from_slice(DRAIN_SECRET.as_bytes())?;
        mac.update(body.as_bytes());
        let signature: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        // The signature is computed before the clock starts: it is the sender's work.
        let sent = Instant::now();
        let head = format!(
            "POST /ingest/vercel HTTP/1.1\r\nHost: x\r\nx-vercel-signature: {signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        match read_response_status(&mut reader)? {
            200 => {
                accepted_lines.fetch_add(lines as u64, Ordering::Relaxed);
                times.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            // A refused batch is the intended reaction to overload, and counted apart.
            503 => drop(refused_batches.fetch_add(1, Ordering::Relaxed)),
            status => bail!("unexpected status {status}"),
        }
    }
    Ok(times)
}

/// Reads a whole response, and returns its status.
fn read_response_status(reader: &mut BufReader<TcpStream>) -> Result<u16> {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.starts_with("HTTP/") {
            status = line.split(' ').nth(1).context("the response has no status")?.parse()?;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    // The body is read to its end, or the next response would start in the middle.
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    Ok(status)
}
