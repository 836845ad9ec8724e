//! Whether what logs say is alarming, for each target.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::SignedDuration;
use sessionwatch_core::{correlation::MatchKind, instant::Instant};
use sessionwatch_store::{
    StoreError,
    db::Db,
    incidents, reports,
    signals::{self, Kept},
};
use sessionwatch_targets::{connect::ConnectedTarget, error::TargetError, listing::Line, sql::List};
use tokio_util::sync::CancellationToken;

use super::RETRY_DELAY;
use crate::{
    app::{LiveEvent, leadership::lease},
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
        judge::{self, Table, View},
    },
    target_layouts,
};

/// Signals that are judged at once.
const SIGNALS_AT_ONCE: u32 = 5_000;
/// How often it is judged where nothing new was read.
const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// The same where other daemons may have read something.
const SHARED_INTERVAL: SignedDuration = SignedDuration::from_secs(2);
/// Sessions that begin as the signals say, of which more cannot be told apart.
const LOOKUP_LIMIT: usize = 50_000;
/// How long the table may take to say what an urgent signal is about.
const URGENT_TIMEOUT: Duration = Duration::from_millis(1_200);
/// Times in a minute that a table may be asked at once because of signals.
const LOOKUPS_A_MINUTE: usize = 5;
/// The same where nothing is urgent, but there is more than can be judged at once.
const BUSY_LOOKUPS_A_MINUTE: usize = 3;
/// Signals that an incident's timeline takes.
const TIMELINE_SIGNALS: usize = 200;

/// Judges the signals of a target.
pub(super) struct LogEvaluator {
    state: Arc<DaemonState>,
    config: Arc<Config>,
    target: Target,
    /// When the table was asked, lately.
    lookups: VecDeque<Instant>,
}

impl LogEvaluator {
    pub(super) fn new(state: &Arc<DaemonState>, config: &Arc<Config>, target: Target) -> Self {
        Self { state: Arc::clone(state), config: Arc::clone(config), target, lookups: VecDeque::new() }
    }

