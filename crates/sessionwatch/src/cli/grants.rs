//! `grants`: the least that watching and acting need.

use std::process::ExitCode;

use sessionwatch_targets::{
    side_effects::Event,
    sql::grants::{self, Roles, Subject},
};

use super::{Failure, target::TargetArgs};

/// Print SQL that creates least-privilege roles
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Name of the role that watches
    #[arg(long, value_name = "NAME", default_value = "sessionwatch_watch")]
    watch_role: String,
    /// Name of the role that acts
    #[arg(long, value_name = "NAME", default_value = "sessionwatch_act")]
    act_role: String,
    /// Leave out the role that acts: print what checks need, and no more
    #[arg(long, conflicts_with = "act_role")]
    watch_only: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let sql = super::block_on(super::with_open(&config, &target, async |opened| {
        let roles =
            Roles { watch: &args.watch_role, act: (!args.watch_only).then_some(args.act_role.as_str()) };
        let mapping = &opened.layout.candidate.mapping;
        let catalog = opened.session.side_effects().await?;
        let sessions = opened.layout.catalog_name();
        let event = Event::of(&mapping.revoke);
        let reached = &catalog.reached(&sessions, event);
        let dependents = &if event == Event::Delete { catalog.archivable(&sessions) } else { vec![] };
        Ok(grants::statements(Subject { schema: &opened.layout.schema, mapping, reached, dependents }, roles))
    }))?;
    super::print(&sql)?;
    Ok(ExitCode::SUCCESS)
}
