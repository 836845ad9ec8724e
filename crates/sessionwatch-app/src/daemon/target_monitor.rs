//! Monitors one target: runs its checks on schedule and records the results.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc::sync_channel},
    time::Duration,
};

use jiff::SignedDuration;
use sessionwatch_clock::to_signed_duration;
use sessionwatch_core::{session_history::SessionHistory, timestamp::UtcTimestamp};
use sessionwatch_store::{Store, StoreError, fingerprint_key, samples, session_history};
use sessionwatch_targets::{
    capabilities::Capability, connect::fingerprint_key, engine::Engine, error::TargetError,
    layout::known_layout::KnownLayout,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};
use tokio_util::sync::CancellationToken;

mod single_run;

pub use self::single_run::RoundResult;
use super::{
    DaemonState,
    metrics::RunSuccess,
    record_run::{self, RunRecord},
    tasks::wait_to_retry,
};
use crate::{
    app::{LiveEvent, failure_log::FailureKind, leadership::target_lease_name},
    blocking,
    check_run::{self, CheckReport, CheckRunRequest},
    config::{Config, Target},
    incident,
    sanitize::sanitize_text,
    schedule::{self, DueRun, RunScheduler},
    target_history::{RestoreRecord, TargetHistory},
    target_layouts,
};

/// Period over which the first runs of all targets are spread after a start.
const FIRST_RUN_SPREAD: SignedDuration = SignedDuration::from_secs(20);
/// Delay before a failed store access is retried.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Interval at which the store is asked whether an incident needs frequent runs.
const CONTAINMENT_CHECK_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// Write budget for the session snapshot, per minute.
const SNAPSHOT_BYTES_PER_MINUTE: i64 = 1 << 20;

/// The monitor task of one target.
#[derive(Debug)]
pub(super) struct TargetMonitor {
    pub(super) state: Arc<DaemonState>,
    pub(super) config: Arc<Config>,
    pub(super) target: Target,
    /// Index of the target, and number of targets.
    pub(super) position: (usize, usize),
    /// Signaled by `POST /targets/…/wake` and by requests for a run.
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

/// State kept between runs while this daemon leads the target.
#[derive(Debug)]
struct MonitorState {
    epoch: i64,
    /// Fenced: writes fail once the lease of `epoch` is lost.
    store: Store,
    history: TargetHistory,
    engine: Engine,
    /// Interval between the runs of each check.
    intervals: BTreeMap<String, SignedDuration>,
    /// Time of the last save of the snapshot, and delay until the next one.
    last_save: Option<(UtcTimestamp, SignedDuration)>,
    /// Checks for which this process has read every row once instead of trusting indexes and constraints.
    fully_checked: BTreeSet<String>,
}

/// Time of a run.
#[derive(Clone, Copy, Debug)]
struct RunTiming {
    now: UtcTimestamp,
    /// Delay since the run was due.
    lag: SignedDuration,
}

#[derive(Clone, Copy, Debug)]
struct RunSummary {
    duration: SignedDuration,
    succeeded: bool,
    is_failing: bool,
    is_unknown: bool,
}

impl TargetMonitor {
    /// Monitors the target whenever this daemon leads it, until stopped.
    pub(super) async fn run(self) {
        let this = Arc::new(self);
        let lease = target_lease_name(&this.target.name);
        while let Some(epoch) =
            this.stop.run_until_cancelled(this.state.app.lease_manager.wait_for_lease(&lease)).await
        {
            let beginning = Arc::clone(&this);
            match blocking::run(move || beginning.load_state(epoch)).await {
                Ok((monitor_state, timetable)) => {
                    // Logged once per outage, not on each attempt.
                    if this.state.failures_logged.record_success(FailureKind::LoadHistory, &this.target.name)
                    {
                        tracing::info!(
                            target = this.target.name,
                            "the store is readable again, starting check runs"
                        );
                    }
                    this.run_while_leading(monitor_state, timetable).await;
                }
                Err(error) => {
                    let cause = error.to_string();
                    if this.state.failures_logged.record_failure(
                        FailureKind::LoadHistory,
                        &this.target.name,
                        &cause,
                    ) {
                        tracing::error!(target = this.target.name, "cannot start check runs: {cause}");
                    }
                    wait_to_retry(RETRY_DELAY, &this.stop).await;
                }
            }
        }
    }

