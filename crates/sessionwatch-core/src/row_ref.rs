//! A planned row: what names it, how it looked when it was planned, and how it is kept in few bytes. No token is in it.

mod format_v1;

use serde::{Deserialize, Serialize};

/// A row that a plan names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRef {
    /// Where it stood: the number of a SQLite row, or block and line of a PostgreSQL one.
    pub locator: u64,
    /// Which version of the row stood there, on PostgreSQL; zero where that is not known.
    pub version: i64,
    /// A hash, under the key of the store, of its id, token, user and expiry as they were.
    #[serde(with = "postcard::fixint::le")]
    pub row_hash: i64,
    /// Its id, where the table has one.
    pub id: Option<String>,
    /// The fingerprint of its token under the key of the store; nothing for a row without one, or planned before that was kept.
    pub token_fingerprint: Option<i64>,
    /// The first characters of its token.
    pub token_prefix: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// Its end in microseconds; nothing for one without an end.
    pub expires_us: Option<i64>,
    /// Whether it was active.
    pub active: bool,
}

/// `(block,line)` of a place on PostgreSQL.
#[must_use]
pub fn format_ctid(place: u64) -> String {
    format!("({},{})", place >> 16, place & 0xffff)
}

/// The place that such text, or the number of a row, names.
#[must_use]
pub fn parse_locator(text: &str) -> Option<u64> {
    match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        Some(pair) => {
            let (block, line) = pair.split_once(',')?;
            Some(block.parse::<u64>().ok()? << 16 | line.parse::<u64>().ok()? & 0xffff)
        }
        None => Some(text.parse::<i64>().ok()?.cast_unsigned()),
    }
}

/// What rows begin with as they are stored. Earlier versions began with the first byte of a row, which was less.
const FORMAT_VERSION: u8 = 0x82;

/// Why bytes are no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowRefsError {
    /// They were changed, or end too early.
    #[error("the rows are damaged: their checksum is not that of their content")]
    Damaged,
    /// The checksum is right, and they are no rows all the same.
    #[error("the rows do not hold what their format says")]
    Malformed,
}

/// Rows as they are stored: the format, the rows as `postcard` encodes them, and a CRC-32 of both.
#[must_use]
pub fn encode_row_refs(rows: &[RowRef]) -> Vec<u8> {
    let bytes = postcard::to_allocvec(&(FORMAT_VERSION, rows));
    let mut bytes = bytes.expect("memory grows as needed, and every list knows its length");
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The rows of those bytes, also of those that earlier versions wrote.
///
/// # Errors
///
/// If they are damaged.
pub fn decode_row_refs(bytes: &[u8]) -> Result<Vec<RowRef>, RowRefsError> {
    if bytes.first() != Some(&FORMAT_VERSION) {
        return format_v1::decode_row_refs(bytes).ok_or(RowRefsError::Damaged);
    }
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(RowRefsError::Damaged)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(RowRefsError::Damaged);
    }
    match postcard::take_from_bytes(content.get(1..).unwrap_or_default()) {
        Ok((rows, [])) => Ok(rows),
        _ => Err(RowRefsError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for at in [0, 1, 0xffff, 1 << 16, u64::from(u32::MAX) << 16 | 7] {
            assert_eq!(parse_locator(&format_ctid(at)), Some(at));
        }
        assert_eq!(parse_locator("-3"), Some((-3i64).cast_unsigned()));
        for wrong in ["", "(1)", "(1,2", "(,)", "x"] {
            assert_eq!(parse_locator(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_row_comes_back_and_every_cut_is_noticed(
            places in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>(), any::<bool>()), 1..5),
            texts in prop::collection::vec(any::<Option<String>>(), 3),
        ) {
            let rows: Vec<RowRef> = places
                .into_iter()
                .map(|(locator, row_hash, expires_us, active)| RowRef {
                    locator,
                    version: row_hash.wrapping_add(1),
                    row_hash,
                    expires_us,
                    active,
                    token_fingerprint: expires_us.map(|end| end ^ row_hash).filter(|token| token % 2 == 0),
                    id: texts[0].clone(),
                    token_prefix: texts[1].clone(),
                    user: texts[2].clone(),
                })
                .collect();
            let bytes = encode_row_refs(&rows);
            prop_assert_eq!(decode_row_refs(&bytes), Ok(rows));
            for cut in 1..bytes.len() {
                prop_assert_eq!(decode_row_refs(&bytes[..cut]), Err(RowRefsError::Damaged));
                let mut changed = bytes.clone();
                changed[cut] ^= 0x10;
                prop_assert_eq!(decode_row_refs(&changed), Err(RowRefsError::Damaged));
            }
        }
    }
}
