//! Background jobs that apply plans, and their outcome.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant as Monotonic},
};

use super::background::BackgroundTasks;
use crate::remediation::JobControl;

/// Running and finished jobs of this process, by plan id.
#[derive(Debug, Default)]
pub struct PlanJobs(Mutex<BTreeMap<String, PlanJob>>);

/// Job that applies a plan.
#[derive(Clone, Debug)]
pub struct PlanJob {
    /// Progress and cancellation.
    pub control: Arc<JobControl>,
    /// Message about the result or the error; `None` while the job is running.
    pub outcome: Option<Result<String, String>>,
    /// Start of the job.
    pub started_at: Monotonic,
}

/// Progress of a running job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobProgress {
    /// Rows processed so far.
    pub done: u64,
    /// Rows of the plan.
    pub total: u64,
    /// Mean speed since the start; `None` before the first batch.
    pub rows_per_second: Option<f64>,
    /// Estimated time left; `None` before the first batch.
    pub time_left: Option<Duration>,
    /// `true` while the job waits for a lagging replica.
    pub is_waiting_for_replica: bool,
}

impl PlanJob {
    /// Returns `true` until the outcome is known.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// Returns the progress of a plan with this number of rows.
    #[must_use]
    pub fn progress(&self, total: u64) -> JobProgress {
        let done = self.control.done.load(Ordering::Relaxed);
        let is_waiting_for_replica = self.control.is_waiting_for_replica.load(Ordering::Relaxed);
        JobProgress {
            is_waiting_for_replica,
            ..JobProgress::estimate(done, total, self.started_at.elapsed())
        }
    }
}

impl JobProgress {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn estimate(done: u64, total: u64, elapsed: Duration) -> Self {
        let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
        let rows_per_second = (done > 0).then_some(rate);
        let left = rows_per_second.map(|rate| total.saturating_sub(done) as f64 / rate);
        let time_left = left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { done, total, rows_per_second, time_left, is_waiting_for_replica: false }
    }
}

impl PlanJobs {
    fn lock_jobs(&self) -> MutexGuard<'_, BTreeMap<String, PlanJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the job of a plan; `None` if this process has not applied the plan.
    #[must_use]
    pub fn get(&self, plan: &str) -> Option<PlanJob> {
        self.lock_jobs().get(plan).cloned()
    }

    /// Starts a job for a plan. `work` applies the plan and returns a message; `announce` is called once the outcome
    /// is stored. When the daemon stops, the work ends after its current batch. Returns `false` if the plan is
    /// already being applied, or the daemon is stopping.
    pub(super) fn start_job<F>(
        self: &Arc<Self>,
        tasks: &BackgroundTasks,
        plan: &str,
        work: impl FnOnce(Arc<JobControl>) -> F,
        announce: impl FnOnce() + Send + 'static,
    ) -> bool
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        // Locked until the job is stored, so that a task that ends immediately still finds its entry.
        let mut jobs = self.lock_jobs();
        // Checked and inserted under the same lock, so that two clicks cannot start the same plan twice.
        if jobs.get(plan).is_some_and(|job| job.outcome.is_none()) {
            return false;
        }
        let control = Arc::new(JobControl::stopped_by(&tasks.cancellation_token()));
        let (this, name, work) = (Arc::clone(self), plan.to_owned(), work(Arc::clone(&control)));
        let started = tasks.spawn(async move {
            let outcome = work.await;
            if let Some(job) = this.lock_jobs().get_mut(&name) {
                job.outcome = Some(outcome);
            }
            // After the outcome is stored, or a page that reloads at once would still show the job as
            // running.
            announce();
        });
        if started.is_some() {
            jobs.insert(plan.to_owned(), PlanJob { control, outcome: None, started_at: Monotonic::now() });
        }
        started.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_mean_speed() {
        let progress = JobProgress::estimate(3_000, 10_000, Duration::from_secs(6));
        assert_eq!(
            (progress.rows_per_second, progress.time_left),
            (Some(500.0), Some(Duration::from_secs(14)))
        );
        let unknown = JobProgress::estimate(0, 10_000, Duration::from_secs(6));
        assert_eq!((unknown.rows_per_second, unknown.time_left), (None, None));
        assert_eq!(JobProgress::estimate(5, 4, Duration::ZERO).time_left, Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn stop_waits_for_running_jobs_and_prevents_new_ones() {
        let (jobs, tasks) = (Arc::new(PlanJobs::default()), BackgroundTasks::default());
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = async |control: Arc<JobControl>| {
            ended.await.unwrap();
            Ok(format!("asked to stop: {}", control.stop.is_cancelled()))
        };
        assert!(jobs.start_job(&tasks, "a", work, || {}));
        assert!(!jobs.start_job(&tasks, "a", async |_| Ok(String::new()), || {}), "the job is running");
        let mut stopping = Box::pin(tasks.stop());
        assert!(futures_util::poll!(&mut stopping).is_pending());
        assert!(!jobs.start_job(&tasks, "b", async |_| Ok(String::new()), || {}), "no job starts after stop");
        end.send(()).unwrap();
        stopping.await;
        assert_eq!(jobs.get("a").unwrap().outcome, Some(Ok("asked to stop: true".to_owned())));
    }
}
