//! Open entries, which may continue on the next line.

use std::borrow::Cow;

use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    byte_range::ByteRange, classify::Classification, key_values::strip_ansi, line_envelope::Envelope,
    timestamps::TimestampDefaults,
};

/// Maximum size of an entry, in bytes.
const MAX_ENTRY_BYTES: usize = 64 << 10;
/// Maximum number of lines of an entry.
const MAX_ENTRY_LINES: u32 = 200;

/// Open entry.
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
    /// The first line has an envelope.
    pub(super) has_envelope: bool,
}

impl PendingEntry {
    /// Creates an entry from its first line.
    pub(super) fn new(first: Envelope<'_>, classification: Classification, byte_range: ByteRange) -> Self {
        Self {
            classification,
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

    /// Returns the text that a line adds to the entry, or `None` if the line does not continue it.
    pub(super) fn continuation(&self, line: &[u8], defaults: TimestampDefaults) -> Option<Vec<u8>> {
        // If the first line has no envelope, the following lines have none either.
        let inner =
            !self.has_envelope && line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let frame = if inner {
            Envelope::from_message(line.trim_ascii_end(), true)
        } else {
            Envelope::parse(line, true, defaults)
        };
        let message = strip_ansi(&frame.message);
        let fits = self.lines < MAX_ENTRY_LINES && self.text.len() + message.len() < MAX_ENTRY_BYTES;
        // Node.js and JSON indent the lines of an object except the last. One space separates a line from its
        // envelope.
        let own = if frame.starts_line { message.strip_prefix(b" ").unwrap_or(&message) } else { &message };
        let inside = own.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let begins = frame.starts_line && !self.has_envelope;
        (fits && inside && !begins).then(|| message.into_owned())
    }
}
