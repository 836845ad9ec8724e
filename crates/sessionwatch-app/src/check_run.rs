//! A check run in five stages, each of which returns a complete value: connect, detect the layout, observe, evaluate,
//! report. An error makes checks unknown, never passing.

mod evaluate;
mod evidence;
mod notes;
mod visibility;

use std::time::{Duration, Instant as Monotonic};

use jiff::SignedDuration;
use sessionwatch_core::{
    checks::{CheckOutcome, CheckVerdict, custom},
    local_time::TimeZoneDoubts,
    session_history::SessionChanges,
    session_stats::SessionStats,
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_targets::{
    address::TargetAddress,
    capabilities::Capability,
    connect::{ConnectOptions, ConnectedTarget},
    engine::{Engine, EngineKind, EngineObservation},
    error::TargetError,
    evidence::EvidenceRow,
    layout::{
        TableActivity,
        detect::{self, LayoutCandidate},
        profile_catalog::Profile,
    },
    read_session::ReadSession,
    scope::QueryScope,
};

use self::evaluate::{CheckDecision, evaluate_checks};
pub use self::visibility::hidden_sessions_reason;
use crate::{
    checks::{self, CheckSettings, CustomCheck},
    config::Target,
    progress,
    target_history::{self, HistoryUpdate, ReadPosition, ReplicaRole, TargetHistory},
};

/// The target of a check run, and its settings.
#[derive(Clone, Copy, Debug)]
pub struct CheckRunRequest<'a> {
    /// Target.
    pub target: &'a Target,
    /// All known profiles.
    pub catalogue: &'a [Profile],
    /// Enabled checks and their thresholds.
    pub settings: &'a CheckSettings,
    /// Read every row instead of trusting indexes and constraints.
    pub ignore_constraints: bool,
    /// Ids of the checks to run; empty for all that are enabled.
    pub requested_ids: &'a [String],
    /// History of earlier runs and the current time of the daemon; `None` for a single run.
    pub history: Option<(&'a TargetHistory, UtcTimestamp)>,
}

/// A check and its outcome.
#[derive(Clone, Debug)]
pub struct CheckResult {
    /// Check id.
    pub id: String,
    /// Severity.
    pub severity: Severity,
    /// Action to take when it fails; may be empty.
    pub action: String,
    /// Outcome.
    pub outcome: CheckOutcome,
    /// Rows or users that prove a failure.
    pub evidence: Vec<EvidenceRow>,
    /// The finding is accepted: an earlier report, given as the baseline report, has it too.
    pub is_accepted: bool,
}

impl CheckResult {
    /// Creates a result that is not accepted.
    pub(crate) fn new(
        id: &str,
        severity: Severity,
        action: &str,
        outcome: CheckOutcome,
        evidence: Vec<EvidenceRow>,
    ) -> Self {
        Self { id: id.into(), severity, action: action.into(), outcome, evidence, is_accepted: false }
    }
}

/// The facts of a target at the time of a run.
#[derive(Clone, Debug)]
pub struct RunObservation {
    /// Layout of its session tables.
    pub candidate: LayoutCandidate,
    /// Session stats.
    pub stats: SessionStats,
    /// `false` if another table may hold the sessions.
    pub is_layout_certain: bool,
    /// Monotonic time at which the database clock was read, which is the time of the stats.
    pub clock_read_at: Monotonic,
    /// A users table exists that this role may not read.
    pub has_unreadable_users: bool,
}

/// The report of a check run.
#[derive(Debug)]
pub struct CheckReport {
    /// Target name.
    pub target: String,
    /// Commands find the target without its name.
    pub is_default_target: bool,
    /// Engine.
    pub engine: EngineKind,
    /// Duration of the run.
    pub duration: Duration,
    /// Facts, or the reason why there are none.
    pub observation: Result<RunObservation, TargetError>,
    /// One result per check.
    pub results: Vec<CheckResult>,
    /// Notes about this target.
    pub notes: Vec<String>,
    /// Lag of the replica that was checked; `None` if it is unknown, or no replica was checked.
    pub replica_lag: Option<SignedDuration>,
    /// Session history to keep, where runs are compared.
    pub history_update: Option<HistoryUpdate>,
}

/// The parts of the report of a successful run.
struct CompletedRun {
    observation: RunObservation,
    results: Vec<CheckResult>,
    notes: Vec<String>,
    replica_lag: Option<SignedDuration>,
    history_update: Option<HistoryUpdate>,
}

impl CheckRunRequest<'_> {
    fn is_requested(&self, id: &str) -> bool {
        self.requested_ids.is_empty() || self.requested_ids.iter().any(|only| only == id)
    }

    fn custom_checks(&self) -> impl Iterator<Item = &CustomCheck> {
        let applies_to_target =
            |custom: &&CustomCheck| custom.targets.is_empty() || custom.targets.contains(&self.target.name);
        self.settings
            .custom_checks
            .iter()
            .filter(applies_to_target)
            .filter(|custom| self.is_requested(&custom.id))
    }

    fn builtin_checks(&self) -> impl Iterator<Item = checks::Check> {
        // A check that is requested by name runs even if it is disabled.
        let is_selected = |check: &checks::Check| {
            if self.requested_ids.is_empty() {
                self.settings.is_enabled(check.id)
            } else {
                self.is_requested(check.id)
            }
        };
        checks::TABLE_CHECKS
            .into_iter()
            .filter(|check| !check.needs_previous_run || self.history.is_some())
            .filter(is_selected)
    }
}

