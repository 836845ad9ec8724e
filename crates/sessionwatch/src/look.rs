//! One look: open, observe, decide, gather evidence, close. Whatever goes wrong makes checks unknown, never healthy.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant as Clock},
};

use sessionwatch_core::{
    checks::{CheckInput, CheckOutcome, Verdict, custom},
    history::SessionChanges,
    instant::Instant,
    local_time::{Doubt, Doubts},
    severity::Severity,
    snapshot::{SessionSnapshot, UserTotal},
    stats::SessionStats,
};

use crate::{
    checks::{self, Custom, EvidenceKind, GoesBy, Rules},
    config::Target,
    memory::{self, Memory, Mirror, Source, Standing},
    profile::{
        catalogue::Profile,
        detect::{self, Candidate},
        doubt::{self, Weight},
        mapping::TableName,
    },
    progress,
    target::{
        address::Address,
        connect::{ConnectOptions, ConnectedTarget},
        error::TargetError,
        layout::{self, Known},
        observe::{self, Engine, Evidence, Observation, Tops, Traces, Wanted},
        session::Session,
        sql::{self, Sql},
    },
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
    pub engine: Engine,
    /// How long the look took.
    pub duration: Duration,
    /// What was seen, or why nothing was.
    pub seen: Result<Seen, TargetError>,
    /// One outcome a check.
    pub outcomes: Vec<Outcome>,
    /// What a reader should know about this target.
    pub notes: Vec<String>,
    /// How far the replica lags that was looked at, in microseconds; nothing if that is not known, or none was.
    pub lag_us: Option<i64>,
    /// The mirror of the sessions, where looks are compared.
    pub mirror: Option<Mirror>,
}

