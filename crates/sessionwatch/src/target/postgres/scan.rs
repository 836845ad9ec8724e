//! The scan: one binary COPY, decoded field by field into the ledger as it arrives.

use bytes::Bytes;
use futures_util::{StreamExt, pin_mut};
use sessionwatch_rules::{
    decoder::{Decoded, Decoder, Raw},
    ledger::{Frame, Ledger, Row},
};
use tokio_postgres::Client;

use crate::{
    profile::schema::ColumnKind,
    target::{error::TargetError, sql::Sql},
};

/// Signature, flags and extension length of a binary COPY.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER_LENGTH: usize = 19;

/// How to read the columns of a scan.
struct Layout {
    integer_user: bool,
    expires: (Decoder, bool),
    created: Option<(Decoder, bool)>,
    orphan: bool,
}

pub(super) async fn run(client: &Client, sql: &Sql<'_>, frame: Frame) -> Result<Ledger, TargetError> {
    let layout = Layout::of(sql);
    let sessions = sql.schema.find(sql.mapping.sessions.schema.as_deref(), &sql.mapping.sessions.name);
    let expected = sessions.and_then(|table| table.estimated_rows).unwrap_or(0);
    // The estimate only sizes the first allocation, so a wrong one costs little.
    let mut ledger = Ledger::new(frame, usize::try_from(expected).unwrap_or(0).min(50_000_000));
    let statement = format!("COPY ({}) TO STDOUT (FORMAT binary)", sql.scan());
    let stream = client.copy_out(statement.as_str()).await.map_err(|error| super::query_error(&error))?;
    pin_mut!(stream);
    let mut first = true;
    while let Some(message) = stream.next().await {
        let message: Bytes = message.map_err(|error| super::query_error(&error))?;
        let mut tuple = Fields(&message);
        if std::mem::take(&mut first) && message.starts_with(HEADER) {
            tuple.take(HEADER_LENGTH).ok_or(TargetError::Lost)?;
        }
        if tuple.0.is_empty() || tuple.take(2) == Some(&[0xff, 0xff]) {
            continue;
        }
        layout.insert(&mut tuple, &mut ledger).ok_or_else(|| TargetError::Query("unexpected row".into()))?;
    }
    Ok(ledger)
}

impl Layout {
    fn of(sql: &Sql<'_>) -> Self {
        let mapping = sql.mapping;
        let table = sql.schema.find(mapping.sessions.schema.as_deref(), &mapping.sessions.name);
        let is = |column: &str, kind: ColumnKind| {
            table.and_then(|table| table.column(column)).is_some_and(|column| column.kind == kind)
        };
        Self {
            integer_user: mapping.user.as_deref().is_some_and(|user| is(user, ColumnKind::Integer)),
            expires: (mapping.expires.decoder, is(&mapping.expires.column, ColumnKind::Integer)),
            created: mapping
                .created
                .as_ref()
                .map(|created| (created.decoder, is(&created.column, ColumnKind::Integer))),
            orphan: sql.looks_for_orphans(),
        }
    }

    fn insert(&self, fields: &mut Fields<'_>, ledger: &mut Ledger) -> Option<()> {
        let fingerprint = fields.next()?.and_then(integer).map(i64::cast_unsigned);
        let user = fields.next()?;
        let mut digits = Digits::default();
        let user = match user {
            Some(bytes) if self.integer_user => Some(digits.write(integer(bytes)?)),
            other => other,
        };
        let expiry = instant(self.expires, fields.next()?);
        let created = match self.created {
            Some(column) => instant(column, fields.next()?),
            None => Decoded::Never,
        };
        let orphan = self.orphan && fields.next()? == Some(&[1]);
        ledger.insert(Row { fingerprint, user, expiry, created, orphan });
        Some(())
    }
}

fn instant((decoder, is_integer): (Decoder, bool), field: Option<&[u8]>) -> Decoded {
    let raw = match (field, decoder) {
        (None, _) => Raw::Null,
        (Some(bytes), Decoder::Timestamptz | Decoder::TimestampUtc) => {
            integer(bytes).map_or(Raw::Other, Raw::Postgres)
        }
        (Some(bytes), _) if is_integer => integer(bytes).map_or(Raw::Other, Raw::Integer),
        (Some(bytes), _) => Raw::Text(bytes),
    };
    decoder.decode(raw)
}

fn integer(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

/// The fields of one tuple: each a length of four bytes, -1 for NULL, and the value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next field; outer nothing if the tuple is too short.
    #[expect(clippy::option_option, reason = "a missing field and a NULL are different situations")]
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let length = i32::from_be_bytes(self.take(4)?.try_into().ok()?);
        match usize::try_from(length) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Some(None),
        }
    }
}

/// A decimal integer written without an allocation.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn write(&mut self, value: i64) -> &[u8] {
        let mut rest = value.unsigned_abs();
        let mut start = self.0.len();
        loop {
            start -= 1;
            self.0[start] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            start -= 1;
            self.0[start] = b'-';
        }
        &self.0[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_integers_as_the_database_does() {
        for value in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(Digits::default().write(value), value.to_string().as_bytes());
        }
    }

    #[test]
    fn a_cut_tuple_ends_without_a_panic() {
        let tuple = [0, 0, 0, 8, 1, 2, 3];
        for length in 0..tuple.len() {
            assert_eq!(Fields(&tuple[..length]).next(), None);
        }
        assert_eq!(Fields(&[0xff, 0xff, 0xff, 0xff]).next(), Some(None));
    }
}
