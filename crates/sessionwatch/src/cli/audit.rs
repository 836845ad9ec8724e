//! `audit`: the log of who did what, and its verification.

use std::process::ExitCode;

use sessionwatch_app::{
    api_types,
    app::{
        Period,
        audit::{self, AuditEntry, AuditVerification, ChainStatus},
        error::StoreError,
    },
    output::{OutputFormat, table::OutputTable},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::from_days,
    plural::{ListTotal, format_count},
    timestamp::UtcTimestamp,
};

use super::{
    Failure,
    lists::{RAISE_LIMIT, note_if_cut, render_list},
    opening,
    target_args::ConfigArgs,
    values::{Since, parse_instant, parse_since},
};

/// List and verify the audit log
#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// List audit entries, oldest first
    List {
        /// Start: a date, or how long ago, such as 24h
        #[arg(long, value_parser = parse_since, default_value = "30d", value_name = "DURATION|DATE")]
        since: Since,
        /// End date [default: now]
        #[arg(long, value_parser = parse_instant, value_name = "DATE")]
        until: Option<UtcTimestamp>,
        /// Only entries of this person
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
        /// Only actions that start with this, such as plan or login.failed
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// Show at most this many entries, the latest ones
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Verify that no audit entry was changed or removed
    #[command(long_about = "Verify that no audit entry was changed or removed\n\n\
        Follows the hash chain from the first entry to the last. Exit code 1 if it is broken, 3 if the log is empty.")]
    Verify {
        /// Also require an entry with this hash (printed by report checklist)
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &AuditCommand) -> Result<ExitCode, Failure> {
    match args {
        AuditCommand::Verify { head, config } => verify_chain(config, head.as_ref()),
        AuditCommand::List { since, until, actor, action, limit, format, config } => {
            let app = opening::open_existing_app(config)?;
            let now = app.clock.now();
            // A day ahead, so that entries of a clock that runs fast are listed as well.
            let period = Period { from: since.resolve(now), to: until.unwrap_or(now + from_days(1)) };
            let is_filtered = actor.is_some() || action.is_some();
            // One more shows whether the list is cut. A filter needs all of the period.
            let most = if is_filtered { u32::MAX } else { *limit + 1 };
            let mut found =
                super::block_on(async { Ok(audit::list_audit_entries(&app, period, most).await?) })?;
            found.retain(|entry| {
                actor.as_ref().is_none_or(|name| entry.actor == *name)
                    && action.as_ref().is_none_or(|action| entry.action.starts_with(action.as_str()))
            });
            let limit = *limit as usize;
            if found.len() > limit {
                let all = if is_filtered {
                    found.len() as u64
                } else {
                    super::block_on(async { Ok(audit::count_audit_entries(&app, period).await?) })?
                };
                note_if_cut("audit entries", limit, ListTotal::Exactly(all), RAISE_LIMIT);
            }
            let found = found.split_off(found.len().saturating_sub(limit));
            super::print_text(&render_list(&build_entry_table(&found)?, *format, "matching audit entries"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn build_entry_table(found: &[AuditEntry]) -> Result<OutputTable, StoreError> {
    let row = |entry: &AuditEntry| {
        vec![clock::format_utc(entry.at), entry.actor.clone(), entry.action.clone(), entry.detail.clone()]
    };
    let document =
        |entry: &AuditEntry| api_types::to_json_value(api_types::AuditEntryDto::from_record(entry));
    Ok(OutputTable {
        json_key: "entries",
        header: ["at", "actor", "action", "detail"].map(str::to_owned).to_vec(),
        rows: found.iter().map(row).collect(),
        json_rows: found.iter().map(document).collect::<Result<_, _>>()?,
    })
}

fn verify_chain(config: &ConfigArgs, head: Option<&String>) -> Result<ExitCode, Failure> {
    let app = opening::open_existing_app(config)?;
    let AuditVerification { chain, contains_head } =
        super::block_on(async { Ok(audit::verify_audit_chain(&app, head.cloned()).await?) })?;
    let problem = match (chain, contains_head) {
        (ChainStatus::Broken(entry), _) => {
            format!(
                "Audit log broken at entry {entry}: this entry, or one before it, was changed or removed.\n"
            )
        }
        (ChainStatus::Intact(_), Some(false)) => "Audit log incomplete: no entry has that hash. \
             Either the last entries were removed, or this is a different log.\n"
            .into(),
        // Not a pass: an empty log may be the wrong file.
        (ChainStatus::Intact(0), _) => {
            super::print_error(
                "the audit log is empty: nothing was verified",
                Some(
                    "if this is not the store of the daemon, pass the configuration of the daemon with --config",
                ),
            );
            return Ok(ExitCode::from(3));
        }
        (ChainStatus::Intact(entries), _) => {
            super::print_text(&format!("Audit log intact: {}\n", format_count(entries, "entry", "entries")))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    super::print_text(&problem)?;
    Ok(ExitCode::from(1))
}
