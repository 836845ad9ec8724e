//! Evaluates the log events of each target: correlates them with sessions and runs the log checks.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use sessionwatch_core::{correlation::MatchKind, timestamp::UtcTimestamp};
use sessionwatch_store::{
    StoreError, incidents, latest_reports,
    log_events::{self, LogEventRecord},
    transaction::Tx,
};
use sessionwatch_targets::{
    connect::ConnectedTarget, error::TargetError, listing::ListedSession, sql::SessionListQuery,
};
use tokio_util::sync::CancellationToken;

use super::RETRY_DELAY;
use crate::{
    app::{LiveEvent, leadership::target_lease_name},
    blocking,
    config::{Config, Target},
    daemon::{
        DaemonState,
        record_run::record_log_checks,
        tasks::{wait_to_retry, wait_until},
    },
    incident,
    logs::{
        self,
        evaluate::{self, EvalInput, PrefixLookup},
    },
    target_layouts,
};

/// The maximum number of log events evaluated at once.
const EVAL_BATCH_SIZE: u32 = 5_000;
/// Interval between evaluations without new events; idle sources and expiring windows still change results.
const EVAL_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// The same with a shared store, where another daemon may have read new events.
const SHARED_STORE_EVAL_INTERVAL: SignedDuration = SignedDuration::from_secs(2);
/// The maximum number of sessions that a prefix lookup may return; more would say little about any one event.
const MAX_LOOKUP_SESSIONS: usize = 50_000;
/// Query timeout for a lookup because of an urgent event.
const URGENT_LOOKUP_TIMEOUT: Duration = Duration::from_millis(1_200);
/// The maximum number of lookups per minute for urgent events.
const MAX_LOOKUPS_PER_MINUTE: usize = 5;
/// The maximum number of lookups per minute for a backlog without urgent events.
const MAX_BACKLOG_LOOKUPS_PER_MINUTE: usize = 3;
/// The maximum number of log events on an incident's timeline.
const MAX_TIMELINE_LOG_EVENTS: usize = 200;

/// Evaluates the log events of a target.
pub(super) struct LogEvaluator {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    target: Target,
    /// Times of the lookups in the last minute.
    recent_lookups: VecDeque<UtcTimestamp>,
}

impl LogEvaluator {
    pub(super) fn new(state: &Arc<DaemonState>, config: &Arc<Config>, target: Target) -> Self {
        Self { state: Arc::clone(state), config: Arc::clone(config), target, recent_lookups: VecDeque::new() }
    }