/// Runs the checks within the target's time limit: on its replica, if it has one, and on the primary if that fails.
pub async fn run_checks(request: CheckRunRequest<'_>, engine: &mut Engine) -> CheckReport {
    let started = Monotonic::now();
    let target = request.target;
    let limit = target.limits.timeout;
    let mut missed = None;
    if let Some(replica) = &target.replica_address {
        let copy = RunEndpoint { address: replica, role: ReplicaRole::Replica, started, limit: limit / 2 };
        match try_endpoint(request, copy, engine).await {
            Ok(found) => return build_report(request, started, Ok(found)),
            Err(error) => missed = Some(error),
        }
    }
    let (missed, hanging) =
        missed.map_or((None, None), |AttemptError { error, open_session: hanging }| (Some(error), hanging));
    let copy = RunEndpoint { address: &target.address, role: ReplicaRole::Primary, started, limit };
    let attempt = try_endpoint(request, copy, engine);
    // The run does not wait for a hanging replica: cancelling its query takes time of its own.
    let (outcome, ()) = tokio::join!(attempt, abandon_session(hanging));
    let outcome = match outcome {
        Ok(mut found) => {
            found.notes.extend(missed.map(|error| format!("the replica could not be checked: {error}")));
            Ok(found)
        }
        Err(AttemptError { error, open_session: hanging }) => {
            abandon_session(hanging).await;
            Err(error)
        }
    };
    build_report(request, started, outcome)
}

/// Runs the checks once, with an engine of its own.
pub async fn run_checks_once(request: CheckRunRequest<'_>) -> CheckReport {
    run_checks(request, &mut Engine::new(request.target.engine)).await
}

/// Returns the report of a run that could not start or was interrupted: every check is unknown.
#[must_use]
pub fn failed_report(request: CheckRunRequest<'_>, error: TargetError) -> CheckReport {
    build_report(request, Monotonic::now(), Err(error))
}

/// A failed attempt on one server.
struct AttemptError {
    error: TargetError,
    /// The session, if a query may still be running on it.
    open_session: Option<ReadSession>,
}

impl From<TargetError> for AttemptError {
    fn from(error: TargetError) -> Self {
        Self { error, open_session: None }
    }
}

async fn abandon_session(open_session: Option<ReadSession>) {
    if let Some(session) = open_session {
        session.cancel_and_close().await;
    }
}

fn build_report(
    request: CheckRunRequest<'_>,
    started: Monotonic,
    outcome: Result<CompletedRun, TargetError>,
) -> CheckReport {
    let (engine, duration) = (request.target.engine, started.elapsed());
    let (target, is_default_target) =
        (request.target.name.clone(), request.target.default_config_value.is_some());
    match outcome {
        Ok(CompletedRun { observation, results, notes, replica_lag, history_update }) => CheckReport {
            target,
            is_default_target,
            engine,
            duration,
            observation: Ok(observation),
            results,
            notes,
            replica_lag,
            history_update,
        },
        Err(error) => {
            let results = all_unknown(request, &error.to_string());
            let (notes, replica_lag, history_update) = (vec![], None, None);
            CheckReport {
                target,
                is_default_target,
                engine,
                duration,
                observation: Err(error),
                results,
                notes,
                replica_lag,
                history_update,
            }
        }
    }
}

