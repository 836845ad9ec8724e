//! `demo`: a small application with everything wrong, looked at.

use std::{path::PathBuf, process::ExitCode};

use super::{Failure, target};
use crate::{
    clock,
    config::Config,
    demo::{self, DemoError},
    look::{self, Request},
    report::{self, Format},
    target::address::Address,
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
    let (config, target) = (Config::default(), target::plain(Address::Sqlite(args.path.clone())));
    let (catalogue, rules) = (config.catalogue.as_slice(), &config.rules);
    let request = Request { target: &target, catalogue, rules, deep: false, only: &[], watched: None };
    let report = super::block_on(async { Ok(look::look(request).await) })?;
    super::print_readable(&report::render(&[report], Format::Table))?;
    let path = args.path.display();
    super::print(&format!(
        "\nTry next:\n  sessionwatch check {path} --format json\n  sessionwatch doctor {path}\n  sessionwatch sessions list {path} --status active --limit 10\n  \
         sessionwatch sql duplicate-tokens {path}\n  sessionwatch cleanup duplicates {path}\n  sessionwatch incident drill --demo\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}
