//! One look: open, observe, decide, gather evidence, close. Whatever goes wrong makes checks unknown, never healthy.

use std::time::{Duration, Instant as Clock};

use sessionwatch_rules::{
    census::Census,
    ledger::{Changes, Holder, Ledger},
    severity::Severity,
    verdict::{self, Facts, Finding, Verdict},
};

use crate::{
    checks::{self, Custom, Proof, Rules},
    config::Target,
    open::{Opened, open},
    profile::{catalogue::Profile, detect::Candidate, mapping::TableName},
    target::{
        error::TargetError,
        observe::{self, Engine, Evidence, Observation, Tops},
        session::Session,
        sql::{self, Rows, Sql},
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
    /// What is kept from look to look, where there are several.
    pub memory: Option<&'a Memory>,
}

/// The sessions of the last look, to compare the next one with.
#[derive(Debug, Default)]
pub struct Memory(Option<Ledger>);

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
    pub finding: Finding,
    /// Rows that show it.
    pub evidence: Vec<Evidence>,
}

impl Outcome {
    /// The page of documentation about the check.
    #[must_use]
    pub fn page(&self) -> Option<String> {
        let builtin = checks::ALL.iter().find(|check| check.id == self.id)?;
        Some(format!("docs/checks/{}.md", builtin.id))
    }
}

impl Memory {
    /// What happened since the last look; nothing at the first one, or where an engine pulls no rows.
    fn changes(&self, ledger: Option<&Ledger>) -> Option<Changes> {
        Some(ledger?.changes_since(self.0.as_ref()?))
    }

    /// Compares the next look with this one. To be done once what it found is safe: what changed is found only once.
    pub fn keep(&mut self, report: Report) {
        if report.ledger.is_some() {
            self.0 = report.ledger;
        }
    }
}

/// What was seen of a target.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How its sessions are stored.
    pub candidate: Candidate,
    /// The census.
    pub census: Census,
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
    /// The mirror of the sessions, where looks are compared.
    ledger: Option<Ledger>,
}

/// What a look that succeeded brings home.
struct Found {
    seen: Seen,
    outcomes: Vec<Outcome>,
    notes: Vec<String>,
    ledger: Option<Ledger>,
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
        checks::ALL.into_iter().filter(|check| !check.compares || self.memory.is_some()).filter(meant)
    }
}

/// Takes a look within the target's time limit.
pub async fn look(request: Request<'_>) -> Report {
    let started = Clock::now();
    let target = request.target;
    let outcome = match open(target, request.catalogue, request.deep).await {
        Ok(opened) => {
            let left = target.limits.timeout.saturating_sub(started.elapsed());
            match tokio::time::timeout(left, inspect(request, &opened, started)).await {
                Ok(outcome) => {
                    opened.session.close().await;
                    outcome
                }
                Err(_) => {
                    opened.session.abandon().await;
                    Err(TargetError::TimedOut(target.limits.timeout.as_secs()))
                }
            }
        }
        Err(error) => Err(error),
    };
    let (engine, duration) = (target.engine, started.elapsed());
    let target = target.name.clone();
    match outcome {
        Ok(Found { seen, outcomes, notes, ledger }) => {
            Report { target, engine, duration, seen: Ok(seen), outcomes, notes, ledger }
        }
        Err(error) => {
            let outcomes = blind(request, &error.to_string());
            Report { target, engine, duration, seen: Err(error), outcomes, notes: vec![], ledger: None }
        }
    }
}

/// Every check, unknown.
fn blind(request: Request<'_>, reason: &str) -> Vec<Outcome> {
    let builtin = request.builtin().map(|check| Outcome {
        id: check.id.into(),
        severity: request.rules.severity(&check),
        action: check.action.into(),
        finding: verdict::not_made(reason),
        evidence: vec![],
    });
    let custom = request.custom().map(|custom| custom_outcome(custom, verdict::not_made(reason)));
    builtin.chain(custom).collect()
}

