//! The shared part of `cleanup`, `revoke`, `archive restore`, `incident contain` and `apply`: create a plan, print it,
//! apply it.

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
    config::{Config, Target, TargetAddress},
    environment, output,
    progress::ProgressMeter,
    remediation::{ActionError, ApplyReport, JobControl},
    sanitize::quote_for_shell,
};
use sessionwatch_clock as clock;
use sessionwatch_core::plural::format_count;

use super::{Failure, actor::ActorArgs, choices::DocumentFormat, opening, target_args::TargetArgs};

pub(super) use text::{plan_to_json, render_choices, render_plan};

/// The target of a plan, and how it is applied.
#[derive(Debug, clap::Args)]
pub(super) struct RemediationArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Apply the plan now instead of only printing it
    #[arg(long)]
    pub(super) apply: bool,
    #[command(flatten)]
    pub(super) confirmation: ConfirmationArgs,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: DocumentFormat,
}

/// The credentials and the person behind a change.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmationArgs {
    /// Target name, to confirm a plan above the safety limit or with side effects
    #[arg(long, value_name = "NAME")]
    pub(super) confirm: Option<String>,
    #[command(flatten)]
    pub(super) write: WriteUrlArgs,
    #[command(flatten)]
    pub(super) actor: ActorArgs,
}

/// The write role.
#[derive(Debug, clap::Args)]
pub(super) struct WriteUrlArgs {
    /// Database URL with the write role [default: $SESSIONWATCH_WRITE_URL, else `write_url` of the target]
    #[arg(long, env = "SESSIONWATCH_WRITE_URL", value_name = "URL", hide_env = true)]
    pub(super) write_url: Option<Secret>,
}

impl WriteUrlArgs {
    /// Uses this address for changes of a target.
    ///
    /// # Errors
    ///
    /// Returns an error if the address is invalid.
    pub(super) fn apply_to(&self, target: &mut Target) -> Result<(), Failure> {
        if let Some(url) = &self.write_url {
            target.write_address = Some(TargetAddress::parse(url.expose())?);
            target.write_address_problem = None;
        }
        Ok(())
    }
}

impl RemediationArgs {
    /// Resolves the target and opens the state store.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments or the configuration are invalid, or the store cannot be opened.
    pub(super) fn open_target_ops(&self, need: StoreRequirement) -> Result<TargetOps, Failure> {
        let ConfirmationArgs { write, actor, .. } = &self.confirmation;
        open_target_ops(&self.target, write, &actor.actor(), need)
    }
}

/// Resolves a target and opens the state store.
///
/// # Errors
///
/// Returns an error if the arguments or the configuration are invalid, or the store cannot be opened.
pub(super) fn open_target_ops(
    target: &TargetArgs,
    write: &WriteUrlArgs,
    actor: &Actor,
    need: StoreRequirement,
) -> Result<TargetOps, Failure> {
    let (config, mut target) = target.choose_one()?;
    write.apply_to(&mut target)?;
    Ok(TargetOps::new(&opening::open_app(config, need)?, target, actor))
}

/// Creates a plan and prints it, or applies it at once with `--apply`.
///
/// # Errors
///
/// Returns an error if the plan cannot be created or applied.
pub(super) fn plan_or_apply(args: &RemediationArgs, selection: &Selection) -> Result<ExitCode, Failure> {
    let ops = args.open_target_ops(StoreRequirement::CreateIfMissing)?;
    let plan = super::block_on(async { Ok(plans::create_plan(ops.clone(), selection.clone()).await?) })?;
    print_or_apply(&ops, &plan, args, ApplyOptions::default())
}

