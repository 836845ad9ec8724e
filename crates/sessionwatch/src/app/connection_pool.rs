//! Querying the database of a target for a page, over a connection that waits a little for whoever asks next.

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
    AppError, AppState,
    target_ops::{QUERY_TIMEOUT, acquire_query_permit},
};
use crate::{
    config::{Config, Target},
    store::layouts,
    target::{address::Address, connect::ConnectedTarget, error::TargetError, session::Idle},
};

/// How long a connection waits for the next question.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections to a target wait at most: the role of the watch may have few, and looks need one.
const IDLE_LIMIT: usize = 2;

/// Connections that wait for the next question.
#[derive(Debug, Default)]
pub(super) struct ConnectionPool(Mutex<PoolState>);

#[derive(Debug, Default)]
struct PoolState {
    /// By target; the one that waits longest is the first.
    lines: BTreeMap<String, Vec<IdleConnection>>,
    /// How many have waited so far.
    count: u64,
}

/// A connection that waits, and the runtime that it lives in.
#[derive(Debug)]
struct IdleConnection {
    address: Address,
    idle: Idle,
    runtime: Runtime,
    /// Which one it is.
    number: u64,
    /// Is dropped when it waits no more.
    _waits: oneshot::Sender<()>,
}

impl ConnectionPool {
    fn change<T>(&self, target: &str, change: impl FnOnce(&mut Vec<IdleConnection>, &mut u64) -> T) -> T {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let PoolState { lines, count } = &mut *waiting;
        change(lines.entry(target.to_owned()).or_default(), count)
    }

    /// The connection to a target that has not waited for long.
    fn checkout(&self, target: &Target) -> Option<IdleConnection> {
        let line = self.change(&target.name, |lines, _| lines.pop())?;
        if line.address == target.address {
            return Some(line);
        }
        line.close();
        None
    }

    /// Lets a connection wait: its number, and what hears when it waits no more.
    fn keep(&self, target: &Target, idle: Idle, runtime: Runtime) -> (u64, oneshot::Receiver<()>) {
        let (waits, taken) = oneshot::channel();
        let (number, beyond) = self.change(&target.name, |lines, count| {
            *count += 1;
            let address = target.address.clone();
            let line = IdleConnection { address, idle, runtime, number: *count, _waits: waits };
            lines.push(line);
            (*count, (lines.len() > IDLE_LIMIT).then(|| lines.remove(0)))
        });
        beyond.into_iter().for_each(IdleConnection::close);
        (number, taken)
    }

    /// Ends a connection that still waits.
    fn end(&self, target: &str, number: u64) {
        let line = self.change(target, |lines, _| {
            let at = lines.iter().position(|line| line.number == number)?;
            Some(lines.remove(at))
        });
        line.into_iter().for_each(IdleConnection::close);
    }

    /// Ends all connections to a target that wait, for what needs connections of its own. It blocks.
    pub(super) fn evict_idle(&self, target: &str) {
        self.change(target, |lines, _| std::mem::take(lines)).into_iter().for_each(IdleConnection::close);
    }
}

impl IdleConnection {
    /// Takes leave of the server. It blocks.
    fn close(self) {
        self.runtime.block_on(self.idle.close());
        self.runtime.shutdown_background();
    }
}

impl Drop for ConnectionPool {
    fn drop(&mut self) {
        // The program ends: there is no time to take leave.
        let waiting = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let lines = std::mem::take(&mut waiting.lines).into_values().flatten();
        lines.for_each(|line| line.runtime.shutdown_background());
    }
}

/// Queries the database of a target, once few enough people do.
///
/// # Errors
///
/// If the database does not answer in time, or too many people query at once.
pub async fn with_pooled_connection<T: Send + 'static>(
    app: &Arc<AppState>,
    target: &Target,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError> + Send + 'static,
) -> Result<T, AppError> {
    let name = target.name.clone();
    let unknown =
        |why: &str| AppError::Unavailable(format!("The database of {name} cannot be asked: {why}."));
    let permit = acquire_query_permit(app, &name).await?;
    let (app, target) = (Arc::clone(app), target.clone());
    // On a thread of its own, as looks are: a file blocks.
    let asked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let (runtime, idle) = match app.connections.checkout(&target) {
            Some(line) => (line.runtime, Some(line.idle)),
            None => (Builder::new_current_thread().enable_all().build().ok()?, None),
        };
        let asking = async {
            let limit = TargetError::TimedOut(QUERY_TIMEOUT.as_secs());
            let config = app.config();
            let mut target = target.clone();
            layouts::locate(&app.store, &mut target)?;
            tokio::time::timeout(QUERY_TIMEOUT, query_over(&target, &config, idle, query))
                .await
                .unwrap_or(Err(limit))
        };
        Some(match runtime.block_on(asking) {
            Ok((answer, Some(idle))) => {
                release(&app, &target, idle, runtime);
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
fn release(app: &Arc<AppState>, target: &Target, idle: Idle, runtime: Runtime) {
    let (number, taken) = app.connections.keep(target, idle, runtime);
    let (app, name) = (Arc::downgrade(app), target.name.clone());
    tokio::spawn(async move {
        if tokio::time::timeout(IDLE_TIMEOUT, taken).await.is_err()
            && let Some(app) = app.upgrade()
        {
            tokio::task::spawn_blocking(move || app.connections.end(&name, number));
        }
    });
}

/// Queries, and gives back the connection, if it can be used again.
async fn query_over<T>(
    target: &Target,
    config: &Config,
    idle: Option<Idle>,
    query: impl AsyncFnOnce(&ConnectedTarget, &Config) -> Result<T, TargetError>,
) -> Result<(T, Option<Idle>), TargetError> {
    let mut target = target.clone();
    target.limits.timeout = target.limits.timeout.min(QUERY_TIMEOUT);
    let opened = ConnectedTarget::reuse(idle, target.connect_options(&config.catalogue)).await?;
    let answer = query(&opened, config).await;
    match answer {
        Ok(answer) => Ok((answer, opened.session.rest().await)),
        Err(error) => {
            opened.session.close().await;
            Err(error)
        }
    }
}
