//! `sql`: the queries behind the checks and those of the guide, written for this target.

use std::process::ExitCode;

use credentials::Secret;
use sessionwatch_app::checks::{self, Check};
use sessionwatch_core::suggest::nearest;
use sessionwatch_targets::printed::PrintedQueries;

use super::{Failure, target::TargetArgs};

/// What the operator's guide calls its queries.
const GUIDE: [&str; 7] = [
    "all sessions, with their users",
    "tokens on more than one row",
    "sessions whose user does not exist",
    "users who create many sessions",
    "active sessions for each user that has one",
    "the sessions of one user",
    "sessions by status",
];

/// Print queries to paste into psql or sqlite3, written for this target
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Id of a check, or query-1 to query-7 of the guide; without one, all of them. An address may stand here too
    #[arg(value_name = "CHECK")]
    name: Option<Secret>,
    /// The user of query-6
    #[arg(long, value_name = "ID", default_value = "123")]
    user: String,
    #[command(flatten)]
    target: TargetArgs,
}

/// What is printed.
enum Wanted<'a> {
    All,
    Guide(u8),
    Check(&'a Check),
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut target = args.target.clone();
    let wanted = match args.name.as_ref().map(Secret::expose) {
        None => Wanted::All,
        Some(name) => match wanted(name) {
            Some(wanted) => wanted,
            // `sql URL`, without a check.
            None if target.url.is_none() && !looks_like_an_id(name) => {
                target.url = Some(name.into());
                Wanted::All
            }
            None => return Err(unknown(name)),
        },
    };
    let (config, target) = target.choose_one_located()?;
    let text = super::block_on(super::with_open(&config, &target, async |opened| {
        let thresholds = &config.rules.thresholds;
        Ok(print(&PrintedQueries::new(&opened.scope(false, thresholds), thresholds), &wanted, &args.user))
    }))?;
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(name: &str) -> Option<Wanted<'_>> {
    if let Some(number) = name.strip_prefix("query-") {
        return number.parse().ok().filter(|number| (1..=7).contains(number)).map(Wanted::Guide);
    }
    checks::TABLE_CHECKS.iter().find(|check| check.id == name).map(Wanted::Check)
}

fn looks_like_an_id(name: &str) -> bool {
    name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

fn unknown(name: &str) -> Failure {
    let known: Vec<&str> = checks::TABLE_CHECKS.iter().map(|check| check.id).collect();
    let hint = nearest(name, known.iter().copied());
    Failure::Usage(format!(
        "there is no query `{name}`{hint}; there are query-1 to query-7, and {}",
        known.join(", ")
    ))
}

fn print(printed: &PrintedQueries<'_>, wanted: &Wanted<'_>, user: &str) -> String {
    let guide = |number: u8| {
        let about = GUIDE[usize::from(number) - 1];
        format!("-- query-{number}: {about}\n{};\n", printed.operator_guide(number, user))
    };
    let check = |check: &Check| format!("-- {}\n{};\n", check.id, printed.check(check.evidence));
    let text = match wanted {
        Wanted::Guide(number) => guide(*number),
        Wanted::Check(one) => check(one),
        Wanted::All => {
            let queries: Vec<String> =
                (1..=7).map(guide).chain(checks::TABLE_CHECKS.iter().map(check)).collect();
            format!(
                "-- For {}. The guide's queries, then what each check looks at.\n\n{}",
                printed.client(),
                queries.join("\n")
            )
        }
    };
    printed.script(&text)
}
