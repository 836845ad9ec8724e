//! Work that goes on whether or not anybody waits for it: it is owned here, told when the daemon stops, and waited for.

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tasks that outlive the request that began them.
#[derive(Debug, Default)]
pub struct BackgroundTasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl BackgroundTasks {
    /// What tells the tasks to stop.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Begins a task. Returns `None` if the daemon stops: nothing more begins then.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        // Counted before the token is read: either it sees that it is to stop, or whoever stops waits for it.
        let _counted = self.tracker.token();
        (!self.stop.is_cancelled()).then(|| self.tracker.spawn(task))
    }

    /// Tells every task to stop, and waits until all have ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_waits_for_tasks_also_for_one_that_panics_and_lets_none_begin() {
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
        assert!(tasks.spawn(async {}).is_none(), "nothing more begins");
        end.send(()).unwrap();
        stopping.await;
        assert!(task.unwrap().await.unwrap(), "it was told to stop");
        assert!(panicking.unwrap().await.unwrap_err().is_panic());
    }
}
