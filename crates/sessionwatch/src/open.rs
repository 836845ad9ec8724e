//! Opening a target: connect, read the schema, recognise the table of sessions, and make sure that its expiries can be
//! read.

use std::time::Instant as Monotonic;

use sessionwatch_core::{
    census::OUTLIER_FLOOR,
    decoder::{Decoder, Raw},
    instant::{DAY, Instant, SECOND},
    plausibility::{plausible_share, plausible_under},
    settings::Settings,
};

use crate::{
    clocks::{Clocks, clock_of},
    config::{Storage, Target},
    profile::{
        background,
        catalogue::Profile,
        detect::{self, Candidate, Detection, RuledOut, Wanted},
        doubt::{Doubt, Weight},
        explicit,
        layout::Layout,
        mapping::{InstantColumn, TableName},
        near::{self, Missed},
        schema::{ColumnKind, Dialect, Schema},
    },
    target::{
        address::Address,
        cells,
        error::TargetError,
        session::{Idle, Session},
        sql::{self, Sql},
    },
};

/// Rows whose expiry is looked at before a decoder is believed.
const SAMPLE: usize = 1_000;
/// Below that share of plausible expiries a decoder is not believed, and from the other on one may take its place.
const BELIEVED: f64 = 0.5;
const CONVINCING: f64 = 0.9;

/// Rows whose token is looked at before a table is believed to hold sessions.
const TOKENS: usize = 100;

/// An open target whose session table was recognised.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// The schema as found.
    pub schema: Schema,
    /// The table of sessions.
    pub candidate: Candidate,
    /// Other profiles under which the same table can be read, best first.
    readings: Vec<Candidate>,
    /// Other tables that could be meant, best first.
    pub others: Vec<Candidate>,
    /// Why the table may be the wrong one.
    pub doubt: Option<Doubt>,
    /// The stored expiries spoke for another decoder than the profile.
    pub decoder_replaced: bool,
    /// What zone its instants are in.
    pub clocks: Clocks,
    /// The key of the fingerprints of this process.
    pub key: i64,
    /// The instant of the look.
    pub now: Instant,
    /// When that was read from the database, by an even count.
    pub now_read: Monotonic,
    /// How far this copy had come; nothing if it was not asked, or does not say.
    pub position: Option<u64>,
}

impl Opened {
    /// The first candidate is meant, unless the values speak for another reading of the same table.
    fn of(
        session: Session,
        schema: Schema,
        mut candidates: Vec<Candidate>,
        (key, now, now_read): (i64, Instant, Monotonic),
    ) -> Self {
        let candidate = candidates.remove(0);
        let same = |other: &Candidate| other.mapping.sessions == candidate.mapping.sessions;
        let (readings, others) = candidates.into_iter().partition(same);
        Self {
            session,
            schema,
            candidate,
            readings,
            others,
            doubt: None,
            decoder_replaced: false,
            clocks: Clocks::default(),
            key,
            now,
            now_read,
            position: None,
        }
    }

    /// Whether it is certain enough which table holds the sessions to hold later looks against it.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.doubt.as_ref().is_none_or(|doubt| doubt.weight == Weight::Aside)
    }

    /// The queries of this target under these thresholds.
    #[must_use]
    pub fn sql(&self, deep: bool, settings: &Settings) -> Sql<'_> {
        let default = || {
            let seconds = i64::try_from(self.candidate.mapping.max_lifetime_s?).ok()?;
            Some(seconds * SECOND + DAY)
        };
        Sql {
            mapping: &self.candidate.mapping,
            schema: &self.schema,
            key: self.key,
            now: self.now,
            max_lifetime_us: settings.lifetime_max_us.or_else(default),
            deep,
            notable_above: settings.user_max.min(settings.rapid_max_per_hour).min(OUTLIER_FLOOR),
            pasted: false,
        }
    }
}

/// How a target is opened.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Which of its copies.
    pub address: &'a Address,
    /// Indexes are distrusted.
    pub deep: bool,
    /// The key of fingerprints; nothing for that of this process.
    pub key: Option<i64>,
    /// How far the copy has come is asked.
    pub placed: bool,
}

