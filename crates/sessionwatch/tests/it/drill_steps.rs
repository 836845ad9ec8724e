//! A drill, step by step: questions, instructions, and what is left if the user stops or the terminal closes.

use std::{collections::VecDeque, future::pending, path::Path, sync::Arc};

use sessionwatch_app::{
    app::{
        Actor, AppState, TargetOps,
        drills::{self, DrillError, DrillEvent, DrillMode, DrillPrompter, DrillQuestion, FinishedDrill},
    },
    config::Config,
};
use sessionwatch_store::Store;
use tokio::sync::Notify;

use crate::drill_endings::{files, sqlite};

/// A user who answers as scripted, and records everything.
#[derive(Default)]
struct Person {
    noted: Vec<String>,
    answers: VecDeque<String>,
    /// Signaled at each question. Without an answer, the user keeps thinking.
    asked: Arc<Notify>,
    /// A text at which output to the user fails.
    deaf_to: &'static str,
}

impl DrillPrompter for Person {
    type Error = DrillError;

    fn report_event(&mut self, event: DrillEvent<'_>) -> Result<(), DrillError> {
        let text = format!("{event:?}");
        let name = text.split([' ', '(']).next().unwrap();
        self.noted.push(name.to_owned());
        if let DrillEvent::Planted { address, .. } = event
            && let Some(answer) = self.answers.iter_mut().find(|answer| *answer == "the users")
        {
            let database = rusqlite::Connection::open(address.file_path().unwrap()).unwrap();
            let query = "SELECT group_concat(userId, ',') FROM sessions WHERE sessionToken IN
                (SELECT sessionToken FROM sessions GROUP BY 1 HAVING count(*) > 1)";
            *answer = database.query_row(query, [], |row| row.get(0)).unwrap();
        }
        if name == self.deaf_to { Err(DrillError::NotDetected("nobody hears".into())) } else { Ok(()) }
    }

    async fn ask_question(&mut self, question: DrillQuestion) -> Result<String, DrillError> {
        self.noted.push(format!("{question:?}?"));
        self.asked.notify_one();
        match self.answers.pop_front() {
            Some(answer) => Ok(answer),
            None => pending().await,
        }
    }
}

/// An application in a folder, with a user who runs drills on it.
fn ops(folder: &Path) -> TargetOps {
    let (app, store) = (sqlite(folder), folder.join("state.db"));
    let text =
        format!("[[target]]\nname = \"app\"\nurl = \"{app}\"\n[serve]\nstore = \"{}\"\n", store.display());
    let config = Config::parse(&folder.join("sessionwatch.toml"), &text).unwrap();
    let target = config.targets[0].clone();
    let app = AppState::for_command(Store::open_in_memory().unwrap(), config).unwrap();
    TargetOps::new(&app, target, &Actor::from_command_line("ada"))
}

/// Runs a drill, and asserts that it leaves nothing behind.
fn rehearse(
    ops: &TargetOps,
    mode: DrillMode,
    person: &mut Person,
    stop_requested: impl AsyncFnMut(),
) -> Result<FinishedDrill, DrillError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let finished = runtime.block_on(drills::run_drill(ops, mode, person, stop_requested));
    let folder = ops.target.address.file_path().unwrap().parent().unwrap();
    assert_eq!(files(folder), Vec::<String>::new(), "{:?}", person.noted);
    finished
}

#[test]
fn the_user_confirms_and_verifies_while_the_program_detects_its_own_steps() {
    let folder = tempfile::tempdir().unwrap();
    let ops = ops(folder.path());
    let answers = ["nobody", "the users", "app", "drill", "yes"].map(str::to_owned).into();
    let mut person = Person { answers, ..Person::default() };
    let first = rehearse(&ops, DrillMode::Guided, &mut person, async || pending().await).unwrap();
    let steps = [
        "Planted",
        "AffectedUsers?",
        "WrongAnswer",
        "AffectedUsers?",
        "Containing",
        "Planned",
        "Confirmation?",
        "WrongAnswer",
        "Confirmation?",
        "Contained",
        "Verified",
        "IsOver?",
    ];
    assert_eq!(person.noted, steps);
    assert!(first.drill.phase_durations.is_sorted() && first.earlier.is_empty(), "{first:?}");
    let mut person = Person::default();
    let second = rehearse(&ops, DrillMode::Automatic, &mut person, async || pending().await).unwrap();
    assert_eq!(person.noted, ["Planted", "Detected", "Containing", "Planned", "Contained", "Verified"]);
    assert_eq!((second.drill.target.as_str(), second.drill.actor.as_str()), ("app", "ada"));
    let earlier: Vec<_> = second.earlier.iter().map(|drill| drill.at).collect();
    assert_eq!(earlier, [first.drill.at]);
}

#[test]
fn stopping_during_the_copy_removes_it_and_insisting_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let ops = ops(folder.path());
    let mut has_stopped = false;
    let once = async || {
        if std::mem::replace(&mut has_stopped, true) {
            pending().await
        }
    };
    let mut person = Person::default();
    let stopped = rehearse(&ops, DrillMode::Automatic, &mut person, once);
    assert!(matches!(stopped, Err(DrillError::Interrupted)), "{stopped:?}");
    assert_eq!(person.noted, ["Stopping"]);
    // The drill would wait for the copy, but it cannot print that, so it stops at once.
    let mut person = Person { deaf_to: "Stopping", ..Person::default() };
    let insisted = rehearse(&ops, DrillMode::Automatic, &mut person, async || {});
    assert!(matches!(insisted, Err(DrillError::Interrupted)), "{insisted:?}");
    assert_eq!(person.noted, ["Stopping"]);
}

#[test]
fn stopping_at_a_question_or_losing_the_terminal_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let ops = ops(folder.path());
    let mut person = Person::default();
    let asked = Arc::clone(&person.asked);
    let stopped = rehearse(&ops, DrillMode::Guided, &mut person, async || asked.notified().await);
    assert!(matches!(stopped, Err(DrillError::Interrupted)), "{stopped:?}");
    assert_eq!(person.noted, ["Planted", "AffectedUsers?"]);
    for deaf_to in ["Planted", "Planned", "Verified"] {
        let mut person = Person { deaf_to, ..Person::default() };
        let ended = rehearse(&ops, DrillMode::Automatic, &mut person, async || pending().await);
        assert!(matches!(ended, Err(DrillError::NotDetected(_))), "{deaf_to}: {ended:?}");
        assert_eq!(person.noted.last().unwrap(), deaf_to);
    }
    let mut person = Person::default();
    let next = rehearse(&ops, DrillMode::Automatic, &mut person, async || pending().await).unwrap();
    assert!(next.earlier.is_empty(), "only what came to its end is recorded: {next:?}");
}