async fn inspect(request: Request<'_>, opened: &Opened, started: Clock) -> Result<Found, TargetError> {
    let settings = &request.rules.settings;
    let queries = opened.sql(request.deep, settings);
    let observation = observe::observe(&opened.session, &queries, request.target.engine).await?;
    let Observation { census, tops, ledger } = observation;
    let changes = request.memory.and_then(|memory| memory.changes(ledger.as_ref()));
    let duration = started.elapsed();
    let doubt = doubt(opened, &census).await?;
    let duration_us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let facts = Facts { census: &census, settings, duration_us, changes: changes.as_ref() };
    let mut outcomes = Vec::new();
    for check in request.builtin() {
        let mut finding = if check.about_users && opened.candidate.mapping.user.is_none() {
            verdict::not_made("no column of the user is known")
        } else {
            (check.decide)(facts)
        };
        if let (Some(reason), Verdict::Healthy | Verdict::Failing) = (&doubt, &finding.verdict) {
            distrust(&mut finding, reason, census.sessions == 0);
        }
        let evidence = if finding.verdict == Verdict::Failing {
            let rebound = changes.as_ref().map_or(&[][..], |changes| &changes.rebound);
            evidence(opened, &queries, (check.proof, finding.bound.unwrap_or(0)), (&tops, rebound)).await?
        } else {
            vec![]
        };
        let (id, severity) = (check.id.to_owned(), request.rules.severity(&check));
        outcomes.push(Outcome { id, severity, action: check.action.into(), finding, evidence });
    }
    for custom in request.custom() {
        outcomes.push(custom_outcome(custom, judge(&opened.session, custom).await?));
    }
    let mut notes = opened.candidate.notes.clone();
    notes.extend(opened.others.first().map(|other| {
        let (chosen, other) = (&opened.candidate.mapping.sessions, &other.mapping.sessions);
        format!(
            "{} was chosen, but {} looks like sessions too: name one in the configuration",
            sql::table(chosen),
            sql::table(other)
        )
    }));
    notes.extend(doubt);
    let ledger = ledger.filter(|_| request.memory.is_some());
    Ok(Found { seen: Seen { candidate: opened.candidate.clone(), census }, outcomes, notes, ledger })
}

fn custom_outcome(custom: &Custom, finding: Finding) -> Outcome {
    let (id, action) = (custom.id.clone(), custom.action.clone());
    Outcome { id, severity: custom.severity, action, finding, evidence: vec![] }
}

/// Runs a check of the operator's own. A query that fails makes that check unknown, and no other.
async fn judge(session: &Session, custom: &Custom) -> Result<Finding, TargetError> {
    let value = session.number(&custom.sql, custom.counted, custom.max_rows).await;
    let mut finding = match value {
        Err(TargetError::Lost) => return Err(TargetError::Lost),
        Err(error) => verdict::not_made(&format!("the query failed: {error}")),
        Ok(None) => verdict::not_made("the query gives no number"),
        Ok(Some(value)) => verdict::custom(value, custom.threshold),
    };
    finding.threshold = custom.threshold.to_string();
    Ok(finding)
}

/// What keeps this target's numbers from being the whole truth.
async fn doubt(opened: &Opened, census: &Census) -> Result<Option<String>, TargetError> {
    let mapping = &opened.candidate.mapping;
    let hidden = |name: &TableName| {
        opened.schema.find(name.schema.as_deref(), &name.name).is_some_and(|table| table.rows_hidden)
    };
    if hidden(&mapping.sessions) {
        return Ok(Some("row-level security hides rows from this role: grant it BYPASSRLS or a policy that shows all rows".into()));
    }
    if census.sessions > 0 {
        return Ok(None);
    }
    if let Some(accounts) = &mapping.accounts {
        let query = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT 1) AS a", sql::table(accounts));
        // Being refused the accounts only means that less can be said.
        let rows = opened.session.fetch(&query).await.unwrap_or_default();
        if rows.first().and_then(|row| row.first()?.as_deref()) == Some("1") {
            return Ok(Some("the session table is empty beside accounts in use: the application probably uses JWT sessions, which no table shows".into()));
        }
    }
    Ok(Some("the session table is empty".into()))
}

/// Unknown is not healthy: with rows hidden a finding still stands, but nothing else is known.
fn distrust(finding: &mut Finding, reason: &str, empty: bool) {
    if empty || finding.verdict == Verdict::Healthy {
        finding.verdict = Verdict::Unknown(reason.to_owned());
    }
}

async fn evidence(
    opened: &Opened,
    queries: &Sql<'_>,
    (proof, bound): (Proof, u64),
    (tops, rebound): (&Tops, &[u64]),
) -> Result<Vec<Evidence>, TargetError> {
    let session = &opened.session;
    match proof {
        Proof::Duplicates => observe::rows(session, queries, Rows::Duplicates).await,
        Proof::Rebound => observe::rows(session, queries, Rows::Fingerprints(rebound)).await,
        Proof::Orphans => observe::rows(session, queries, Rows::Orphans).await,
        Proof::OldestExpired => observe::rows(session, queries, Rows::OldestExpired).await,
        Proof::BeyondPolicy => observe::rows(session, queries, Rows::BeyondPolicy).await,
        Proof::ActiveHolders => observe::named(session, queries, above(&tops.active, bound)).await,
        Proof::Creators => observe::named(session, queries, above(&tops.created, bound)).await,
        Proof::Value => Ok(vec![]),
    }
}

/// The holders of more than `bound`; they come most first.
fn above(holders: &[Holder], bound: u64) -> &[Holder] {
    &holders[..holders.partition_point(|holder| holder.sessions > bound)]
}
