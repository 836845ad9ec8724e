//! SQLite backend: one file, one transaction, and functions that keep tokens inside the database.

mod address;
mod read_session;
mod read_transaction;
mod schema;
mod side_effects;
mod values;
mod write_session;

#[cfg(test)]
mod listing_tests;
#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod sample_file;
#[cfg(test)]
mod selection_tests;

use std::{hash::Hasher, time::Duration};

use rusqlite::{Connection, ErrorCode, functions::FunctionFlags, types::ValueRef};
use sessionwatch_core::{
    timestamp_decoder::{DecodedTime, Decoder, RawValue},
    token_prefix,
};
use siphasher::sip::SipHasher13;

pub(crate) use self::address::parse_address;
pub(crate) use self::{read_transaction::SqliteRead, write_session::SqliteWrite};
use crate::{
    capabilities::{Capabilities, Capability},
    cells::TextRow,
    error::TargetError,
};

/// Capabilities of SQLite.
const SQLITE_CAPABILITIES: Capabilities = Capabilities {
    product: "SQLite",
    supported: &[Capability::CustomQueries, Capability::Pushdown, Capability::ConstraintProofs],
};

/// Returns the rows of a query as text.
fn query_rows(connection: &Connection, sql: &str) -> Result<Vec<TextRow>, TargetError> {
    let mut statement = connection.prepare(sql).map_err(|error| classify_query_error(&error))?;
    let width = statement.column_count();
    let mut rows = statement.query([]).map_err(|error| classify_query_error(&error))?;
    let mut fetched = Vec::new();
    while let Some(row) = rows.next().map_err(|error| classify_query_error(&error))? {
        let value = |at| row.get_ref(at).map(value_text).map_err(|error| classify_query_error(&error));
        fetched.push((0..width).map(value).collect::<Result<_, _>>()?);
    }
    Ok(fetched)
}

/// Registers `sw_fingerprint`, `sw_prefix` and `sw_instant`, which correspond to built-in functions of
/// PostgreSQL.
fn register_functions(connection: &Connection, key: i64) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("sw_fingerprint", 1, flags, move |call| {
        Ok(value_bytes(call.get_raw(0)).map(|token| {
            let mut hasher = SipHasher13::new_with_keys(key.cast_unsigned(), 0);
            hasher.write(&token);
            hasher.finish().cast_signed()
        }))
    })?;
    connection.create_scalar_function("sw_prefix", 1, flags, |call| {
        // The function that logs use too, so that both cut tokens alike.
        let prefix = |value: Vec<u8>| token_prefix::token_prefix(&String::from_utf8_lossy(&value)).to_owned();
        Ok(value_bytes(call.get_raw(0)).map(prefix))
    })?;
    connection.create_scalar_function("sw_instant", 2, flags, |call| {
        let name: String = call.get(0)?;
        let decoded = Decoder::parse(&name)
            .map_or(DecodedTime::Undecodable, |decoder| decoder.decode(raw_value(call.get_raw(1))));
        Ok(match decoded {
            DecodedTime::At(at) => at.micros(),
            // Sentinels sort after and before every real time, as the conditions require.
            DecodedTime::Never => i64::MAX,
            DecodedTime::Undecodable => -i64::MAX,
        })
    })
}

/// Interrupts running statements after the timeout.
fn set_deadline(connection: &mut Connection, timeout: Duration) -> Result<(), TargetError> {
    let deadline = std::time::Instant::now() + timeout;
    let late = move || std::time::Instant::now() >= deadline;
    // The handler runs every 10,000 instructions of SQLite's virtual machine: often enough, at no measurable
    // cost.
    connection.progress_handler(10_000, Some(late)).map_err(|error| classify_query_error(&error))
}

fn value_bytes(value: ValueRef<'_>) -> Option<Vec<u8>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(value.to_string().into_bytes()),
        ValueRef::Real(value) => Some(value.to_string().into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    }
}

fn raw_value(value: ValueRef<'_>) -> RawValue<'_> {
    match value {
        ValueRef::Null => RawValue::Null,
        ValueRef::Integer(value) => RawValue::Integer(value),
        ValueRef::Real(value) => RawValue::Real(value),
        ValueRef::Text(text) => RawValue::Text(text),
        ValueRef::Blob(_) => RawValue::Other,
    }
}

fn value_text(value: ValueRef<'_>) -> Option<String> {
    value_bytes(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn classify_query_error(error: &rusqlite::Error) -> TargetError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => TargetError::StatementTimeout,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => TargetError::Locked,
        Some(ErrorCode::ReadOnly) => TargetError::ReadOnly,
        Some(ErrorCode::NotADatabase) => TargetError::File("not a SQLite database"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => TargetError::File("permission denied"),
        Some(ErrorCode::DatabaseCorrupt) => TargetError::File("the database is corrupt"),
        Some(code) => TargetError::Query(format!("{code:?}")),
        None => TargetError::Query("unexpected value".into()),
    }
}
