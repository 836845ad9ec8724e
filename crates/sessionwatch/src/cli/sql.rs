//! `sql`: the queries behind the checks and those of the guide, written for this target.

use std::process::ExitCode;

use sessionwatch_core::checks::Thresholds;

use super::{Failure, target::TargetArgs};
use crate::{
    checks::{self, Check},
    profile::schema::Dialect,
    secret::Secret,
    suggest::nearest,
    target::sql::Sql,
};

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

/// Keeps functions and operators of the application from taking the place of built-in ones.
const SAFE_PATH: &str = "-- Only built-in functions and operators, whatever the search path has.\nSET search_path = pg_catalog, pg_temp;\n";

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
        let sql = Sql { pasted: true, ..opened.sql(false, &config.rules.thresholds) };
        Ok(print(&sql, &wanted, (&args.user, &config.rules.thresholds)))
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

fn print(sql: &Sql<'_>, wanted: &Wanted<'_>, (user, thresholds): (&str, &Thresholds)) -> String {
    let guide = |number: u8| {
        let about = GUIDE[usize::from(number) - 1];
        format!("-- query-{number}: {about}\n{};\n", sql.of_guide(number, user, thresholds))
    };
    let check =
        |check: &Check| format!("-- {}\n{};\n", check.id, sql.check_query(check.evidence, thresholds));
    let text = match wanted {
        Wanted::Guide(number) => guide(*number),
        Wanted::Check(one) => check(one),
        Wanted::All => {
            let client = if sql.schema.dialect == Dialect::Postgres { "psql" } else { "sqlite3" };
            let queries: Vec<String> =
                (1..=7).map(guide).chain(checks::TABLE_CHECKS.iter().map(check)).collect();
            format!(
                "-- For {client}. The guide's queries, then what each check looks at.\n\n{}",
                queries.join("\n")
            )
        }
    };
    if sql.schema.dialect == Dialect::Postgres {
        format!("{SAFE_PATH}{text}RESET search_path;\n")
    } else {
        text
    }
}
