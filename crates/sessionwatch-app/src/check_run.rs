//! One check run, in five stages, each of which gives a complete value: connect, detect the layout, observe, evaluate, and
//! report. Whatever goes wrong makes checks unknown, never healthy.

mod evaluate;
mod evidence;
mod notes;
mod visibility;

use std::time::{Duration, Instant as Clock};

use jiff::SignedDuration;
use sessionwatch_core::{
    checks::{CheckOutcome, Verdict, custom},
    history::SessionChanges,
    instant::Instant,
    local_time::Doubts,
    severity::Severity,
    stats::SessionStats,
};
use sessionwatch_targets::{
    address::Address,
    capabilities::Capability,
    connect::{ConnectOptions, ConnectedTarget},
    engine::{Engine, EngineKind, Observation},
    error::TargetError,
    evidence::Evidence,
    layout::{
        Known,
        catalogue::Profile,
        detect::{self, Candidate},
    },
    read_session::ReadSession,
    scope::Scope,
};

use self::evaluate::{Decision, evaluate};
pub use self::visibility::hidden_sessions;
use crate::{
    checks::{self, Custom, Rules},
    config::Target,
    memory::{self, Memory, Mirror, Source, Standing},
    progress,
};

/// What to look at, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where.
    pub target: &'a Target,
    /// Every known profile.
    pub catalogue: &'a [Profile],
    /// Which checks run, and their thresholds.
    pub rules: &'a Rules,
    /// Distrust indexes and constraints.
    pub deep: bool,
    /// Ids of the checks to run; empty for all.
    pub only: &'a [String],
    /// What the watch kept of the looks before, and the present instant by its clock; nothing for a single look.
    pub watched: Option<(&'a Memory, Instant)>,
}

/// A check with its outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The check's id.
    pub id: String,
    /// Its severity.
    pub severity: Severity,
    /// What to do when it fails; may be empty.
    pub action: String,
    /// What it found.
    pub finding: CheckOutcome,
    /// Rows that show it.
    pub evidence: Vec<Evidence>,
}

impl Outcome {
    /// The page of documentation about the check.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let builtin = checks::TABLE_CHECKS.iter().find(|check| check.id == self.id)?;
        Some(format!("docs/checks/{}.md", builtin.id))
    }
}

/// What was seen of a target.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How its sessions are stored.
    pub candidate: Candidate,
    /// The census.
    pub census: SessionStats,
    /// Whether it is certain which table holds the sessions.
    pub certain: bool,
    /// When the database's clock was read, which is the instant of the census, by an even count.
    pub clock_read: Clock,
    /// Whether there is a table of users, and this role may not read it.
    pub has_unreadable_users: bool,
}

/// The outcome of a look.
#[derive(Debug)]
pub struct Report {
    /// The target's name.
    pub target: String,
    /// By which engine.
    pub engine: EngineKind,
    /// How long the look took.
    pub duration: Duration,
    /// What was seen, or why nothing was.
    pub seen: Result<Seen, TargetError>,
    /// One outcome a check.
    pub outcomes: Vec<Outcome>,
    /// What a reader should know about this target.
    pub notes: Vec<String>,
    /// How far the replica lags that was looked at; nothing if that is not known, or none was.
    pub lag: Option<SignedDuration>,
    /// The mirror of the sessions, where looks are compared.
    pub mirror: Option<Mirror>,
}

/// What a look that succeeded brings home.
struct Found {
    seen: Seen,
    outcomes: Vec<Outcome>,
    notes: Vec<String>,
    lag: Option<SignedDuration>,
    mirror: Option<Mirror>,
}

impl Request<'_> {
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }

    fn custom(&self) -> impl Iterator<Item = &Custom> {
        let here = |custom: &&Custom| custom.targets.is_empty() || custom.targets.contains(&self.target.name);
        self.rules.custom.iter().filter(here).filter(|custom| self.wants(&custom.id))
    }

    fn builtin(&self) -> impl Iterator<Item = checks::Check> {
        // Whoever asks for a check by name gets it, though it does not run by itself.
        let meant = |check: &checks::Check| {
            if self.only.is_empty() { self.rules.enabled(check.id) } else { self.wants(check.id) }
        };
        checks::TABLE_CHECKS
            .into_iter()
            .filter(|check| !check.compares || self.watched.is_some())
            .filter(meant)
    }
}

/// Takes a look within the target's time limit: at its replica, where it has one, and at the database itself where that
/// fails.
pub async fn run_checks(request: Request<'_>, engine: &mut Engine) -> Report {
    let started = Clock::now();
    let target = request.target;
    let limit = target.limits.timeout;
    let mut missed = None;
    if let Some(replica) = &target.replica {
        let copy = DatabaseCopy { address: replica, source: Source::Replica, started, limit: limit / 2 };
        match attempt(request, copy, engine).await {
            Ok(found) => return report(request, started, Ok(found)),
            Err(error) => missed = Some(error),
        }
    }
    let (missed, hanging) = missed.map_or((None, None), |Missed { error, hanging }| (Some(error), hanging));
    let copy = DatabaseCopy { address: &target.address, source: Source::Primary, started, limit };
    let attempt = attempt(request, copy, engine);
    // A replica that hangs is not waited for.
    let (outcome, ()) = tokio::join!(attempt, abandon(hanging));
    let outcome = match outcome {
        Ok(mut found) => {
            found.notes.extend(missed.map(|error| format!("the replica was not looked at: {error}")));
            Ok(found)
        }
        Err(Missed { error, hanging }) => {
            abandon(hanging).await;
            Err(error)
        }
    };
    report(request, started, outcome)
}

