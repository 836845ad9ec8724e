//! One run of every check of a target, for a process that ends afterwards.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use sessionwatch_store::StoreError;

use super::{RunTiming, TargetMonitor};
use crate::{app::leadership::target_lease_name, blocking, schedule::DueRun};

/// The result of a round for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundResult {
    /// The name of the target.
    pub target: String,
    /// At least one check fails.
    pub is_failing: bool,
    /// At least one check is unknown, or the target could not be read.
    pub is_unknown: bool,
    /// The reason why there was no check run, if there was none.
    pub problem: Option<String>,
}

impl TargetMonitor {
    /// Runs every scheduled check once, and records the results.
    ///
    /// # Errors
    ///
    /// Returns an error if the state store cannot be read.
    pub(in crate::daemon) async fn run_single_round(
        self,
        lease_timeout: Duration,
    ) -> Result<RoundResult, StoreError> {
        let this = Arc::new(self);
        let name = this.target.name.clone();
        let unknown = |problem: &str| RoundResult {
            target: name.clone(),
            is_failing: false,
            is_unknown: true,
            problem: Some(problem.to_owned()),
        };
        let lease = target_lease_name(&name);
        let leading = this.state.app.lease_manager.wait_for_lease(&lease);
        // A daemon elsewhere may lead the target, and its results count just as well.
        let Ok(epoch) = tokio::time::timeout(lease_timeout, leading).await else {
            return Ok(unknown("another instance monitors this target"));
        };
        let loading = Arc::clone(&this);
        let (mut monitor_state, _) = blocking::run(move || loading.load_state(epoch)).await?;
        let schedules = this.config.check_schedules(&this.target);
        let due = DueRun {
            checks: schedules.iter().flat_map(|entry| entry.checks.iter().cloned()).collect(),
            ignore_constraints: false,
        };
        // A daemon reads every row once after its start, which would be each time here.
        monitor_state.fully_checked.clone_from(&due.checks);
        let timing = RunTiming { now: this.state.app.clock.now(), lag: SignedDuration::ZERO };
        let Some((monitor_state, summary)) = this.run_due_checks(&due, timing, monitor_state).await else {
            return Ok(unknown("an internal error prevented recording the results"));
        };
        let saving = Arc::clone(&this);
        // Saved at once: this process ends, and the next round compares with what it leaves behind.
        blocking::run(move || saving.save_history(&monitor_state)).await;
        Ok(match summary {
            Some(summary) => RoundResult {
                is_failing: summary.is_failing,
                is_unknown: summary.is_unknown,
                problem: None,
                target: name,
            },
            None => unknown("the check run was interrupted"),
        })
    }
}
