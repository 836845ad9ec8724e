//! The command line: one file for each subcommand.

mod accounts;
mod actor;
mod alerts;
mod apply;
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
mod examples;
mod explain;
mod failure;
mod grants;
mod incident;
mod init;
mod integrations;
mod lists;
mod logs;
mod man;
mod notifications;
mod opening;
mod plans;
mod remediation;
mod report;
mod revoke;
mod serve;
mod sessions;
mod sql;
mod target_args;
mod targets;
mod tokens;
mod users;
mod values;

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::{Parser, Subcommand};
use sessionwatch_app::{
    environment,
    output::{self, MaskingWriter, color::colorize_statuses},
    progress,
};
use tracing::Level;

pub use self::failure::Failure;
use self::{
    target_args::{ConfigArgs, LimitArgs},
    values::ColorChoice,
};

/// The heading of options that every command has, in its help.
const GLOBAL_OPTIONS: &str = "Global options";

/// Audit the login sessions of a web application
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: CliCommand,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct GlobalArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Write the output to FILE instead of stdout
    #[arg(long, short, global = true, help_heading = GLOBAL_OPTIONS, display_order = 904, value_name = "FILE")]
    output: Option<PathBuf>,
    /// When to color the output
    #[arg(
        long, global = true, help_heading = GLOBAL_OPTIONS, display_order = 905, value_enum, default_value = "auto",
        hide_possible_values = true, value_name = "auto|always|never"
    )]
    color: ColorChoice,
    /// Log queries and server errors to stderr
    #[arg(long, short, global = true, help_heading = GLOBAL_OPTIONS, display_order = 906)]
    verbose: bool,
    /// Log format on stderr [env: SESSIONWATCH_LOG_FORMAT]
    #[arg(
        long, global = true, help_heading = GLOBAL_OPTIONS, display_order = 907, value_enum, default_value = "text",
        env = "SESSIONWATCH_LOG_FORMAT", hide_env = true, hide_possible_values = true, value_name = "text|json"
    )]
    log_format: LogFormat,
}

