//! Time zones of timestamp columns: which columns store none, and sampled rows that show whether they are
//! decoded correctly.

use sessionwatch_core::{
    decoder_plausibility::find_plausible_decoder,
    local_time::{
        ColumnZone, GrowthWindow, LocalTimeInput, NewestTimes, SampledRow, TimeColumn, TimeZoneDoubts,
    },
    time_zone::{LOCAL_DECODER_PREFIX, Zone},
    timestamp::{MICROS_PER_SECOND, UtcTimestamp},
    timestamp_decoder::{DecodedTime, Decoder, RawValue, is_naive_timestamp},
};

use super::Layout;
use crate::{
    cells::{self, TextRow},
    error::TargetError,
    read_session::ReadSession,
    sql::{
        ComparedColumns, QueryBuilder,
        table_info::{self, ColumnKind},
    },
};

/// Number of rows sampled.
const SAMPLE_ROWS: usize = 300;
/// Maximum number of other columns compared.
const MAX_OTHER_COLUMNS: usize = 4;
/// Minimum share of plausible values for a column to count as a timestamp.
const CONVINCING_SHARE: f64 = 0.9;

/// Parts of column names that suggest the time of creation, use or change of a session, and parts that rule
/// this out.
const ACTIVITY_NAME_PARTS: [&str; 13] = [
    "creat", "updat", "modif", "last", "seen", "activ", "access", "login", "logged", "issued", "began",
    "start", "used",
];
const NON_ACTIVITY_NAME_PARTS: [&str; 9] =
    ["expir", "end", "until", "valid", "next", "after", "revok", "delet", "refresh"];
/// Columns that may store a session as JSON.
const JSON_COLUMN_NAMES: [&str; 5] = ["sess", "session", "data", "session_data", "sess_data"];

/// Time zones of the timestamp columns of a target.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayoutClocks {
    /// Zone of the expiry column.
    pub expires: ColumnZone,
    /// Zone of the creation column, if there is one.
    pub created: Option<ColumnZone>,
}

/// Sampled rows, and the further timestamp columns in them.
#[derive(Clone, Debug, Default)]
struct ClockSample {
    others: Vec<(String, ColumnZone)>,
    rows: Vec<SampledRow>,
}

/// Facts about the whole table.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableActivity {
    /// Newest times.
    pub newest: NewestTimes,
    /// Number of sessions that appear active.
    pub active: u64,
    /// Period in which the table last grew.
    pub last_growth: Option<GrowthWindow>,
}

/// Returns the time zone of a column, determined by its decoder and sampled values.
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

/// Samples rows to compare.
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
    let rows = fetched.iter().map(|row| parse_clock_row(row, documents.len()));
    let mut rows: Vec<SampledRow> = rows.collect::<Result<_, _>>()?;
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

/// Returns the columns, other than expiry and creation, that hold times of a session's life.
fn find_activity_columns(layout: &Layout, table: &table_info::TableInfo) -> Vec<String> {
    let mapping = &layout.candidate.mapping;
    let created = mapping.created.as_ref().map(|created| &created.column);
    let known = [Some(&mapping.token), Some(&mapping.expires.column), created, mapping.user.as_ref()];
    let named = |column: &&table_info::ColumnInfo| {
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
        // More columns add cost, but hardly evidence.
        .take(MAX_OTHER_COLUMNS)
        .map(|column| column.name.clone())
        .collect()
}

/// Returns the columns that store sessions as JSON.
fn find_json_columns(layout: &Layout, table: &table_info::TableInfo) -> Vec<String> {
    let token = &layout.candidate.mapping.token;
    let kinds = [ColumnKind::Json, ColumnKind::Text];
    let fits = |column: &&table_info::ColumnInfo| {
        column.readable
            && column.name != *token
            && JSON_COLUMN_NAMES.contains(&column.name.to_lowercase().as_str())
            && (layout.schema.dialect.has_dynamic_types() || kinds.contains(&column.kind))
    };
    table.columns.iter().filter(fits).map(|column| column.name.clone()).collect()
}

/// Parses expiry and creation of a row, and the expiry in its JSON columns.
fn parse_clock_row(row: &TextRow, documents: usize) -> Result<SampledRow, TargetError> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let micros = |at: usize| cells::parse_timestamp(row, at, "a timestamp");
    let named_expiry = (0..documents).find_map(|number| {
        let end = Decoder::IsoText.decode(RawValue::Text(text(2 + 2 * number)?.as_bytes()));
        if let DecodedTime::At(end) = end { Some(end) } else { None }
    });
    let lifetime = (0..documents).find_map(|number| text(3 + 2 * number)?.parse::<i64>().ok());
    Ok(SampledRow {
        expires: micros(0)?,
        created: micros(1)?,
        others: vec![],
        named_expiry,
        // Cookies store milliseconds; a session cookie without a lifetime stores none.
        lifetime_us: lifetime.filter(|lifetime| *lifetime > 0).and_then(|millis| millis.checked_mul(1_000)),
    })
}

/// Storage of a timestamp column other than expiry and creation.
#[derive(Clone, Copy)]
struct OtherColumnStorage {
    kind: ColumnKind,
    /// Time zone of wall-clock times, if known.
    zone: Option<Zone>,
    now: UtcTimestamp,
}

/// Parses the values of another column, which takes two cells per row: type and text. Returns its time zone
/// too.
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
        // PostgreSQL returned microseconds: only `timestamp` leaves the zone open.
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

/// Returns why the expiry and creation columns may be in a different time zone than assumed. Samples a bounded
/// number of rows if one of the columns stores no zone, and none otherwise.
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
    // Columns with an explicit zone leave no doubt, so the sample is saved.
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

/// Returns the configuration lines that resolve the doubts.
#[must_use]
pub fn clock_fix_hint(doubts: &TimeZoneDoubts, now: UtcTimestamp) -> Option<String> {
    let line = |key: &str, offset: Option<i64>| {
        let example = offset.and_then(|offset| Zone::find_by_offset(offset, now));
        let such = example.map(|zone| format!(", such as {}", zone.name())).unwrap_or_default();
        format!("`{key} = \"{LOCAL_DECODER_PREFIX}ZONE\"` with the application's time zone{such}")
    };
    let lines: Vec<String> = [("decoder", &doubts.expires), ("created_decoder", &doubts.created)]
        .into_iter()
        .filter_map(|(key, doubt)| Some(line(key, doubt.as_ref()?.offset_us)))
        .collect();
    if lines.is_empty() {
        return None;
    }
    Some(format!(
        "set {} under [target.mapping] (`sessionwatch init` writes the other lines); UTC is a valid zone",
        lines.join(" and ")
    ))
}

/// Reads a row of [`QueryBuilder::sample_values_query`]: the type of the value, and the value as text.
pub(super) fn parse_raw_value(row: &[Option<String>]) -> RawValue<'_> {
    match (row.first().and_then(Option::as_deref), row.get(1).and_then(Option::as_deref)) {
        (_, None) => RawValue::Null,
        (Some("integer"), Some(text)) => text.parse().map_or(RawValue::Other, RawValue::Integer),
        (Some("real"), Some(text)) => text.parse().map_or(RawValue::Other, RawValue::Real),
        (Some("blob"), _) => RawValue::Other,
        (_, Some(text)) => RawValue::Text(text.as_bytes()),
    }
}