/// Opens a target and recognises its sessions, within the target's time limit.
///
/// # Errors
///
/// If it cannot be reached in time, no session table is recognised, or its expiries cannot be read.
pub async fn open(target: &Target, catalogue: &[Profile], deep: bool) -> Result<Opened, TargetError> {
    let limit = target.limits.timeout;
    let access = Access { address: &target.address, deep, key: None, placed: false };
    match tokio::time::timeout(limit, open_at(target, catalogue, access)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(TargetError::TimedOut(limit.as_secs())),
    }
}

/// The same over a connection that is there already; over a new one, if that is lost.
///
/// # Errors
///
/// Those of [`open`].
pub async fn open_over(
    target: &Target,
    catalogue: &[Profile],
    idle: Option<Idle>,
) -> Result<Opened, TargetError> {
    let Some(idle) = idle else { return open(target, catalogue, false).await };
    match Session::resume(idle, &target.address, target.limits).await {
        Some(session) => recognised(session, target, catalogue, (fingerprint_key(), false)).await,
        None => open(target, catalogue, false).await,
    }
}

/// Opens one copy of a target and recognises its sessions.
///
/// # Errors
///
/// If it cannot be reached, no session table is recognised, or its expiries cannot be read.
pub async fn open_at(
    target: &Target,
    catalogue: &[Profile],
    access: Access<'_>,
) -> Result<Opened, TargetError> {
    let key = access.key.unwrap_or_else(fingerprint_key);
    let session = Session::open(access.address, target.limits, access.deep, key).await?;
    recognised(session, target, catalogue, (key, access.placed)).await
}

/// Recognises the sessions of an open target.
async fn recognised(
    session: Session,
    target: &Target,
    catalogue: &[Profile],
    (key, placed): (i64, bool),
) -> Result<Opened, TargetError> {
    let asked = Monotonic::now();
    let now = session.now().await?;
    let now_read = asked + asked.elapsed() / 2;
    let position = if placed { session.position().await? } else { None };
    let schema = session.schema().await?;
    let found = recognise(&schema, &target.storage, catalogue);
    let mut found = found.map_err(|error| lost(target, error))?;
    for candidate in &mut found.candidates {
        leave_out_deleted(&schema, candidate);
        know_impersonators(&schema, candidate);
    }
    background::prefer_tables(&schema, &mut found.candidates);
    refuse_code(&schema, &mut found.candidates)?;
    let candidates = believed(&session, (&schema, catalogue), found).await;
    let candidates = candidates.map_err(|error| lost(target, error))?;
    if let Some(known) = &target.known {
        unchanged(&target.name, known, &candidates)?;
    }
    let mut opened = Opened::of(session, schema, candidates, (key, now, now_read));
    opened.position = position;
    let detected = !matches!(target.storage, Storage::Explicit(_));
    settle_expiry(&mut opened, (catalogue, detected)).await?;
    settle_creation(&mut opened).await?;
    refuse_last_use(&opened).await?;
    opened.doubt = Doubt::of(&opened.schema, &opened.candidate, &opened.others);
    Ok(opened)
}

/// Leaves rows out that the application has marked as deleted, and says so.
fn leave_out_deleted(schema: &Schema, candidate: &mut Candidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::soft_delete) else { return };
    if !column.readable && !candidate.named {
        let lack = format!("the role may not read `{}`, which says whether a row was deleted", column.name);
        return candidate.lacks.push(lack);
    }
    candidate.mapping.deleted = Some(column.name.clone());
    candidate
        .notes
        .push(format!("rows that `{}` marks as deleted are not counted, and not touched", column.name));
}

/// Takes sessions in which somebody acts for the user for no log-ins of that user, and says so.
fn know_impersonators(schema: &Schema, candidate: &mut Candidate) {
    let table = schema.table(&candidate.mapping.sessions);
    let Some(column) = table.and_then(detect::impersonator) else { return };
    candidate.mapping.impersonator = Some(column.name.clone());
    candidate.notes.push(format!(
        "`{}` names who acts for the user in a session: such sessions count as held by the user, and not as created by the user \
         (`sessionwatch doctor` counts them)",
        column.name
    ));
}

