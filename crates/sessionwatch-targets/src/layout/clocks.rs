//! What zone the instants of a target are in: which columns name none, and rows that show whether they are read as they were
//! written.

use sessionwatch_core::{
    decoder::{Decoded, Decoder, Raw, is_naive},
    instant::{Instant, MICROS_PER_SECOND},
    local_time::{Clock, Column, Doubts, Facts, Growth, Newest, Row},
    plausibility::plausible_under,
    zone::{LOCAL, Zone},
};

use super::Layout;
use crate::{
    cells::TextRow,
    error::TargetError,
    read_session::ReadSession,
    sql::{
        Compared, Sql,
        tables::{self, ColumnKind},
    },
};

/// Rows that are compared.
const SAMPLE: usize = 300;
/// Other columns that are compared.
const OTHERS: usize = 4;
/// The share of the values under which a column is taken for one of instants.
const CONVINCING: f64 = 0.9;

/// What parts of a name say that a column holds when a session was created, used or changed, and what says that it does
/// not.
const ACTIVITY: [&str; 13] = [
    "creat", "updat", "modif", "last", "seen", "activ", "access", "login", "logged", "issued", "began",
    "start", "used",
];
const NO_ACTIVITY: [&str; 9] =
    ["expir", "end", "until", "valid", "next", "after", "revok", "delet", "refresh"];
/// Columns in which sessions are stored as JSON.
const DOCUMENTS: [&str; 5] = ["sess", "session", "data", "session_data", "sess_data"];

/// What zone the instants of a target are in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// That of the end.
    pub expires: Clock,
    /// That of the creation, where it is stored.
    pub created: Option<Clock>,
}

/// Rows to compare, and the columns of them besides end and creation.
#[derive(Clone, Debug, Default)]
struct Sample {
    others: Vec<(String, Clock)>,
    rows: Vec<Row>,
}

/// What is known of the whole table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Its newest instants.
    pub newest: Newest,
    /// Sessions that seem active.
    pub active: u64,
    /// When it last grew.
    pub growth: Option<Growth>,
}