/// A server of the target, and the time limit of a run on it.
#[derive(Clone, Copy)]
struct RunEndpoint<'a> {
    address: &'a TargetAddress,
    role: ReplicaRole,
    started: Monotonic,
    /// Counted from `started`.
    limit: Duration,
}

/// Runs the checks on one server, within the limit.
async fn try_endpoint(
    request: CheckRunRequest<'_>,
    endpoint: RunEndpoint<'_>,
    engine: &mut Engine,
) -> Result<CompletedRun, AttemptError> {
    let RunEndpoint { address, role, started, limit } = endpoint;
    let timeout_error = || TargetError::TimedOut(limit.as_secs().max(1));
    let time_left = || limit.saturating_sub(started.elapsed());
    let fingerprint_key = request.history.and_then(|(memory, _)| memory.fingerprint_key());
    let reads_position = request.history.is_some() && request.target.replica_address.is_some();
    let progress = progress::scan_progress();
    let options = ConnectOptions {
        address,
        ignore_constraints: request.ignore_constraints,
        fingerprint_key,
        reads_position,
        progress: progress.as_ref(),
        ..request.target.connect_options(request.catalogue)
    };
    let opening = ConnectedTarget::open(options);
    let opened = tokio::time::timeout(time_left(), opening).await.map_err(|_| timeout_error())??;
    match tokio::time::timeout(time_left(), run_on_connection(request, &opened, role, engine)).await {
        Ok(outcome) => {
            opened.session.close().await;
            Ok(outcome?)
        }
        Err(_) => Err(AttemptError { error: timeout_error(), open_session: Some(opened.session) }),
    }
}

/// Returns every check as unknown.
fn all_unknown(request: CheckRunRequest<'_>, reason: &str) -> Vec<CheckResult> {
    let builtin = request.builtin_checks().map(|check| CheckResult {
        id: check.id.into(),
        severity: request.settings.table_check_severity(&check),
        action: check.action.into(),
        outcome: CheckOutcome::not_run(reason),
        evidence: vec![],
        is_accepted: false,
    });
    let custom = request.custom_checks().map(|custom| custom_result(custom, CheckOutcome::not_run(reason)));
    builtin.chain(custom).collect()
}

/// The facts that checks are evaluated on.
struct RunFacts {
    observation: EngineObservation,
    position: ReadPosition,
    /// Changes since the previous run, where they are known.
    changes: Option<SessionChanges>,
    /// Doubts about the time zone of timestamps.
    doubts: TimeZoneDoubts,
    /// Reason why the stats may not describe every session.
    caveat: Option<String>,
    /// Lag of the replica, if one was observed.
    replica_lag: Option<SignedDuration>,
}

/// Observes a connected target, evaluates its checks, and fetches the evidence.
async fn run_on_connection(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    role: ReplicaRole,
    engine: &mut Engine,
) -> Result<CompletedRun, TargetError> {
    let scope = opened.query_scope(request.ignore_constraints, &request.settings.thresholds);
    let facts = observe_target(request, opened, role, engine).await?;
    let decisions = evaluate_checks(request, &opened.layout, &facts);
    let mut results = Vec::with_capacity(decisions.len());
    for decision in decisions {
        results.push(build_result(request, opened, &scope, &facts, decision).await?);
    }
    for custom in request.custom_checks() {
        results.push(custom_result(custom, run_custom_check(&opened.session, custom).await?));
    }
    Ok(build_completed_run(request, opened, facts, results))
}

/// Reads the facts from the target, before checks are evaluated.
async fn observe_target(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    role: ReplicaRole,
    engine: &mut Engine,
) -> Result<RunFacts, TargetError> {
    let scope = opened.query_scope(request.ignore_constraints, &request.settings.thresholds);
    let observation = engine.observe(&opened.session, &scope).await?;
    let position = ReadPosition { role, wal_position: opened.position };
    let changes = detect_changes(request, opened, &observation, position);
    let caveat = visibility::find_visibility_caveat(request, opened, &observation.stats).await?;
    let last_growth = request.history.and_then(|(memory, now)| memory.growth_after(changes.as_ref(), now));
    let activity =
        TableActivity { newest: observation.newest, active: observation.stats.active, last_growth };
    let doubts = opened.find_clock_doubts(activity).await?;
    let replica_lag = if role == ReplicaRole::Replica { opened.session.replica_lag().await? } else { None };
    Ok(RunFacts { observation, position, changes, doubts, caveat, replica_lag })
}

