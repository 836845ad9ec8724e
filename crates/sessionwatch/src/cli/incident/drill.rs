//! `incident drill`: a leak is planted in a copy, and found, ended and verified, by the clock.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, IsTerminal as _},
    path::Path,
    process::ExitCode,
    time::Instant as Monotonic,
};

use credentials::Secret;
use jiff::SignedDuration;
use sessionwatch_app::{
    app::{
        TargetOps,
        incidents::{self, Drill},
    },
    demo,
    incident::{
        self,
        drill::{Demonstration, Scratch},
    },
    remediation::{self, ActError, ArchiveKeys, Consent, Context, Control, Executor, Selection},
    sanitize::printable,
};
use sessionwatch_archive::Identity;
use sessionwatch_clock::{Clock, length_of};
use sessionwatch_core::{checks::Verdict, plural::counted};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, opening::Opening};
use crate::cli::{acting, actor::ActorArgs, target::TargetArgs};

/// The name by which drills on the demonstration are kept.
const DEMONSTRATION: &str = "sqlite:sessionwatch-drill-demo.db";

/// On what it is rehearsed, and how.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DrillArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// On a fresh demonstration instead
    #[arg(long, conflicts_with = "url")]
    demo: bool,
    /// Nobody is asked: the program goes through it by itself
    #[arg(long)]
    yes: bool,
    /// Address with a role that may make a database [default: `act_url` of the target]
    #[arg(long, env = "SESSIONWATCH_ACT_URL", value_name = "URL", hide_env_values = true)]
    act_url: Option<Secret>,
    #[command(flatten)]
    actor: ActorArgs,
}

pub(in crate::cli) fn run(args: &DrillArgs) -> Result<ExitCode, Failure> {
    let interactive = !args.yes;
    if interactive && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "a drill asks a person at a terminal: give --yes to run it by itself".into(),
        ));
    }
    let runtime = super::super::runtime()?;
    let entered = runtime.enter();
    let endings = Endings::heed()?;
    drop(entered);
    let mut target = args.target.clone();
    // It is removed with this value: at the end, and where a panic leads past here.
    let demonstration = args.demo.then(Demonstration::named).transpose()?;
    if let Some(demonstration) = &demonstration {
        demo::create(demonstration.path(), sessionwatch_clock::now())?;
        target.url = Some(demonstration.path().display().to_string().into());
    }
    let actor = args.actor.actor();
    let mut ops = acting::target_ops(&target, args.act_url.as_ref(), &actor, Opening::OrCreated)?;
    if args.demo {
        // Its file has another name each time, and its times are compared all the same.
        DEMONSTRATION.clone_into(&mut ops.target.name);
    }
    runtime.block_on(drill(&ops, interactive, endings))
}

/// The signals that end a drill, once it was cleaned up after.
struct Endings([tokio::signal::unix::Signal; 4]);