    /// Evaluates new events while this daemon leads the target, until stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let (state, lease) = (Arc::clone(&self.state), target_lease_name(&self.target.name));
        let mut news = state.ingest.new_events.subscribe();
        while let Some(epoch) = stop.run_until_cancelled(state.app.lease_manager.wait_for_lease(&lease)).await
        {
            // Before reading: events that arrive during the evaluation must cause another one.
            news.mark_unchanged();
            let begun = state.app.clock.now();
            // The sessions may be in a SQLite file, whose queries block.
            let evaluated = blocking::run_async(async move || {
                let outcome = self.evaluate_pending(epoch, begun).await;
                (self, outcome)
            });
            let outcome;
            (self, outcome) = evaluated.await;
            match outcome {
                Ok(true) | Err(StoreError::LeaseLost) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(target = self.target.name, "cannot evaluate log events: {error}");
                    wait_to_retry(RETRY_DELAY, &stop).await;
                }
            }
            // More often with a shared store, because another daemon's events send no wake-up here.
            let interval =
                if state.app.store.is_shared() { SHARED_STORE_EVAL_INTERVAL } else { EVAL_INTERVAL };
            tokio::select! {
                _ = wait_until(&state.app.clock, begun + interval, &stop) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// Evaluates new events and all log checks. Returns `true` if more events are waiting.
    async fn evaluate_pending(&mut self, epoch: i64, now: UtcTimestamp) -> Result<bool, StoreError> {
        let target = self.target.name.clone();
        let waiting = self
            .state
            .app
            .store
            .read(|db| log_events::list_unevaluated_log_events(db, &target, EVAL_BATCH_SIZE))?;
        let allowed = if waiting.iter().any(is_high_severity) {
            MAX_LOOKUPS_PER_MINUTE
        } else if waiting.len() == EVAL_BATCH_SIZE as usize {
            MAX_BACKLOG_LOOKUPS_PER_MINUTE
        } else {
            1
        };
        let correlated = match self.lookup_sessions(&waiting, allowed, now).await {
            // No event is urgent, so they wait until the next lookup is allowed.
            None => vec![],
            Some(table) => {
                let table = table.as_ref().map_err(String::as_str);
                waiting.iter().map(|event| (event, evaluate::correlate_event(event, table))).collect()
            }
        };
        // Collected before the write, which may run more than once.
        let bad: Vec<&LogEventRecord> = waiting.iter().filter(|event| is_high_severity(event)).collect();
        // Only new critical events reopen an incident: those from before its sessions were revoked are known.
        let critical = correlated.iter().any(|(event, (match_kind, _))| {
            *match_kind == Some(MatchKind::Contradicting)
                || event.severity.as_deref() == Some("critical")
                    && logs::is_confirmed(&event.kind, *match_kind)
        });
        let state = Arc::clone(&self.state);
        let store =
            state.app.lease_manager.fenced_store(&state.app.store, &target_lease_name(&target), epoch);
        // One transaction: an event counts as evaluated exactly if its effects are stored.
        let queued = store.write(|db| {
            for (event, (match_kind, detail)) in &correlated {
                let match_kind = match_kind.map(MatchKind::name);
                log_events::mark_evaluated(db, event.id, match_kind, &detail.to_string())?;
            }
            let results =
                evaluate::evaluate_log_checks(db, EvalInput { config: &self.config, target: &target, now })?;
            let queued = record_log_checks(db, &target, &results, &self.config, now)?;
            if let Some(why) = incident::reopen_reason_from_logs(&results).filter(|_| critical) {
                incident::reopen_incident(db, &target, &why, now)?;
            }
            // After reopening, so that the events are on the timeline of the reopened incident.
            if !correlated.is_empty() {
                append_to_incident(db, &target, &bad, now)?;
            }
            Ok(queued)
        })?;
        // After the commit, or the delivery task would find nothing.
        if queued > 0 {
            state.wake_delivery();
        }
        if !correlated.is_empty() {
            state.app.publish(LiveEvent::LogsEvaluated { target, at: now });
        }
        // Without a lookup, a full batch would be read again at once, in a busy loop.
        Ok(!correlated.is_empty() && waiting.len() == EVAL_BATCH_SIZE as usize)
    }

    /// Looks up the sessions that events name. Returns `None` if no lookup is allowed yet, or the reason why it failed.
    async fn lookup_sessions(
        &mut self,
        waiting: &[LogEventRecord],
        allowed: usize,
        now: UtcTimestamp,
    ) -> Option<Result<PrefixLookup, String>> {
        let urgent = allowed == MAX_LOOKUPS_PER_MINUTE;
        let prefixes: Vec<String> = waiting.iter().filter_map(|event| event.token_prefix.clone()).collect();
        // No prefix, no query: such events can be evaluated from the log alone.
        if prefixes.is_empty() {
            return Some(Ok(PrefixLookup::default()));
        }
        // By the absolute difference, so that a clock set back does not block lookups for hours.
        self.recent_lookups.retain(|at| now.duration_since(*at).abs() < EVAL_INTERVAL);
        if self.recent_lookups.len() >= allowed {
            let why =
                format!("lookup limit reached ({MAX_LOOKUPS_PER_MINUTE} queries per minute for log events)");
            // Urgent events are evaluated without sessions rather than late.
            return urgent.then_some(Err(why));
        }
        // Counted before the query: a failing database must not be asked more often than a healthy one.
        self.recent_lookups.push_back(now);
        let mut target = self.target.clone();
        if let Err(error) = target_layouts::set_known_layout(&self.state.app.store, &mut target) {
            return urgent.then_some(Err(error.to_string()));
        }
        if urgent {
            // An alert about a stolen token should not wait for a slow database.
            target.limits.timeout = target.limits.timeout.min(URGENT_LOOKUP_TIMEOUT);
        }
        let asked =
            tokio::time::timeout(target.limits.timeout, query_by_prefix(&self.config, &target, &prefixes));
        let matches = match asked.await {
            // At the limit, the list is cut, and a missing session would prove nothing.
            Ok(Ok(matches)) if matches.len() >= MAX_LOOKUP_SESSIONS => {
                return Some(Err("too many sessions match the token prefixes".into()));
            }
            Ok(Ok(matches)) => matches,
            Ok(Err(error)) => return Some(Err(format!("cannot query the sessions: {error}"))),
            Err(_) => return Some(Err("the session query timed out".into())),
        };
        let last = match self.state.app.store.read(|db| latest_reports::find_report(db, &target.name)) {
            Ok(last) => last,
            Err(error) => return Some(Err(error.to_string())),
        };
        // Before the first successful run, the matches are the best known lower bound of the number of sessions.
        let known = last.and_then(|(_, report)| report["stats"]["sessions"].as_u64());
        let total_sessions = known.unwrap_or(matches.len() as u64);
        Some(Ok(PrefixLookup { matches, total_sessions }))
    }
}

fn is_high_severity(event: &LogEventRecord) -> bool {
    matches!(event.severity.as_deref(), Some("high" | "critical"))
}

/// Queries the sessions whose tokens start with one of the prefixes.
async fn query_by_prefix(
    config: &Config,
    target: &Target,
    prefixes: &[String],
) -> Result<Vec<ListedSession>, TargetError> {
    let wanted: BTreeSet<String> =
        prefixes.iter().flat_map(|prefix| evaluate::possible_prefixes(prefix)).collect();
    let prefixes: Vec<String> = wanted.into_iter().collect();
    let opened = ConnectedTarget::open_with_timeout(target.connect_options(&config.catalogue)).await?;
    let scope = opened.query_scope(false, &config.checks.thresholds);
    let list = SessionListQuery { token_prefixes: &prefixes, ..SessionListQuery::all(MAX_LOOKUP_SESSIONS) };
    let lines = opened.session.list_sessions(&scope, list).await;
    // Closed even after an error, and without the pool: log lookups are rare.
    opened.session.close().await;
    lines
}

/// Adds severe log events to the timeline of the open incident.
fn append_to_incident(
    db: Tx<'_>,
    target: &str,
    bad: &[&LogEventRecord],
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    // Without an incident, the events are still stored and shown on the logs page.
    let Some(current) = incidents::find_open_incident(db, target)? else { return Ok(()) };
    let before =
        // Counted over the whole incident: a flood of log events must not hide what people did.
        incidents::list_timeline(db, &current.id)?.iter().filter(|entry| entry.kind == "log-event").count();
    for event in bad.iter().take(MAX_TIMELINE_LOG_EVENTS.saturating_sub(before)) {
        // Read again, since the correlation was written in this transaction.
        let known = log_events::find_log_event(db, event.id)?;
        let event = known.as_ref().unwrap_or(event);
        incidents::insert_timeline_entry(db, &current.id, &incident::timeline_entry(event, now)?)?;
    }
    Ok(())
}