/// The format of lines on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// Plain lines
    Text,
    /// A JSON object on each line
    Json,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Check(check::CheckArgs),
    Serve(serve::ServeArgs),
    Doctor(doctor::DoctorArgs),
    Explain(explain::ExplainArgs),
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    #[command(subcommand)]
    Users(users::UsersCommand),
    #[command(subcommand)]
    Cleanup(cleanup::CleanupCommand),
    #[command(subcommand)]
    Revoke(revoke::RevokeCommand),
    Apply(apply::ApplyArgs),
    #[command(subcommand)]
    Plans(plans::PlansCommand),
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    #[command(subcommand)]
    Notifications(notifications::NotificationsCommand),
    #[command(subcommand)]
    Incident(incident::IncidentCommand),
    #[command(subcommand)]
    Logs(logs::LogsCommand),
    #[command(subcommand)]
    Report(report::ReportCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Targets(targets::TargetsCommand),
    Sql(sql::SqlArgs),
    Grants(grants::GrantsArgs),
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    Backup(backup::BackupArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(subcommand)]
    Integrations(integrations::IntegrationsCommand),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Parses the arguments of this process and runs the command. Returns the exit code of [`Cli::run`].
#[must_use]
pub fn main() -> ExitCode {
    arguments::parse_arguments().map_or_else(|code| code, Cli::run)
}

impl Cli {
    /// Runs the command. The exit code is 0 for passing, 1 for failing, 2 for usage or configuration, 3 for unknown.
    #[must_use]
    pub fn run(self) -> ExitCode {
        // A single round is a command for cron, whose output should stay quiet.
        let is_daemon = matches!(&self.command, CliCommand::Serve(args) if !args.is_single_round());
        let level = match is_daemon {
            _ if self.global.verbose => Level::DEBUG,
            true => Level::INFO,
            false => Level::WARN,
        };
        self.global.color.set();
        init_logging(level, self.global.log_format, is_daemon);
        // A bar that redraws itself would fill a log file or a pipe with control characters.
        if output::is_stderr_terminal() && !is_daemon {
            progress::enable_progress();
        }
        // These write the file themselves: it is their result, not a copy of what they print.
        let writes_file = matches!(
            self.command,
            CliCommand::Init(_)
                | CliCommand::Man(_)
                | CliCommand::Incident(incident::IncidentCommand::Evidence { .. })
        );
        if let Some(path) = self.global.output.filter(|path| !writes_file && path != Path::new("-")) {
            output_file().path = Some(path);
        }
        let outcome = self.command.run().and_then(|code| finish_output().map(|()| code));
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

impl CliCommand {
    fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Init(args) => init::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Serve(args) => serve::run(&args),
            Self::Doctor(args) => doctor::run(&args),
            Self::Explain(args) => explain::run(&args),
            Self::Sessions(args) => sessions::run(&args),
            Self::Users(args) => users::run(&args),
            Self::Cleanup(args) => cleanup::run(&args),
            Self::Revoke(args) => revoke::run(&args),
            Self::Apply(args) => apply::run(&args),
            Self::Plans(args) => plans::run(&args),
            Self::Archive(args) => archive::run(&args),
            Self::Alerts(args) => alerts::run(&args),
            Self::Notifications(args) => notifications::run(&args),
            Self::Incident(args) => incident::run(&args),
            Self::Logs(args) => logs::run(&args),
            Self::Report(args) => report::run(&args),
            Self::Audit(args) => audit::run(&args),
            Self::Targets(args) => targets::run(&args),
            Self::Sql(args) => sql::run(&args),
            Self::Grants(args) => grants::run(&args),
            Self::Accounts(args) => accounts::run(&args),
            Self::Tokens(args) => tokens::run(&args),
            Self::Backup(args) => backup::run(&args),
            Self::Config(args) => config::run(&args),
            Self::Integrations(args) => integrations::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
        }
    }
}

impl Failure {
    /// Prints the failure, and returns the exit code.
    fn report(&self) -> ExitCode {
        let hint = match self {
            Self::Target(error) => Some(error.hint()),
            Self::Store(error) | Self::Daemon(sessionwatch_app::daemon::DaemonError::Store(error)) => {
                error.hint().map(str::to_owned)
            }
            Self::Act(error) => error.hint(),
            Self::Logs(error) => error.hint().map(str::to_owned),
            Self::UsageWithHint { hint, .. } => Some(hint.clone()),
            _ => None,
        };
        let message = match self {
            // On a terminal the affected lines of the file are shown; elsewhere one line for each problem.
            // JSON lines must stay one object each, even on a terminal.
            Self::Config(error)
                if output::is_stderr_terminal() && !JSON_LOG_ENABLED.load(Ordering::Relaxed) =>
            {
                error.render(is_colored(true))
            }
            _ => self.to_string(),
        };
        print_error(&message, hint.as_deref());
        if let Self::Act(error) = self {
            // With stderr closed there is nowhere to report to.
            let _ = output::masked_stderr().write_all(remediation::render_choices(error).as_bytes());
        }
        match self {
            // A state of the incident, not an error of the command.
            Self::Act(
                sessionwatch_app::remediation::ActionError::NotClosable { .. }
                | sessionwatch_app::remediation::ActionError::EvidenceRequired { .. },
            ) => ExitCode::from(1),
            Self::Act(error) if error.is_usage_error() => ExitCode::from(2),
            Self::Target(error) if error.is_usage_error() => ExitCode::from(2),
            Self::Address(_) | Self::Config(_) | Self::Usage(_) | Self::UsageWithHint { .. } => {
                ExitCode::from(2)
            }
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

/// Threads that run tasks. Blocking work has threads of its own, so two are enough.
const WORKER_THREADS: usize = 2;

/// Builds the async runtime.
///
/// # Errors
///
/// Returns an error if the operating system refuses a thread.
fn build_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()
}

/// Runs a future to completion.
///
/// # Errors
///
/// Returns the error of the future.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Boxed, so that the runtime is compiled once instead of for each command.
    let future: Pin<Box<dyn Future<Output = Result<T, Failure>>>> = Box::pin(future);
    build_runtime()?.block_on(future)
}

/// Prints text for a person, colored if `--color` and the terminal allow it.
fn print_readable(text: &str) -> Result<(), Failure> {
    let is_terminal = output::is_stdout_terminal() && output_file().path.is_none();
    if is_colored(is_terminal) { print_text(&colorize_statuses(text)) } else { print_text(text) }
}

/// Returns `true` if text that goes to a terminal, or elsewhere, is colored.
fn is_colored(is_terminal: bool) -> bool {
    match ColorChoice::current() {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let is_dumb = environment::read_variable("TERM").is_some_and(|term| term == "dumb");
            is_terminal && environment::read_variable("NO_COLOR").is_none() && !is_dumb
        }
    }
}

/// Prints text to stdout, or to the file of `--output`.
fn print_text(text: &str) -> Result<(), Failure> {
    let mut output = output_file();
    if output.path.is_some() {
        return output.write(text);
    }
    let mut stdout = output::masked_stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// The file of `--output`.
#[derive(Debug)]
struct OutputFile {
    path: Option<PathBuf>,
    /// Opened by the first write: a command that fails before leaves an older file alone.
    file: Option<File>,
}

static OUTPUT_FILE: Mutex<OutputFile> = Mutex::new(OutputFile { path: None, file: None });

fn output_file() -> std::sync::MutexGuard<'static, OutputFile> {
    OUTPUT_FILE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OutputFile {
    fn write(&mut self, text: &str) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let cannot = |error: std::io::Error| {
            Failure::Usage(format!("cannot write {}: {}", path.display(), error.kind()))
        };
        let file = match self.file.take() {
            Some(file) => file,
            None => File::create(path).map_err(cannot)?,
        };
        // Masked like the terminal: files are attached to tickets.
        let mut masked = MaskingWriter::new(&file);
        masked.write_all(text.as_bytes()).and_then(|()| masked.flush()).map_err(cannot)?;
        drop(masked);
        self.file = Some(file);
        Ok(())
    }
}

/// Creates the file of `--output` if the command printed nothing: an older file there would be taken for the result.
fn finish_output() -> Result<(), Failure> {
    let mut output = output_file();
    if output.file.is_none() { output.write("") } else { Ok(()) }
}

/// Lines on stderr are JSON.
static JSON_LOG_ENABLED: AtomicBool = AtomicBool::new(false);

/// Starts logging to stderr. Only a daemon prefixes lines with the time.
fn init_logging(level: Level, format: LogFormat, is_daemon: bool) {
    // Without ANSI codes, as the log usually goes to a file or the journal.
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(false);
    let log = log.with_writer(output::masked_stderr);
    JSON_LOG_ENABLED.store(format == LogFormat::Json, Ordering::Relaxed);
    // A program that embeds this crate may have set a logger already.
    let _ = match format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text if is_daemon => log.try_init(),
        LogFormat::Text => log.without_time().try_init(),
    };
}

