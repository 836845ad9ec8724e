//! Plans that are applied in the background, and what came of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::background::BackgroundTasks;
use crate::remediation::JobControl;

/// What is being applied, and what came of it, by plan.
#[derive(Debug, Default)]
pub struct PlanJobs(Mutex<BTreeMap<String, PlanJob>>);

/// A plan that is applied, or was.
#[derive(Clone, Debug)]
pub struct PlanJob {
    /// How far it is.
    pub control: Arc<JobControl>,
    /// What came of it, in words; `None` while it goes on.
    pub outcome: Option<Result<String, String>>,
}

impl PlanJobs {
    fn lock_jobs(&self) -> MutexGuard<'_, BTreeMap<String, PlanJob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job of a plan, if this process applies it or did.
    #[must_use]
    pub fn get(&self, plan: &str) -> Option<PlanJob> {
        self.lock_jobs().get(plan).cloned()
    }

    /// Starts to apply a plan, by work that gives what came of it; once that is kept, `announce` tells of it. The work ends
    /// after its present batch when the tasks are to stop. Returns `false` if the plan is applied already, or the daemon
    /// stops.
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
        let mut jobs = self.lock_jobs();
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
    async fn stop_waits_for_what_is_under_way_and_lets_nothing_more_begin() {
        let (jobs, tasks) = (Arc::new(PlanJobs::default()), BackgroundTasks::default());
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = async |control: Arc<JobControl>| {
            ended.await.unwrap();
            Ok(format!("asked to stop: {}", control.stop.is_cancelled()))
        };
        assert!(jobs.start_job(&tasks, "a", work, || {}));
        assert!(!jobs.start_job(&tasks, "a", async |_| Ok(String::new()), || {}), "it is under way");
        let mut stopping = Box::pin(tasks.stop());
        assert!(futures_util::poll!(&mut stopping).is_pending());
        assert!(!jobs.start_job(&tasks, "b", async |_| Ok(String::new()), || {}), "nothing more begins");
        end.send(()).unwrap();
        stopping.await;
        assert_eq!(jobs.get("a").unwrap().outcome, Some(Ok("asked to stop: true".to_owned())));
    }
}
