//! `sql`: the query behind a check, for this target.

use std::process::ExitCode;

use super::{Failure, TargetArgs};
use crate::{
    checks::{self, Proof},
    look,
    target::sql::{Rows, Sql},
};

/// Print the query behind a check, written for this target
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of the check
    check: String,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let check = checks::ALL.iter().find(|check| check.id == args.check).ok_or_else(|| {
        let known: Vec<&str> = checks::ALL.iter().map(|check| check.id).collect();
        Failure::Usage(format!("there is no check `{}`; the checks are {}", args.check, known.join(", ")))
    })?;
    let address = args.target.address()?;
    let text = super::block_on(async {
        let opened = look::open(&address, args.target.limits(), false).await?;
        let text = format!("{};\n", query(&opened.sql(false), check.proof));
        opened.session.close().await;
        Ok(text)
    })?;
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn query(sql: &Sql<'_>, proof: Proof) -> String {
    const LIMIT: usize = 100;
    match proof {
        Proof::Duplicates => sql.rows(Rows::Duplicates, LIMIT),
        Proof::Orphans => sql.rows(Rows::Orphans, LIMIT),
        Proof::OldestExpired => sql.rows(Rows::OldestExpired, LIMIT),
        Proof::BeyondPolicy => sql.rows(Rows::BeyondPolicy, LIMIT),
        Proof::ActiveHolders => sql.top_users('a', LIMIT),
        Proof::Creators if sql.mapping.created.is_some() => sql.top_users('r', LIMIT),
        Proof::Creators => sql.top_users('n', LIMIT),
        Proof::Value => sql.counts(),
    }
}
