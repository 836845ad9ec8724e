//! The tasks of the daemon: each has an owner, stops when its token says so, and is waited for.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use sessionwatch_clock as clock;
use sessionwatch_clock::Clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tasks that stop together.
#[derive(Clone, Debug)]
pub(super) struct TaskGroup {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Hears why the daemon has to end.
    fatal_errors: UnboundedSender<String>,
    has_panicked: Arc<AtomicBool>,
}

impl TaskGroup {
    /// A group without tasks, whose failures end the daemon.
    pub(super) fn new(failures: UnboundedSender<String>) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            fatal_errors: failures,
            has_panicked: Arc::default(),
        }
    }

    /// What tells the tasks to stop.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Begins a task. Should it panic, the daemon ends: half a watch would look like a whole one.
    pub(super) fn spawn(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (failures, has_panicked) = (self.fatal_errors.clone(), Arc::clone(&self.has_panicked));
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        self.tracker.spawn(async move {
            // What the task shares with others is behind locks that outlive a panic.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                has_panicked.store(true, Ordering::Relaxed);
                // A daemon that has stopped need not know.
                let _ = failures.send(format!("{what} ended in a panic"));
            }
        });
    }

    /// Stops every task. Returns `true` if they ended within the limit, and none in a panic.
    pub(super) async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(limit, self.tracker.wait()).await;
        ended.is_ok() && !self.has_panicked.load(Ordering::Relaxed)
    }
}

/// Waits by a clock until an instant. Returns `false` if the task is to stop.
pub(super) async fn wait_until(clock: &Clock, at: UtcTimestamp, stop: &CancellationToken) -> bool {
    while clock.now() < at {
        if stop.run_until_cancelled(clock.sleep_until(at)).await.is_none() {
            return false;
        }
    }
    !stop.is_cancelled()
}

/// Waits before something that failed is tried again. Returns `false` if the task is to stop.
pub(super) async fn wait_to_retry(delay: Duration, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(clock::sleep(delay)).await.is_some()
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::HOUR;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_group_waits_for_its_tasks_when_it_stops() {
        let group = TaskGroup::new(unbounded_channel().0);
        let (token, has_ended) = (group.stop_token(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&has_ended);
        group.spawn("a task", async move {
            token.cancelled().await;
            ended.store(true, Ordering::Relaxed);
        });
        assert!(group.stop(LIMIT).await);
        assert!(has_ended.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_task_that_panics_is_told_of_and_fails_the_stop() {
        let (failures, mut failed) = unbounded_channel();
        let group = TaskGroup::new(failures);
        group.spawn("a task", async { panic!("a bug") });
        assert_eq!(failed.recv().await.as_deref(), Some("a task ended in a panic"));
        assert!(!group.stop(LIMIT).await);
    }

    #[tokio::test]
    async fn waits_end_early_when_the_task_is_to_stop() {
        let now = UtcTimestamp::UNIX_EPOCH;
        let ((clock, _hand), stop) = (Clock::manual(now), CancellationToken::new());
        assert!(wait_until(&clock, now, &stop).await, "it is due");
        let (due, retry) = (now + HOUR, Duration::from_secs(3_600));
        let mut waits =
            Box::pin(async { (wait_until(&clock, due, &stop).await, wait_to_retry(retry, &stop).await) });
        assert!(futures_util::poll!(&mut waits).is_pending());
        stop.cancel();
        assert_eq!(waits.await, (false, false));
    }
}
