//! What `cleanup`, `revoke` and `archive` share: a plan is made and shown, and carried out when that plan is named.

mod text;

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::atomic::Ordering,
    time::Duration,
};

use credentials::Secret;
use sessionwatch_app::{
    app::{
        Actor, TargetOps,
        plans::{self, ActionPlan, ApplyRequest, PlanOutcome, Selection},
        state_store::StoreRequirement,
    },
    config::{Config, TargetAddress},
    output,
    progress::ProgressMeter,
    remediation::{ActionError, ApplyReport, JobControl},
};
use sessionwatch_clock as clock;
use sessionwatch_core::plural::format_count;

use super::{Failure, actor::ActorArgs, opening, target::TargetArgs};

pub(super) use text::render_choices;

/// Which target, who acts, and whether.
#[derive(Debug, clap::Args)]
pub(super) struct RemediationArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Carry out this plan, which was made before
    #[arg(long, value_name = "PLAN")]
    pub(super) apply: Option<String>,
    /// The name of the target, for a plan that reaches far
    #[arg(long, value_name = "NAME")]
    pub(super) confirm: Option<String>,
    /// Address of the target with the acting role [default: `act_url` of the target]
    #[arg(long, env = "SESSIONWATCH_ACT_URL", value_name = "URL", hide_env_values = true)]
    pub(super) act_url: Option<Secret>,
    #[command(flatten)]
    pub(super) actor: ActorArgs,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: PlanFormat,
}

/// How plans and outcomes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PlanFormat {
    /// For people
    Table,
    /// One document
    Json,
}

impl RemediationArgs {
    /// Chooses the target, and opens the store.
    ///
    /// # Errors
    ///
    /// If the arguments or the configuration are faulty, or the store cannot be had.
    pub(super) fn open_target_ops(&self, need: StoreRequirement) -> Result<TargetOps, Failure> {
        open_target_ops(&self.target, self.act_url.as_ref(), &self.actor.actor(), need)
    }
}

/// Chooses the target, and opens the store.
///
/// # Errors
///
/// If the arguments or the configuration are faulty, or the store cannot be had.
pub(super) fn open_target_ops(
    target: &TargetArgs,
    act_url: Option<&Secret>,
    actor: &Actor,
    need: StoreRequirement,
) -> Result<TargetOps, Failure> {
    let (config, mut target) = target.choose_one()?;
    if let Some(url) = act_url {
        target.write_address = Some(TargetAddress::parse(url.expose())?);
        target.write_address_problem = None;
    }
    Ok(TargetOps::new(&opening::open_app(config, need)?, target, actor))
}

/// Makes the plan and shows it, or carries it out.
///
/// # Errors
///
/// If that is not possible.
pub(super) fn plan_or_apply(args: &RemediationArgs, selection: &Selection) -> Result<ExitCode, Failure> {
    // A plan that is made is kept; one that is carried out has been.
    let need =
        if args.apply.is_some() { StoreRequirement::Existing } else { StoreRequirement::CreateIfMissing };
    let ops = args.open_target_ops(need)?;
    let Some(id) = &args.apply else {
        let plan = super::block_on(async { Ok(plans::create_plan(ops.clone(), selection.clone()).await?) })?;
        print_plan(&ops, &plan, args.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let plan = find_plan(&ops, id, selection)?;
    apply_plan(&ops, &plan, args, ApplyOptions::default())
}

/// The plan of an id, which was made by the same command with the same arguments.
///
/// # Errors
///
/// If it was not, or there is none.
pub(super) fn find_plan(ops: &TargetOps, id: &str, selection: &Selection) -> Result<ActionPlan, Failure> {
    let plan = super::block_on(async { Ok(plans::load_target_plan(ops, id).await?) })?;
    if plan.selection == *selection {
        return Ok(plan);
    }
    Err(Failure::Usage(match selection {
        Selection::Restore { .. } => {
            format!("the plan `{id}` is about something else: repeat the command that made it")
        }
        _ => {
            let named = plan.selection.command_name();
            format!(
                "the plan `{id}` was made by `{named}` with other arguments: repeat the command that made it"
            )
        }
    }))
}

/// Shows a plan.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn print_plan(ops: &TargetOps, plan: &ActionPlan, format: PlanFormat) -> Result<(), Failure> {
    match format {
        PlanFormat::Table => super::print_readable(&text::render_plan(&ops.config, plan)),
        PlanFormat::Json => super::print_text(&format!("{:#}\n", text::plan_to_json(&ops.config, plan)?)),
    }
}

/// In what course, and with what, a plan is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ApplyOptions<'a> {
    /// The file with the identity that opens the archive.
    pub(super) identity: Option<&'a Path>,
    /// The incident in whose course sessions are ended.
    pub(super) incident: Option<&'a str>,
    /// Why its evidence is not waited for.
    pub(super) without_evidence: Option<&'a str>,
}

