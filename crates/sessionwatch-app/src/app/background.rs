//! Background tasks that outlive a request: they are cancelled and awaited when the daemon stops.

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tasks that outlive the request that started them.
#[derive(Debug, Default)]
pub struct BackgroundTasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl BackgroundTasks {
    /// Returns the token that is cancelled when the tasks should stop.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. Returns `None`, without starting the task, if the daemon is stopping.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        // Counted before the token is checked: either this call sees the cancellation, or `stop` waits for the task.
        let _counted = self.tracker.token();
        (!self.stop.is_cancelled()).then(|| self.tracker.spawn(task))
    }

    /// Cancels all tasks and waits for their end.
    pub async fn stop(&self) {
        self.stop.cancel();
        // A tracker completes `wait` only once it is closed.
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_waits_for_all_tasks_even_after_a_panic_and_prevents_new_ones() {
        let tasks = BackgroundTasks::default();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let token = tasks.cancellation_token();
        let task = tasks.spawn(async move {
            ended.await.unwrap();
            token.is_cancelled()
        });
        let panicking = tasks.spawn(async { panic!("a bug") });
        let mut stopping = Box::pin(tasks.stop());
        assert!(futures_util::poll!(&mut stopping).is_pending());
        assert!(tasks.spawn(async {}).is_none(), "no task starts after stop");
        end.send(()).unwrap();
        stopping.await;
        assert!(task.unwrap().await.unwrap(), "the task saw the cancellation");
        assert!(panicking.unwrap().await.unwrap_err().is_panic());
    }
}
