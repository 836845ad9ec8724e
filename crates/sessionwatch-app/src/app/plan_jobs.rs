//! Background jobs that apply plans, and their outcome.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
            jobs.insert(plan.to_owned(), PlanJob { control, outcome: None });
        }
        started.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
