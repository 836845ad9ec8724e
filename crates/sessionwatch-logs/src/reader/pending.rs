//! An entry that may go on in the next line.

use std::borrow::Cow;

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    byte_range::ByteRange, classify::Classification, envelope::Envelope, key_values::strip_ansi,
    timestamps::TimestampDefaults,
};

/// Bytes of one entry over several lines.
const MAX_ENTRY_BYTES: usize = 64 << 10;
/// Lines of one entry.
const MAX_ENTRY_LINES: u32 = 200;

/// An entry that may go on in the next line.
#[derive(Debug)]
pub(super) struct PendingEntry {
    pub(super) text: Vec<u8>,
    pub(super) classification: Classification,
    pub(super) outer_object: Option<Vec<u8>>,
    pub(super) timestamp: Option<UtcTimestamp>,
    pub(super) request_id: Option<String>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) lines: u32,
    /// Something carried its first line.
    pub(super) has_envelope: bool,
}

impl PendingEntry {
    /// An entry that begins with a line.
    pub(super) fn new(first: Envelope<'_>, recognised: Classification, byte_range: ByteRange) -> Self {
        Self {
            classification: recognised,
            outer_object: first.outer_object.map(Cow::into_owned),
            timestamp: first.timestamp,
            request_id: first.request_id,
            from: byte_range.from,
            to: byte_range.to,
            lines: 1,
            has_envelope: first.starts_line,
            text: first.message.into_owned(),
        }
    }

    /// Returns what a line adds to the entry, or `None` if the line does not continue it.
    pub(super) fn continuation(&self, line: &[u8], defaults: TimestampDefaults) -> Option<Vec<u8>> {
        // What nothing carried goes on in lines that nothing carries.
        let inner =
            !self.has_envelope && line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let frame = if inner {
            Envelope::from_message(line.trim_ascii_end(), true)
        } else {
            Envelope::parse(line, true, defaults)
        };
        let message = strip_ansi(&frame.message);
        let fits = self.lines < MAX_ENTRY_LINES && self.text.len() + message.len() < MAX_ENTRY_BYTES;
        // What Node and JSON print of an object is indented, but for its end. One space parts a line from what carries it.
        let own = if frame.starts_line { message.strip_prefix(b" ").unwrap_or(&message) } else { &message };
        let inside = own.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let begins = frame.starts_line && !self.has_envelope;
        (fits && inside && !begins).then(|| message.into_owned())
    }
}