/// What a look that succeeded brings home.
struct Found {
    seen: Seen,
    outcomes: Vec<Outcome>,
    notes: Vec<String>,
    lag_us: Option<i64>,
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
pub async fn look(request: Request<'_>) -> Report {
    let started = Clock::now();
    let target = request.target;
    let limit = target.limits.timeout;
    let mut missed = None;
    if let Some(replica) = &target.replica {
        match attempt(request, (replica, Source::Replica), (started, limit / 2)).await {
            Ok(found) => return report(request, started, Ok(found)),
            Err(error) => missed = Some(error),
        }
    }
    let (missed, hanging) = missed.map_or((None, None), |Missed { error, hanging }| (Some(error), hanging));
    let attempt = attempt(request, (&target.address, Source::Primary), (started, limit));
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

/// The report of a run that could not begin, or was ended by something other than the target: every check is unknown.
#[must_use]
pub fn failed(request: Request<'_>, error: TargetError) -> Report {
    report(request, Clock::now(), Err(error))
}

/// Why there is nothing to report of a copy.
struct Missed {
    error: TargetError,
    /// It still works on what it was asked.
    hanging: Option<Session>,
}

impl From<TargetError> for Missed {
    fn from(error: TargetError) -> Self {
        Self { error, hanging: None }
    }
}

async fn abandon(hanging: Option<Session>) {
    if let Some(session) = hanging {
        session.abandon().await;
    }
}

fn report(request: Request<'_>, started: Clock, outcome: Result<Found, TargetError>) -> Report {
    let (engine, duration) = (request.target.engine, started.elapsed());
    let target = request.target.name.clone();
    match outcome {
        Ok(Found { seen, outcomes, notes, lag_us, mirror }) => {
            Report { target, engine, duration, seen: Ok(seen), outcomes, notes, lag_us, mirror }
        }
        Err(error) => {
            let outcomes = blind(request, &error.to_string());
            let (notes, lag_us, mirror) = (vec![], None, None);
            Report { target, engine, duration, seen: Err(error), outcomes, notes, lag_us, mirror }
        }
    }
}

/// A look at one copy of the database, to be over when the limit has passed since the start.
async fn attempt(
    request: Request<'_>,
    (address, source): (&Address, Source),
    (started, limit): (Clock, Duration),
) -> Result<Found, Missed> {
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
    match tokio::time::timeout(left(), inspect(request, (&opened, source))).await {
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

async fn inspect(
    request: Request<'_>,
    (opened, source): (&ConnectedTarget, Source),
) -> Result<Found, TargetError> {
    let thresholds = &request.rules.thresholds;
    let queries = opened.sql(request.deep, thresholds);
    let reading = observe::timed(&opened.session, &queries, request.target.engine).await?;
    let (observation, duration_us) = (reading.observation, reading.database_us);
    let Observation { census, tops, ledger, newest, traces } = observation;
    let shape = memory::shape(&opened.layout.candidate.mapping, opened.key);
    let standing = Standing { source, position: opened.position };
    let changes = request
        .watched
        .zip(ledger.as_ref())
        .filter(|((memory, _), _)| !memory.is_ahead_of(standing))
        .and_then(|((memory, now), ledger)| memory.changes(ledger, (shape, now), standing));
    let watched = request.watched.map(|(memory, _)| memory);
    let doubt = doubt(opened, &census, watched).await?;
    let compared = memory::compared(watched, (ledger.as_ref(), standing), changes.as_ref());
    let growth = request.watched.and_then(|(memory, now)| memory.growth(changes.as_ref(), now));
    let doubts = opened.doubts(Known { newest, active: census.active, growth }).await?;
    let facts = CheckInput { stats: &census, thresholds, duration_us, compared };
    let basis = Basis { tops: &tops, changes: changes.as_ref(), ledger: ledger.as_ref(), traces: &traces };
    let mut outcomes = Vec::new();
    for check in request.builtin() {
        let mut finding = if check.about_users && opened.layout.candidate.mapping.user.is_none() {
            CheckOutcome::not_made("no column of the user is known")
        } else if let Some(doubt) = doubted(&check, &doubts) {
            CheckOutcome::not_made(&doubt.reason)
        } else {
            (check.decide)(facts)
        };
        if let (Some(reason), Verdict::Healthy | Verdict::Failing) = (&doubt, &finding.verdict) {
            distrust(&mut finding, reason, census.sessions == 0);
        }
        question(&mut finding, opened.layout.doubt.as_ref());
        let evidence = if finding.verdict == Verdict::Failing {
            evidence(opened, &queries, (check.evidence, finding.bound.unwrap_or(0)), basis).await?
        } else {
            vec![]
        };
        let (id, severity) = (check.id.to_owned(), request.rules.severity(&check));
        outcomes.push(Outcome { id, severity, action: check.action.into(), finding, evidence });
    }
    for custom in request.custom() {
        outcomes.push(custom_outcome(custom, judge(&opened.session, custom).await?));
    }
    let mut notes = notes(opened, &doubts);
    // What is hidden now may be seen at the next look, and would seem to have come back.
    let whole = doubt.is_none() || census.sessions == 0;
    notes.extend(doubt);
    if census.sessions == 0 && whole {
        notes.push("no sessions yet: the session table is empty".into());
    }
    let lag_us = if source == Source::Replica { opened.session.lag().await? } else { None };
    if source == Source::Replica {
        notes.push(lag_note(lag_us));
    }
    let ledger = ledger.filter(|_| whole && watched.is_some_and(|memory| !memory.is_ahead_of(standing)));
    let mirror = ledger.map(|ledger| Mirror { ledger, changes, shape, standing });
    let seen = seen(request, opened, census);
    Ok(Found { seen, outcomes, notes, lag_us, mirror })
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

/// Says that checks run as a role that may do everything.
fn superuser_note(session: &Session) -> Option<String> {
    let Session::Postgres(session) = session else { return None };
    let role = session.role();
    role.superuser.then(|| {
        format!(
            "`{}` is a superuser: run checks as a role that can only read (`sessionwatch grants` prints the SQL)",
            role.name
        )
    })
}

/// What a reader should know about the target and its instants.
fn notes(opened: &ConnectedTarget, doubts: &Doubts) -> Vec<String> {
    let mut notes = opened.layout.candidate.notes.clone();
    notes.extend(superuser_note(&opened.session));
    notes.extend(opened.layout.candidate.elsewhere.iter().cloned());
    let rivals = opened.layout.doubt.as_ref().filter(|doubt| doubt.weight != Weight::Weak);
    notes.extend(rivals.and_then(|doubt| doubt.tables.get(1)).map(|(other, _)| {
        format!(
            "{} was chosen, but {} looks like sessions too: name one in the configuration",
            sql::table(&opened.layout.candidate.mapping.sessions),
            sql::table(other)
        )
    }));
    notes.extend(put_aside(opened));
    notes.extend(layout::remedy(doubts, opened.now).map(|remedy| {
        let doubt = doubts.expires.as_ref().or(doubts.created.as_ref());
        format!("{}: {remedy}", doubt.map_or("", |doubt| doubt.reason.as_str()))
    }));
    notes
}

/// Names the tables that have the columns of sessions, and for which too little speaks beside the one that was recognized.
fn put_aside(opened: &ConnectedTarget) -> Vec<String> {
    /// Tables that are named.
    const NAMED: usize = 5;
    let rivals: Vec<&TableName> =
        opened.layout.doubt.iter().flat_map(|doubt| &doubt.tables).map(|(table, _)| table).collect();
    let mut tables: BTreeMap<&TableName, &[String]> = BTreeMap::new();
    for other in
        opened.layout.others.iter().filter(|other| !other.lacks.is_empty() && !opened.layout.candidate.named)
    {
        if !rivals.contains(&&other.mapping.sessions) {
            tables.entry(&other.mapping.sessions).or_insert(&other.lacks);
        }
    }
    let one = |(table, lacks): (&TableName, &[String])| {
        let place = table.schema.as_ref().map_or(String::new(), |schema| format!(" of schema `{schema}`"));
        let name = &table.name;
        format!(
            "table `{name}`{place} has the columns of sessions too, and was left aside: {}",
            lacks.join("; ")
        )
    };
    tables.into_iter().take(NAMED).map(one).collect()
}

/// Why a check cannot be made whose instants are not believed.
fn doubted<'a>(check: &checks::Check, doubts: &'a Doubts) -> Option<&'a Doubt> {
    match check.goes_by {
        GoesBy::Neither => None,
        GoesBy::End => doubts.expires.as_ref(),
        GoesBy::Creation => doubts.created.as_ref(),
    }
}

fn lag_note(lag_us: Option<i64>) -> String {
    match lag_us {
        Some(lag_us) => format!("the replica was looked at, which lags by {} ms", lag_us / 1_000),
        None => "the replica was looked at; by how much it lags is not known".into(),
    }
}

fn custom_outcome(custom: &Custom, finding: CheckOutcome) -> Outcome {
    let (id, action) = (custom.id.clone(), custom.action.clone());
    Outcome { id, severity: custom.severity, action, finding, evidence: vec![] }
}

/// Runs a check of the operator's own. A query that fails makes that check unknown, and no other.
async fn judge(session: &Session, custom: &Custom) -> Result<CheckOutcome, TargetError> {
    let value = session.number(&custom.sql, custom.value, custom.max_rows).await;
    let mut finding = match value {
        Err(TargetError::Lost) => return Err(TargetError::Lost),
        Err(error) => CheckOutcome::not_made(&format!("the query failed: {error}")),
        Ok(None) => CheckOutcome::not_made("the query gives no number"),
        Ok(Some(value)) => custom::decide(value, custom.threshold),
    };
    finding.threshold = custom.threshold.to_string();
    Ok(finding)
}

/// What keeps this target's numbers from being the whole truth.
async fn doubt(
    opened: &ConnectedTarget,
    census: &SessionStats,
    watched: Option<&Memory>,
) -> Result<Option<String>, TargetError> {
    let mapping = &opened.layout.candidate.mapping;
    if let Some(why) = hidden_sessions(opened) {
        return Ok(Some(why));
    }
    if census.sessions > 0 {
        return Ok(None);
    }
    if let Some(accounts) = &mapping.accounts
        && has_rows(&opened.session, accounts).await?
    {
        return Ok(Some("the session table is empty beside accounts in use: the application probably uses JWT sessions, which no table shows".into()));
    }
    if let Some(users) = &mapping.users
        && has_rows(&opened.session, &users.table).await?
    {
        return Ok(Some("the session table is empty, and there are users: either nobody is logged in, or sessions are kept somewhere else, as with JWT sessions".into()));
    }
    // A new application has none yet; one that had some before has lost them.
    Ok(watched
        .is_some_and(Memory::had_sessions)
        .then(|| "the session table is empty, and had sessions at the last look".into()))
}

/// Why the role may not see every session; `None` if nothing hides any.
#[must_use]
pub fn hidden_sessions(opened: &ConnectedTarget) -> Option<String> {
    let sessions = &opened.layout.candidate.mapping.sessions;
    if opened.layout.schema.table(sessions).is_some_and(|table| table.rows_hidden) {
        return Some("row-level security hides rows from this role: grant it BYPASSRLS or a policy that shows all rows".into());
    }
    partial(opened)
}

/// Whether a table has a row. One that may not be read tells nothing.
async fn has_rows(session: &Session, table: &TableName) -> Result<bool, TargetError> {
    let query = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS a", sql::table(table));
    Ok(session.attempt(&query).await? == Some(1))
}

/// Why a view need not show every session. A condition is part of what whoever names the view means by a session.
fn partial(opened: &ConnectedTarget) -> Option<String> {
    let table = opened.layout.schema.table(&opened.layout.candidate.mapping.sessions)?;
    let condition = || {
        let behind = table.bases.join("`, `");
        format!("`{}` is a view with a condition, which may leave out rows of `{behind}`", table.name)
    };
    let filtered = table.filtered && !opened.layout.candidate.named;
    let why = table.doubt.clone().or_else(|| filtered.then(condition))?;
    Some(format!("{why}: name a table under [target.mapping]"))
}

/// A finding about a table that may be the wrong one says nothing about the right one.
fn question(finding: &mut CheckOutcome, doubt: Option<&doubt::Doubt>) {
    if let (Some(doubt), Verdict::Healthy | Verdict::Failing) = (doubt, &finding.verdict)
        && doubt.weight != Weight::Aside
    {
        let reason = format!("{doubt}: name the table with `sessions` in the configuration");
        distrust(finding, &reason, doubt.weight == Weight::Weak);
    }
}

/// Unknown is not healthy: what was found still stands, unless nothing can be said at all, but nothing else is known.
fn distrust(finding: &mut CheckOutcome, reason: &str, nothing: bool) {
    if nothing || finding.verdict == Verdict::Healthy {
        finding.verdict = Verdict::Unknown(reason.to_owned());
    }
}

/// What a look found, as evidence is made of.
#[derive(Clone, Copy)]
struct Basis<'a> {
    tops: &'a Tops,
    changes: Option<&'a SessionChanges>,
    ledger: Option<&'a SessionSnapshot>,
    traces: &'a Traces,
}

/// The evidence of a finding, whose bound that is.
async fn evidence(
    opened: &ConnectedTarget,
    queries: &Sql<'_>,
    (proof, bound): (EvidenceKind, u64),
    basis: Basis<'_>,
) -> Result<Vec<Evidence>, TargetError> {
    let session = &opened.session;
    let Basis { tops, changes, ledger, traces } = basis;
    // Where creation is not stored, it is taken from what was first seen.
    let stored = opened.layout.candidate.mapping.created.is_some();
    let rows = |wanted| observe::rows(session, queries, wanted, (traces, ledger));
    match proof {
        EvidenceKind::Duplicates => rows(Wanted::Duplicates).await,
        EvidenceKind::Rebound => {
            rows(Wanted::Fingerprints(changes.map_or(&[], |changes| &changes.rebound))).await
        }
        EvidenceKind::Revived => {
            rows(Wanted::Fingerprints(changes.map_or(&[], |changes| &changes.revived))).await
        }
        EvidenceKind::Orphans => rows(Wanted::Orphans).await,
        EvidenceKind::OldestExpired => rows(Wanted::OldestExpired).await,
        EvidenceKind::BeyondPolicy => rows(Wanted::BeyondPolicy).await,
        EvidenceKind::ActiveHolders if ledger.is_none() && bound < queries.notable_above => {
            let most = observe::most_active(session, queries).await?;
            observe::named(session, queries, above(&most, bound)).await
        }
        EvidenceKind::ActiveHolders => observe::named(session, queries, above(&tops.active, bound)).await,
        EvidenceKind::Creators => {
            let seen = changes.filter(|_| !stored).map(|changes| changes.creators.as_slice());
            let creators = above(seen.unwrap_or(&tops.created), bound);
            let shown = &creators[..creators.len().min(observe::EVIDENCE_LIMIT)];
            observe::named(session, queries, shown).await
        }
        EvidenceKind::Value => Ok(vec![]),
    }
}

/// The holders of more than `bound`; they come most first.
fn above(holders: &[UserTotal], bound: u64) -> &[UserTotal] {
    &holders[..holders.partition_point(|holder| holder.sessions > bound)]
}