    /// Loads the state that an earlier process or leader saved.
    fn load_state(&self, epoch: i64) -> Result<(MonitorState, RunScheduler), StoreError> {
        let name = &self.target.name;
        let store =
            self.state.app.lease_manager.fenced_store(&self.state.app.store, &target_lease_name(name), epoch);
        // Written only if missing: fingerprints of different keys cannot be compared.
        let key = store.write(|db| fingerprint_key::ensure_fingerprint_key(db, fingerprint_key()))?;
        let now = self.state.app.clock.now();
        // In one read, so that snapshot and last run belong together.
        let (snapshot, last_run, growth) = self.state.app.store.read(|db| {
            Ok((
                session_history::find_snapshot(db, name)?,
                samples::last_run_at(db, name)?,
                samples::find_session_growth(db, name, now)?,
            ))
        })?;
        // Results of an earlier term are outdated, since another daemon has led the target meanwhile.
        self.state.metrics.begin_epoch(name, epoch);
        self.state.app.clear_next_run(name);
        self.state.restore_last_success(&self.config, &self.target)?;
        let history = snapshot.as_ref().map(|(_, bytes)| SessionHistory::from_bytes(bytes)).transpose();
        let history = history.unwrap_or_else(|error| {
            // Checks that compare runs are unknown until the next snapshot, which is better than not monitoring at all.
            tracing::warn!(
                target = name,
                "cannot decode the stored session snapshot, so the next run compares with nothing: {error}"
            );
            None
        });
        let target_history =
            // Without a snapshot, the time of the last run says nothing about the sessions that existed
            // then.
            TargetHistory::from_stored(key, history)
                .with_last_run(snapshot.as_ref().and(last_run), growth)
                .with_restores(RestoreRecord { store: self.state.app.store.clone(), target: name.clone() });
        let (number, of) = self.position;
        // By position, not at random: an even spread keeps the runs of all targets from bunching up.
        let share = i32::try_from(number * 1_000 / of.max(1)).unwrap_or(0);
        let first = self.state.app.clock.now() + FIRST_RUN_SPREAD / 1_000 * share;
        let timetable = RunScheduler::new(name, self.config.check_schedules(&self.target), last_run, first);
        Ok((
            MonitorState {
                epoch,
                store,
                history: target_history,
                engine: Engine::new(self.target.engine),
                intervals: self.check_intervals(),
                last_save: None,
                fully_checked: BTreeSet::new(),
            },
            timetable,
        ))
    }

    /// Runs checks until the lease is lost or the task is stopped.
    async fn run_while_leading(
        self: &Arc<Self>,
        mut monitor_state: MonitorState,
        mut timetable: RunScheduler,
    ) {
        let state = &self.state;
        let lease = target_lease_name(&self.target.name);
        let mut incidents_checked_at = None;
        loop {
            let now = state.app.clock.now();
            // Otherwise a run that was due "later" would wait until the clock has caught up.
            if timetable.has_clock_moved_back(now) {
                timetable.clamp_to(now);
            }
            if incidents_checked_at.is_none_or(|incidents_checked_at: UtcTimestamp| {
                now.duration_since(incidents_checked_at).abs() >= CONTAINMENT_CHECK_INTERVAL
            }) {
                incidents_checked_at = Some(now);
                let name = self.target.name.clone();
                let is_closely_monitored = blocking::read_store(&state.app.store, move |db| {
                    incident::is_closely_monitored(db, &name, now)
                })
                .await;
                // If the store does not answer, the normal interval goes on.
                timetable.set_high_frequency(is_closely_monitored.unwrap_or(false));
            }
            let next = timetable.next_run_at(now);
            // Published before the wait, for the countdown on the target page.
            state.app.set_next_run(&self.target.name, next);
            tokio::select! {
                () = state.app.clock.sleep_until(next) => {}
                () = self.wake.notified() => timetable.request_run(),
                () = self.stop.cancelled() => {}
            }
            // After each wake-up: a monitor that hangs in a run gives no heartbeat, which the watchdog
            // notices.
            state.record_heartbeat();
            if self.stop.is_cancelled() || state.app.lease_manager.epoch(&lease) != Some(monitor_state.epoch)
            {
                break;
            }
            // Read again, because the wait may have been long.
            let now = state.app.clock.now();
            let Some(due) = timetable.due_run(now) else { continue };
            // Never negative: a requested run starts before the scheduled time.
            let occasion = RunTiming { now, lag: now.duration_since(next).max(SignedDuration::ZERO) };
            let Some((after, ran)) = self.run_due_checks(&due, occasion, monitor_state).await else {
                // The state between runs is lost with the thread, so monitoring cannot continue safely.
                return state.report_fatal("the recording of a check run panicked");
            };
            monitor_state = after;
            let Some(ran) = ran else { break };
            timetable.record_run(&due, now, ran.duration, ran.succeeded);
        }
        // After the loop on every path, so that the next leader compares with the latest snapshot.
        let this = Arc::clone(self);
        blocking::run(move || this.save_history(&monitor_state)).await;
    }