/// The same for a single run, after which no engine is needed.
pub async fn run_checks_once(request: Request<'_>) -> Report {
    run_checks(request, &mut Engine::new(request.target.engine)).await
}

/// The report of a run that could not begin, or was ended by something other than the target: every check is unknown.
#[must_use]
pub fn failed(request: Request<'_>, error: TargetError) -> Report {
    report(request, Clock::now(), Err(error))
}

/// Why there is nothing to report of a copy.
struct Missed {
    error: TargetError,
    /// It still works on what it was asked.
    hanging: Option<ReadSession>,
}

impl From<TargetError> for Missed {
    fn from(error: TargetError) -> Self {
        Self { error, hanging: None }
    }
}

async fn abandon(hanging: Option<ReadSession>) {
    if let Some(session) = hanging {
        session.abandon().await;
    }
}

fn report(request: Request<'_>, started: Clock, outcome: Result<Found, TargetError>) -> Report {
    let (engine, duration) = (request.target.engine, started.elapsed());
    let target = request.target.name.clone();
    match outcome {
        Ok(Found { seen, outcomes, notes, lag, mirror }) => {
            Report { target, engine, duration, seen: Ok(seen), outcomes, notes, lag, mirror }
        }
        Err(error) => {
            let outcomes = blind(request, &error.to_string());
            let (notes, lag, mirror) = (vec![], None, None);
            Report { target, engine, duration, seen: Err(error), outcomes, notes, lag, mirror }
        }
    }
}

/// A copy of the database, and when a run of it has to be over.
#[derive(Clone, Copy)]
struct DatabaseCopy<'a> {
    address: &'a Address,
    source: Source,
    started: Clock,
    /// From the start on.
    limit: Duration,
}

/// A run on one copy of the database, to be over when the limit has passed since the start.
async fn attempt(request: Request<'_>, copy: DatabaseCopy<'_>, engine: &mut Engine) -> Result<Found, Missed> {
    let DatabaseCopy { address, source, started, limit } = copy;
    let late = || TargetError::TimedOut(limit.as_secs().max(1));
    let left = || limit.saturating_sub(started.elapsed());
    let key = request.watched.and_then(|(memory, _)| memory.key());
    let placed = request.watched.is_some() && request.target.replica.is_some();
    let progress = progress::scan_progress();
    let options = ConnectOptions {
        address,
        deep: request.deep,
        key,
        placed,
        progress: progress.as_ref(),
        ..request.target.connect_options(request.catalogue)
    };
    let opening = ConnectedTarget::open(options);
    let opened = tokio::time::timeout(left(), opening).await.map_err(|_| late())??;
    match tokio::time::timeout(left(), inspect(request, &opened, source, engine)).await {
        Ok(outcome) => {
            opened.session.close().await;
            Ok(outcome?)
        }
        Err(_) => Err(Missed { error: late(), hanging: Some(opened.session) }),
    }
}

/// Every check, unknown.
fn blind(request: Request<'_>, reason: &str) -> Vec<Outcome> {
    let builtin = request.builtin().map(|check| Outcome {
        id: check.id.into(),
        severity: request.rules.severity(&check),
        action: check.action.into(),
        finding: CheckOutcome::not_made(reason),
        evidence: vec![],
    });
    let custom = request.custom().map(|custom| custom_outcome(custom, CheckOutcome::not_made(reason)));
    builtin.chain(custom).collect()
}

/// What a run learns of a target: everything that checks are decided by.
struct RunFacts {
    observation: Observation,
    standing: Standing,
    /// What happened since the previous run, where that is known.
    changes: Option<SessionChanges>,
    /// The instants that are not believed.
    doubts: Doubts,
    /// What keeps the numbers from being the whole truth.
    caveat: Option<String>,
    /// How far the replica lags, where one was observed.
    lag: Option<SignedDuration>,
}

/// Observes an open target, evaluates what it shows, and fetches the rows that show it.
async fn inspect(
    request: Request<'_>,
    opened: &ConnectedTarget,
    source: Source,
    engine: &mut Engine,
) -> Result<Found, TargetError> {
    let scope = opened.scope(request.deep, &request.rules.thresholds);
    let facts = observe(request, opened, source, engine).await?;
    let decisions = evaluate(request, &opened.layout, &facts);
    let mut outcomes = Vec::with_capacity(decisions.len());
    for decision in decisions {
        outcomes.push(outcome(request, opened, &scope, &facts, decision).await?);
    }
    for custom in request.custom() {
        outcomes.push(custom_outcome(custom, judge(&opened.session, custom).await?));
    }
    Ok(found(request, opened, facts, outcomes))
}