/// Prints a new plan, or applies it at once with `--apply`.
///
/// # Errors
///
/// Returns an error if the plan cannot be printed or applied.
pub(super) fn print_or_apply(
    ops: &TargetOps,
    plan: &ActionPlan,
    args: &RemediationArgs,
    options: ApplyOptions<'_>,
) -> Result<ExitCode, Failure> {
    // A cleanup in cron has nothing to apply on most days.
    if args.apply && plan.record.row_count > 0 {
        return apply_plan(ops, plan, &args.confirmation, args.format, options);
    }
    match args.format {
        DocumentFormat::Table => {
            let more = apply_arguments(ops, plan, args, options);
            super::print_readable(&text::render_plan(&ops.config, plan, ops.app.clock.now(), &more))?;
        }
        DocumentFormat::Json => {
            super::print_text(&format!("{:#}\n", text::plan_to_json(&ops.config, plan)?))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the arguments that `sessionwatch apply PLAN` needs besides the plan, as a shell reads them.
fn apply_arguments(
    ops: &TargetOps,
    plan: &ActionPlan,
    args: &RemediationArgs,
    options: ApplyOptions<'_>,
) -> String {
    let mut arguments = Vec::new();
    let quoted = |path: &Path| quote_for_shell(&path.display().to_string());
    // Configured targets are found by the name that the plan holds, and DATABASE_URL is read again.
    if let Some(given) = args.target.given().filter(|_| ops.target.is_ad_hoc) {
        arguments.push(if credentials::contains_credential(given) {
            "URL".to_owned()
        } else {
            quote_for_shell(given)
        });
    }
    // The next command reads variables of the environment again, so only options are repeated.
    let is_set = |name: &str| environment::read_variable(name).is_some();
    if let Some(file) = args.target.config.config.as_ref().filter(|_| !is_set("SESSIONWATCH_CONFIG")) {
        arguments.push(format!("--config {}", quoted(file)));
    }
    if args.confirmation.write.write_url.is_some() && !is_set("SESSIONWATCH_WRITE_URL") {
        // The URL is not repeated: it holds a password.
        arguments.push("--write-url URL".to_owned());
    }
    if let Some(identity) = options.identity {
        arguments.push(format!("--identity {}", quoted(identity)));
    }
    if let Some(incident) = options.incident {
        arguments.push(format!("--incident {incident}"));
    }
    if plans::safety_limit_text(ops, plan).is_some() {
        arguments.push(format!("--confirm {}", quote_for_shell(plan.confirmation_name())));
    }
    arguments.iter().map(|argument| format!(" {argument}")).collect()
}

/// The circumstances under which a plan is applied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ApplyOptions<'a> {
    /// The file with the private key of the archive.
    pub(super) identity: Option<&'a Path>,
    /// The incident that the plan contains.
    pub(super) incident: Option<&'a str>,
    /// The reason for proceeding without complete evidence.
    pub(super) without_evidence: Option<&'a str>,
}

/// Applies a plan and prints the outcome. A plan above the safety limit is confirmed at the terminal.
///
/// # Errors
///
/// Returns an error if the plan may not or cannot be applied.
pub(super) fn apply_plan(
    ops: &TargetOps,
    plan: &ActionPlan,
    confirmation: &ConfirmationArgs,
    format: DocumentFormat,
    options: ApplyOptions<'_>,
) -> Result<ExitCode, Failure> {
    let request = ApplyRequest {
        typed_target_name: resolve_confirmation(ops, confirmation.confirm.as_deref(), plan)?,
        incident_id: options.incident.map(str::to_owned),
        without_evidence_reason: options.without_evidence.map(str::to_owned),
    };
    let control = JobControl::default();
    let PlanOutcome { report, incident_recorded } = super::block_on(async {
        // First of all: a refused plan creates no key.
        plans::prepare_apply(ops, plan, &request).await?;
        let keys = plans::load_plan_keys(ops, plan, options.identity)?;
        if let Some(advice) = &keys.advice {
            super::print_note(advice);
        }
        let applying = plans::apply_plan(ops, plan, &keys, &request, &control);
        run_with_signals(applying, &control, plan.record.row_count).await
    })?;
    incident_recorded?;
    print_outcome(plan, &report, format)
}

/// Returns the target name that confirms a plan: of `--confirm`, or typed at the terminal where the plan needs one.
///
/// # Errors
///
/// Returns an error if the terminal cannot be read.
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

/// Prompts for the target name, if a person is at the terminal.
fn prompt_target_name(plan: &ActionPlan) -> Result<Option<String>, Failure> {
    if !std::io::stdin().is_terminal() || !output::is_stderr_terminal() {
        return Ok(None);
    }
    let mut stderr = output::masked_stderr();
    write!(
        stderr,
        "This plan touches {}, {} of them active. Type the target name ({}) to apply it: ",
        format_count(plan.record.row_count, "row", "rows"),
        plan.record.active_sessions,
        plan.confirmation_name()
    )?;
    stderr.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}

/// Runs work that signals can stop and pause, and draws its progress.
///
/// # Errors
///
/// Returns the error of the work, or an error if the system refuses a signal handler.
async fn run_with_signals(
    work: impl Future<Output = Result<PlanOutcome, ActionError>>,
    control: &JobControl,
    rows: u64,
) -> Result<PlanOutcome, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut user = signal(SignalKind::user_defined1())?;
    // 20 is SIGTSTP (Ctrl-Z) on Linux. Elsewhere the number differs, and Ctrl-Z suspends the process as usual.
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
            ", paused (Ctrl-Z resumes)"
        } else {
            ""
        };
        meter.draw(control.done.load(Ordering::Relaxed), state);
    }
}

/// Stops after the current batch; a second request stops immediately.
fn request_stop(control: &JobControl) -> Result<(), Failure> {
    if control.stop.is_cancelled() {
        return Err(Failure::Usage(
            "stopped immediately: applying the plan again checks what became of the last batch".into(),
        ));
    }
    control.stop.cancel();
    super::print_note("stopping after the current batch; repeat to stop immediately");
    Ok(())
}

fn toggle_pause(control: &JobControl) {
    control.paused.fetch_xor(true, Ordering::Relaxed);
}

/// Prints the outcome of a plan.
///
/// # Errors
///
/// Returns an error if it cannot be written.
fn print_outcome(
    plan: &ActionPlan,
    applied: &ApplyReport,
    format: DocumentFormat,
) -> Result<ExitCode, Failure> {
    match format {
        DocumentFormat::Table => super::print_text(&text::render_outcome(plan, applied))?,
        DocumentFormat::Json => super::print_text(&format!("{:#}\n", text::outcome_to_json(plan, applied)?))?,
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

/// Prints a plan that was just created, for a person.
///
/// # Errors
///
/// Returns an error if it cannot be written.
pub(super) fn print_plan_text(config: &Config, plan: &ActionPlan) -> Result<(), Failure> {
    super::print_readable(&text::render_plan(config, plan, plan.record.updated_at, ""))
}
