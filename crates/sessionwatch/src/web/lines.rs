//! Looking at the database of a target for a page, over a connection that waits a little for whoever asks next.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::{
    Refusal,
    desk::{PATIENCE, turn},
};
use crate::{
    config::{Config, Target},
    daemon::Shared,
    open::{Opened, open_over},
    store::layouts,
    target::{address::Address, error::TargetError, session::Idle},
};

/// How long a connection waits for the next question.
const WAITS: Duration = Duration::from_secs(10);

/// How many connections to a target wait at most: the role of the watch may have few, and looks need one.
const WAITING: usize = 2;

/// Connections that wait for the next question.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// By target; the one that waits longest is the first.
    lines: BTreeMap<String, Vec<Line>>,
    /// How many have waited so far.
    count: u64,
}

/// A connection that waits, and the runtime that it lives in.
#[derive(Debug)]
struct Line {
    address: Address,
    idle: Idle,
    runtime: Runtime,
    /// Which one it is.
    number: u64,
    /// Is dropped when it waits no more.
    _waits: oneshot::Sender<()>,
}

impl Lines {
    fn change<T>(&self, target: &str, change: impl FnOnce(&mut Vec<Line>, &mut u64) -> T) -> T {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { lines, count } = &mut *waiting;
        change(lines.entry(target.to_owned()).or_default(), count)
    }

    /// The connection to a target that has not waited for long.
    fn take(&self, target: &Target) -> Option<Line> {
        let line = self.change(&target.name, |lines, _| lines.pop())?;
        if line.address == target.address {
            return Some(line);
        }
        line.hang_up();
        None
    }

    /// Lets a connection wait: its number, and what hears when it waits no more.
    fn keep(&self, target: &Target, idle: Idle, runtime: Runtime) -> (u64, oneshot::Receiver<()>) {
        let (waits, taken) = oneshot::channel();
        let (number, beyond) = self.change(&target.name, |lines, count| {
            *count += 1;
            let address = target.address.clone();
            let line = Line { address, idle, runtime, number: *count, _waits: waits };
            lines.push(line);
            (*count, (lines.len() > WAITING).then(|| lines.remove(0)))
        });
        beyond.into_iter().for_each(Line::hang_up);
        (number, taken)
    }

    /// Ends a connection that still waits.
    fn end(&self, target: &str, number: u64) {
        let line = self.change(target, |lines, _| {
            let at = lines.iter().position(|line| line.number == number)?;
            Some(lines.remove(at))
        });
        line.into_iter().for_each(Line::hang_up);
    }

    /// Ends all connections to a target that wait, for what needs connections of its own. It blocks.
    pub(super) fn make_room(&self, target: &str) {
        self.change(target, |lines, _| std::mem::take(lines)).into_iter().for_each(Line::hang_up);
    }
}

impl Line {
    /// Takes leave of the server. It blocks.
    fn hang_up(self) {
        self.runtime.block_on(self.idle.close());
        self.runtime.shutdown_background();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // The program ends: there is no time to take leave.
        let waiting = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut waiting.lines).into_values().flatten();
        lines.for_each(|line| line.runtime.shutdown_background());
    }
}

/// Looks at the database of a target, once few enough people do.
pub(super) async fn look<T: Send + 'static>(
    shared: &Arc<Shared>,
    target: &Target,
    look: impl AsyncFnOnce(&Opened, &Config) -> Result<T, TargetError> + Send + 'static,
) -> Result<T, Refusal> {
    let name = target.name.clone();
    let unknown = |why: &str| Refusal::Away(format!("The database of {name} cannot be asked: {why}."));
    let permit = turn(shared, &name).await?;
    let (shared, target) = (Arc::clone(shared), target.clone());
    // On a thread of its own, as looks are: a file blocks.
    let asked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let (runtime, idle) = match shared.lines.take(&target) {
            Some(line) => (line.runtime, Some(line.idle)),
            None => (Builder::new_current_thread().enable_all().build().ok()?, None),
        };
        let asking = async {
            let limit = TargetError::TimedOut(PATIENCE.as_secs());
            let config = shared.config();
            let mut target = target.clone();
            layouts::locate(&shared.store, &mut target)?;
            tokio::time::timeout(PATIENCE, ask(&target, &config, idle, look)).await.unwrap_or(Err(limit))
        };
        Some(match runtime.block_on(asking) {
            Ok((answer, Some(idle))) => {
                keep(&shared, &target, idle, runtime);
                Ok(answer)
            }
            answered => {
                // A question that was given up may still wait for an answer.
                runtime.shutdown_background();
                answered.map(|(answer, _)| answer)
            }
        })
    });
    match asked.await {
        Ok(Some(answered)) => answered.map_err(|error| unknown(&error.to_string())),
        Ok(None) | Err(_) => Err(unknown("the system refuses what that needs")),
    }
}

/// Lets a connection wait for the next question, and ends it when none comes.
fn keep(shared: &Arc<Shared>, target: &Target, idle: Idle, runtime: Runtime) {
    let (number, taken) = shared.lines.keep(target, idle, runtime);
    let (shared, name) = (Arc::downgrade(shared), target.name.clone());
    tokio::spawn(async move {
        if tokio::time::timeout(WAITS, taken).await.is_err()
            && let Some(shared) = shared.upgrade()
        {
            tokio::task::spawn_blocking(move || shared.lines.end(&name, number));
        }
    });
}

/// Looks, and gives back the connection, if it can be used again.
async fn ask<T>(
    target: &Target,
    config: &Config,
    idle: Option<Idle>,
    look: impl AsyncFnOnce(&Opened, &Config) -> Result<T, TargetError>,
) -> Result<(T, Option<Idle>), TargetError> {
    let mut target = target.clone();
    target.limits.timeout = target.limits.timeout.min(PATIENCE);
    let opened = open_over(&target, &config.catalogue, idle).await?;
    let answer = look(&opened, config).await;
    match answer {
        Ok(answer) => Ok((answer, opened.session.rest().await)),
        Err(error) => {
            opened.session.close().await;
            Err(error)
        }
    }
}
