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
        plans::{self, ApplyRequest, Plan, PlanOutcome, Selection},
        state_store::StoreNeed,
    },
    config::{Address, Config},
    output,
    progress::Meter,
    remediation::{ActError, Applied, Control},
};
use sessionwatch_clock as clock;
use sessionwatch_core::plural::counted;

use super::{Failure, actor::ActorArgs, opening, target::TargetArgs};

pub(super) use text::choices;

/// Which target, who acts, and whether.
#[derive(Debug, clap::Args)]
pub(super) struct ActArgs {
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
    pub(super) format: Written,
}

/// How plans and outcomes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Written {
    /// For people
    Table,
    /// One document
    Json,
}

impl ActArgs {
    /// Chooses the target, and opens the store.
    ///
    /// # Errors
    ///
    /// If the arguments or the configuration are faulty, or the store cannot be had.
    pub(super) fn target_ops(&self, need: StoreNeed) -> Result<TargetOps, Failure> {
        target_ops(&self.target, self.act_url.as_ref(), &self.actor.actor(), need)
    }
}

/// Chooses the target, and opens the store.
///
/// # Errors
///
/// If the arguments or the configuration are faulty, or the store cannot be had.
pub(super) fn target_ops(
    target: &TargetArgs,
    act_url: Option<&Secret>,
    actor: &Actor,
    need: StoreNeed,
) -> Result<TargetOps, Failure> {
    let (config, mut target) = target.choose_one()?;
    if let Some(url) = act_url {
        target.act = Some(Address::parse(url.expose())?);
        target.act_missing = None;
    }
    Ok(TargetOps::new(&opening::open(config, need)?, target, actor))
}

/// Makes the plan and shows it, or carries it out.
///
/// # Errors
///
/// If that is not possible.
pub(super) fn run(args: &ActArgs, selection: &Selection) -> Result<ExitCode, Failure> {
    // A plan that is made is kept; one that is carried out has been.
    let need = if args.apply.is_some() { StoreNeed::Existing } else { StoreNeed::OrCreated };
    let ops = args.target_ops(need)?;
    let Some(id) = &args.apply else {
        let plan = super::block_on(async { Ok(plans::make_plan(ops.clone(), selection.clone()).await?) })?;
        show(&ops, &plan, args.format)?;
        return Ok(ExitCode::SUCCESS);
    };
    let plan = find_plan(&ops, id, selection)?;
    apply(&ops, &plan, args, ApplyOptions::default())
}

/// The plan of an id, which was made by the same command with the same arguments.
///
/// # Errors
///
/// If it was not, or there is none.
pub(super) fn find_plan(ops: &TargetOps, id: &str, selection: &Selection) -> Result<Plan, Failure> {
    let plan = super::block_on(async { Ok(plans::get_plan_of_target(ops, id).await?) })?;
    if plan.selection == *selection {
        return Ok(plan);
    }
    Err(Failure::Usage(match selection {
        Selection::Restore { .. } => {
            format!("the plan `{id}` is about something else: repeat the command that made it")
        }
        _ => {
            let named = plan.selection.name();
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
pub(super) fn show(ops: &TargetOps, plan: &Plan, format: Written) -> Result<(), Failure> {
    match format {
        Written::Table => super::print_readable(&text::plan(&ops.config, plan)),
        Written::Json => super::print(&format!("{:#}\n", text::plan_json(&ops.config, plan)?)),
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
pub(super) fn apply(
    ops: &TargetOps,
    plan: &Plan,
    args: &ActArgs,
    options: ApplyOptions<'_>,
) -> Result<ExitCode, Failure> {
    let request = ApplyRequest {
        confirm: confirmation(ops, args.confirm.as_deref(), plan)?,
        incident: options.incident.map(str::to_owned),
        without_evidence: options.without_evidence.map(str::to_owned),
    };
    let control = Control::default();
    let PlanOutcome { applied, noted } = super::block_on(async {
        let keys = plans::open_keys(ops, plan, options.identity)?;
        if let Some(advice) = &keys.advice {
            super::complain_of(advice);
        }
        plans::prepare_apply(ops, plan, &request).await?;
        let applying = plans::apply(ops, plan, &keys, &request, &control);
        steered(applying, &control, plan.kept.rows).await
    })?;
    noted?;
    report(plan, &applied, args.format)
}

/// The name of the target, as given or typed at the terminal where a plan has to be confirmed.
///
/// # Errors
///
/// If the terminal cannot be read.
fn confirmation(ops: &TargetOps, confirm: Option<&str>, plan: &Plan) -> Result<Option<String>, Failure> {
    match confirm {
        Some(name) => Ok(Some(name.to_owned())),
        None if plans::limit_text(ops, plan).is_some() => ask(plan),
        None => Ok(None),
    }
}

/// Asks a person at a terminal for the name of the target.
fn ask(plan: &Plan) -> Result<Option<String>, Failure> {
    if !std::io::stdin().is_terminal() || !output::is_stderr_terminal() {
        return Ok(None);
    }
    let mut stderr = output::stderr();
    write!(
        stderr,
        "This plan names {}, {} of them active. To carry it out, type the name of the target ({}): ",
        counted(plan.kept.rows, "row", "rows"),
        plan.kept.active,
        plan.name_to_confirm()
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
async fn steered(
    work: impl Future<Output = Result<PlanOutcome, ActError>>,
    control: &Control,
    rows: u64,
) -> Result<PlanOutcome, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut user = signal(SignalKind::user_defined1())?;
    // What `Ctrl-Z` sends on Linux; elsewhere it has another number, and does what it always does.
    let mut suspend = cfg!(target_os = "linux").then(|| signal(SignalKind::from_raw(20))).transpose()?;
    let mut meter = Meter::new(rows);
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
            _ = interrupt.recv() => stop(control)?,
            _ = terminate.recv() => stop(control)?,
            _ = user.recv() => pause(control),
            _ = suspended => pause(control),
            () = clock::sleep(Duration::from_millis(200)) => {}
        }
        let state = if control.lagging.load(Ordering::Relaxed) {
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
fn stop(control: &Control) -> Result<(), Failure> {
    if control.stop.is_cancelled() {
        return Err(Failure::Usage(
            "stopped at once: the next run finds out what became of the last batch".into(),
        ));
    }
    control.stop.cancel();
    super::complain_of("stopping after the present batch; once more stops at once");
    Ok(())
}

fn pause(control: &Control) {
    control.paused.fetch_xor(true, Ordering::Relaxed);
}

/// Says what came of a plan.
///
/// # Errors
///
/// If it cannot be written.
fn report(plan: &Plan, applied: &Applied, format: Written) -> Result<ExitCode, Failure> {
    match format {
        Written::Table => super::print(&text::applied(plan, applied))?,
        Written::Json => super::print(&format!("{:#}\n", text::applied_json(plan, applied)?))?,
    }
    Ok(
        if applied.remaining > 0
            || applied.left.is_none() && plan.selection.chosen(plan.kept.made_at).is_some()
        {
            ExitCode::from(3)
        } else if applied.skipped > 0 || !applied.is_complete() || applied.left.is_some_and(|left| left > 0) {
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
pub(super) fn show_plan(config: &Config, plan: &Plan) -> Result<(), Failure> {
    super::print_readable(&text::plan(config, plan))
}
