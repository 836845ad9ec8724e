//! Benchmark of alert delivery: many alerts fire at once and are sent to a slow webhook, with the state store in a file
//! and on PostgreSQL.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};
use testkit::PostgresServer;

use crate::ingest::ServeProcess;

/// Time that the webhook takes for one response.
const WEBHOOK_RESPONSE_DELAY: Duration = Duration::from_millis(150);
/// Time limit for a message to arrive.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Fires `alerts` alerts at once, and prints the median times until the first and the last one were delivered.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(alerts: usize, runs: usize) -> Result<Value> {
    let server = PostgresServer::start(&[])?;
    let target = server.create_database(None)?;
    crate::load_guide_tables(&target, 10_000)?;
    let one_by_one = WEBHOOK_RESPONSE_DELAY.as_secs_f64() * f64::from(u32::try_from(alerts)?);
    println!(
        "\n{alerts} alerts at once, sent to a webhook that takes {} ms each",
        WEBHOOK_RESPONSE_DELAY.as_millis()
    );
    println!("one by one, the responses alone take {one_by_one:.1} s");
    println!("{:>12} {:>9} {:>9} {:>18}", "store", "first s", "last s", "one by one ÷ last");
    let mut figures = Vec::new();
    for kind in ["file", "postgresql"] {
        // A new store for each run: an alert that the store knows as firing would not be sent again.
        let mut times = Vec::new();
        for _ in 0..runs {
            let store = server.create_database(None)?;
            let store = if kind == "file" { "store.db".to_owned() } else { store.url("postgres") };
            times.push(measure_delivery(&target.url("postgres"), &store, alerts)?);
        }
        // By the last alert, since the total time is what the budget is about.
        times.sort_by(|one, other| one.last_secs.total_cmp(&other.last_secs));
        let DeliveryTimes { first_secs, last_secs } = times[times.len() / 2];
        println!("{kind:>12} {first_secs:>9.2} {last_secs:>9.2} {:>18.2}", one_by_one / last_secs);
        figures.push(
            json!({ "store": kind, "first_s": first_secs, "last_s": last_secs, "one_by_one_s": one_by_one }),
        );
    }
    Ok(json!({ "alerts": figures }))
}

/// Seconds until the first and the last alert were delivered.
#[derive(Clone, Copy)]
struct DeliveryTimes {
    first_secs: f64,
    last_secs: f64,
}

fn measure_delivery(target: &str, store: &str, alerts: usize) -> Result<DeliveryTimes> {
    let folder = tempfile::tempdir()?;
    let (log, webhook) = (folder.path().join("app.log"), start_listener()?);
    std::fs::write(&log, "")?;
    // A check of its own for each alert, because events of one check would be grouped into one alert.
    let patterns: String = (0..alerts)
        .map(|number| {
            format!(
                "[[log_check]]\nname = \"event-{number}\"\nliteral = \"EVENT {number};\"\n\
                 severity = \"high\"\nmax = 0\n"
            )
        })
        .collect();
    let config = format!(
        "[[target]]\nname = \"app\"\nurl = \"{target}\"\n[serve]\nlisten = \"127.0.0.1:0\"\nstore = \"{store}\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\n\
         [[logs]]\nname = \"log\"\nfile = \"{}\"\n{patterns}",
        webhook.port,
        log.display()
    );
    std::fs::write(folder.path().join("sessionwatch.toml"), config)?;
    // Killed when dropped, so that a failed run leaves no daemon behind.
    let _daemon = ServeProcess::start(folder.path())?;
    // The daemon reads the file from its end, at a time not known here: repeat the line until its alert arrives.
    let begun = Instant::now();
    while begun.elapsed() < MESSAGE_TIMEOUT {
        append_lines(&log, "EVENT 0;\n")?;
        if webhook.received_alerts.recv_timeout(Duration::from_secs(1)).is_ok() {
            break;
        }
    }
    let began = Instant::now();
    let lines: String = (1..alerts).map(|number| format!("EVENT {number};\n")).collect();
    // All lines in one write, so that the daemon reads them at the same time.
    append_lines(&log, &lines)?;
    wait_for_alerts(&webhook.received_alerts, 1)?;
    let first_secs = began.elapsed().as_secs_f64();
    // One alert arrived before the clock started, and one was awaited above.
    wait_for_alerts(&webhook.received_alerts, alerts.saturating_sub(2))?;
    Ok(DeliveryTimes { first_secs, last_secs: began.elapsed().as_secs_f64() })
}

fn append_lines(log: &Path, lines: &str) -> Result<()> {
    Ok(std::fs::OpenOptions::new().append(true).open(log)?.write_all(lines.as_bytes())?)
}

fn wait_for_alerts(checks: &Receiver<()>, count: usize) -> Result<()> {
    for _ in 0..count {
        checks.recv_timeout(MESSAGE_TIMEOUT)?;
    }
    Ok(())
}

/// A webhook: its port, and a channel that yields `()` for each alert of a benchmark check.
struct WebhookListener {
    port: u16,
    received_alerts: Receiver<()>,
}

fn start_listener() -> Result<WebhookListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let (sender, received_alerts) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            // An error means that the client closed the connection.
            // A thread for each connection: the delay of one response must not hold up the others.
            std::thread::spawn(move || serve_webhook(stream, &sender));
        }
    });
    Ok(WebhookListener { port, received_alerts })
}

/// Answers requests until the client closes the connection.
#[expect(clippy::disallowed_methods, reason = "simulates a slow webhook")]
fn serve_webhook(mut stream: TcpStream, received: &Sender<()>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
            // Header names are case-insensitive.
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        std::thread::sleep(WEBHOOK_RESPONSE_DELAY);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        let message: Value = serde_json::from_slice(&body)?;
        // Other messages, such as those of built-in checks, are not part of the measurement.
        if message["check"].as_str().is_some_and(|check| check.starts_with("event-")) {
            received.send(())?;
        }
    }
}
