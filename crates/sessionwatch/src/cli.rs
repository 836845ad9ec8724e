//! The command line: one file a subcommand.

mod accounts;
mod acting;
mod actor;
mod alerts;
mod archive;
mod arguments;
mod audit;
mod backup;
mod check;
mod choices;
mod cleanup;
mod completions;
mod config;
mod demo;
mod doctor;
mod grants;
mod incident;
mod init;
mod integrations;
mod logs;
mod man;
mod notify;
mod opening;
mod report;
mod revoke;
mod serve;
mod sessions;
mod sql;
mod target;
mod targets;
mod tokens;

use std::{
    io::Write as _,
    pin::Pin,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use clap::{Parser, Subcommand};
use sessionwatch_app::{
    app::{
        AppError,
        error::{StoreError, TargetError},
    },
    config::{AddressError, ConfigError},
    environment,
    output::{self, color::colorize_statuses},
    progress,
};
use tracing::Level;

/// Look at the log-in sessions of a web application and say what is wrong.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// Say on standard error what is asked of the database, and what it answers to what fails
    #[arg(long, short, global = true)]
    verbose: bool,
    /// How lines on standard error are written: for people, or each as a JSON object
    #[arg(long, global = true, value_enum, default_value = "text", env = "SESSIONWATCH_LOG_FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: CliCommand,
}

/// How lines on standard error are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Doctor(doctor::DoctorArgs),
    Check(check::CheckArgs),
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    Sql(sql::SqlArgs),
    Grants(grants::GrantsArgs),
    Serve(serve::ServeArgs),
    #[command(subcommand)]
    Cleanup(cleanup::CleanupCommand),
    #[command(subcommand)]
    Revoke(revoke::RevokeCommand),
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    #[command(subcommand)]
    Logs(logs::LogsCommand),
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    #[command(subcommand)]
    Targets(targets::TargetsCommand),
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    #[command(subcommand)]
    Report(report::ReportCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    Backup(backup::BackupArgs),
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    #[command(subcommand)]
    Integrations(integrations::IntegrationsCommand),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The address is faulty.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The configuration is faulty.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments are faulty.
    #[error("{0}")]
    Usage(String),
    /// The target could not be looked at.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plan could not be made or carried out.
    #[error(transparent)]
    Act(#[from] sessionwatch_app::remediation::ActionError),
    /// A channel did not accept a message.
    #[error("{0}")]
    Delivery(String),
    /// A log cannot be read.
    #[error(transparent)]
    Logs(#[from] sessionwatch_app::logs::scan::ScanError),
    /// The daemon could not start or go on.
    #[error(transparent)]
    Daemon(#[from] sessionwatch_app::daemon::DaemonError),
    /// The demonstration could not be made.
    #[error(transparent)]
    Demo(#[from] sessionwatch_app::demo::DemoError),
    /// A part ended in a panic, whose place was told.
    #[error("{0}")]
    Bug(&'static str),
    /// Output could not be written.
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Store(error) => Self::Store(error),
            AppError::Action(error) => Self::Act(error),
            AppError::Internal(why) => Self::Bug(why),
            error => Self::Usage(error.to_string()),
        }
    }
}

/// Parses the arguments of this process and runs the command. The exit code is that of [`Cli::run`].
#[must_use]
pub fn main() -> ExitCode {
    arguments::parse_arguments().map_or_else(|code| code, Cli::run)
}

impl Cli {
    /// Does the work; the exit code is 0 healthy, 1 a check is failing, 2 usage, 3 something could not be checked.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let is_daemon = matches!(self.command, CliCommand::Serve(_));
        let level = match is_daemon {
            _ if self.verbose => Level::DEBUG,
            true => Level::INFO,
            false => Level::WARN,
        };
        init_logging(level, self.log_format, is_daemon);
        if output::is_stderr_terminal() && !is_daemon {
            progress::enable_progress();
        }
        let outcome = match self.command {
            CliCommand::Demo(args) => demo::run(&args),
            CliCommand::Init(args) => init::run(&args),
            CliCommand::Doctor(args) => doctor::run(&args),
            CliCommand::Check(args) => check::run(&args),
            CliCommand::Sessions(args) => sessions::run(&args),
            CliCommand::Sql(args) => sql::run(&args),
            CliCommand::Grants(args) => grants::run(&args),
            CliCommand::Serve(args) => serve::run(&args),
            CliCommand::Cleanup(args) => cleanup::run(&args),
            CliCommand::Revoke(args) => revoke::run(&args),
            CliCommand::Archive(args) => archive::run(&args),
            CliCommand::Incident(args) => incident::run(&args),
            CliCommand::Alerts(args) => alerts::run(&args),
            CliCommand::Logs(args) => logs::run(&args),
            CliCommand::Accounts(args) => accounts::run(&args),
            CliCommand::Targets(args) => targets::run(&args),
            CliCommand::Tokens(args) => tokens::run(&args),
            CliCommand::Report(args) => report::run(&args),
            CliCommand::Audit(args) => audit::run(&args),
            CliCommand::Backup(args) => backup::run(&args),
            CliCommand::Notify(args) => notify::run(&args),
            CliCommand::Integrations(args) => integrations::run(&args),
            CliCommand::Config(args) => config::run(&args),
            CliCommand::Completions(args) => completions::run(&args),
            CliCommand::Man(args) => man::run(&args),
        };
        match outcome {
            Ok(code) => code,
            // A reader that closed the pipe has seen what it wanted.
            Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(failure) => failure.report(),
        }
    }
}

impl Failure {
    fn report(&self) -> ExitCode {
        let hint = match self {
            Self::Target(error) => Some(error.hint()),
            Self::Store(error) | Self::Daemon(sessionwatch_app::daemon::DaemonError::Store(error)) => {
                error.hint().map(str::to_owned)
            }
            Self::Act(error) => error.hint(),
            _ => None,
        };
        let message = match self {
            // People see the lines that it is about; what programs read stays a line for each problem.
            Self::Config(error)
                if output::is_stderr_terminal() && !JSON_LOG_ENABLED.load(Ordering::Relaxed) =>
            {
                error.render(is_color_allowed())
            }
            _ => self.to_string(),
        };
        print_error(&message, hint.as_deref());
        if let Self::Act(error) = self {
            // With standard error closed there is nobody left to tell.
            let _ = output::masked_stderr().write_all(acting::render_choices(error).as_bytes());
        }
        match self {
            // A state of the incident, not a fault of the command.
            Self::Act(
                sessionwatch_app::remediation::ActionError::NotClosable { .. }
                | sessionwatch_app::remediation::ActionError::EvidenceRequired { .. },
            ) => ExitCode::from(1),
            Self::Act(error) if error.is_usage_error() => ExitCode::from(2),
            Self::Target(error) if error.is_usage_error() => ExitCode::from(2),
            Self::Address(_) | Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Bug(_) => ExitCode::from(BUG_EXIT_CODE),
            Self::Target(_)
            | Self::Store(_)
            | Self::Act(_)
            | Self::Delivery(_)
            | Self::Logs(_)
            | Self::Daemon(_)
            | Self::Demo(_)
            | Self::Output(_) => ExitCode::from(3),
        }
    }
}

/// The exit code of a bug (`EX_SOFTWARE` of `sysexits.h`).
pub const BUG_EXIT_CODE: u8 = 70;

/// Threads that run tasks. None of them computes or blocks for long: what does has threads of its own.
const WORKER_THREADS: usize = 2;

/// Makes the runtime of the program.
///
/// # Errors
///
/// If the system refuses what it needs.
fn build_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()
}

/// Runs a future to its end.
///
/// # Errors
///
/// If the future fails.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Boxed, so that the runtime is compiled once and not for each command.
    let future: Pin<Box<dyn Future<Output = Result<T, Failure>>>> = Box::pin(future);
    build_runtime()?.block_on(future)
}

