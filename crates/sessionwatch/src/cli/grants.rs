//! `grants`: the least that watching and acting need.

use std::process::ExitCode;

use sessionwatch_app::app::target_reader::{GrantRoles, TargetReader};

use super::{Failure, target::TargetArgs};

/// Print SQL that creates least-privilege roles
#[derive(Debug, clap::Args)]
pub(super) struct GrantsArgs {
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

pub(super) fn run(args: &GrantsArgs) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let roles =
        GrantRoles { watch: &args.watch_role, write: (!args.watch_only).then_some(args.act_role.as_str()) };
    let reads = TargetReader::new(&config, &target);
    let sql = super::block_on(async { Ok(reads.render_grants(roles).await?) })?;
    super::print_text(&sql)?;
    Ok(ExitCode::SUCCESS)
}
