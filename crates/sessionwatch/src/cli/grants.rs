//! `grants`: SQL for the watch role and the write role.

use std::process::ExitCode;

use sessionwatch_app::app::target_reader::{GrantRoles, TargetReader};

use super::{Failure, target_args::TargetArgs};

/// Print SQL for least-privilege roles
#[derive(Debug, clap::Args)]
pub(super) struct GrantsArgs {
    /// Name of the watch role
    #[arg(long, value_name = "NAME", default_value = "sessionwatch_watch")]
    watch_role: String,
    /// Name of the write role
    #[arg(long, value_name = "NAME", default_value = "sessionwatch_write")]
    write_role: String,
    /// Print the watch role only
    #[arg(long, conflicts_with = "write_role")]
    watch_only: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &GrantsArgs) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let roles =
        GrantRoles { watch: &args.watch_role, write: (!args.watch_only).then_some(args.write_role.as_str()) };
    let reads = TargetReader::new(&config, &target);
    let sql = super::block_on(async { Ok(reads.render_grants(roles).await?) })?;
    super::print_text(&sql)?;
    Ok(ExitCode::SUCCESS)
}
