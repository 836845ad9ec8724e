//! Archived values as statement parameters.

use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

use crate::decrypted_rows::ArchivedValue;

impl ToSql for ArchivedValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::RawText(bytes) => ValueRef::Text(bytes),
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
