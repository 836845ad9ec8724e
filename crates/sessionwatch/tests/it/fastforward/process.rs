//! The process behind [`super::Apart`]: this test binary runs again with a single "test", which is the daemon as in
//! `serve`, under a clock that standard input sets. So no further binary has to be built.
//!
//! Each line of standard input is an instant, in microseconds since 1970; `adjust MICROSECONDS` sets the clock forward
//! or back without time passing. Standard output has the address of the pages and a line for each check run. The end of
//! standard input stops the process.

use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    process::Command as Process,
};

use sessionwatch_app::{
    app::LiveEvent,
    config::Config,
    daemon::{Daemon, DaemonCommand},
};
use sessionwatch_clock::Clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use tokio::sync::{broadcast, mpsc};

/// Environment variables with the configuration, and the initial time.
const CONFIGURATION: &str = "FASTFORWARD_CONFIGURATION";
const BEGINNING: &str = "FASTFORWARD_BEGINNING";
const NAME: &str = "fastforward::process::a_daemon_whose_clock_is_set_from_outside";

/// Makes a command that runs this binary become that process.
pub(super) fn prepare(command: &mut Process, configuration: &Path, from: UtcTimestamp) {
    command
        .args(["--exact", NAME, "--nocapture"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env(CONFIGURATION, configuration)
        .env(BEGINNING, from.micros().to_string());
}

/// The settings of that process, or `None` in an ordinary test run.
#[expect(clippy::disallowed_methods, reason = "the arguments belong to the harness")]
fn read_settings() -> Option<(Config, UtcTimestamp)> {
    let configuration = std::env::var(CONFIGURATION).ok()?;
    let from = instant(&std::env::var(BEGINNING).ok()?).expect("an instant");
    Some((Config::load(Some(Path::new(&configuration))).unwrap(), from))
}

/// In an ordinary test run, this test returns at once.
#[test]
fn a_daemon_whose_clock_is_set_from_outside() {
    let Some((config, from)) = read_settings() else { return };
    tracing_subscriber::fmt()
        .with_writer(sessionwatch_app::output::masked_stderr)
        .with_max_level(tracing::Level::INFO)
        .init();
    let (clock, hand) = Clock::manual(from);
    let (commands, received) = mpsc::unbounded_channel();
    let adjusted = clock.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended_well = runtime.block_on(async {
        let daemon = Daemon::start(config, clock).await.unwrap_or_else(|error| panic!("{error}"));
        let events = daemon.state().app.events.subscribe();
        // The reader may be gone.
        let _ = writeln!(
            sessionwatch_app::output::masked_stdout(),
            "{}://{}",
            daemon.url_scheme(),
            daemon.listen_address().unwrap()
        );
        // These threads are not joined: they end with the process.
        std::thread::spawn(move || say(events));
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if let Some(by) = line.strip_prefix("adjust ").and_then(|by| by.parse().ok()) {
                    adjusted.adjust(jiff::SignedDuration::from_micros(by));
                } else if let Some(at) = instant(&line) {
                    hand.send_replace(at);
                }
            }
            // The daemon may have ended already.
            let _ = commands.send(DaemonCommand::Stop);
            drop(hand);
        });
        let dashboard = sessionwatch_web::build_router(&daemon.state().app);
        daemon.serve(dashboard, received).await.unwrap_or_else(|error| panic!("{error}"))
    });
    assert!(ended_well, "the daemon did not end well");
}

fn say(mut events: broadcast::Receiver<LiveEvent>) {
    while let Ok(event) = events.blocking_recv() {
        if let LiveEvent::RunFinished { target, at } = event {
            // The reader may be gone.
            let _ = writeln!(sessionwatch_app::output::masked_stdout(), "{LOOKED}{} {target}", at.micros());
        }
    }
}

/// Prefix of the lines that report a check run; the test harness prints other lines.
pub(super) const LOOKED: &str = "looked ";

fn instant(text: &str) -> Option<UtcTimestamp> {
    UtcTimestamp::from_micros(text.trim().parse().ok()?)
}
