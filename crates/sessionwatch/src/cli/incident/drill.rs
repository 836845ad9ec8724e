//! `incident drill`: guides a person through a drill at the terminal, or runs it unattended.

use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
    sync::Arc,
};

use jiff::SignedDuration;
use sessionwatch_app::{
    app::{
        drills::{
            self, DrillError, DrillEvent, DrillMode, DrillPrompter, DrillQuestion, DrillRecord,
            FinishedDrill, TARGET_NAME,
        },
        state_store::StoreRequirement,
    },
    config::{Config, TargetAddress},
    demo_history::DemoHistoryError,
    remediation::ActionError,
    sanitize::sanitize_text,
};
use sessionwatch_core::plural::format_count;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::cli::{
    actor::ActorArgs,
    remediation::{self, WriteUrlArgs},
    target_args::TargetArgs,
};

/// The database of a drill, and its mode.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DrillArgs {
    /// Use a new sample database
    #[arg(long, conflicts_with_all = ["url", "target_option"])]
    demo: bool,
    /// Run unattended
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    write: WriteUrlArgs,
    #[command(flatten)]
    actor: ActorArgs,
}

pub(in crate::cli) fn run(args: &DrillArgs) -> Result<ExitCode, Failure> {
    let interactive = !args.yes;
    if interactive && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("a guided drill needs a terminal: add --yes to run it unattended".into()));
    }
    let runtime = super::super::build_runtime()?;
    let entered = runtime.enter();
    let mut endings = StopSignals::subscribe()?;
    drop(entered);
    let mut target = args.target.clone();
    // Dropping this value removes the sample database, also after a panic.
    let demonstration = args.demo.then(drills::create_demonstration).transpose()?;
    if let Some(demonstration) = &demonstration {
        target.url = Some(demonstration.path().display().to_string().into());
    }
    let actor = args.actor.actor();
    let mut ops =
        remediation::open_target_ops(&target, &args.write, &actor, StoreRequirement::CreateIfMissing)?;
    if args.demo {
        drills::DEMO_TARGET_NAME.clone_into(&mut ops.target.name);
    }
    let mode = if interactive { DrillMode::Guided } else { DrillMode::Automatic };
    let mut guide = TerminalGuide { config: Arc::clone(&ops.config), mode };
    let finished = runtime
        .block_on(drills::run_drill(&ops, mode, &mut guide, async || endings.wait_for_signal().await))?;
    crate::cli::print_text(&render_summary(&finished))?;
    Ok(ExitCode::SUCCESS)
}

/// The signals that stop a drill, after its cleanup.
struct StopSignals([tokio::signal::unix::Signal; 4]);

impl StopSignals {
    fn subscribe() -> Result<Self, Failure> {
        let [interrupt, terminate, hang_up, quit] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()]
                .map(signal);
        Ok(Self([interrupt?, terminate?, hang_up?, quit?]))
    }

    /// Waits for the next signal.
    async fn wait_for_signal(&mut self) {
        let [interrupt, terminate, hang_up, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

impl From<DrillError> for Failure {
    fn from(error: DrillError) -> Self {
        match error {
            DrillError::Action(error) => error.into(),
            DrillError::App(error) => (*error).into(),
            DrillError::Demonstration(error) => DemoHistoryError::from(error).into(),
            DrillError::Interrupted => ActionError::Unexpected("the drill was interrupted").into(),
            error @ (DrillError::NotDetected(_) | DrillError::NotContained) => Self::Usage(error.to_string()),
        }
    }
}

/// The person at the terminal.
struct TerminalGuide {
    config: Arc<Config>,
    mode: DrillMode,
}

impl DrillPrompter for TerminalGuide {
    type Error = Failure;

    fn report_event(&mut self, event: DrillEvent<'_>) -> Result<(), Failure> {
        let text = match event {
            DrillEvent::Leftover(left) => {
                crate::cli::print_note(left);
                return Ok(());
            }
            DrillEvent::Stopping => {
                let text = "stopping after cleanup; repeat to stop immediately";
                crate::cli::print_note(text);
                return Ok(());
            }
            DrillEvent::NotRemoved(by_hand) => {
                crate::cli::print_error("cannot remove what the drill created", Some(by_hand));
                return Ok(());
            }
            DrillEvent::Planned(plan) => return remediation::print_plan_text(&self.config, plan),
            DrillEvent::Planted { target, address } => self.render_planted(target, address),
            DrillEvent::WrongAnswer => "   Not these users.\n".to_owned(),
            DrillEvent::Detected { summary, users } => {
                let users: Vec<String> = users.iter().map(|user| sanitize_text(user)).collect();
                format!("   {summary}: users {}.\n", users.join(", "))
            }
            DrillEvent::Containing => "\n2. Revoke those sessions.\n".to_owned(),
            DrillEvent::Contained { sessions } => {
                format!("Revoked {}.\n\n3. Verify.\n", format_count(sessions, "session", "sessions"))
            }
            DrillEvent::Verified => {
                "Verified: no shared token is left, and no revoked session reappeared.\n".to_owned()
            }
        };
        crate::cli::print_text(&text)
    }

    // A signal may arrive while a person types, so a separate thread waits for the line.
    async fn ask_question(&mut self, question: DrillQuestion) -> Result<String, Failure> {
        crate::cli::print_text(&match question {
            DrillQuestion::AffectedUsers => "   IDs of the users who share a token: ".to_owned(),
            DrillQuestion::Confirmation => {
                format!("Type the target name ({TARGET_NAME}) to apply the plan: ")
            }
            DrillQuestion::IsOver => "Done? Type yes: ".to_owned(),
        })?;
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            // The drill may have ended meanwhile.
            let _ = answer.send(read.map(|length| (length > 0).then_some(line)));
        });
        let line = answered.await.map_err(|_| DrillError::Interrupted)??;
        line.ok_or_else(|| Failure::Usage("no answer on stdin: the drill was stopped".into()))
    }
}

impl TerminalGuide {
    fn render_planted(&self, target: &str, address: &TargetAddress) -> String {
        let planted = format!(
            "A leak was planted in {address}, a sample of {} with new tokens. The clock is running.\n\n\
             1. Find it: which users share a token?\n",
            sanitize_text(target)
        );
        match self.mode {
            DrillMode::Guided => format!("{planted}   In another terminal: sessionwatch check {address}\n"),
            DrillMode::Automatic => planted,
        }
    }
}

/// Renders the times of a drill, and those of earlier drills.
fn render_summary(finished: &FinishedDrill) -> String {
    let FinishedDrill { drill, earlier } = finished;
    let mut text = format!("\nDrill finished: {}.\n", render_times(drill));
    if !earlier.is_empty() {
        text.push_str("Earlier drills:\n");
    }
    for other in earlier {
        let when = sessionwatch_clock::format_utc(other.at);
        text.push_str(&format!("  {when}, {}: {}\n", sanitize_text(&other.actor), render_times(other)));
    }
    text
}

fn render_times(drill: &DrillRecord) -> String {
    let seconds = |length: SignedDuration| format!("{:.1} s", length.as_secs_f64());
    let [detected, contained, verified] = drill.phase_durations.map(seconds);
    format!("detected after {detected}, contained after {contained}, verified after {verified}")
}
