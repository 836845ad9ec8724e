//! An entry that may go on in the next line.

use std::borrow::Cow;

use sessionwatch_core::instant::Instant;

use crate::{
    byte_range::ByteRange, classify::Classification, envelope::Envelope, key_values::uncoloured, time::Clock,
};

/// Bytes of one entry over several lines.
const MAX_ENTRY_BYTES: usize = 64 << 10;
/// Lines of one entry.
const MAX_ENTRY_LINES: u32 = 200;

/// An entry that may go on in the next line.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) text: Vec<u8>,
    pub(super) recognised: Classification,
    pub(super) outer: Option<Vec<u8>>,
    pub(super) at: Option<Instant>,
    pub(super) request: Option<String>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) lines: u32,
    /// Something carried its first line.
    pub(super) carried: bool,
}

impl Pending {
    /// An entry that begins with a line.
    pub(super) fn new(first: Envelope<'_>, recognised: Classification, place: ByteRange) -> Self {
        Self {
            recognised,
            outer: first.outer.map(Cow::into_owned),
            at: first.at,
            request: first.request,
            from: place.from,
            to: place.to,
            lines: 1,
            carried: first.begins,
            text: first.message.into_owned(),
        }
    }

    /// Returns what a line adds to the entry, or `None` if the line does not continue it.
    pub(super) fn continuation(&self, line: &[u8], clock: Clock) -> Option<Vec<u8>> {
        // What nothing carried goes on in lines that nothing carries.
        let inner =
            !self.carried && line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let frame = if inner {
            Envelope::of(line.trim_ascii_end(), true)
        } else {
            Envelope::unwrap(line, true, clock)
        };
        let message = uncoloured(&frame.message);
        let fits = self.lines < MAX_ENTRY_LINES && self.text.len() + message.len() < MAX_ENTRY_BYTES;
        // What Node and JSON print of an object is indented, but for its end. One space parts a line from what carries it.
        let own = if frame.begins { message.strip_prefix(b" ").unwrap_or(&message) } else { &message };
        let inside = own.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'}' | b']'));
        let begins = frame.begins && !self.carried;
        (fits && inside && !begins).then(|| message.into_owned())
    }
}
