//! What `cleanup`, `revoke` and `archive` share: a plan is made and shown, and carried out when that plan is named.

mod text;

pub(super) use text::choices;

use sessionwatch_core::plural::counted;
use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::atomic::Ordering,
    time::Duration,
};

use super::{
    Failure,
    actor::ActorArgs,
    opening::{self, Opening},
    target::TargetArgs,
};
use crate::{
    actions::{
        self, ActError, Applied, ArchiveKeys, Consent, Context, Control, Executor, Plan, Selection, keys,
    },
    archive::sealing::Recipient,
    clock::{self, Clock},
    config::{Config, Target},
    output,
    progress::Meter,
    secret::Secret,
    store::Store,
    target::address::Address,
};

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

/// A configuration, the target that is meant, and the store.
pub(super) struct Acting {
    pub(super) config: Config,
    pub(super) target: Target,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) owner: String,
}

impl Acting {
    /// Chooses the target, and opens the store.
    ///
    /// # Errors
    ///
    /// If the arguments or the configuration are faulty, or the store cannot be had.
    pub(super) fn of(args: &ActArgs, opening: Opening) -> Result<Self, Failure> {
        Self::with(&args.target, (args.act_url.as_ref(), args.actor.name()), opening)
    }

    /// The same, from its parts.
    ///
    /// # Errors
    ///
    /// The same.
    pub(super) fn with(
        target: &TargetArgs,
        (act_url, owner): (Option<&Secret>, String),
        opening: Opening,
    ) -> Result<Self, Failure> {
        let (config, mut target) = target.choose_one()?;
        if let Some(url) = act_url {
            target.act = Some(Address::parse(url.expose())?);
            target.act_missing = None;
        }
        let store = opening::open(&config, opening)?;
        let clock = store.clock(Clock::System)?;
        Ok(Self { config, target, store, clock, owner })
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            config: &self.config,
            target: &self.target,
            store: &self.store,
            clock: &self.clock,
            actor: &self.owner,
        }
    }

    /// To whom rows are sealed: as configured, else to an identity beside the store, which is made if there is none.
    ///
    /// # Errors
    ///
    /// If what is configured is not a recipient, or no identity can be read or made.
    pub(super) fn recipient(&self) -> Result<Recipient, Failure> {
        let (recipient, made) = keys::recipient(&self.config).map_err(ActError::from)?;
        if let Some(path) = made {
            super::complain_of(&keys::advice(&recipient, &path));
        }
        Ok(recipient)
    }
}

/// Makes the plan and shows it, or carries it out.
///
/// # Errors
///
/// If that is not possible.
pub(super) fn run(args: &ActArgs, selection: &Selection) -> Result<ExitCode, Failure> {
    // A plan that is made is kept; one that is carried out has been.
    let opening = if args.apply.is_some() { Opening::Existing } else { Opening::OrCreated };
    let acting = Acting::of(args, opening)?;
    match carried_out(&acting, args, selection)? {
        Some((plan, applied)) => report(&plan, &applied, args.format),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Makes the plan and shows it, or carries it out: what came of that.
///
/// # Errors
///
/// If that is not possible.
pub(super) fn carried_out(
    acting: &Acting,
    args: &ActArgs,
    selection: &Selection,
) -> Result<Option<(Plan, Applied)>, Failure> {
    match &args.apply {
        None => {
            let plan = super::block_on(async { Ok(actions::make(acting.context(), selection).await?) })?;
            show(acting, &plan, args.format)?;
            Ok(None)
        }
        Some(id) => {
            let plan = acting.context().plan(id)?;
            if plan.selection != *selection {
                let named = plan.selection.name();
                return Err(Failure::Usage(format!(
                    "the plan `{id}` was made by `{named}` with other arguments: repeat the command that made it"
                )));
            }
            let applied = apply(acting, args.confirm.as_deref(), &plan)?;
            Ok(Some((plan, applied)))
        }
    }
}

/// Shows a plan.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn show(acting: &Acting, plan: &Plan, format: Written) -> Result<(), Failure> {
    match format {
        Written::Table => super::print_readable(&text::plan(&acting.config, plan)),
        Written::Json => super::print(&format!("{:#}\n", text::plan_json(&acting.config, plan))),
    }
}

/// Carries out a plan; one that reaches far is confirmed at the terminal.
///
/// # Errors
///
/// If that is not possible.
pub(super) fn apply(acting: &Acting, confirm: Option<&str>, plan: &Plan) -> Result<Applied, Failure> {
    let typed = confirmation(acting, confirm, plan)?;
    let recipient = acting.recipient()?;
    let control = Control::default();
    let consent = Consent { name: typed.as_deref(), ..Consent::default() };
    super::block_on(async {
        let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
        let executor = Executor { context: acting.context(), keys, consent, control: &control };
        steered(executor.run(plan.clone()), (&control, plan.kept.rows)).await
    })
}

/// The name of the target, as given or typed at the terminal where a plan has to be confirmed.
///
/// # Errors
///
/// If the terminal cannot be read.
pub(super) fn confirmation(
    acting: &Acting,
    confirm: Option<&str>,
    plan: &Plan,
) -> Result<Option<String>, Failure> {
    match confirm {
        Some(name) => Ok(Some(name.to_owned())),
        None if plan.braked(acting.context().brake()).is_some() => ask(plan),
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
pub(super) async fn steered(
    work: impl Future<Output = Result<Applied, ActError>>,
    (control, rows): (&Control, u64),
) -> Result<Applied, Failure> {
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
    if control.stop.swap(true, Ordering::Relaxed) {
        return Err(Failure::Usage(
            "stopped at once: the next run finds out what became of the last batch".into(),
        ));
    }
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
pub(super) fn report(plan: &Plan, applied: &Applied, format: Written) -> Result<ExitCode, Failure> {
    match format {
        Written::Table => super::print(&text::applied(plan, applied))?,
        Written::Json => super::print(&format!("{:#}\n", text::applied_json(plan, applied)))?,
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