/// Prints for a person: in colour on a terminal, unless `NO_COLOR` is set or the terminal knows none.
fn print_readable(text: &str) -> Result<(), Failure> {
    if output::is_stdout_terminal() && is_color_allowed() {
        print_text(&colorize_statuses(text))
    } else {
        print_text(text)
    }
}

/// Returns `false` if `NO_COLOR` is set, or the terminal knows no color.
fn is_color_allowed() -> bool {
    let is_dumb = environment::read_variable("TERM").is_some_and(|term| term == "dumb");
    environment::read_variable("NO_COLOR").is_none() && !is_dumb
}

fn print_text(text: &str) -> Result<(), Failure> {
    let mut stdout = output::masked_stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Whether lines on standard error are JSON.
static JSON_LOG_ENABLED: AtomicBool = AtomicBool::new(false);

/// What is logged on standard error: everything for who asks for it; of a daemon, what goes wrong, with the time.
fn init_logging(level: Level, format: LogFormat, is_daemon: bool) {
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false);
    let log = log.with_writer(output::masked_stderr);
    JSON_LOG_ENABLED.store(format == LogFormat::Json, Ordering::Relaxed);
    // Somebody who embeds the command line may have a log of their own.
    let _ = match format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text if is_daemon => log.try_init(),
        LogFormat::Text => log.without_time().try_init(),
    };
}

/// Says that this program has a bug, which is at that place.
pub fn print_bug(place: &str) {
    print_error(&format!("this is a bug of sessionwatch{place}"), Some("please report it"));
}

/// Something that the person should know, on standard error; with that closed there is nobody left to tell.
fn print_note(line: &str) {
    if JSON_LOG_ENABLED.load(Ordering::Relaxed) {
        return tracing::warn!("{line}");
    }
    let _ = writeln!(output::masked_stderr(), "note: {line}");
}

/// An error for the person, on standard error; with that closed there is nobody left to tell.
fn print_error(message: &str, hint: Option<&str>) {
    if JSON_LOG_ENABLED.load(Ordering::Relaxed) {
        return tracing::error!(hint, "{message}");
    }
    let _ = writeln!(output::masked_stderr(), "error: {message}");
    if let Some(text) = hint {
        self::print_hint(text);
    }
}

/// How to mend an error that has been told, on standard error.
fn print_hint(text: &str) {
    let _ = writeln!(output::masked_stderr(), "hint: {text}");
}
