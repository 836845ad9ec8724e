//! `serve`: monitors all targets, or runs one full round.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use credentials::Secret;

use sessionwatch_app::{
    blocking,
    config::{Config, ConfigError, ServeConfig, Target},
    daemon::{self, Daemon, DaemonCommand, DashboardAccess, RoundResult},
    default_database_url, preflight,
    sanitize::sanitize_text,
};
use sessionwatch_clock::Clock;
use sessionwatch_core::plural::format_count;
use sessionwatch_web as web;
use tokio::sync::mpsc;

use super::{
    Failure,
    target_args::{self, ConfigArgs},
};

/// Monitor all targets, with alerts and dashboard
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Run one full round of checks, deliver notifications, and exit
    #[arg(long)]
    once: bool,
    /// Address of dashboard and metrics [default: `serve.listen`]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// State store: SQLite file or PostgreSQL URL [default: `serve.store`]
    #[arg(long, value_name = "FILE|URL")]
    store: Option<Secret>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl ServeArgs {
    /// Returns `true` if the process ends after one round.
    pub(super) fn is_single_round(&self) -> bool {
        self.once
    }
}

/// Options that take precedence over the configuration, also after a reload.
#[derive(Clone, Debug, Default)]
pub(super) struct ServeOverrides {
    listen: Option<SocketAddr>,
    store: Option<Secret>,
}

/// The name of the target that DATABASE_URL names. `init` writes the same one, so that its history goes on.
const DEFAULT_TARGET_NAME: &str = "main";

impl ServeOverrides {
    /// Loads the configuration of a file; without one, that of the current folder, or the target of DATABASE_URL.
    fn load(&self, file: Option<&Path>) -> Result<Config, Failure> {
        if let Some(store) = &self.store {
            let problem = ServeConfig::default().set_store(store.expose()).err();
            if let Some(problem) = problem {
                return Err(Failure::Usage(format!("--store: {problem}")));
            }
        }
        let config = preflight::load_config(file)?;
        if config.file.is_none() {
            // Its error names everything that was tried.
            target_args::resolve_targets(&config, None)?;
        }
        Ok(self.load_file(file)?)
    }

    /// Same, for a reload.
    fn load_file(&self, file: Option<&Path>) -> Result<Config, ConfigError> {
        let mut config = preflight::load_config(file)?;
        if let (None, Ok(found)) = (&config.file, default_database_url::find_default_address()) {
            let target = Target::ad_hoc(found.address);
            config.targets.push(Target { name: DEFAULT_TARGET_NAME.to_owned(), is_ad_hoc: false, ..target });
        }
        config.targets = config.targets.into_iter().map(target_args::with_stored_passwords).collect();
        config.serve.listen = self.listen.unwrap_or(config.serve.listen);
        if let Some(store) = &self.store {
            // It was checked at the start.
            let _ = config.serve.set_store(store.expose());
        }
        preflight::require_runnable(&config)?;
        Ok(config)
    }
}

pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let overrides = ServeOverrides { listen: args.listen, store: args.store.clone() };
    let config = overrides.load(args.config.config.as_deref())?;
    daemon::raise_open_files_limit();
    let (targets, channels) = (config.targets.len(), config.serve.channels.len());
    for line in super::config::list_warnings(&config) {
        super::print_note(&line);
    }
    if args.once {
        return run_once(config);
    }
    let file = args.config.config.clone().or_else(|| config.file.clone());
    let runtime = super::build_runtime()?;
    let outcome = runtime.block_on(async {
        // Signals are handled before anything else runs, so that an early one stops the daemon cleanly.
        let commands = spawn_signal_handler(file, overrides)?;
        let daemon = Daemon::start(config, Clock::System).await?;
        let (address, scheme) = (daemon.listen_address()?, daemon.url_scheme());
        let dashboard_line = match daemon.dashboard_access().await? {
            DashboardAccess::Login(url) => format!("Dashboard: {url}\n"),
            DashboardAccess::SetupLink(link) => {
                format!("Create the first admin account: {link}\n")
            }
            DashboardAccess::Unavailable => {
                "The dashboard is closed: it is reachable from other machines and has no account. Create one with \
                             `sessionwatch accounts add NAME --role admin`\n"
                    .to_owned()
            }
        };
        // A closed stdout is no reason not to monitor.
        let _ = super::print_text(&format!(
            "Monitoring {}, {}. Metrics: {scheme}://{address}/metrics\n{dashboard_line}",
            format_count(targets as u64, "target", "targets"),
            format_count(channels as u64, "channel", "channels")
        ));
        let dashboard = web::build_router(&daemon.state().app);
        let stopped = daemon.serve(dashboard, commands).await?;
        Ok(if stopped { ExitCode::SUCCESS } else { ExitCode::from(3) })
    });
    // Threads that still wait for a file or a server are abandoned.
    runtime.shutdown_background();
    outcome
}

/// Runs one round. The exit code is that of the worst target.
fn run_once(config: Config) -> Result<ExitCode, Failure> {
    let results = super::block_on(async { Ok(daemon::run_single_round(config, Clock::System).await?) })?;
    for RoundResult { target, is_failing, is_unknown, problem } in &results {
        let result = match (is_failing, is_unknown) {
            (true, _) => "failing",
            (false, true) => "unknown",
            (false, false) => "passing",
        };
        let problem = problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
        super::print_text(&format!("{}: {result}{problem}\n", sanitize_text(target)))?;
    }
    let any = |test: fn(&RoundResult) -> bool| results.iter().any(test);
    Ok(if any(|result| result.is_failing) {
        ExitCode::from(1)
    } else if any(|result| result.is_unknown) {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

/// Turns signals into commands for the daemon: SIGTERM and SIGINT stop it, SIGHUP reloads the configuration.
pub(super) fn spawn_signal_handler(
    file: Option<PathBuf>,
    overrides: ServeOverrides,
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
                    let (file, overrides) = (file.clone(), overrides.clone());
                    DaemonCommand::Reload(Box::new(blocking::run(move || overrides.load_file(file.as_deref())).await))
                }
            };
            if sender.send(command).is_err() {
                return;
            }
        }
    });
    Ok(commands)
}