    /// Evaluates what is new while this daemon leads the target, until that is to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let (state, lease) = (Arc::clone(&self.state), lease(&self.target.name));
        let mut news = state.intake.news.subscribe();
        while let Some(term) = stop.run_until_cancelled(state.app.leadership.lead(&lease)).await {
            news.mark_unchanged();
            let begun = state.app.clock.now();
            // The table may be in a file, and asking it blocks.
            let evaluated = blocking::drive(async move || {
                let outcome = self.evaluate(term, begun).await;
                (self, outcome)
            });
            let outcome;
            (self, outcome) = evaluated.await;
            match outcome {
                Ok(true) | Err(StoreError::Fenced) => continue,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(target = self.target.name, "what logs say could not be judged: {error}");
                    wait_to_retry(RETRY_DELAY, &stop).await;
                }
            }
            let interval = if state.app.store.is_shared() { SHARED_INTERVAL } else { INTERVAL };
            tokio::select! {
                _ = wait_until(&state.app.clock, begun + interval, &stop) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// Judges what is new, and every check anew: whether there is more.
    async fn evaluate(&mut self, term: i64, now: Instant) -> Result<bool, StoreError> {
        let target = self.target.name.clone();
        let waiting = self.state.app.store.read(|db| signals::unjudged(db, &target, SIGNALS_AT_ONCE))?;
        let allowed = if waiting.iter().any(is_bad) {
            LOOKUPS_A_MINUTE
        } else if waiting.len() == SIGNALS_AT_ONCE as usize {
            BUSY_LOOKUPS_A_MINUTE
        } else {
            1
        };
        let joined = match self.table(&waiting, allowed, now).await {
            // Nothing of it is urgent: it waits until the table may be asked again.
            None => vec![],
            Some(table) => {
                let table = table.as_ref().map_err(String::as_str);
                waiting.iter().map(|signal| (signal, judge::joined(signal, table))).collect()
            }
        };
        let bad: Vec<&Kept> = waiting.iter().filter(|signal| is_bad(signal)).collect();
        // What was critical before sessions were ended is no reason to begin again.
        let critical = joined.iter().any(|(signal, (fit, _))| {
            *fit == Some(MatchKind::Contradicting)
                || signal.severity.as_deref() == Some("critical") && logs::is_confirmed(&signal.kind, *fit)
        });
        let state = Arc::clone(&self.state);
        let store = state.app.leadership.fenced(&state.app.store, &lease(&target), term);
        let told = store.write(|db| {
            for (signal, (fit, detail)) in &joined {
                let fit = fit.map(MatchKind::name);
                signals::judge(db, signal.id, fit, &detail.to_string())?;
            }
            let judged = judge::outcomes(db, View { config: &self.config, target: &target, now })?;
            let told = record_log_checks(db, &target, &judged, &self.config, now)?;
            if let Some(why) = incident::reopen_reason_from_logs(&judged).filter(|_| critical) {
                incident::reopen(db, &target, &why, now)?;
            }
            // After that, so that the line is on the timeline of the incident that it reopened.
            if !joined.is_empty() {
                note(db, &target, &bad, now)?;
            }
            Ok(told)
        })?;
        if told > 0 {
            state.nudge();
        }
        if !joined.is_empty() {
            state.app.publish(LiveEvent::Judged { target, at: now });
        }
        Ok(!joined.is_empty() && waiting.len() == SIGNALS_AT_ONCE as usize)
    }

    /// The sessions that signals are about; nothing while the table should not be asked, or why it does not say.
    async fn table(
        &mut self,
        waiting: &[Kept],
        allowed: usize,
        now: Instant,
    ) -> Option<Result<Table, String>> {
        let urgent = allowed == LOOKUPS_A_MINUTE;
        let prefixes: Vec<String> = waiting.iter().filter_map(|signal| signal.prefix.clone()).collect();
        if prefixes.is_empty() {
            return Some(Ok(Table::default()));
        }
        self.lookups.retain(|at| now.duration_since(*at).abs() < INTERVAL);
        if self.lookups.len() >= allowed {
            let why = format!("the table was asked {LOOKUPS_A_MINUTE} times in a minute because of signals");
            return urgent.then_some(Err(why));
        }
        self.lookups.push_back(now);
        let mut target = self.target.clone();
        if let Err(error) = target_layouts::locate(&self.state.app.store, &mut target) {
            return urgent.then_some(Err(error.to_string()));
        }
        if urgent {
            target.limits.timeout = target.limits.timeout.min(URGENT_TIMEOUT);
        }
        let asked = tokio::time::timeout(target.limits.timeout, lookup(&self.config, &target, &prefixes));
        let lines = match asked.await {
            Ok(Ok(lines)) if lines.len() >= LOOKUP_LIMIT => {
                return Some(Err("too many sessions begin like that".into()));
            }
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => return Some(Err(format!("the table cannot be asked: {error}"))),
            Err(_) => return Some(Err("the table did not answer in time".into())),
        };
        let last = match self.state.app.store.read(|db| reports::document(db, &target.name)) {
            Ok(last) => last,
            Err(error) => return Some(Err(error.to_string())),
        };
        // Before the first look, and after one that failed, no more of them are known than these.
        let known = last.and_then(|(_, report)| report["census"]["sessions"].as_u64());
        let sessions = known.unwrap_or(lines.len() as u64);
        Some(Ok(Table { lines, sessions }))
    }
}

fn is_bad(signal: &Kept) -> bool {
    matches!(signal.severity.as_deref(), Some("high" | "critical"))
}

/// The sessions whose tokens begin so.
async fn lookup(config: &Config, target: &Target, prefixes: &[String]) -> Result<Vec<Line>, TargetError> {
    let wanted: BTreeSet<String> = prefixes.iter().flat_map(|prefix| judge::shown_as(prefix)).collect();
    let prefixes: Vec<String> = wanted.into_iter().collect();
    let opened = ConnectedTarget::open_in_time(target.connect_options(&config.catalogue)).await?;
    let scope = opened.scope(false, &config.rules.thresholds);
    let list = List { prefixes: &prefixes, ..List::all(LOOKUP_LIMIT) };
    let lines = opened.session.list(&scope, list).await;
    opened.session.close().await;
    lines
}

/// Puts bad signals on the timeline of the incident that is open.
fn note(db: Db<'_>, target: &str, bad: &[&Kept], now: Instant) -> Result<(), StoreError> {
    let Some(current) = incidents::current(db, target)? else { return Ok(()) };
    let before = incidents::timeline(db, &current.id)?.iter().filter(|entry| entry.kind == "signal").count();
    for signal in bad.iter().take(TIMELINE_SIGNALS.saturating_sub(before)) {
        // What it was joined to was written a moment ago.
        let known = signals::get(db, signal.id)?;
        let signal = known.as_ref().unwrap_or(signal);
        incidents::add(db, &current.id, &incident::timeline_entry(signal, now)?)?;
    }
    Ok(())
}
