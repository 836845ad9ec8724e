//! `serve`: watch every configured target.

use std::{path::PathBuf, process::ExitCode};

use sessionwatch_app::{
    blocking,
    daemon::{self, Daemon, DaemonCommand, DashboardAccess},
    preflight,
};
use sessionwatch_clock::Clock;
use sessionwatch_core::plural::format_count;
use sessionwatch_web as web;
use tokio::sync::mpsc;

use super::{Failure, target::ConfigArgs};

/// Watch every configured target: look, remember, tell, serve metrics
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let config = preflight::load_config_for_serve(args.config.config.as_deref())?;
    daemon::raise_open_files_limit();
    let (targets, channels) = (config.targets.len(), config.serve.channels.len());
    for line in super::config::list_warnings(&config) {
        super::print_note(&line);
    }
    let file = config.file.clone();
    let runtime = super::build_runtime()?;
    let outcome = runtime.block_on(async {
        // Before anything is ready to be told to end.
        let commands = spawn_signal_handler(file)?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let (address, scheme) = (daemon.listen_address()?, daemon.url_scheme());
        let door = match daemon.dashboard_access().await? {
            DashboardAccess::Login(url) => format!("The dashboard is on {url}\n"),
            DashboardAccess::SetupLink(link) => {
                format!("The dashboard waits for its first account: {link}\n")
            }
            DashboardAccess::Unavailable => {
                "The dashboard is closed, since it can be reached from elsewhere and nobody has an account: \
                             `sessionwatch accounts add NAME --role admin` makes one\n"
                    .to_owned()
            }
        };
        // Whoever does not listen to that still wants a watch.
        let _ = super::print_text(&format!(
            "Watching {}, telling {}, metrics on {scheme}://{address}/metrics\n{door}",
            format_count(targets as u64, "target", "targets"),
            format_count(channels as u64, "channel", "channels")
        ));
        let dashboard = web::build_router(&daemon.state().app);
        let stopped = daemon.serve(dashboard, commands).await?;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(3) })
    });
    // What still waits for a file or a server is not waited for.
    runtime.shutdown_background();
    outcome
}

/// What the system or a person asks of the program by signals.
pub(super) fn spawn_signal_handler(
    file: Option<PathBuf>,
) -> std::io::Result<mpsc::UnboundedReceiver<DaemonCommand>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let (sender, commands) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let command = tokio::select! {
                _ = terminate.recv() => DaemonCommand::Stop,
                _ = interrupt.recv() => DaemonCommand::Stop,
                _ = hang_up.recv() => {
                    let file = file.clone();
                    DaemonCommand::Reload(Box::new(blocking::run(move || preflight::load_config_for_serve(file.as_deref())).await))
                }
            };
            if sender.send(command).is_err() {
                return;
            }
        }
    });
    Ok(commands)
}
