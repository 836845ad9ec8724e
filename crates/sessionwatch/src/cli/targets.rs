//! `targets`: the session table of each target, and its confirmation after a change.

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{
    app::{
        Actor,
        layouts::{self, KnownLayout, LayoutRecord},
        target_reader::TargetReader,
    },
    output::{OutputFormat, table::OutputTable},
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;

use super::{
    Failure,
    actor::ActorArgs,
    lists::render_list,
    opening::open_existing_app,
    target_args::{ConfigArgs, TargetArgs},
};

/// List and confirm session tables
#[derive(Debug, clap::Subcommand)]
pub(super) enum TargetsCommand {
    /// List the session table of each target
    List {
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Confirm a session table that changed, so that checks resume
    Confirm {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        actor: ActorArgs,
    },
}

pub(super) fn run(args: &TargetsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        TargetsCommand::List { config, format } => {
            let app = open_existing_app(config)?;
            let known = super::block_on(async { Ok(layouts::list_layouts(&app).await?) })?;
            render_list(&build_layout_table(&known), *format, "targets")
        }
        TargetsCommand::Confirm { target, actor } => confirm_layout(target, &actor.actor())?,
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn confirm_layout(args: &TargetArgs, actor: &Actor) -> Result<String, Failure> {
    let (config, target) = args.choose_one()?;
    let app = open_existing_app(&args.config)?;
    let reads = TargetReader::new(&config, &target);
    let recognized = super::block_on(async { Ok(reads.detect_layout().await?) })?;
    let (name, layout) = (target.name.clone(), recognized.known_layout.clone());
    let confirmed = layouts::confirm_layout(&app, actor, target, recognized);
    let before = super::block_on(async { Ok(confirmed.await?) })?;
    let was = before.map(|before| format!("; it was {before}")).unwrap_or_default();
    Ok(sanitize_text(&format!("{name}: the session table is {layout}{was}")) + "\n")
}

fn build_layout_table(records: &[LayoutRecord]) -> OutputTable {
    let header = ["target", "table", "token", "user", "expiry", "since", "confirmed by"];
    let row = |record: &LayoutRecord| {
        let KnownLayout { table, token, user, expires } = record.layout.clone();
        let by = record.confirmed_by.clone().unwrap_or_default();
        vec![
            record.target.clone(),
            table,
            token,
            user.unwrap_or_default(),
            expires,
            clock::format_utc(record.recognized_at),
            by,
        ]
    };
    let document = |record: &LayoutRecord| {
        json!({
            "target": record.target, "table": record.layout.table, "token": record.layout.token,
            "user": record.layout.user, "expires": record.layout.expires,
            "since": clock::format_rfc3339(record.recognized_at), "confirmed_by": record.confirmed_by,
        })
    };
    OutputTable {
        json_key: "targets",
        header: header.map(str::to_owned).to_vec(),
        rows: records.iter().map(row).collect(),
        json_rows: records.iter().map(document).collect(),
    }
}