/// Carries out a plan, and says what came of it; one that reaches far is confirmed at the terminal.
///
/// # Errors
///
/// If that is not possible.
pub(super) fn apply_plan(
    ops: &TargetOps,
    plan: &ActionPlan,
    args: &RemediationArgs,
    options: ApplyOptions<'_>,
) -> Result<ExitCode, Failure> {
    let request = ApplyRequest {
        typed_target_name: resolve_confirmation(ops, args.confirm.as_deref(), plan)?,
        incident_id: options.incident.map(str::to_owned),
        without_evidence_reason: options.without_evidence.map(str::to_owned),
    };
    let control = JobControl::default();
    let PlanOutcome { report: applied, incident_recorded: noted } = super::block_on(async {
        let keys = plans::load_plan_keys(ops, plan, options.identity)?;
        if let Some(advice) = &keys.advice {
            super::print_note(advice);
        }
        plans::prepare_apply(ops, plan, &request).await?;
        let applying = plans::apply_plan(ops, plan, &keys, &request, &control);
        run_with_signals(applying, &control, plan.record.row_count).await
    })?;
    noted?;
    print_outcome(plan, &applied, args.format)
}

/// The name of the target, as given or typed at the terminal where a plan has to be confirmed.
///
/// # Errors
///
/// If the terminal cannot be read.
fn resolve_confirmation(
    ops: &TargetOps,
    confirm: Option<&str>,
    plan: &ActionPlan,
) -> Result<Option<String>, Failure> {
    match confirm {
        Some(name) => Ok(Some(name.to_owned())),
        None if plans::safety_limit_text(ops, plan).is_some() => prompt_target_name(plan),
        None => Ok(None),
    }
}

/// Asks a person at a terminal for the name of the target.
fn prompt_target_name(plan: &ActionPlan) -> Result<Option<String>, Failure> {
    if !std::io::stdin().is_terminal() || !output::is_stderr_terminal() {
        return Ok(None);
    }
    let mut stderr = output::masked_stderr();
    write!(
        stderr,
        "This plan names {}, {} of them active. To carry it out, type the name of the target ({}): ",
        format_count(plan.record.row_count, "row", "rows"),
        plan.record.active_sessions,
        plan.confirmation_name()
    )?;
    stderr.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}

/// Runs something that can be stopped and paused by signals, and shows how far it is.
///
/// # Errors
///
/// If it fails, or the system refuses the signals.
async fn run_with_signals(
    work: impl Future<Output = Result<PlanOutcome, ActionError>>,
    control: &JobControl,
    rows: u64,
) -> Result<PlanOutcome, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut user = signal(SignalKind::user_defined1())?;
    // What `Ctrl-Z` sends on Linux; elsewhere it has another number, and does what it always does.
    let mut suspend = cfg!(target_os = "linux").then(|| signal(SignalKind::from_raw(20))).transpose()?;
    let mut meter = ProgressMeter::new(rows);
    tokio::pin!(work);
    loop {
        let suspended = async {
            match &mut suspend {
                Some(suspend) => suspend.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = &mut work => return Ok(outcome?),
            _ = interrupt.recv() => request_stop(control)?,
            _ = terminate.recv() => request_stop(control)?,
            _ = user.recv() => toggle_pause(control),
            _ = suspended => toggle_pause(control),
            () = clock::sleep(Duration::from_millis(200)) => {}
        }
        let state = if control.is_waiting_for_replica.load(Ordering::Relaxed) {
            ", waiting for a replica"
        } else if control.paused.load(Ordering::Relaxed) {
            ", paused: Ctrl-Z goes on"
        } else {
            ""
        };
        meter.draw(control.done.load(Ordering::Relaxed), state);
    }
}

/// Ends after the present batch; asked again, at once.
fn request_stop(control: &JobControl) -> Result<(), Failure> {
    if control.stop.is_cancelled() {
        return Err(Failure::Usage(
            "stopped at once: the next run finds out what became of the last batch".into(),
        ));
    }
    control.stop.cancel();
    super::print_note("stopping after the present batch; once more stops at once");
    Ok(())
}

fn toggle_pause(control: &JobControl) {
    control.paused.fetch_xor(true, Ordering::Relaxed);
}

/// Says what came of a plan.
///
/// # Errors
///
/// If it cannot be written.
fn print_outcome(plan: &ActionPlan, applied: &ApplyReport, format: PlanFormat) -> Result<ExitCode, Failure> {
    match format {
        PlanFormat::Table => super::print_text(&text::render_outcome(plan, applied))?,
        PlanFormat::Json => super::print_text(&format!("{:#}\n", text::outcome_to_json(plan, applied)?))?,
    }
    Ok(
        if applied.remaining > 0
            || applied.still_matching.is_none()
                && plan.selection.row_selection(plan.record.created_at).is_some()
        {
            ExitCode::from(3)
        } else if applied.skipped > 0
            || !applied.is_complete()
            || applied.still_matching.is_some_and(|left| left > 0)
        {
            ExitCode::from(1)
        } else {
            ExitCode::SUCCESS
        },
    )
}

/// Shows a plan for a person.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn print_plan_text(config: &Config, plan: &ActionPlan) -> Result<(), Failure> {
    super::print_readable(&text::render_plan(config, plan))
}