/// A key that no two processes share, so that fingerprints mean nothing outside this one; within it, looks compare.
#[must_use]
pub fn fingerprint_key() -> i64 {
    use std::{
        hash::{BuildHasher, RandomState},
        sync::OnceLock,
    };
    static KEY: OnceLock<i64> = OnceLock::new();
    *KEY.get_or_init(|| RandomState::new().hash_one(std::process::id()).cast_signed())
}

/// What was found in the schema.
struct Found {
    /// The tables that may be meant, best first; at least one.
    candidates: Vec<Candidate>,
    /// Which profile was looked for, if one was named.
    wanted: String,
    ruled_out: Vec<RuledOut>,
}

fn recognise(schema: &Schema, storage: &Storage, catalogue: &[Profile]) -> Result<Found, TargetError> {
    let of = |name: &str| catalogue.iter().filter(|profile| profile.name == name).cloned().collect();
    let named: Vec<Profile>;
    let (searched, table, wanted) = match storage {
        Storage::Explicit(mapping) => {
            let mut candidate = explicit::check(schema, mapping)?;
            let profile = catalogue.iter().find(|profile| profile.name == mapping.profile);
            if let (Some(profile), Some(table)) = (profile, schema.table(&candidate.mapping.sessions)) {
                candidate.title = format!("{}, by the mapping of the configuration", profile.title);
                candidate.elsewhere = detect::elsewhere(schema, table, profile);
            }
            return Ok(Found { candidates: vec![candidate], wanted: String::new(), ruled_out: vec![] });
        }
        Storage::Detect => (catalogue, None, String::new()),
        Storage::Table { table, profile: None } => (catalogue, Some(table), String::new()),
        Storage::Table { table, profile: Some(name) } => {
            named = of(name);
            (named.as_slice(), Some(table), format!(" by profile `{name}`"))
        }
        Storage::Profile(name) => {
            named = of(name);
            (named.as_slice(), None, format!(" by profile `{name}`"))
        }
    };
    let only = table.map(|table| explicit::find(schema, table)).transpose()?;
    let about = Wanted { table: only, profile: !wanted.is_empty() };
    let Detection { mut candidates, mut refused, ruled_out } = detect::detect(schema, searched, about);
    // Where the address says in which schemas to look, others are not meant.
    if schema.path_named && table.is_none() {
        let meant = |table: &TableName| schema.table(table).is_some_and(|table| table.search_path.is_some());
        candidates.retain(|candidate| meant(&candidate.mapping.sessions));
        refused.retain(|(table, _)| !schema.meant(table).is_empty());
    }
    let place = if schema.path_named { " in the schema that the address names" } else { "" };
    match (refused.first(), table) {
        _ if !candidates.is_empty() => Ok(Found { candidates, wanted, ruled_out }),
        (Some((table, columns)), _) => {
            Err(TargetError::Unreadable { table: table.clone(), columns: columns.join("`, `") })
        }
        (None, Some(table)) => Err(unfit(table, &wanted)),
        (None, None) => Err(missed(schema, catalogue, (format!("{wanted}{place}"), &ruled_out))),
    }
}

/// Nothing of what may be meant executes code of the target; what would is left out, unless it is all that there is.
fn refuse_code(schema: &Schema, candidates: &mut Vec<Candidate>) -> Result<(), TargetError> {
    let first = candidates[0].mapping.sessions.clone();
    let mut refused = None;
    candidates.retain_mut(|candidate| match background::refuse_code(schema, candidate) {
        Ok(()) => true,
        Err(error) => {
            let error = (candidate.mapping.sessions == first).then_some(error);
            refused = refused.take().or(error);
            false
        }
    });
    refused.map_or(Ok(()), Err)
}

/// A table was named whose columns nothing fits.
fn unfit(table: &TableName, wanted: &str) -> TargetError {
    TargetError::Mapping(format!(
        "the columns of `{table}` are not recognised{wanted}: write them under [target.mapping] instead of `sessions`"
    ))
}

fn missed(schema: &Schema, catalogue: &[Profile], (wanted, ruled_out): (String, &[RuledOut])) -> TargetError {
    let missed = near::misses(schema, catalogue, ruled_out);
    TargetError::NotRecognised(Box::new(Missed { wanted, ..missed }))
}