/// What zone the values of a column are in, some of which are given.
#[must_use]
pub(super) fn clock_of(kind: ColumnKind, decoder: Decoder, values: &[Raw<'_>]) -> Clock {
    let naive = || values.iter().any(|value| matches!(value, Raw::Text(text) if is_naive(text)));
    match decoder {
        Decoder::TimestampLocal(zone) => Clock::Local(zone),
        Decoder::TimestampUtc => Clock::AssumedUtc,
        Decoder::IsoText | Decoder::EpochMillisOrIso if kind != ColumnKind::Integer && naive() => {
            Clock::AssumedUtc
        }
        _ => Clock::Named,
    }
}

/// Takes rows to compare.
async fn compare(session: &ReadSession, layout: &Layout, now: Instant) -> Result<Sample, TargetError> {
    let mapping = &layout.candidate.mapping;
    let Some(table) = layout.schema.table(&mapping.sessions) else {
        return Ok(Sample::default());
    };
    let others = others(layout, table);
    let documents = documents(layout, table);
    let zone = if let Clock::Local(zone) = layout.clocks.expires { Some(zone) } else { None };
    let compared = Compared { others: &others, documents: &documents, zone };
    let sql = Sql::sampling(mapping, &layout.schema, now).compared(compared, SAMPLE);
    let fetched = session.fetch(&sql).await?;
    let mut rows: Vec<Row> = fetched.iter().map(|row| ends(row, documents.len())).collect();
    let mut read = Vec::new();
    for (number, other) in others.into_iter().enumerate() {
        let at = 2 + 2 * documents.len() + 2 * number;
        let kind = layout.schema.kind(&mapping.sessions, &other);
        let (clock, values) = instants(&fetched, at, StoredBeside { kind, zone, now });
        read.push((other, clock));
        for (row, value) in rows.iter_mut().zip(values) {
            row.others.push(value);
        }
    }
    Ok(Sample { others: read, rows })
}

/// The columns besides end and creation that hold instants of a session's life.
fn others(layout: &Layout, table: &tables::Table) -> Vec<String> {
    let mapping = &layout.candidate.mapping;
    let created = mapping.created.as_ref().map(|created| &created.column);
    let known = [Some(&mapping.token), Some(&mapping.expires.column), created, mapping.user.as_ref()];
    let named = |column: &&tables::Column| {
        let name = column.name.to_lowercase();
        ACTIVITY.iter().any(|part| name.contains(part)) && !NO_ACTIVITY.iter().any(|part| name.contains(part))
    };
    let kinds = [ColumnKind::Timestamptz, ColumnKind::Timestamp, ColumnKind::Integer, ColumnKind::Text];
    table
        .columns
        .iter()
        .filter(|column| column.readable && !known.contains(&Some(&column.name)))
        .filter(|column| layout.schema.dialect.has_dynamic_types() || kinds.contains(&column.kind))
        .filter(named)
        .take(OTHERS)
        .map(|column| column.name.clone())
        .collect()
}

/// The columns that hold sessions as JSON.
fn documents(layout: &Layout, table: &tables::Table) -> Vec<String> {
    let token = &layout.candidate.mapping.token;
    let kinds = [ColumnKind::Json, ColumnKind::Text];
    let fits = |column: &&tables::Column| {
        column.readable
            && column.name != *token
            && DOCUMENTS.contains(&column.name.to_lowercase().as_str())
            && (layout.schema.dialect.has_dynamic_types() || kinds.contains(&column.kind))
    };
    table.columns.iter().filter(fits).map(|column| column.name.clone()).collect()
}

/// The end and the creation of a row, and what its documents say.
fn ends(row: &TextRow, documents: usize) -> Row {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let micros = |at: usize| text(at)?.parse().ok().and_then(Instant::from_micros);
    let named = (0..documents).find_map(|number| {
        let end = Decoder::IsoText.decode(Raw::Text(text(2 + 2 * number)?.as_bytes()));
        if let Decoded::At(end) = end { Some(end) } else { None }
    });
    let lifetime = (0..documents).find_map(|number| text(3 + 2 * number)?.parse::<i64>().ok());
    Row {
        expires: micros(0),
        created: micros(1),
        others: vec![],
        end_named: named,
        lifetime_us: lifetime.filter(|lifetime| *lifetime > 0).and_then(|millis| millis.checked_mul(1_000)),
    }
}

/// How another column than end and creation is read.
#[derive(Clone, Copy)]
struct StoredBeside {
    kind: ColumnKind,
    /// The zone of wall clocks, where it is known.
    zone: Option<Zone>,
    now: Instant,
}

/// The values of another column, what it is and its text side by side, and what zone they are in.
fn instants(rows: &[TextRow], at: usize, stored: StoredBeside) -> (Clock, Vec<Option<Instant>>) {
    let StoredBeside { kind, zone, now } = stored;
    let wall = zone.map_or(Clock::AssumedUtc, Clock::Local);
    let text = |row: &TextRow, at: usize| row.get(at).cloned().flatten();
    if rows.iter().any(|row| text(row, at).as_deref() == Some("micros")) {
        let micros = |row: &TextRow| text(row, at + 1)?.parse().ok().and_then(Instant::from_micros);
        let clock = if kind == ColumnKind::Timestamp { wall } else { Clock::Named };
        return (clock, rows.iter().map(micros).collect());
    }
    let values: Vec<Raw<'_>> =
        rows.iter().map(|row| parse_sample(row.get(at..).unwrap_or_default())).collect();
    let Some(decoder) = plausible_under(&values, now, CONVINCING) else {
        return (Clock::Named, vec![None; rows.len()]);
    };
    let clock = clock_of(kind, decoder, &values);
    let decoder = match (clock, zone) {
        (Clock::AssumedUtc, Some(zone)) => Decoder::TimestampLocal(zone),
        _ => decoder,
    };
    let read = |value: &Raw<'_>| if let Decoded::At(at) = decoder.decode(*value) { Some(at) } else { None };
    (if clock.is_wall() { wall } else { clock }, values.iter().map(read).collect())
}

/// The columns of the end and of the creation that are not believed, and why. Takes a bounded number of rows, where one
/// of them names no time zone, and none otherwise.
///
/// # Errors
///
/// If the query fails.
pub async fn doubts(
    session: &ReadSession,
    layout: &Layout,
    now: Instant,
    known: Known,
) -> Result<Doubts, TargetError> {
    let Clocks { expires, created } = layout.clocks;
    if !expires.is_wall() && !created.is_some_and(Clock::is_wall) {
        return Ok(Doubts::default());
    }
    let sample = compare(session, layout, now).await?;
    let mapping = &layout.candidate.mapping;
    let created = mapping.created.as_ref().zip(created);
    let others: Vec<Column<'_>> =
        sample.others.iter().map(|(name, clock)| Column { name, clock: *clock }).collect();
    let lifetime = mapping.max_lifetime_s.and_then(|seconds| i64::try_from(seconds).ok());
    let facts = Facts {
        now,
        expires: Column { name: &mapping.expires.column, clock: expires },
        created: created.map(|(column, clock)| Column { name: &column.column, clock }),
        others: &others,
        newest: known.newest,
        active: known.active,
        rows: &sample.rows,
        lifetime_us: lifetime.and_then(|seconds| seconds.checked_mul(MICROS_PER_SECOND)),
        growth: known.growth,
    };
    Ok(facts.doubts())
}

/// What puts doubts right: the lines of the configuration.
#[must_use]
pub fn remedy(doubts: &Doubts, now: Instant) -> Option<String> {
    let line = |key: &str, offset: Option<i64>| {
        let example = offset.and_then(|offset| Zone::at_offset(offset, now));
        let such = example.map(|zone| format!(", such as {}", zone.name())).unwrap_or_default();
        format!("`{key} = \"{LOCAL}ZONE\"` with the time zone of the application{such}")
    };
    let lines: Vec<String> = [("decoder", &doubts.expires), ("created_decoder", &doubts.created)]
        .into_iter()
        .filter_map(|(key, doubt)| Some(line(key, doubt.as_ref()?.offset_us)))
        .collect();
    if lines.is_empty() {
        return None;
    }
    Some(format!(
        "write {} under [target.mapping], for which `sessionwatch init` writes the other lines; UTC is a zone too",
        lines.join(" and ")
    ))
}

/// A line of [`Sql::sample`]: the type that the value has, and the value as text.
pub(super) fn parse_sample(row: &[Option<String>]) -> Raw<'_> {
    match (row.first().and_then(Option::as_deref), row.get(1).and_then(Option::as_deref)) {
        (_, None) => Raw::Null,
        (Some("integer"), Some(text)) => text.parse().map_or(Raw::Other, Raw::Integer),
        (Some("real"), Some(text)) => text.parse().map_or(Raw::Other, Raw::Real),
        (Some("blob"), _) => Raw::Other,
        (_, Some(text)) => Raw::Text(text.as_bytes()),
    }
}
