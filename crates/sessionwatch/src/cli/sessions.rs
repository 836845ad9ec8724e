//! `sessions`: the rows, for a person to read.

use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde_json::json;

use super::{Failure, TargetArgs};
use crate::{
    clock, look,
    report::{self, Format, printable},
    target::{
        observe::{self, Evidence},
        sql::Status,
    },
};

/// List sessions, latest expiry first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Only sessions of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Which sessions
    #[arg(long, value_enum, default_value = "all")]
    status: Status,
    /// Earliest expiry first
    #[arg(long)]
    ascending: bool,
    /// The most that are listed
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How the list is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let address = args.target.address()?;
    let text = super::block_on(async {
        let opened = look::open(&address, args.target.limits(), false).await?;
        let query =
            opened.sql(false).list(args.status, args.user.as_deref(), args.ascending, args.limit as usize);
        let rows = opened.session.fetch(&query).await?;
        let sessions: Vec<Evidence> = rows.iter().map(|row| observe::evidence(row)).collect();
        let display =
            opened.candidate.mapping.users.as_ref().map(|users| users.display.clone()).unwrap_or_default();
        let text = render(&sessions, &display, opened.now, args.format);
        opened.session.close().await;
        Ok(text)
    })?;
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn render(
    sessions: &[Evidence],
    display: &[String],
    now: sessionwatch_rules::instant::Instant,
    format: Format,
) -> String {
    let mut header = vec!["token", "id", "user", "expires", "status", "hours left"];
    header.extend(display.iter().map(String::as_str));
    let line = |session: &Evidence| {
        let text = |value: &Option<String>| value.as_deref().map(printable).unwrap_or_default();
        let mut line = vec![
            text(&session.token_prefix),
            text(&session.id),
            text(&session.user),
            session.expires_at.map(clock::rfc3339).unwrap_or_default(),
            report::status(session, now).to_owned(),
            report::hours_left(session, now).map(|hours| format!("{hours:.1}")).unwrap_or_default(),
        ];
        line.extend(session.display.iter().map(text));
        line
    };
    let lines: Vec<Vec<String>> = sessions.iter().map(line).collect();
    match format {
        Format::Table | Format::Markdown => {
            let mut table = Table::new();
            let preset = if format == Format::Table { presets::NOTHING } else { presets::ASCII_MARKDOWN };
            table.load_style(preset).set_header(header).add_rows(lines);
            format!("{table}\n")
        }
        Format::Csv => {
            let rows = lines
                .iter()
                .map(|line| report::csv_line(&line.iter().map(String::as_str).collect::<Vec<_>>()));
            format!("{}{}", report::csv_line(&header), rows.collect::<String>())
        }
        Format::Json => {
            let rows: Vec<_> = sessions.iter().map(report::evidence_json).collect();
            format!("{:#}\n", json!({ "schema": 1, "sessions": rows }))
        }
        Format::Ndjson => {
            sessions.iter().map(|session| format!("{}\n", report::evidence_json(session))).collect()
        }
    }
}