    /// Runs the due checks and records their results. A run that cannot start counts as failed. Returns `None` if
    /// recording panicked.
    async fn run_due_checks(
        self: &Arc<Self>,
        due: &DueRun,
        occasion: RunTiming,
        monitor_state: MonitorState,
    ) -> Option<(MonitorState, Option<RunSummary>)> {
        // Its own thread: reading a SQLite file blocks, and aggregating a large scan keeps a core busy. The state is
        // handed over by channel, so that it is still here if the thread cannot be spawned.
        let (hand_over, handed) = sync_channel(1);
        let (answer, answered) = oneshot::channel();
        let (this, when, runtime) = (Arc::clone(self), due.clone(), Handle::current());
        let spawned = std::thread::Builder::new().name("run".into()).spawn(move || {
            // The channel closes if the awaiting task was dropped, and nobody waits for the outcome.
            if let Ok(monitor_state) = handed.recv() {
                let outcome = this.run_and_record(&when, occasion, monitor_state, &runtime);
                // Before the answer: whoever waits for it may close the store and open it again, for which its lock
                // must be released.
                drop(this);
                let _ = answer.send(outcome);
            }
        });
        match spawned {
            Ok(_) => {
                let _ = hand_over.send(monitor_state);
                answered.await.ok()
            }
            Err(error) => {
                let only: Vec<String> = due.checks.iter().cloned().collect();
                // No thread is a finding too: the target was not read, and its alert must be able to fire.
                let report = check_run::failed_report(
                    self.check_run_request(due, &only, occasion.now, &monitor_state.history),
                    TargetError::from_io_error(&error),
                );
                let this = Arc::clone(self);
                Some(blocking::run(move || this.conclude_run(report, occasion, monitor_state)).await)
            }
        }
    }

