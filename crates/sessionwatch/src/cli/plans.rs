//! `plans`: the plans that were created, and whether they were applied.

use std::process::ExitCode;

use sessionwatch_app::{
    api_types,
    app::{
        AppError, AppState,
        plans::{self, ActionPlan, PlanState},
    },
    config::Config,
    output::{OutputFormat, table::OutputTable},
    sanitize::quote_for_shell,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::ListTotal, timestamp::UtcTimestamp};

use super::{
    Failure,
    apply::unknown_plan,
    choices::DocumentFormat,
    lists::{RAISE_LIMIT, cut_list, filtered_noun, note_if_cut, render_list},
    opening::open_existing_app,
    remediation,
    target_args::{ConfigArgs, require_known_filter},
};

/// List plans and show the rows they would change
#[derive(Debug, clap::Subcommand)]
pub(super) enum PlansCommand {
    /// List plans, latest first
    List {
        /// Only plans for this target
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
        /// Maximum number of plans
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show a plan
    Show {
        /// Plan ID, as `plans list` shows it
        #[arg(value_name = "PLAN")]
        plan: String,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: DocumentFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &PlansCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        PlansCommand::List { target, limit, format, config } => {
            let app = open_existing_app(config)?;
            let mut found = super::block_on(async { Ok(plans::list_plans(&app, usize::MAX).await?) })?;
            found.retain(|plan| target.as_ref().is_none_or(|name| plan.record.target == *name));
            require_known_filter(&app.config(), target.as_deref(), found.is_empty())?;
            let total = ListTotal::Exactly(found.len() as u64);
            cut_list(&mut found, *limit);
            note_if_cut("plans", found.len(), total, RAISE_LIMIT);
            let noun = filtered_noun("plans", target.is_some());
            render_list(&build_plan_table(&app.config(), &found, app.clock.now())?, *format, &noun)
        }
        PlansCommand::Show { plan: id, format, config } => {
            let app = open_existing_app(config)?;
            let config = app.config();
            let plan = match super::block_on(async { Ok(plans::find_plan(&app, id).await) })? {
                Err(AppError::NotFound(_)) => return Err(unknown_plan(id)),
                found => found?,
            };
            match format {
                DocumentFormat::Json => format!("{:#}\n", remediation::plan_to_json(&config, &plan)?),
                DocumentFormat::Table => {
                    let text = render_stored_plan(&app, &plan);
                    return super::print_readable(&text).map(|()| ExitCode::SUCCESS);
                }
            }
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Renders a stored plan, with the command that applies it.
pub(super) fn render_stored_plan(app: &AppState, plan: &ActionPlan) -> String {
    let config = app.config();
    let limit = plan.confirmation_reasons(config.actions.safety_limit());
    let name = quote_for_shell(plan.confirmation_name());
    let confirm = limit.map(|_| format!(" --confirm {name}")).unwrap_or_default();
    remediation::render_plan(&config, plan, app.clock.now(), &confirm)
}

fn build_plan_table(
    config: &Config,
    found: &[ActionPlan],
    now: UtcTimestamp,
) -> Result<OutputTable, Failure> {
    let row = |plan: &ActionPlan| {
        let record = &plan.record;
        vec![
            record.id.clone(),
            record.target.clone(),
            plan.selection.command_name().to_owned(),
            record.row_count.to_string(),
            record.active_sessions.to_string(),
            describe_state(plan, config, now).to_owned(),
            clock::format_utc(record.created_at),
            record.created_by.clone(),
        ]
    };
    let document = |plan: &ActionPlan| {
        let plan_document = api_types::PlanDto::from_plan(config, plan)?;
        let mut document = api_types::to_json_value(plan_document)?;
        document["state"] = plan.record.state.name().into();
        Ok::<_, Failure>(document)
    };
    Ok(OutputTable {
        json_key: "plans",
        header: ["plan", "target", "action", "rows", "active", "state", "created at", "created by"]
            .map(str::to_owned)
            .to_vec(),
        rows: found.iter().map(row).collect(),
        json_rows: found.iter().map(document).collect::<Result<_, _>>()?,
    })
}

fn describe_state(plan: &ActionPlan, config: &Config, now: UtcTimestamp) -> &'static str {
    match plan.record.state {
        PlanState::Making | PlanState::Planned if plan.is_stale(config.actions.plan_ttl, now) => "expired",
        PlanState::Making | PlanState::Planned => "ready",
        PlanState::Begun => "interrupted",
        PlanState::Done => "applied",
    }
}
