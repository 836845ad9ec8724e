//! `sql`: the queries of the checks and of the operator guide, for the layout of a target.

use std::process::ExitCode;

use credentials::Secret;
use sessionwatch_app::{
    app::{printed_queries::QuerySelection, target_reader::TargetReader},
    checks, preflight,
};
use sessionwatch_core::suggest::did_you_mean;

use super::{Failure, target_args::TargetArgs};

/// Print the queries of the checks
#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// Check ID, or query-1 to query-7 of the operator guide [default: all]
    #[arg(value_name = "CHECK")]
    name: Option<Secret>,
    /// User of query-6
    #[arg(long, value_name = "USER", default_value = "123")]
    user: String,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &SqlArgs) -> Result<ExitCode, Failure> {
    let mut target = args.target.clone();
    let selection = match args.name.as_ref().map(Secret::expose) {
        None => QuerySelection::ALL,
        Some(name) => match QuerySelection::from_name(name) {
            Some(selection) => selection,
            // `sql TARGET`, without a check.
            None if target.given().is_none() && !is_check_shaped(name, &target)? => {
                target.url = Some(name.into());
                QuerySelection::ALL
            }
            None => return Err(unknown_query_error(name)),
        },
    };
    let (config, target) = target.choose_one_located()?;
    let reads = TargetReader::new(&config, &target);
    let text = super::block_on(async { Ok(reads.render_queries(selection, &args.user).await?) })?;
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns `true` if a word names a check, and no target: it may be misspelled.
fn is_check_shaped(name: &str, target: &TargetArgs) -> Result<bool, Failure> {
    let config = preflight::load_config(target.config.config.as_deref())?;
    let is_target = config.targets.iter().any(|target| target.name == name);
    let is_id =
        name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    Ok(is_id && !is_target)
}

fn unknown_query_error(name: &str) -> Failure {
    let known: Vec<&str> = checks::TABLE_CHECKS.iter().map(|check| check.id).collect();
    let hint = did_you_mean(name, known.iter().copied());
    Failure::Usage(format!(
        "there is no query `{name}`{hint}; the queries are query-1 to query-7, and {}",
        known.join(", ")
    ))
}
