//! `apply`: applies a plan that `cleanup`, `revoke`, `archive restore` or `incident contain` created.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use credentials::Secret;
use sessionwatch_app::{
    app::{
        AppError, AppState, TargetOps,
        plans::{self, PlanRecord},
        state_store::StoreRequirement,
    },
    config::{Target, TargetAddress},
    preflight,
};

use super::{
    Failure,
    choices::DocumentFormat,
    opening,
    remediation::{self, ApplyOptions, ConfirmationArgs},
    target_args::{self, ConfigArgs, LimitArgs},
};

/// Apply a plan: exactly the rows it lists
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    /// Plan ID, as `plans list` shows it
    #[arg(value_name = "PLAN")]
    plan: String,
    /// Configured target name or database URL [default: the target of the plan]
    #[arg(value_name = "TARGET")]
    url: Option<Secret>,
    #[command(flatten)]
    confirmation: ConfirmationArgs,
    /// Private key of the archive, to restore rows [default: `archive_identity` in [actions], else
    /// sessionwatch-archive.key next to the state store]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Record the outcome on this incident
    #[arg(long, value_name = "ID")]
    incident: Option<String>,
    /// Reason for proceeding without complete evidence
    #[arg(long, value_name = "REASON", requires = "incident")]
    without_evidence: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: DocumentFormat,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

pub(super) fn run(args: &ApplyArgs) -> Result<ExitCode, Failure> {
    let config = preflight::load_config(args.config.config.as_deref())?;
    let app = opening::open_app(config, StoreRequirement::Existing)?;
    let mut target = find_target(&app, args)?;
    args.limits.apply_to(&mut target);
    // The write role belongs to the machine and not to the plan.
    args.confirmation.write.apply_to(&mut target)?;
    let ops = TargetOps::new(&app, target, &args.confirmation.actor.actor());
    let plan = super::block_on(async { Ok(plans::load_target_plan(&ops, &args.plan).await?) })?;
    let options = ApplyOptions {
        identity: args.identity.as_deref(),
        incident: args.incident.as_deref(),
        without_evidence: args.without_evidence.as_deref(),
    };
    remediation::apply_plan(&ops, &plan, &args.confirmation, args.format, options)
}

/// Returns the target of the plan: that of the arguments, the configured one, or the file or address the plan was made
/// for.
fn find_target(app: &Arc<AppState>, args: &ApplyArgs) -> Result<Target, Failure> {
    let config = app.config();
    // Given targets win, since a plan may be applied under another name of the same database.
    if let Some(given) = &args.url {
        let mut found = target_args::resolve_targets(&config, Some(given.expose()))?;
        return Ok(found.remove(0));
    }
    let record = find_record(app, &args.plan)?;
    if config.targets.iter().any(|target| target.name == record.target) {
        let mut found = target_args::resolve_targets(&config, Some(&record.target))?;
        return Ok(found.remove(0));
    }
    // A plan for a database that no configuration names: a file is found again by its path, a server by DATABASE_URL.
    let file = TargetAddress::parse(&record.target).ok().filter(|address| address.file_path().is_some());
    let found = match file {
        Some(address) => Some(Target::ad_hoc(address)),
        None => target_args::resolve_targets(&config, None).ok().and_then(|found| found.into_iter().next()),
    };
    // The name is compared again: DATABASE_URL may be a different database than the plan was made for.
    found.filter(|target| target.name == record.target).ok_or_else(|| {
        Failure::Usage(format!(
            "plan `{0}` was made for {1}, which no configuration names: give its URL again, \
             as in `sessionwatch apply {0} URL`",
            args.plan, record.target
        ))
    })
}

fn find_record(app: &Arc<AppState>, id: &str) -> Result<PlanRecord, Failure> {
    let plan = super::block_on(async { Ok(plans::find_plan(app, id).await) })?;
    match plan {
        Ok(plan) => Ok(plan.record),
        Err(AppError::NotFound(_)) => Err(unknown_plan(id)),
        Err(error) => Err(error.into()),
    }
}

/// Returns the error for an ID that no plan has.
pub(super) fn unknown_plan(id: &str) -> Failure {
    Failure::Usage(format!(
        "plan `{id}` not found: plans that were not applied are kept for a day; `sessionwatch plans list` shows them"
    ))
}