/// Makes sure that the table is the one that is known, and its columns are.
fn unchanged(target: &str, known: &Layout, candidates: &[Candidate]) -> Result<(), TargetError> {
    let Some(best) = candidates.first() else { return Ok(()) };
    // The same table may be read in several ways, which differ by its values.
    let same = candidates.iter().any(|candidate| {
        candidate.mapping.sessions == best.mapping.sessions && Layout::of(&candidate.mapping) == *known
    });
    if same {
        return Ok(());
    }
    let (from, to) = (known.to_string(), Layout::of(&best.mapping).to_string());
    Err(TargetError::TableChanged { from, to, target: target.to_owned() })
}

/// Where nothing is recognised any more, what was known is said.
fn lost(target: &Target, error: TargetError) -> TargetError {
    match (error, &target.known) {
        (TargetError::NotRecognised(mut missed), Some(known)) => {
            missed
                .seen
                .insert(0, format!("{known} was the session table before, and is not recognised any more"));
            TargetError::NotRecognised(missed)
        }
        (error, _) => error,
    }
}

/// The candidates without tables whose tokens are JWTs: those are signed, and work without any row. Where the configuration
/// names the table, that is only noted.
async fn believed(
    session: &Session,
    (schema, catalogue): (&Schema, &[Profile]),
    found: Found,
) -> Result<Vec<Candidate>, TargetError> {
    let Found { mut candidates, wanted, mut ruled_out } = found;
    while let Some(best) = candidates.first() {
        let table = best.mapping.sessions.clone();
        let rows = session.fetch(&sql::token_shapes(schema.dialect, &best.mapping, TOKENS)).await?;
        let row = rows.first().ok_or(TargetError::Lost)?;
        let count = |at: usize| cells::number::<u64>(row, at, "a count").map(Option::unwrap_or_default);
        let (tokens, jwts) = (count(0)?, count(1)?);
        if jwts == 0 || jwts < tokens.div_ceil(2) {
            break;
        }
        if best.named {
            candidates[0].elsewhere.push(format!(
                "the tokens of `{table}` are JWTs: whoever holds one stays logged in until it expires, whatever becomes of its row"
            ));
            break;
        }
        candidates.retain(|candidate| candidate.mapping.sessions != table);
        let why = "has the columns of a token, a user and an expiry, but its tokens are JWTs, which are no session tokens";
        ruled_out.insert(0, RuledOut { table, why: why.into() });
    }
    if candidates.is_empty() {
        return Err(missed(schema, catalogue, (wanted, &ruled_out)));
    }
    Ok(candidates)
}

/// Looks at stored expiries, where their type leaves open what they mean; replaces a decoder that was only guessed.
async fn settle_expiry(
    opened: &mut Opened,
    (catalogue, detected): (&[Profile], bool),
) -> Result<(), TargetError> {
    let rows = sample(opened, &opened.candidate.mapping.expires.column).await?;
    let values: Vec<Raw<'_>> = rows.iter().map(|row| stored(row)).collect();
    let now = opened.now;
    let share = |decoder| plausible_share(decoder, &values, now).unwrap_or(1.0);
    let fit = |candidate: &Candidate| {
        let profile = catalogue.iter().find(|profile| profile.name == candidate.mapping.profile);
        let ending = profile.and_then(|profile| profile.iso_ending.as_deref());
        (share(candidate.mapping.expires.decoder), ending.map_or(1.0, |ending| ending_share(&values, ending)))
    };
    let mut found = fit(&opened.candidate);
    // Another profile under which more of the values make sense is the better reading of the table.
    for at in 0..opened.readings.len() {
        let other = fit(&opened.readings[at]);
        if other > found {
            std::mem::swap(&mut opened.candidate, &mut opened.readings[at]);
            found = other;
        }
    }
    let share_found = found.0;
    let written = opened.candidate.mapping.expires.decoder;
    let kind =
        opened.schema.kind(&opened.candidate.mapping.sessions, &opened.candidate.mapping.expires.column);
    let clock = |decoder| clock_of(kind, decoder, &values);
    opened.clocks.expires = clock(opened.candidate.mapping.expires.decoder);
    if share_found >= BELIEVED {
        return Ok(());
    }
    match plausible_under(&values, now, CONVINCING) {
        Some(decoder) if detected => {
            opened.candidate.mapping.expires.decoder = decoder;
            opened.clocks.expires = clock(decoder);
            opened.decoder_replaced = true;
            opened.candidate.notes.push(format!(
                "expiries are stored as `{}`, not as `{}`, which is usual for this profile",
                decoder.name(),
                written.name()
            ));
            Ok(())
        }
        better => {
            Err(TargetError::Implausible { written: written.name(), better: better.map(Decoder::name) })
        }
    }
}

