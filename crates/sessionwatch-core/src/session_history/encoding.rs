//! Stored form of a session history: a format name, the history in `postcard` encoding, and a CRC-32 of both.

use super::{SessionHistory, format_v1};

/// First bytes of the current format.
const FORMAT_MAGIC: [u8; 8] = *b"HISTORY2";

/// Reasons why bytes cannot be decoded as a session history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The bytes begin with no known format name.
    #[error("unsupported format")]
    UnknownFormat,
    /// The bytes were modified or truncated.
    #[error("damaged: checksum mismatch")]
    Damaged,
    /// The checksum matches, but the content is not a history.
    #[error("malformed content")]
    Malformed,
}

pub(super) fn encode_history(history: &SessionHistory) -> Vec<u8> {
    let bytes = postcard::to_allocvec(&(FORMAT_MAGIC, history));
    let mut bytes = bytes.expect("serialization to memory cannot fail");
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

pub(super) fn decode_history(bytes: &[u8]) -> Result<SessionHistory, HistoryError> {
    if bytes.starts_with(&format_v1::FORMAT_MAGIC) {
        return format_v1::decode_history(bytes).ok_or(HistoryError::Damaged);
    }
    if !bytes.starts_with(&FORMAT_MAGIC) {
        return Err(HistoryError::UnknownFormat);
    }
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(HistoryError::Damaged)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(HistoryError::Damaged);
    }
    let content = content.strip_prefix(&FORMAT_MAGIC).ok_or(HistoryError::Damaged)?;
    match postcard::take_from_bytes::<SessionHistory>(content) {
        // An entry with an unknown user key would be read as an integer user id later.
        Ok((history, [])) if history.snapshot.has_known_users() => Ok(history),
        _ => Err(HistoryError::Malformed),
    }
}