    fn check_run_request<'a>(
        &'a self,
        due: &DueRun,
        requested_ids: &'a [String],
        now: UtcTimestamp,
        history: &'a TargetHistory,
    ) -> CheckRunRequest<'a> {
        CheckRunRequest {
            target: &self.target,
            catalogue: &self.config.catalogue,
            settings: &self.config.checks,
            ignore_constraints: due.ignore_constraints,
            requested_ids,
            history: Some((history, now)),
        }
    }

    /// Runs the checks and records the results. The summary is `None` if the daemon stopped during the run.
    fn run_and_record(
        &self,
        due: &DueRun,
        occasion: RunTiming,
        mut monitor_state: MonitorState,
        runtime: &Handle,
    ) -> (MonitorState, Option<RunSummary>) {
        let only: Vec<String> = due.checks.iter().cloned().collect();
        // Set for each run: the confirmed time moves on, and the history forgets by it.
        monitor_state.history.set_confirmed_time(self.state.retention_now());
        // Constraints are trusted only after one full read confirmed them.
        let due = &DueRun {
            ignore_constraints: due.ignore_constraints || !due.checks.is_subset(&monitor_state.fully_checked),
            ..due.clone()
        };
        let mut target = self.target.clone();
        let located = target_layouts::set_known_layout(&self.state.app.store, &mut target);
        let request = CheckRunRequest {
            target: &target,
            ..self.check_run_request(due, &only, occasion.now, &monitor_state.history)
        };
        if let Err(error) = located {
            // Never run on a guessed table: without the known layout, another one might be picked.
            return self.conclude_run(check_run::failed_report(request, error), occasion, monitor_state);
        }
        let engine = &mut monitor_state.engine;
        // A bug in one check must not end the monitoring of all others.
        let report = catch_panic(|| self.run_interruptible(request, &mut *engine, runtime));
        let report = report.unwrap_or_else(|bug| {
            // A panic may have left the engine's state half updated.
            *engine = Engine::new(self.target.engine);
            Some(check_run::failed_report(request, bug))
        });
        let Some(report) = report else { return (monitor_state, None) };
        // A table too large to be read in full within the time limit must not fail every run; the nightly full check
        // retries.
        if matches!(report.observation, Ok(_) | Err(TargetError::TimedOut(_) | TargetError::StatementTimeout))
        {
            monitor_state.fully_checked.extend(only);
        }
        self.conclude_run(report, occasion, monitor_state)
    }

    /// Runs the checks. Returns `None` if the daemon stops during the run.
    fn run_interruptible(
        &self,
        request: CheckRunRequest<'_>,
        engine: &mut Engine,
        runtime: &Handle,
    ) -> Option<CheckReport> {
        // On shutdown the run is dropped: no result is recorded, and the database cancels the query.
        runtime.block_on(self.stop.run_until_cancelled(check_run::run_checks(request, engine)))
    }

    /// Logs the outcome of a run, and records its results.
    fn conclude_run(
        &self,
        report: CheckReport,
        occasion: RunTiming,
        monitor_state: MonitorState,
    ) -> (MonitorState, Option<RunSummary>) {
        let (name, logged) = (self.target.name.as_str(), &self.state.failures_logged);
        match &report.observation {
            Err(error) => {
                // The text of the database may contain control characters, which would reach the terminal.
                let cause = sanitize_text(&error.to_string());
                if logged.record_failure(FailureKind::CheckRun, name, &cause) {
                    tracing::error!(
                        target = name,
                        hint = error.hint(),
                        "check run on {name} failed: {cause}"
                    );
                }
            }
            Ok(_) if logged.record_success(FailureKind::CheckRun, name) => {
                tracing::info!(target = name, "check runs on {name} succeed again");
            }
            Ok(_) => {}
        }
        // SQLite has no clock of its own: it would be compared with itself.
        let has_clock = self.target.address.capabilities().supports(Capability::ServerClock);
        if let (Ok(observation), true) = (&report.observation, has_clock) {
            self.state.compare_clock(name, observation.stats.taken_at, observation.clock_read_at);
        }
        let ran = RunSummary {
            duration: to_signed_duration(report.duration),
            succeeded: report.observation.is_ok(),
            is_failing: report.verdict() == "failing",
            is_unknown: report.verdict() == "unknown" || report.observation.is_err(),
        };
        (self.record_results(report, occasion, ran, monitor_state), Some(ran))
    }

    fn record_success(&self, at: UtcTimestamp, duration: SignedDuration) {
        let schedules = self.config.check_schedules(&self.target);
        let valid_until = schedule::fresh_until(&schedules, at, duration);
        self.state.metrics.record_success(&self.target.name, RunSuccess { at, valid_until });
    }

    /// Delivers the notifications that a recorded run queued, and refreshes open pages.
    fn announce_run(&self, queued: u32, now: UtcTimestamp) {
        if queued > 0 {
            self.state.wake_delivery();
        }
        self.state.app.publish(LiveEvent::RunFinished { target: self.target.name.clone(), at: now });
    }

    fn record_results(
        &self,
        mut report: CheckReport,
        occasion: RunTiming,
        ran: RunSummary,
        mut monitor_state: MonitorState,
    ) -> MonitorState {
        let (state, name) = (&self.state, self.target.name.as_str());
        let RunTiming { now, lag } = occasion;
        // Before the history is taken out of the report below.
        let sample = record_run::to_sample(&report, now);
        let news = report.history_update.as_ref().and_then(|update| update.changes.as_ref());
        let news =
            news.is_some_and(|changes| !changes.reassigned.is_empty() || !changes.reappeared.is_empty());
        let next = report.history_update.take().map(|update| monitor_state.history.advance(update, now));
        // Reassigned and reappeared sessions are reported once, so the snapshot that contains them is saved at once.
        let is_save_due = news || monitor_state.is_save_due(now);
        let bytes = next.as_ref().filter(|_| is_save_due).and_then(TargetHistory::to_bytes);
        // Determined before the write, which may run more than once.
        let reopen_reasons = incident::reopen_reasons(&report);
        // An ambiguous layout must not become the known one that later runs are compared with.
        let certain = report.observation.as_ref().ok().filter(|seen| seen.is_layout_certain);
        let layout = certain.map(|seen| KnownLayout::from_mapping(&seen.candidate.mapping));
        let run = RunRecord {
            report: &report,
            sample: &sample,
            serve: &self.config.serve,
            rules: &self.config.checks,
            intervals: &monitor_state.intervals,
            now,
            retention_now: state.retention_now(),
        };
        // One transaction: a run without its alerts, or the reverse, would contradict the dashboard.
        let outcome = monitor_state.store.write(|db| {
            if let Some(bytes) = &bytes {
                // With the results: a snapshot that is ahead of them would hide the changes it contains.
                session_history::upsert_snapshot(db, name, bytes, now)?;
            }
            incident::reopen_after_run(db, name, &reopen_reasons, now)?;
            if let Some(layout) = &layout {
                target_layouts::record_detected_layout(db, &self.target, layout, now)?;
            }
            record_run::record_run(db, run)
        });
        // After the write, so that a run that shows in the metrics also has its results in the store.
        state.metrics.record_run(&report, &sample, lag);
        match outcome {
            Ok(queued) => {
                // Only now: a snapshot of a failed transaction was not saved.
                monitor_state.record_save(bytes.as_deref(), now);
                monitor_state.history = next.unwrap_or(monitor_state.history);
                if ran.succeeded {
                    self.record_success(now, ran.duration);
                }
                if state.failures_logged.record_success(FailureKind::RecordRun, name) {
                    tracing::info!(target = name, "check run results can be stored again");
                }
                tracing::debug!(target = name, notifications = queued, "check run recorded");
                self.announce_run(queued, now);
            }
            // The new leader runs the same checks, so no finding is lost.
            Err(StoreError::LeaseLost) => {
                tracing::warn!(target = name, "another daemon now leads {name}, discarding the check run")
            }
            Err(error @ (StoreError::FileDeleted(_) | StoreError::FileReplaced(_))) => {
                state.report_store_lost(&error)
            }
            // The history was not advanced: the next run finds the same changes and notifies then.
            Err(error) => {
                let cause = error.to_string();
                if state.failures_logged.record_failure(FailureKind::RecordRun, name, &cause) {
                    tracing::error!(target = name, "cannot store check run results: {cause}");
                }
            }
        }
        monitor_state
    }

    /// Returns the shortest interval between the runs of each check.
    fn check_intervals(&self) -> BTreeMap<String, SignedDuration> {
        let now = self.state.app.clock.now();
        let mut distances = BTreeMap::new();
        for entry in self.config.check_schedules(&self.target) {
            let distance = entry.schedule.interval_at(now);
            for check in &entry.checks {
                // The shortest interval decides how soon a check is expected to confirm its result.
                let least = distances.entry(check.clone()).or_insert(distance);
                *least = distance.min(*least);
            }
        }
        distances
    }

    /// Saves the session snapshot for a later process.
    fn save_history(&self, monitor_state: &MonitorState) {
        // No history: the target has not been read since the start.
        let Some(bytes) = monitor_state.history.to_bytes() else { return };
        let (name, now) = (self.target.name.as_str(), self.state.app.clock.now());
        if let Err(error) =
            monitor_state.store.write(|db| session_history::upsert_snapshot(db, name, &bytes, now))
        {
            tracing::warn!(
                target = name,
                "cannot save the session snapshot, so the first check run after a restart will compare with an \
                 older one: {error}"
            );
        }
    }
}

fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, TargetError> {
    // Sound: state shared with other tasks is behind locks that tolerate poisoning.
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| TargetError::Bug)
}

impl MonitorState {
    fn is_save_due(&self, now: UtcTimestamp) -> bool {
        // A save in the future was made before the clock was set back.
        self.last_save.is_none_or(|(at, wait)| now.duration_since(at) >= wait || at > now)
    }

    fn record_save(&mut self, saved: Option<&[u8]>, now: UtcTimestamp) {
        if let Some(bytes) = saved {
            // A large snapshot is saved less often, to stay within the write budget.
            let minutes = i64::try_from(bytes.len()).unwrap_or(i64::MAX) / SNAPSHOT_BYTES_PER_MINUTE;
            self.last_save = Some((now, SignedDuration::from_mins(minutes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failed_run() {
        assert_eq!(catch_panic(|| 1).ok(), Some(1));
        assert!(matches!(catch_panic(|| panic!("a bug")), Err(TargetError::Bug)));
    }
}