/// Returns the changes since the previous run: from the engine, or by comparing snapshots.
fn detect_changes(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    observation: &EngineObservation,
    position: ReadPosition,
) -> Option<SessionChanges> {
    if observation.changes.is_some() {
        return observation.changes.clone();
    }
    let (memory, now) = request.history.filter(|(memory, _)| !memory.is_newer_than(position))?;
    let layout_hash = target_history::layout_hash(&opened.layout, opened.fingerprint_key);
    memory.changes_since_last_run(observation.snapshot.as_ref()?, layout_hash, now, position)
}

/// Builds the result of a decision, with its evidence.
async fn build_result(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    scope: &QueryScope<'_>,
    facts: &RunFacts,
    decision: CheckDecision,
) -> Result<CheckResult, TargetError> {
    let evidence = if decision.outcome.verdict == CheckVerdict::Failing {
        evidence::fetch_evidence(&opened.session, scope, &decision, facts).await?
    } else {
        vec![]
    };
    let CheckDecision { check, outcome } = decision;
    let (id, severity) = (check.id.to_owned(), request.settings.table_check_severity(&check));
    Ok(CheckResult { id, severity, action: check.action.into(), outcome, evidence, is_accepted: false })
}

fn build_completed_run(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    facts: RunFacts,
    results: Vec<CheckResult>,
) -> CompletedRun {
    let RunFacts { observation, position, changes, doubts, caveat, replica_lag } = facts;
    let EngineObservation { stats, snapshot, .. } = observation;
    let mut notes = notes::target_notes(opened, &doubts);
    // Sessions that are hidden in this run may be visible in the next one, and would count as reappeared.
    let sees_all_sessions = caveat.is_none() || stats.sessions == 0;
    match caveat {
        Some(caveat) => notes.push(caveat),
        None if stats.sessions == 0 => notes.push("no sessions yet: the session table is empty".into()),
        None => {}
    }
    if position.role == ReplicaRole::Replica {
        notes.push(notes::replica_lag_note(replica_lag));
    }
    let history = request.history.map(|(memory, _)| memory);
    let snapshot_to_store = snapshot
        .filter(|_| sees_all_sessions && history.is_some_and(|memory| !memory.is_newer_than(position)));
    let layout_hash = target_history::layout_hash(&opened.layout, opened.fingerprint_key);
    let history_update =
        snapshot_to_store.map(|snapshot| HistoryUpdate { snapshot, changes, layout_hash, position });
    CompletedRun {
        observation: build_observation(request, opened, stats),
        results,
        notes,
        replica_lag,
        history_update,
    }
}

fn build_observation(
    request: CheckRunRequest<'_>,
    opened: &ConnectedTarget,
    stats: SessionStats,
) -> RunObservation {
    let mapping = &opened.layout.candidate.mapping;
    let profile = request.catalogue.iter().find(|profile| profile.name == mapping.profile);
    let has_unreadable_users =
        detect::unreadable_users_reason(&opened.layout.schema, mapping, profile).is_some();
    let candidate = opened.layout.candidate.clone();
    RunObservation {
        candidate,
        stats,
        is_layout_certain: opened.layout.is_certain(),
        clock_read_at: opened.now_read_at,
        has_unreadable_users,
    }
}

fn custom_result(custom: &CustomCheck, outcome: CheckOutcome) -> CheckResult {
    let (id, action) = (custom.id.clone(), custom.action.clone());
    CheckResult { id, severity: custom.severity, action, outcome, evidence: vec![], is_accepted: false }
}

/// Runs a custom check. A query that fails makes this check unknown, and no other.
async fn run_custom_check(session: &ReadSession, custom: &CustomCheck) -> Result<CheckOutcome, TargetError> {
    if let Some(lack) = session.capabilities().unsupported_reason(Capability::CustomQueries) {
        return Ok(CheckOutcome::not_run(&lack));
    }
    let value = session.fetch_custom_value(&custom.sql, custom.value, custom.max_rows).await;
    let mut finding = match value {
        Err(TargetError::ConnectionLost) => return Err(TargetError::ConnectionLost),
        Err(error) => CheckOutcome::not_run(&format!("the query failed: {error}")),
        Ok(None) => CheckOutcome::not_run("the query returned no number"),
        Ok(Some(value)) => custom::evaluate_value(value, custom.threshold),
    };
    finding.threshold = custom.threshold.to_string();
    Ok(finding)
}
