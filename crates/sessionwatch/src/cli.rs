//! The command line: one file a subcommand.

mod check;
mod completions;
mod demo;
mod man;
mod sessions;
mod sql;

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::target::{
    address::{Address, AddressError},
    error::TargetError,
    postgres::Limits,
};

/// Look at the log-in sessions of a web application and say what is wrong.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Check(check::Args),
    Sessions(sessions::Args),
    Sql(sql::Args),
    Completions(completions::Args),
    /// Print the manual page
    Man,
}

/// Which target, and how long it may take.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Address: postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH or the path of a SQLite file
    #[arg(env = "DATABASE_URL", hide_env_values = true)]
    pub url: String,
    /// Seconds that the whole look may take
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600), value_name = "SECONDS")]
    pub timeout: u64,
    /// Seconds to wait for a lock
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600), value_name = "SECONDS")]
    pub lock_timeout: u64,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The address is faulty.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The arguments are faulty.
    #[error("{0}")]
    Usage(String),
    /// The target could not be looked at.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The demonstration could not be made.
    #[error(transparent)]
    Demo(#[from] crate::demo::DemoError),
    /// Output could not be written.
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl TargetArgs {
    /// The address.
    ///
    /// # Errors
    ///
    /// If it is not one.
    pub fn address(&self) -> Result<Address, AddressError> {
        Address::parse(&self.url)
    }

    /// The time limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.timeout),
            lock_timeout: Duration::from_secs(self.lock_timeout),
        }
    }
}

impl Cli {
    /// Does the work; the exit code is 0 healthy, 1 a check is failing, 2 usage, 3 something could not be checked.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Demo(args) => demo::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Sessions(args) => sessions::run(&args),
            Command::Sql(args) => sql::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man => man::run(),
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
        // With standard error closed there is nobody left to tell.
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "error: {self}");
        if let Self::Target(error) = self {
            let _ = writeln!(stderr, "hint: {}", error.hint());
        }
        match self {
            Self::Address(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Target(_) | Self::Demo(_) | Self::Output(_) => ExitCode::from(3),
        }
    }
}

/// Runs a future on a single-threaded runtime: one target needs no more, and it starts fastest.
///
/// # Errors
///
/// If the future fails.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
