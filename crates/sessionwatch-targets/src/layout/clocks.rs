//! What zone the instants of a target are in: which columns name none, and rows that show whether they are read as they were
//! written.

use sessionwatch_core::{
    decoder::{DecodedTime, Decoder, RawValue, is_naive_timestamp},
    local_time::{
        ColumnZone, GrowthWindow, LocalTimeInput, NewestTimes, SampledRow, TimeColumn, TimeZoneDoubts,
    },
    plausibility::find_plausible_decoder,
    time_zone::{LOCAL_DECODER_PREFIX, Zone},
    timestamp::{MICROS_PER_SECOND, UtcTimestamp},
};

use super::Layout;
use crate::{
    cells::TextRow,
    error::TargetError,
    read_session::ReadSession,
    sql::{
        ComparedColumns, QueryBuilder,
        tables::{self, ColumnKind},
    },
};

/// Rows that are compared.
const SAMPLE_ROWS: usize = 300;
/// Other columns that are compared.
const MAX_OTHER_COLUMNS: usize = 4;
/// The share of the values under which a column is taken for one of instants.
const CONVINCING_SHARE: f64 = 0.9;

/// What parts of a name say that a column holds when a session was created, used or changed, and what says that it does
/// not.
const ACTIVITY_NAME_PARTS: [&str; 13] = [
    "creat", "updat", "modif", "last", "seen", "activ", "access", "login", "logged", "issued", "began",
    "start", "used",
];
const NON_ACTIVITY_NAME_PARTS: [&str; 9] =
    ["expir", "end", "until", "valid", "next", "after", "revok", "delet", "refresh"];
/// Columns in which sessions are stored as JSON.
const JSON_COLUMN_NAMES: [&str; 5] = ["sess", "session", "data", "session_data", "sess_data"];

/// What zone the instants of a target are in.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayoutClocks {
    /// That of the end.
    pub expires: ColumnZone,
    /// That of the creation, where it is stored.
    pub created: Option<ColumnZone>,
}

/// Rows to compare, and the columns of them besides end and creation.
#[derive(Clone, Debug, Default)]
struct ClockSample {
    others: Vec<(String, ColumnZone)>,
    rows: Vec<SampledRow>,
}

/// What is known of the whole table.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableActivity {
    /// Its newest instants.
    pub newest: NewestTimes,
    /// Sessions that seem active.
    pub active: u64,
    /// When it last grew.
    pub last_growth: Option<GrowthWindow>,
}

