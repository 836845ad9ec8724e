//! How a history is stored: the name of the format, the history as `postcard` encodes it, and a CRC-32 of both.

use super::{SessionHistory, format_v1};

/// What bytes of the present format begin with.
const FORMAT_MAGIC: [u8; 8] = *b"HISTORY2";

/// Why bytes are no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// They do not begin with the name of a format.
    #[error("its format is not one that this version reads")]
    UnknownFormat,
    /// They were changed, or end too early.
    #[error("it is damaged: its checksum is not that of its content")]
    Damaged,
    /// The checksum is right, and they are no history all the same.
    #[error("it does not hold what its format says")]
    Malformed,
}

pub(super) fn encode_history(history: &SessionHistory) -> Vec<u8> {
    let bytes = postcard::to_allocvec(&(FORMAT_MAGIC, history));
    let mut bytes = bytes.expect("memory grows as needed, and every list knows its length");
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
        Ok((history, [])) if history.snapshot.has_known_users() => Ok(history),
        _ => Err(HistoryError::Malformed),
    }
}