/// Refuses a column as the end that is called after the last use of a session, where no end lies ahead: every session would
/// count as expired.
async fn refuse_last_use(opened: &Opened) -> Result<(), TargetError> {
    let column = &opened.candidate.mapping.expires.column;
    if !detect::is_last_use(column) {
        return Ok(());
    }
    let rows = opened.session.fetch(&opened.sql(false, &Settings::default()).ends_ahead()).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    let count = |at: usize| cells::number::<u64>(row, at, "a count");
    match (count(0)?, count(1)?) {
        (Some(1..), Some(0)) => Err(TargetError::LastUse(column.clone())),
        _ => Ok(()),
    }
}

/// The share of texts among the values that end so; 1 if there is no text.
#[expect(clippy::cast_precision_loss, reason = "a share of a sample")]
fn ending_share(values: &[Raw<'_>], ending: &str) -> f64 {
    let texts = values.iter().filter_map(|value| match value {
        Raw::Text(text) => Some(text.ends_with(ending.as_bytes())),
        _ => None,
    });
    let (mut all, mut fitting) = (0_usize, 0_usize);
    for fits in texts {
        all += 1;
        fitting += usize::from(fits);
    }
    if all == 0 { 1.0 } else { fitting as f64 / all as f64 }
}

/// The same for creation, without which a look can do.
async fn settle_creation(opened: &mut Opened) -> Result<(), TargetError> {
    let Some(created) = opened.candidate.mapping.created.clone() else {
        return Ok(());
    };
    let rows = sample(opened, &created.column).await?;
    let values: Vec<Raw<'_>> = rows.iter().map(|row| stored(row)).collect();
    let kind = opened.schema.kind(&opened.candidate.mapping.sessions, &created.column);
    opened.clocks.created = Some(clock_of(kind, created.decoder, &values));
    if plausible_share(created.decoder, &values, opened.now).is_none_or(|share| share >= BELIEVED) {
        return Ok(());
    }
    let candidate = &mut opened.candidate;
    if let Some(decoder) = plausible_under(&values, opened.now, CONVINCING) {
        opened.clocks.created = Some(clock_of(kind, decoder, &values));
        candidate.mapping.created = Some(InstantColumn { decoder, ..created });
    } else {
        candidate
            .notes
            .push(format!("`{}` cannot be read as a time, so creation is not known", created.column));
        candidate.mapping.created = None;
        opened.clocks.created = None;
    }
    opened.decoder_replaced = true;
    Ok(())
}

/// Some values of a column; none where its type says what they are.
async fn sample(opened: &Opened, column: &str) -> Result<Vec<Vec<Option<String>>>, TargetError> {
    let kind = opened.schema.kind(&opened.candidate.mapping.sessions, column);
    let sure = opened.schema.dialect == Dialect::Postgres
        && ![ColumnKind::Integer, ColumnKind::Text].contains(&kind);
    if sure {
        return Ok(vec![]);
    }
    opened.session.fetch(&opened.sql(false, &Settings::default()).sample(column, SAMPLE)).await
}

/// A line of [`Sql::sample`]: the type that the value has, and the value as text.
pub(crate) fn stored(row: &[Option<String>]) -> Raw<'_> {
    match (row.first().and_then(Option::as_deref), row.get(1).and_then(Option::as_deref)) {
        (_, None) => Raw::Null,
        (Some("integer"), Some(text)) => text.parse().map_or(Raw::Other, Raw::Integer),
        (Some("real"), Some(text)) => text.parse().map_or(Raw::Other, Raw::Real),
        (Some("blob"), _) => Raw::Other,
        (_, Some(text)) => Raw::Text(text.as_bytes()),
    }
}
