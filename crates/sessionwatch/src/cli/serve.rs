//! `serve`: watch every configured target.

use std::{path::PathBuf, process::ExitCode};

use sessionwatch_app::{
    blocking,
    daemon::{self, Command, Daemon, Door},
    preflight,
};
use sessionwatch_clock::Clock;
use sessionwatch_core::plural::counted;
use sessionwatch_web as web;
use tokio::sync::mpsc;

use super::{Failure, target::ConfigArgs};

/// Watch every configured target: look, remember, tell, serve metrics
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = preflight::load_for_serve(args.config.config.as_deref())?;
    daemon::raise_open_files_limit();
    let (targets, channels) = (config.targets.len(), config.serve.channels.len());
    for line in super::config::remarks(&config) {
        super::complain_of(&line);
    }
    let file = config.file.clone();
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(async {
        // Before anything is ready to be told to end.
        let commands = commands(file)?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let (address, scheme) = (daemon.address()?, daemon.scheme());
        let door = match daemon.door().await? {
            Door::Open(url) => format!("The dashboard is on {url}\n"),
            Door::SetUp(link) => format!("The dashboard waits for its first account: {link}\n"),
            Door::Closed => {
                "The dashboard is closed, since it can be reached from elsewhere and nobody has an account: \
                             `sessionwatch accounts add NAME --role admin` makes one\n"
                    .to_owned()
            }
        };
        // Whoever does not listen to that still wants a watch.
        let _ = super::print(&format!(
            "Watching {}, telling {}, metrics on {scheme}://{address}/metrics\n{door}",
            counted(targets as u64, "target", "targets"),
            counted(channels as u64, "channel", "channels")
        ));
        let dashboard = web::router(&daemon.state().app);
        let stopped = daemon.serve(dashboard, commands).await?;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(3) })
    });
    // What still waits for a file or a server is not waited for.
    runtime.shutdown_background();
    outcome
}

/// What the system or a person asks of the program by signals.
pub(super) fn commands(file: Option<PathBuf>) -> std::io::Result<mpsc::UnboundedReceiver<Command>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let (sender, commands) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let command = tokio::select! {
                _ = terminate.recv() => Command::Stop,
                _ = interrupt.recv() => Command::Stop,
                _ = hang_up.recv() => {
                    let file = file.clone();
                    Command::Reload(Box::new(blocking::run(move || preflight::load_for_serve(file.as_deref())).await))
                }
            };
            if sender.send(command).is_err() {
                return;
            }
        }
    });
    Ok(commands)
}
