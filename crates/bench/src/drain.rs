//! The drain: how many lines a second `serve` takes from senders that sign, when every answer means that they are safe.

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
use testkit::Server;

pub(crate) const PROGRAM: &str = "target/release/sessionwatch";
const SECRET: &str = "a-secret-of-the-drain";
/// Senders at the same time.
const SENDERS: usize = 4;

/// What one size of batches gave.
struct Figure {
    lines: usize,
    one_in: usize,
    a_second: f64,
    refused: u64,
    p99: f64,
}

/// Sends for so many seconds with batches of each size, and prints what that gave.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(seconds: u64) -> Result<Value> {
    let server = Server::start(&[])?;
    let database = server.database(None)?;
    crate::load(&database, 10_000)?;
    println!("\n{SENDERS} senders, {seconds} s each; every answer 200 means that the lines are on disk");
    println!(
        "{:>14} {:>16} {:>12} {:>9} {:>10}",
        "lines a batch", "about sessions", "lines/s", "refused", "p99 ms"
    );
    let mut figures = Vec::new();
    for (lines, one_in) in [(10, 20), (100, 20), (1_000, 20), (1_000, 1_000)] {
        let figure = size(&database.url("postgres"), Load { lines, one_in }, Duration::from_secs(seconds))?;
        let Figure { a_second, refused, p99, .. } = figure;
        println!("{lines:>14} {:>16} {a_second:>12.0} {refused:>9} {p99:>10.1}", format!("1 in {one_in}"));
        figures.push(json!({
            "lines_a_batch": figure.lines, "one_in": figure.one_in, "lines_a_second": a_second,
            "refused": refused, "p99_ms": p99,
        }));
    }
    Ok(json!({ "drain": figures }))
}

/// A daemon that ends with this value.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts it with the configuration in a folder: it, and the address of its pages.
    pub(crate) fn start(folder: &Path) -> Result<(Self, String)> {
        let child = Command::new(std::fs::canonicalize(PROGRAM)?)
            .arg("serve")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut daemon = Self(child.context("the program cannot be run")?);
        let mut line = String::new();
        BufReader::new(daemon.0.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.split("http://").nth(1).context("no address")?;
        Ok((daemon, address.trim_end().trim_end_matches("/metrics").to_owned()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What each batch is.
#[derive(Clone, Copy)]
struct Load {
    /// Lines of a batch.
    lines: usize,
    /// One line in so many is about sessions.
    one_in: usize,
}

/// How batches were answered.
#[derive(Default)]
struct Answers {
    /// Lines that were taken.
    taken: AtomicU64,
    /// Batches that were refused.
    refused: AtomicU64,
}

fn size(url: &str, load: Load, lasts: Duration) -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let config = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         [[logs]]\nname = \"drain\"\nkind = \"vercel\"\nsecret = \"{SECRET}\"\n"
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), config)?;
    let (_daemon, address) = Daemon::start(folder.path())?;
    let answers = Answers::default();
    let began = Instant::now();
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (address, answers) = (&address, &answers);
                scope.spawn(move || send(address, sender, load, lasts, answers))
            })
            .collect();
        let all =
            senders.into_iter().map(|sender| sender.join().unwrap_or_else(|_| bail!("a sender failed")));
        Ok::<_, anyhow::Error>(all.collect::<Result<Vec<_>>>()?.concat())
    })?;
    let took = began.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let a_second = answers.taken.load(Ordering::Relaxed) as f64 / took;
    let refused = answers.refused.load(Ordering::Relaxed);
    Ok(Figure { lines: load.lines, one_in: load.one_in, a_second, refused, p99 })
}

/// Sends batches until the time is up: how long each took that was taken, in milliseconds.
fn send(address: &str, sender: usize, load: Load, lasts: Duration, answers: &Answers) -> Result<Vec<f64>> {
    let Load { lines, one_in } = load;
    let Answers { taken, refused } = answers;
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut stream, began, mut times, mut number) = (stream, Instant::now(), Vec::new(), 0);
    while began.elapsed() < lasts {
        let entries: Vec<Value> = (0..lines)
            .map(|_| {
                number += 1;
                let message = if number % one_in == 0 {
                    format!("[AUTH-ADAPTER] Session created {{\n  sessionToken: '{number:08x}...',\n  userId: {number}\n}}")
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
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes())?;
        mac.update(body.as_bytes());
        let signature: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let sent = Instant::now();
        let head = format!(
            "POST /ingest/vercel HTTP/1.1\r\nHost: x\r\nx-vercel-signature: {signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        match answer(&mut reader)? {
            200 => {
                taken.fetch_add(lines as u64, Ordering::Relaxed);
                times.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            503 => drop(refused.fetch_add(1, Ordering::Relaxed)),
            status => bail!("the answer was {status}"),
        }
    }
    Ok(times)
}

/// The status of an answer, which is read to its end.
fn answer(reader: &mut BufReader<TcpStream>) -> Result<u16> {
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.starts_with("HTTP/") {
            status = line.split(' ').nth(1).context("no status")?.parse()?;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    Ok(status)
}
