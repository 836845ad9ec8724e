//! One look: open, recognise, observe, decide, gather evidence, close.

use std::time::{Duration, Instant as Clock};

use sessionwatch_rules::{
    census::Census,
    instant::{DAY, Instant, SECOND},
    ledger::Holder,
    settings::Settings,
    verdict::{Facts, Finding, Verdict},
};

use crate::{
    checks::{self, Check, Proof},
    profile::{
        catalogue,
        detect::{Candidate, Detection, detect},
        mapping::TableName,
        schema::Schema,
    },
    target::{
        address::Address,
        error::TargetError,
        observe::{self, Engine, Evidence, Tops},
        postgres::Limits,
        session::Session,
        sql::{self, Rows, Sql},
    },
};

/// What to look at, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where.
    pub address: Address,
    /// By which engine.
    pub engine: Engine,
    /// Distrust indexes and constraints.
    pub deep: bool,
    /// Time limits.
    pub limits: Limits,
    /// Ids of the checks to run; empty for all.
    pub only: Vec<String>,
    /// Thresholds.
    pub settings: Settings,
}

/// A check with its outcome.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The check.
    pub check: Check,
    /// What it found.
    pub finding: Finding,
    /// Rows that show it.
    pub evidence: Vec<Evidence>,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Masked address.
    pub target: String,
    /// How its sessions are stored.
    pub candidate: Candidate,
    /// By which engine.
    pub engine: Engine,
    /// How long the look took.
    pub duration: Duration,
    /// The census.
    pub census: Census,
    /// One outcome a check.
    pub outcomes: Vec<Outcome>,
    /// What a reader should know about this target.
    pub notes: Vec<String>,
}

/// An open target whose session table was recognised.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// The schema as found.
    pub schema: Schema,
    /// The table of sessions.
    pub candidate: Candidate,
    /// The key of the fingerprints of this process.
    pub key: i64,
    /// The instant of the look.
    pub now: Instant,
}

impl Opened {
    /// The queries of this target.
    #[must_use]
    pub fn sql(&self, deep: bool) -> Sql<'_> {
        let lifetime = self.candidate.mapping.max_lifetime_s.and_then(|seconds| i64::try_from(seconds).ok());
        Sql {
            mapping: &self.candidate.mapping,
            schema: &self.schema,
            key: self.key,
            now: self.now,
            max_lifetime_us: lifetime.map(|seconds| seconds * SECOND + DAY),
            deep,
        }
    }
}

/// Opens a target and recognises its sessions.
///
/// # Errors
///
/// If it cannot be reached, or no session table is recognised.
pub async fn open(address: &Address, limits: Limits, deep: bool) -> Result<Opened, TargetError> {
    let key = fingerprint_key();
    let session = Session::open(address, limits, deep, key).await?;
    let now = session.now().await?;
    let schema = session.schema().await?;
    let Detection { candidates, refused } = detect(&schema, &catalogue::embedded());
    match candidates.into_iter().next() {
        Some(candidate) => Ok(Opened { session, schema, candidate, key, now }),
        None => Err(match refused.first() {
            Some((table, columns)) => TargetError::NotRecognised(format!(
                ": table `{table}` may not be read in column `{}`",
                columns.join("`, `")
            )),
            None => TargetError::NotRecognised(String::new()),
        }),
    }
}

/// A key that no two processes share, so that fingerprints mean nothing outside this one.
fn fingerprint_key() -> i64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()).cast_signed()
}

/// Takes a look within the time limit.
///
/// # Errors
///
/// If the target cannot be reached or read, or the time is up.
pub async fn look(request: &Request) -> Result<Report, TargetError> {
    let deadline = request.limits.timeout + Duration::from_millis(500);
    match tokio::time::timeout(deadline, look_unbounded(request)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(TargetError::TimedOut(request.limits.timeout.as_secs())),
    }
}

async fn look_unbounded(request: &Request) -> Result<Report, TargetError> {
    let started = Clock::now();
    let opened = open(&request.address, request.limits, request.deep).await?;
    let queries = opened.sql(request.deep);
    let (census, tops) = observe::census(&opened.session, &queries, request.engine).await?;
    let duration = started.elapsed();
    let doubt = doubt(&opened, &census).await?;
    let facts = Facts {
        census: &census,
        settings: &request.settings,
        duration_us: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    };
    let mut outcomes = Vec::new();
    for check in checks::ALL
        .into_iter()
        .filter(|check| request.only.is_empty() || request.only.iter().any(|id| id == check.id))
    {
        let mut finding = (check.decide)(facts);
        if let (Some(reason), Verdict::Healthy | Verdict::Failing) = (&doubt, &finding.verdict) {
            distrust(&mut finding, reason, census.sessions == 0);
        }
        let evidence = if finding.verdict == Verdict::Failing {
            evidence(&opened, &queries, (check.proof, finding.bound.unwrap_or(0)), &tops).await?
        } else {
            vec![]
        };
        outcomes.push(Outcome { check, finding, evidence });
    }
    let mut notes = opened.candidate.notes.clone();
    notes.extend(doubt);
    let (candidate, target) = (opened.candidate.clone(), request.address.to_string());
    opened.session.close().await;
    Ok(Report { target, candidate, engine: request.engine, duration, census, outcomes, notes })
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
    tops: &Tops,
) -> Result<Vec<Evidence>, TargetError> {
    let session = &opened.session;
    match proof {
        Proof::Duplicates => observe::rows(session, queries, Rows::Duplicates).await,
        Proof::Orphans => observe::rows(session, queries, Rows::Orphans).await,
        Proof::OldestExpired => observe::rows(session, queries, Rows::OldestExpired).await,
        Proof::BeyondPolicy => observe::rows(session, queries, Rows::BeyondPolicy).await,
        Proof::ActiveHolders => holders(session, queries, above(&tops.active, bound)).await,
        Proof::Creators => holders(session, queries, above(&tops.created, bound)).await,
        Proof::Value => Ok(vec![]),
    }
}

/// The holders of more than `bound`; they come most first.
fn above(holders: &[Holder], bound: u64) -> &[Holder] {
    &holders[..holders.partition_point(|holder| holder.sessions > bound)]
}

async fn holders(
    session: &Session,
    queries: &Sql<'_>,
    holders: &[Holder],
) -> Result<Vec<Evidence>, TargetError> {
    let ids: Vec<&str> = holders.iter().map(|holder| holder.user.as_str()).collect();
    let named = match queries.users_named(&ids) {
        Some(query) => session.fetch(&query).await?,
        None => vec![],
    };
    let display = |id: &str| {
        let row = named.iter().find(|row| row.first().is_some_and(|user| user.as_deref() == Some(id)));
        row.and_then(|row| row.get(1..)).unwrap_or_default().to_vec()
    };
    let evidence = |holder: &Holder| Evidence {
        token_prefix: None,
        id: None,
        user: Some(holder.user.clone()),
        expires_at: None,
        rows: holder.sessions,
        display: display(&holder.user),
    };
    Ok(holders.iter().map(evidence).collect())
}
