//! `sql`: the queries behind the checks and those of the guide, written for this target.

use std::process::ExitCode;

use credentials::Secret;
use sessionwatch_app::{
    app::{queries::QuerySelection, target_reader::TargetReader},
    checks,
};
use sessionwatch_core::suggest::did_you_mean;

use super::{Failure, target::TargetArgs};

/// Print queries to paste into psql or sqlite3, written for this target
#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    /// Id of a check, or query-1 to query-7 of the guide; without one, all of them. An address may stand here too
    #[arg(value_name = "CHECK")]
    name: Option<Secret>,
    /// The user of query-6
    #[arg(long, value_name = "ID", default_value = "123")]
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
            // `sql URL`, without a check.
            None if target.url.is_none() && !is_id_shaped(name) => {
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

fn is_id_shaped(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

fn unknown_query_error(name: &str) -> Failure {
    let known: Vec<&str> = checks::TABLE_CHECKS.iter().map(|check| check.id).collect();
    let hint = did_you_mean(name, known.iter().copied());
    Failure::Usage(format!(
        "there is no query `{name}`{hint}; there are query-1 to query-7, and {}",
        known.join(", ")
    ))
}
