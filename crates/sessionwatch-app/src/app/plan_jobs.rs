//! Plans that are applied in the background, and what came of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use tokio::task::JoinSet;

use crate::actions::Control;

/// What is being applied, and what came of it.
#[derive(Debug, Default)]
pub struct PlanJobs(Mutex<Jobs>);

#[derive(Debug, Default)]
struct Jobs {
    by_plan: BTreeMap<String, PlanJob>,
    /// The tasks that do the work.
    tasks: JoinSet<()>,
    /// The daemon ends, and nothing more begins.
    stopped: bool,
}

/// A plan that is applied, or was.
#[derive(Clone, Debug)]
pub struct PlanJob {
    /// How far it is.
    pub control: Arc<Control>,
    /// What came of it, in words; `None` while it goes on.
    pub outcome: Option<Result<String, String>>,
}

impl PlanJobs {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job of a plan, if this process applies it or did.
    #[must_use]
    pub fn get(&self, plan: &str) -> Option<PlanJob> {
        self.lock().by_plan.get(plan).cloned()
    }

    /// Starts to apply a plan, by work that gives what came of it; once that is kept, `announce` tells of it. Returns
    /// `false` if that is under way already, or the daemon ends.
    pub(super) fn start<F>(
        self: &Arc<Self>,
        plan: &str,
        work: impl FnOnce(Arc<Control>) -> F,
        announce: impl FnOnce() + Send + 'static,
    ) -> bool
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        let mut jobs = self.lock();
        // What has ended is not kept.
        while jobs.tasks.try_join_next().is_some() {}
        if jobs.stopped || jobs.by_plan.get(plan).is_some_and(|job| job.outcome.is_none()) {
            return false;
        }
        let control = Arc::new(Control::default());
        let job = PlanJob { control: Arc::clone(&control), outcome: None };
        jobs.by_plan.insert(plan.to_owned(), job);
        let (this, plan, work) = (Arc::clone(self), plan.to_owned(), work(control));
        jobs.tasks.spawn(async move {
            let outcome = work.await;
            if let Some(job) = this.lock().by_plan.get_mut(&plan) {
                job.outcome = Some(outcome);
            }
            announce();
        });
        true
    }

    /// Lets every job end after its present batch, and no more begin. Waits until none is under way.
    pub(crate) async fn stop(&self) {
        let mut tasks = {
            let mut jobs = self.lock();
            jobs.stopped = true;
            for job in jobs.by_plan.values().filter(|job| job.outcome.is_none()) {
                job.control.stop.store(true, Ordering::Relaxed);
            }
            std::mem::take(&mut jobs.tasks)
        };
        // One that ended in a panic has ended all the same.
        while tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_waits_for_what_is_under_way_and_lets_nothing_more_begin() {
        let jobs = Arc::new(PlanJobs::default());
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = async |control: Arc<Control>| {
            ended.await.unwrap();
            Ok(format!("asked to stop: {}", control.stop.load(Ordering::Relaxed)))
        };
        assert!(jobs.start("a", work, || {}));
        assert!(!jobs.start("a", async |_| Ok(String::new()), || {}), "it is under way");
        let mut stopping = Box::pin(jobs.stop());
        assert!(futures_util::poll!(&mut stopping).is_pending());
        assert!(!jobs.start("b", async |_| Ok(String::new()), || {}), "nothing more begins");
        end.send(()).unwrap();
        stopping.await;
        assert_eq!(jobs.get("a").unwrap().outcome, Some(Ok("asked to stop: true".to_owned())));
    }
}
