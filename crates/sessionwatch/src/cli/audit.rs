//! `audit`: is the record of who did what whole?

use std::process::ExitCode;

use sessionwatch_app::app::audit::{self, AuditVerification, ChainStatus};
use sessionwatch_core::plural::format_count;

use super::{Failure, opening, target::ConfigArgs};

/// Examine the record of who did what
#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// Follow the hashes from the first entry to the last: exit code 1 if one does not fit
    Verify {
        #[command(flatten)]
        config: ConfigArgs,
        /// Also make sure that the record still holds the entry of this hash, which a checklist named as its last one
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

pub(super) fn run(args: &AuditCommand) -> Result<ExitCode, Failure> {
    let AuditCommand::Verify { config, head } = args;
    let app = opening::open_existing_app(config)?;
    let AuditVerification { chain, contains_head: holds_head } =
        super::block_on(async { Ok(audit::verify_audit_chain(&app, head.clone()).await?) })?;
    let fault = match (chain, holds_head) {
        (ChainStatus::Broken(entry), _) => {
            format!("the record is broken at entry {entry}: it, or one before it, was changed or removed\n")
        }
        (ChainStatus::Intact(_), Some(false)) => {
            "the record holds no entry of that hash: entries were cut off its end, or it is another record\n"
                .into()
        }
        (ChainStatus::Intact(0), _) => {
            super::print_error(
                "the audit trail is empty, so nothing was verified",
                Some("is it the store of the daemon? name its configuration with --config"),
            );
            return Ok(ExitCode::from(3));
        }
        (ChainStatus::Intact(entries), _) => {
            super::print_text(&format!(
                "the record is whole: {}\n",
                format_count(entries, "entry", "entries")
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    super::print_text(&fault)?;
    Ok(ExitCode::from(1))
}
