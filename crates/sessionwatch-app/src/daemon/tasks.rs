//! Structured concurrency for the daemon: every task belongs to a group, stops by the group's token, and is awaited.

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
    fatal_errors: UnboundedSender<String>,
    has_panicked: Arc<AtomicBool>,
}

impl TaskGroup {
    /// Creates an empty group. A panic of any task is sent to `fatal_errors`, which shuts the daemon down.
    pub(super) fn new(fatal_errors: UnboundedSender<String>) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            fatal_errors,
            has_panicked: Arc::default(),
        }
    }

    /// Returns the token that is cancelled when the group stops.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Spawns a task; `what` names it in the log. A panic shuts the daemon down, since running on without the task
    /// would look healthy from outside.
    pub(super) fn spawn(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (failures, has_panicked) = (self.fatal_errors.clone(), Arc::clone(&self.has_panicked));
        // Boxed, so that the code around it is compiled once and not for each task.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        self.tracker.spawn(async move {
            // Sound: state shared with other tasks is behind locks that tolerate poisoning.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                has_panicked.store(true, Ordering::Relaxed);
                // The receiver is gone only if the daemon has stopped already.
                let _ = failures.send(format!("the {what} task panicked"));
            }
        });
    }

    /// Stops all tasks. Returns `true` if they ended within `limit` and none panicked.
    pub(super) async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        // A tracker completes `wait` only once it is closed.
        self.tracker.close();
        let ended = tokio::time::timeout(limit, self.tracker.wait()).await;
        ended.is_ok() && !self.has_panicked.load(Ordering::Relaxed)
    }
}

/// Waits until `at` by `clock`. Returns `false` if stopped.
pub(super) async fn wait_until(clock: &Clock, at: UtcTimestamp, stop: &CancellationToken) -> bool {
    // In a loop, because the clock may be set while the task sleeps.
    while clock.now() < at {
        if stop.run_until_cancelled(clock.sleep_until(at)).await.is_none() {
            return false;
        }
    }
    !stop.is_cancelled()
}

/// Waits before a retry. Returns `false` if stopped.
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
        group.spawn("test", async move {
            token.cancelled().await;
            ended.store(true, Ordering::Relaxed);
        });
        assert!(group.stop(LIMIT).await);
        assert!(has_ended.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_panic_is_reported_and_fails_the_stop() {
        let (failures, mut failed) = unbounded_channel();
        let group = TaskGroup::new(failures);
        group.spawn("test", async { panic!("a bug") });
        assert_eq!(failed.recv().await.as_deref(), Some("the test task panicked"));
        assert!(!group.stop(LIMIT).await);
    }

    #[tokio::test]
    async fn waits_end_early_when_stopped() {
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
