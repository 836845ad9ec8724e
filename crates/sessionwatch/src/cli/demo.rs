//! `demo`: a small application with everything wrong, looked at.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use sessionwatch_rules::settings::Settings;

use super::Failure;
use crate::{
    clock,
    demo::{self, DemoError},
    look::{self, Request},
    report::Format,
    target::{address::Address, observe::Engine, postgres::Limits},
};

/// Make a small application with everything wrong, and look at it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the SQLite file is made
    #[arg(long, default_value = "sessionwatch-demo.db")]
    path: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match demo::create(&args.path, clock::now()) {
        Ok(()) => super::print(&format!("Made a small application in {}.\n\n", args.path.display()))?,
        Err(DemoError::Exists) => {
            super::print(&format!("Using the application in {}.\n\n", args.path.display()))?
        }
        Err(error) => return Err(error.into()),
    }
    let limit = Duration::from_secs(30);
    let request = Request {
        address: Address::Sqlite(args.path.clone()),
        engine: Engine::Scan,
        deep: false,
        limits: Limits { timeout: limit, lock_timeout: limit },
        only: vec![],
        settings: Settings::default(),
    };
    let report = super::block_on(async { Ok(look::look(&request).await?) })?;
    super::print(&report.render(Format::Table))?;
    let path = args.path.display();
    super::print(&format!(
        "\nTry next:\n  sessionwatch check {path} --format json\n  sessionwatch sessions {path} --status active --limit 10\n  \
         sessionwatch sql duplicate-tokens {path}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