/// What zone the values of a column are in, some of which are given.
#[must_use]
pub(super) fn column_clock(kind: ColumnKind, decoder: Decoder, values: &[RawValue<'_>]) -> ColumnZone {
    let naive =
        || values.iter().any(|value| matches!(value, RawValue::Text(text) if is_naive_timestamp(text)));
    match decoder {
        Decoder::TimestampLocal(zone) => ColumnZone::Local(zone),
        Decoder::TimestampUtc => ColumnZone::AssumedUtc,
        Decoder::IsoText | Decoder::EpochMillisOrIso if kind != ColumnKind::Integer && naive() => {
            ColumnZone::AssumedUtc
        }
        _ => ColumnZone::Explicit,
    }
}

/// Takes rows to compare.
async fn sample_clock_rows(
    session: &ReadSession,
    layout: &Layout,
    now: UtcTimestamp,
) -> Result<ClockSample, TargetError> {
    let mapping = &layout.candidate.mapping;
    let Some(table) = layout.schema.table(&mapping.sessions) else {
        return Ok(ClockSample::default());
    };
    let others = find_activity_columns(layout, table);
    let documents = find_json_columns(layout, table);
    let zone = if let ColumnZone::Local(zone) = layout.clocks.expires { Some(zone) } else { None };
    let compared = ComparedColumns { timestamp_columns: &others, json_columns: &documents, zone };
    let sql =
        QueryBuilder::for_sampling(mapping, &layout.schema, now).comparison_query(compared, SAMPLE_ROWS);
    let fetched = session.fetch_rows(&sql).await?;
    let mut rows: Vec<SampledRow> = fetched.iter().map(|row| parse_clock_row(row, documents.len())).collect();
    let mut read = Vec::new();
    for (number, other) in others.into_iter().enumerate() {
        let at = 2 + 2 * documents.len() + 2 * number;
        let kind = layout.schema.column_kind(&mapping.sessions, &other);
        let (clock, values) = parse_other_column(&fetched, at, OtherColumnStorage { kind, zone, now });
        read.push((other, clock));
        for (row, value) in rows.iter_mut().zip(values) {
            row.others.push(value);
        }
    }
    Ok(ClockSample { others: read, rows })
}

/// The columns besides end and creation that hold instants of a session's life.
fn find_activity_columns(layout: &Layout, table: &tables::TableInfo) -> Vec<String> {
    let mapping = &layout.candidate.mapping;
    let created = mapping.created.as_ref().map(|created| &created.column);
    let known = [Some(&mapping.token), Some(&mapping.expires.column), created, mapping.user.as_ref()];
    let named = |column: &&tables::ColumnInfo| {
        let name = column.name.to_lowercase();
        ACTIVITY_NAME_PARTS.iter().any(|part| name.contains(part))
            && !NON_ACTIVITY_NAME_PARTS.iter().any(|part| name.contains(part))
    };
    let kinds = [ColumnKind::Timestamptz, ColumnKind::Timestamp, ColumnKind::Integer, ColumnKind::Text];
    table
        .columns
        .iter()
        .filter(|column| column.readable && !known.contains(&Some(&column.name)))
        .filter(|column| layout.schema.dialect.has_dynamic_types() || kinds.contains(&column.kind))
        .filter(named)
        .take(MAX_OTHER_COLUMNS)
        .map(|column| column.name.clone())
        .collect()
}

/// The columns that hold sessions as JSON.
fn find_json_columns(layout: &Layout, table: &tables::TableInfo) -> Vec<String> {
    let token = &layout.candidate.mapping.token;
    let kinds = [ColumnKind::Json, ColumnKind::Text];
    let fits = |column: &&tables::ColumnInfo| {
        column.readable
            && column.name != *token
            && JSON_COLUMN_NAMES.contains(&column.name.to_lowercase().as_str())
            && (layout.schema.dialect.has_dynamic_types() || kinds.contains(&column.kind))
    };
    table.columns.iter().filter(fits).map(|column| column.name.clone()).collect()
}

/// The end and the creation of a row, and what its documents say.
fn parse_clock_row(row: &TextRow, documents: usize) -> SampledRow {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let micros = |at: usize| text(at)?.parse().ok().and_then(UtcTimestamp::from_micros);
    let named = (0..documents).find_map(|number| {
        let end = Decoder::IsoText.decode(RawValue::Text(text(2 + 2 * number)?.as_bytes()));
        if let DecodedTime::At(end) = end { Some(end) } else { None }
    });
    let lifetime = (0..documents).find_map(|number| text(3 + 2 * number)?.parse::<i64>().ok());
    SampledRow {
        expires: micros(0),
        created: micros(1),
        others: vec![],
        named_expiry: named,
        lifetime_us: lifetime.filter(|lifetime| *lifetime > 0).and_then(|millis| millis.checked_mul(1_000)),
    }
}

/// How another column than end and creation is read.
#[derive(Clone, Copy)]
struct OtherColumnStorage {
    kind: ColumnKind,
    /// The zone of wall clocks, where it is known.
    zone: Option<Zone>,
    now: UtcTimestamp,
}

/// The values of another column, what it is and its text side by side, and what zone they are in.
fn parse_other_column(
    rows: &[TextRow],
    at: usize,
    stored: OtherColumnStorage,
) -> (ColumnZone, Vec<Option<UtcTimestamp>>) {
    let OtherColumnStorage { kind, zone, now } = stored;
    let wall = zone.map_or(ColumnZone::AssumedUtc, ColumnZone::Local);
    let text = |row: &TextRow, at: usize| row.get(at).cloned().flatten();
    if rows.iter().any(|row| text(row, at).as_deref() == Some("micros")) {
        let micros = |row: &TextRow| text(row, at + 1)?.parse().ok().and_then(UtcTimestamp::from_micros);
        let clock = if kind == ColumnKind::Timestamp { wall } else { ColumnZone::Explicit };
        return (clock, rows.iter().map(micros).collect());
    }
    let values: Vec<RawValue<'_>> =
        rows.iter().map(|row| parse_raw_value(row.get(at..).unwrap_or_default())).collect();
    let Some(decoder) = find_plausible_decoder(&values, now, CONVINCING_SHARE) else {
        return (ColumnZone::Explicit, vec![None; rows.len()]);
    };
    let clock = column_clock(kind, decoder, &values);
    let decoder = match (clock, zone) {
        (ColumnZone::AssumedUtc, Some(zone)) => Decoder::TimestampLocal(zone),
        _ => decoder,
    };
    let read =
        |value: &RawValue<'_>| if let DecodedTime::At(at) = decoder.decode(*value) { Some(at) } else { None };
    (if clock.is_wall_clock() { wall } else { clock }, values.iter().map(read).collect())
}

/// The columns of the end and of the creation that are not believed, and why. Takes a bounded number of rows, where one
/// of them names no time zone, and none otherwise.
///
/// # Errors
///
/// If the query fails.
pub async fn find_clock_doubts(
    session: &ReadSession,
    layout: &Layout,
    now: UtcTimestamp,
    known: TableActivity,
) -> Result<TimeZoneDoubts, TargetError> {
    let LayoutClocks { expires, created } = layout.clocks;
    if !expires.is_wall_clock() && !created.is_some_and(ColumnZone::is_wall_clock) {
        return Ok(TimeZoneDoubts::default());
    }
    let sample = sample_clock_rows(session, layout, now).await?;
    let mapping = &layout.candidate.mapping;
    let created = mapping.created.as_ref().zip(created);
    let others: Vec<TimeColumn<'_>> =
        sample.others.iter().map(|(name, clock)| TimeColumn { name, zone: *clock }).collect();
    let lifetime = mapping.max_lifetime_s.and_then(|seconds| i64::try_from(seconds).ok());
    let facts = LocalTimeInput {
        now,
        expires: TimeColumn { name: &mapping.expires.column, zone: expires },
        created: created.map(|(column, clock)| TimeColumn { name: &column.column, zone: clock }),
        others: &others,
        newest: known.newest,
        active: known.active,
        rows: &sample.rows,
        lifetime_us: lifetime.and_then(|seconds| seconds.checked_mul(MICROS_PER_SECOND)),
        growth: known.last_growth,
    };
    Ok(facts.find_doubts())
}

/// What puts doubts right: the lines of the configuration.
#[must_use]
pub fn clock_fix_hint(doubts: &TimeZoneDoubts, now: UtcTimestamp) -> Option<String> {
    let line = |key: &str, offset: Option<i64>| {
        let example = offset.and_then(|offset| Zone::find_by_offset(offset, now));
        let such = example.map(|zone| format!(", such as {}", zone.name())).unwrap_or_default();
        format!("`{key} = \"{LOCAL_DECODER_PREFIX}ZONE\"` with the time zone of the application{such}")
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

/// A line of [`QueryBuilder::sample`]: the type that the value has, and the value as text.
pub(super) fn parse_raw_value(row: &[Option<String>]) -> RawValue<'_> {
    match (row.first().and_then(Option::as_deref), row.get(1).and_then(Option::as_deref)) {
        (_, None) => RawValue::Null,
        (Some("integer"), Some(text)) => text.parse().map_or(RawValue::Other, RawValue::Integer),
        (Some("real"), Some(text)) => text.parse().map_or(RawValue::Other, RawValue::Real),
        (Some("blob"), _) => RawValue::Other,
        (_, Some(text)) => RawValue::Text(text.as_bytes()),
    }
}
