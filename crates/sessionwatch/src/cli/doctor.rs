//! `doctor`: is this target safe, and can it be watched?

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};

use sessionwatch_rules::settings::Settings;

use super::{Failure, target::TargetArgs};
use crate::{
    clock,
    config::Target,
    doctor::{self, Acting, Finding, Level, Patient},
    open::Opened,
    report::printable,
    target::{acting::Actor, address::Address, error::TargetError, sql::Change},
};

/// Examine schema, role, connection and clock, with the SQL that mends what is wrong
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// How the findings are written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one()?;
    let findings = super::block_on(super::with_open(&config, &target, async |opened| {
        let local_now = clock::now();
        let audit = opened.session.audit(&opened.candidate.mapping.sessions).await?;
        let acting = acting(&target, opened).await;
        let (address, acting) = (&target.address, acting.as_ref());
        Ok(doctor::examine(Patient { address, opened, audit: &audit, local_now, acting }))
    }))?;
    match args.format {
        Format::Table => super::print_readable(&text(&target.name, &findings))?,
        Format::Json => super::print(&format!("{:#}\n", document(&target.name, &findings)))?,
    }
    let failing = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failing { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The role that acts, where one is configured; a file has none.
async fn acting(target: &Target, opened: &Opened) -> Option<Acting> {
    let address = target.act.as_ref().filter(|address| matches!(address, Address::Postgres(_)))?;
    Some(ask(target, address, opened).await.unwrap_or_else(|error| Acting::Unknown(error.to_string())))
}

async fn ask(target: &Target, address: &Address, opened: &Opened) -> Result<Acting, TargetError> {
    let mut actor = Actor::open(address, target.limits, opened.key).await?;
    let sql = opened.sql(false, &Settings::default());
    let change = Change::of(&opened.candidate.mapping.revoke, "");
    let lacks = actor.lacks(&sql, change).await?;
    let query =
        "SELECT current_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";
    let row = actor.fetch(query).await?.into_iter().next().ok_or(TargetError::Lost)?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    Ok(Acting::Asked { name: text(0), superuser: text(1) == "t", lacks })
}

fn text(target: &str, findings: &[Finding]) -> String {
    let mut text = format!("{target}\n\n");
    for finding in findings {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{:4}  {}: {}", finding.level.name(), finding.id, printable(&finding.summary));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            let _ = writeln!(text, "        → {}", printable(line));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fail, warn) = (count(Level::Fail), count(Level::Warn));
    let _ = writeln!(
        text,
        "\n{} passed, {warn} could be better, {fail} must be mended",
        findings.len() - fail - warn
    );
    text
}

fn document(target: &str, findings: &[Finding]) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "id": finding.id, "level": finding.level.name(), "summary": finding.summary, "fix": finding.fix,
        })
    };
    json!({ "schema": 1, "target": target, "findings": findings.iter().map(finding).collect::<Vec<_>>() })
}
