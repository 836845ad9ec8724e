//! The watch as `serve` runs it, under a clock that standard input sets: `fastforward CONFIG INSTANT`, both the start and
//! each line in microseconds since 1970; `adjust MICROSECONDS` sets the clock forward or back without time passing. On standard output it says where its pages are, and each look. Standard input that
//! ends, ends the watch.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    sync::Arc,
};

use sessionwatch::{
    app::LiveEvent,
    clock::Clock,
    config::Config,
    daemon::{Command, Daemon},
};
use sessionwatch_core::instant::Instant;
use tokio::sync::{broadcast, mpsc};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, start] = arguments.as_slice() else { return Err("usage: fastforward CONFIG INSTANT".into()) };
    tracing_subscriber::fmt()
        .with_writer(sessionwatch::output::stderr)
        .with_max_level(tracing::Level::INFO)
        .init();
    let config = Config::load(Some(Path::new(file)))?;
    let (clock, hand) = Clock::set(instant(start)?);
    let (commands, received) = mpsc::unbounded_channel();
    let adjusted = clock.clone();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let daemon = Daemon::start(config, clock).await?;
        let events = daemon.shared().events.subscribe();
        // Without a reader nobody wants to know.
        let _ = writeln!(sessionwatch::output::stdout(), "{}://{}", daemon.scheme(), daemon.address()?);
        // The example ends with the process: nobody waits for these threads.
        std::thread::spawn(move || say(events));
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if let Some(by) = line.strip_prefix("adjust ").and_then(|by| by.parse().ok()) {
                    adjusted.adjust(by);
                } else if let Ok(at) = instant(&line) {
                    hand.send_replace(at);
                }
            }
            // A daemon that has ended needs no word.
            let _ = commands.send(Command::Stop);
            drop(Arc::clone(&hand));
        });
        let dashboard = sessionwatch::web::router(&daemon.shared().app);
        if daemon.serve(dashboard, received).await? {
            Ok(())
        } else {
            Err("the watch did not end well".into())
        }
    })
}

fn say(mut events: broadcast::Receiver<LiveEvent>) {
    while let Ok(event) = events.blocking_recv() {
        if let LiveEvent::Looked { target, at } = event {
            // Without a reader nobody wants to know.
            let _ = writeln!(sessionwatch::output::stdout(), "{} {target}", at.micros());
        }
    }
}

fn instant(text: &str) -> Result<Instant, Box<dyn std::error::Error>> {
    Instant::from_micros(text.trim().parse()?).ok_or_else(|| "an instant out of range".into())
}