impl Endings {
    fn heed() -> Result<Self, Failure> {
        let [interrupt, terminate, hang_up, quit] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()]
                .map(signal);
        Ok(Self([interrupt?, terminate?, hang_up?, quit?]))
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        let [interrupt, terminate, hang_up, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

fn interrupted() -> Failure {
    Failure::Act(ActError::Unexpected("the drill was interrupted"))
}

async fn drill(ops: &TargetOps, interactive: bool, mut endings: Endings) -> Result<ExitCode, Failure> {
    let folder = incident::drill::folder(&ops.config.serve.store);
    for left in incident::drill::clear(ops.context(), &folder).await {
        crate::cli::complain_of(&left);
    }
    let Some(scratch) = prepared(ops, &folder, &mut endings).await? else { return Err(interrupted()) };
    let by_hand = scratch.by_hand();
    let used = scratch.used(async |scratch| {
        tokio::select! {
            took = rehearse(ops, scratch, interactive) => took,
            () = endings.next() => Err(interrupted()),
        }
    });
    // Nothing is left behind, whatever happened.
    let (took, left) = used.await;
    if left.is_some() {
        crate::cli::complain(
            "what was made for the drill could not be removed",
            Some(&format!("remove it by hand: {by_hand}")),
        );
    }
    let took = took?;
    let drill = Drill {
        at: ops.app.clock.now(),
        target: ops.target.name.clone(),
        actor: ops.actor.name().to_owned(),
        took,
    };
    let before = incidents::record_drill(&ops.app, drill.clone()).await?;
    let line = |drill: &Drill| {
        let [detected, contained, verified] = drill.took.map(seconds);
        format!("found after {detected}, ended after {contained}, verified after {verified}")
    };
    let mut text = format!("\nThe drill is over: {}.\n", line(&drill));
    let earlier: Vec<&Drill> = before.iter().filter(|other| other.target == drill.target).take(5).collect();
    if !earlier.is_empty() {
        text.push_str("Earlier ones:\n");
    }
    for other in earlier {
        let when = sessionwatch_clock::readable(other.at);
        text.push_str(&format!("  {when}, {}: {}\n", printable(&other.actor), line(other)));
    }
    crate::cli::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The database of a drill; `None` if a signal asked for the end meanwhile, and what was made is removed. Asked twice, it ends
/// at once.
async fn prepared(ops: &TargetOps, folder: &Path, endings: &mut Endings) -> Result<Option<Scratch>, Failure> {
    let preparing = incident::drill::prepare(ops.context(), folder);
    tokio::pin!(preparing);
    let scratch = tokio::select! {
        made = &mut preparing => return Ok(Some(made?)),
        () = endings.next() => {
            crate::cli::complain_of("stopping once what was begun can be removed; once more stops at once");
            tokio::select! {
                made = &mut preparing => made?,
                () = endings.next() => return Err(interrupted()),
            }
        }
    };
    if let Some(left) = scratch.remove().await {
        crate::cli::complain("what was made for the drill could not be removed", Some(&left));
    }
    Ok(None)
}

fn seconds(length: SignedDuration) -> String {
    format!("{:.1} s", length.as_secs_f64())
}

/// The three parts of a drill: microseconds since its start at which each was over.
async fn rehearse(
    ops: &TargetOps,
    scratch: &Scratch,
    interactive: bool,
) -> Result<[SignedDuration; 3], Failure> {
    let context = Context {
        config: &ops.config,
        target: &scratch.target,
        store: &scratch.store,
        clock: &Clock::System,
        actor: ops.actor.name(),
    };
    let started = Monotonic::now();
    let since = || length_of(started.elapsed());
    crate::cli::print(&format!(
        "A leak was planted in {}, which is a sample of {} with new tokens. The clock is running.\n\n1. Find it: who shares a token?\n",
        scratch.target.address,
        printable(&ops.target.name)
    ))?;
    detect(context, scratch, interactive).await?;
    let detected = since();
    crate::cli::print("\n2. End those sessions.\n")?;
    let plan = remediation::make(context, &Selection::Duplicates).await?;
    acting::show_plan(&ops.config, &plan)?;
    if interactive {
        ask("To carry it out, type the name of the target (drill): ", |line| line == "drill").await?;
    }
    let identity = Identity::ephemeral().map_err(ActError::from)?;
    let control = Control::default();
    let consent = Consent { name: Some("drill"), ..Consent::default() };
    let recipient = identity.recipient();
    let keys = ArchiveKeys { recipient: Some(&recipient), ..ArchiveKeys::default() };
    let applied = Executor { context, keys, consent, control: &control }.run(plan.clone()).await?;
    let contained = since();
    crate::cli::print(&format!(
        "{} ended.\n\n3. Verify it.\n",
        counted(applied.done, "session was", "sessions were")
    ))?;
    let report = incident::look(context).await;
    let over = report
        .seen
        .as_ref()
        .is_ok_and(|seen| seen.census.duplicates.value().is_some_and(|found| found.tokens == 0));
    let back = remediation::returned(context, &plan.kept.id).await?;
    if !over || back > 0 {
        return Err(Failure::Usage("tokens are still shared after the sessions were ended".into()));
    }
    crate::cli::print("A fresh look finds no shared token, and no ended session that is back.\n")?;
    if interactive {
        ask("Is it over? Type yes: ", |line| line == "yes").await?;
    }
    Ok([detected, contained, since()])
}

/// The users who share a token, found by a person or by a look.
async fn detect(context: Context<'_>, scratch: &Scratch, interactive: bool) -> Result<(), Failure> {
    if interactive {
        crate::cli::print(&format!(
            "   In another terminal: sessionwatch check {}\n",
            scratch.target.address
        ))?;
        let right = |line: &str| {
            let named: BTreeSet<String> =
                line.split([' ', ',']).filter(|id| !id.is_empty()).map(str::to_owned).collect();
            named == scratch.affected
        };
        return ask("   Type the ids of the users who share a token: ", right).await;
    }
    let report = incident::look(context).await;
    let found = report.outcomes.iter().find(|outcome| outcome.id == "duplicate-tokens");
    match found.filter(|outcome| outcome.finding.verdict == Verdict::Failing) {
        Some(outcome) => {
            let users: BTreeSet<String> =
                outcome.evidence.iter().filter_map(|row| row.user.clone()).collect();
            crate::cli::print(&format!(
                "   {}: users {}.\n",
                outcome.finding.summary,
                users.into_iter().map(|user| printable(&user)).collect::<Vec<_>>().join(", ")
            ))
        }
        None => {
            let found = incident::findings(&report).join("; ");
            Err(Failure::Usage(format!("the look did not find the leak that was planted, but: {found}")))
        }
    }
}

/// Asks until the answer is right. A signal may come while a person thinks, so that a thread of its own waits for the line.
async fn ask(question: &str, right: impl Fn(&str) -> bool) -> Result<(), Failure> {
    loop {
        crate::cli::print(question)?;
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            // The drill may have ended meanwhile.
            let _ = answer.send(read.map(|length| (length > 0).then_some(line)));
        });
        let line = answered.await.map_err(|_| interrupted())??;
        let Some(line) = line else { return Err(Failure::Usage("nobody answers: the drill ends".into())) };
        if right(line.trim()) {
            return Ok(());
        }
        crate::cli::print("   That is not it.\n")?;
    }
}
