//! `serve`: watch every configured target.

use std::process::ExitCode;

use super::{Failure, target::ConfigArgs};
use crate::{config::Config, daemon::Daemon};

/// Watch every configured target: look, remember, tell, serve metrics
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = Config::load(args.config.config.as_deref())?;
    config.resolved(None)?;
    if config.targets.is_empty() {
        return Err(Failure::Usage(
            "no target is configured: `sessionwatch init` writes a file that names one".into(),
        ));
    }
    if let Some((name, problem)) = config.serve.unresolved.first() {
        return Err(Failure::Usage(format!("channel `{name}`: {problem}")));
    }
    let (targets, channels) = (config.targets.len(), config.serve.channels.len());
    super::block_on(async {
        let daemon = Daemon::start(config).await?;
        let address = daemon.address()?;
        super::print(&format!(
            "Watching {targets} target(s), telling {channels} channel(s), metrics on http://{address}/metrics\n"
        ))?;
        let stopped = daemon.serve(shutdown()?).await?;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(3) })
    })
}

/// Until the system or a person asks the program to end.
fn shutdown() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