/// Reports a bug of this program, with its source location.
pub fn print_bug(place: &str) {
    print_error(&format!("internal error{place}: this is a bug in sessionwatch"), Some("please report it"));
}

/// Prints a note to stderr.
fn print_note(line: &str) {
    if JSON_LOG_ENABLED.load(Ordering::Relaxed) {
        return tracing::warn!("{line}");
    }
    // With stderr closed there is nowhere to print to.
    let _ = writeln!(output::masked_stderr(), "note: {line}");
}

/// Prints a warning and its hint to stderr. Unlike an error, the command continues.
fn print_warning(message: &str, hint: &str) {
    if JSON_LOG_ENABLED.load(Ordering::Relaxed) {
        return tracing::warn!(hint, "{message}");
    }
    let _ = writeln!(output::masked_stderr(), "warning: {message}");
    self::print_hint(hint);
}

/// Prints an error and its hint to stderr.
fn print_error(message: &str, hint: Option<&str>) {
    if JSON_LOG_ENABLED.load(Ordering::Relaxed) {
        return tracing::error!(hint, "{message}");
    }
    let _ = writeln!(output::masked_stderr(), "error: {message}");
    if let Some(text) = hint {
        self::print_hint(text);
    }
}

/// Prints how to fix an error that was printed before.
fn print_hint(text: &str) {
    let _ = writeln!(output::masked_stderr(), "hint: {text}");
}
