//! References to planned rows: their identity, their values at planning time, and a compact encoding without tokens.

mod format_v1;

use serde::{Deserialize, Serialize};

/// Reference to a row of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRef {
    /// Physical position of the row: SQLite `rowid`, or block and line of a PostgreSQL `ctid`.
    pub locator: u64,
    /// Version of the row at that position on PostgreSQL; zero if unknown.
    pub version: i64,
    /// Row hash: keyed hash of id, token, user and expiry at planning time, under the key of the state store.
    #[serde(with = "postcard::fixint::le")]
    pub row_hash: i64,
    /// Row id, if the table has an id column.
    pub id: Option<String>,
    /// Token fingerprint under the key of the state store. `None` for rows without a token, and in plans made before
    /// fingerprints were kept.
    pub token_fingerprint: Option<i64>,
    /// Token prefix.
    pub token_prefix: Option<String>,
    /// User id.
    pub user: Option<String>,
    /// Expiry in microseconds since 1970; `None` if the session never expires.
    pub expires_us: Option<i64>,
    /// The session was active when planned.
    pub active: bool,
}

/// Formats a PostgreSQL position as `(block,line)`.
#[must_use]
pub fn format_ctid(locator: u64) -> String {
    format!("({},{})", locator >> 16, locator & 0xffff)
}

/// Parses a locator from `(block,line)` or a row number.
#[must_use]
pub fn parse_locator(text: &str) -> Option<u64> {
    match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        Some(pair) => {
            let (block, line) = pair.split_once(',')?;
            Some(u64::from(block.parse::<u32>().ok()?) << 16 | u64::from(line.parse::<u16>().ok()?))
        }
        None => Some(text.parse::<i64>().ok()?.cast_unsigned()),
    }
}

// Format 1 had no version byte and starts with the flags of the first row, which are always smaller.
const FORMAT_VERSION: u8 = 0x82;

/// Reasons why bytes cannot be decoded as row references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowRefsError {
    /// The bytes were modified or truncated.
    #[error("the stored rows are damaged: checksum mismatch")]
    Damaged,
    /// The checksum matches, but the content is not a list of rows.
    #[error("the stored rows are malformed")]
    Malformed,
}

/// Encodes rows for storage: a version byte, the rows in `postcard` encoding, and a CRC-32 of both.
#[must_use]
pub fn encode_row_refs(rows: &[RowRef]) -> Vec<u8> {
    let bytes = postcard::to_allocvec(&(FORMAT_VERSION, rows));
    let mut bytes = bytes.expect("serialization to memory cannot fail");
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Decodes stored rows, including those written by earlier versions.
///
/// # Errors
///
/// If the bytes are damaged or malformed.
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
    fn locators_round_trip() {
        for at in [0, 1, 0xffff, 1 << 16, u64::from(u32::MAX) << 16 | 7] {
            assert_eq!(parse_locator(&format_ctid(at)), Some(at));
        }
        assert_eq!(parse_locator("-3"), Some((-3i64).cast_unsigned()));
        for too_large in ["(1,65536)", "(4294967296,1)", "(281474976710656,1)"] {
            assert_eq!(parse_locator(too_large), None, "{too_large}");
        }
        for wrong in ["", "(1)", "(1,2", "(,)", "x"] {
            assert_eq!(parse_locator(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn rows_round_trip_and_damage_is_detected(
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