/// Everything that is asked of the target before checks are decided.
async fn observe(
    request: Request<'_>,
    opened: &ConnectedTarget,
    source: Source,
    engine: &mut Engine,
) -> Result<RunFacts, TargetError> {
    let scope = opened.scope(request.deep, &request.rules.thresholds);
    let observation = engine.observe(&opened.session, &scope).await?;
    let standing = Standing { source, position: opened.position };
    let changes = changes(request, opened, &observation, standing);
    let watched = request.watched.map(|(memory, _)| memory);
    let caveat = visibility::caveat(opened, &observation.stats, watched).await?;
    let growth = request.watched.and_then(|(memory, now)| memory.growth(changes.as_ref(), now));
    let known = Known { newest: observation.newest, active: observation.stats.active, growth };
    let doubts = opened.doubts(known).await?;
    let lag = if source == Source::Replica { opened.session.lag().await? } else { None };
    Ok(RunFacts { observation, standing, changes, doubts, caveat, lag })
}

/// What happened since the previous run: as the engine was told, or by comparing snapshots.
fn changes(
    request: Request<'_>,
    opened: &ConnectedTarget,
    observation: &Observation,
    standing: Standing,
) -> Option<SessionChanges> {
    if observation.changes.is_some() {
        return observation.changes.clone();
    }
    let (memory, now) = request.watched.filter(|(memory, _)| !memory.is_ahead_of(standing))?;
    let shape = memory::shape(&opened.layout, opened.key);
    memory.changes(observation.snapshot.as_ref()?, shape, now, standing)
}

/// A decision with the rows that show it.
async fn outcome(
    request: Request<'_>,
    opened: &ConnectedTarget,
    scope: &Scope<'_>,
    facts: &RunFacts,
    decision: Decision,
) -> Result<Outcome, TargetError> {
    let evidence = if decision.finding.verdict == Verdict::Failing {
        evidence::evidence(&opened.session, scope, &decision, facts).await?
    } else {
        vec![]
    };
    let Decision { check, finding } = decision;
    let (id, severity) = (check.id.to_owned(), request.rules.severity(&check));
    Ok(Outcome { id, severity, action: check.action.into(), finding, evidence })
}

/// What a run brings home.
fn found(request: Request<'_>, opened: &ConnectedTarget, facts: RunFacts, outcomes: Vec<Outcome>) -> Found {
    let RunFacts { observation, standing, changes, doubts, caveat, lag } = facts;
    let Observation { stats, snapshot, .. } = observation;
    let mut notes = notes::notes(opened, &doubts);
    // What is hidden now may be seen at the next run, and would seem to have come back.
    let whole = caveat.is_none() || stats.sessions == 0;
    notes.extend(caveat);
    if stats.sessions == 0 && whole {
        notes.push("no sessions yet: the session table is empty".into());
    }
    if standing.source == Source::Replica {
        notes.push(notes::lag_note(lag));
    }
    let watched = request.watched.map(|(memory, _)| memory);
    let kept = snapshot.filter(|_| whole && watched.is_some_and(|memory| !memory.is_ahead_of(standing)));
    let shape = memory::shape(&opened.layout, opened.key);
    let mirror = kept.map(|ledger| Mirror { ledger, changes, shape, standing });
    Found { seen: seen(request, opened, stats), outcomes, notes, lag, mirror }
}

fn seen(request: Request<'_>, opened: &ConnectedTarget, census: SessionStats) -> Seen {
    let mapping = &opened.layout.candidate.mapping;
    let profile = request.catalogue.iter().find(|profile| profile.name == mapping.profile);
    let has_unreadable_users = detect::unreadable_users(&opened.layout.schema, mapping, profile).is_some();
    let candidate = opened.layout.candidate.clone();
    Seen {
        candidate,
        census,
        certain: opened.layout.is_certain(),
        clock_read: opened.now_read,
        has_unreadable_users,
    }
}

fn custom_outcome(custom: &Custom, finding: CheckOutcome) -> Outcome {
    let (id, action) = (custom.id.clone(), custom.action.clone());
    Outcome { id, severity: custom.severity, action, finding, evidence: vec![] }
}

/// Runs a check of the operator's own. A query that fails makes that check unknown, and no other.
async fn judge(session: &ReadSession, custom: &Custom) -> Result<CheckOutcome, TargetError> {
    if let Some(lack) = session.capabilities().lack(Capability::CustomQueries) {
        return Ok(CheckOutcome::not_made(&lack));
    }
    let value = session.custom_value(&custom.sql, custom.value, custom.max_rows).await;
    let mut finding = match value {
        Err(TargetError::Lost) => return Err(TargetError::Lost),
        Err(error) => CheckOutcome::not_made(&format!("the query failed: {error}")),
        Ok(None) => CheckOutcome::not_made("the query gives no number"),
        Ok(Some(value)) => custom::decide(value, custom.threshold),
    };
    finding.threshold = custom.threshold.to_string();
    Ok(finding)
}
