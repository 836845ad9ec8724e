//! `audit`: is the record of who did what whole?

use sessionwatch_core::plural::counted;
use std::process::ExitCode;

use super::{Failure, opening, target::ConfigArgs};
use crate::store::audit::{self, Trail};

/// Examine the record of who did what
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Follow the hashes from the first entry to the last: exit code 1 if one does not fit
    Verify {
        #[command(flatten)]
        config: ConfigArgs,
        /// Also make sure that the record still holds the entry of this hash, which a checklist named as its last one
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Args::Verify { config, head } = args;
    let (_, store) = opening::existing(config)?;
    let (trail, known) = store.read(|db| {
        let known = head.as_ref().map(|head| audit::knows(db, head)).transpose()?;
        Ok((audit::verify(db)?, known))
    })?;
    let fault = match (trail, known) {
        (Trail::Broken(entry), _) => {
            format!("the record is broken at entry {entry}: it, or one before it, was changed or removed\n")
        }
        (Trail::Whole(_), Some(false)) => {
            "the record holds no entry of that hash: entries were cut off its end, or it is another record\n"
                .into()
        }
        (Trail::Whole(0), _) => {
            super::complain(
                "the audit trail is empty, so nothing was verified",
                Some("is it the store of the daemon? name its configuration with --config"),
            );
            return Ok(ExitCode::from(3));
        }
        (Trail::Whole(entries), _) => {
            super::print(&format!("the record is whole: {}\n", counted(entries, "entry", "entries")))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    super::print(&fault)?;
    Ok(ExitCode::from(1))
}
