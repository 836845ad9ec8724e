//! An open file of a log: the current one, or a rotated one that may still grow.

use std::{
    io,
    time::{Duration, Instant},
};

use sessionwatch_logs::{
    line_reader::{LogExcerpt as At, LogReader, ReadCounters},
    log_event::LogEvent,
    matchers::Matchers,
};

use super::{
    content::{FileContent, FileId, FileMetadata},
    encoding::{TextEncoding, is_wide_text},
    position::{FileCheckpoint, IDENTITY_WINDOW_BYTES, compute_checksum},
};
use crate::logs::block_reader::BLOCK_BYTES;

/// Time without growth after which a pending entry counts as complete, and a rotated file is closed.
pub const IDLE_ENTRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Receives log events.
pub(super) trait LogEventSink: FnMut(LogEvent<'_>, At<'_>) {}

impl<F: FnMut(LogEvent<'_>, At<'_>)> LogEventSink for F {}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadProgress {
    /// Bytes were consumed.
    Read,
    /// There is nothing new, or only an incomplete line.
    Nothing,
    /// The content that was read before is gone: the file was truncated or overwritten.
    Replaced,
}

/// An entry that starts in one file and continues in the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandedOverEntry {
    /// Start of the entry.
    from: u64,
    /// The file in which the entry continues.
    pub(super) to: FileId,
}

/// An open file with its read state.
#[derive(Debug)]
pub(super) struct OpenFile<'g> {
    pub(super) content: FileContent,
    pub(super) metadata: FileMetadata,
    pub(super) reader: LogReader<'g>,
    /// Offset of the next byte to read.
    offset: u64,
    /// The first bytes of the file, as far as read.
    head: Vec<u8>,
    /// The last bytes that were read.
    recent: Vec<u8>,
    /// The rest of an overlong line is being dropped.
    skipping: bool,
    encoding: Option<TextEncoding>,
    /// Counters of the reader at the last call of [`Self::take_counters`].
    reported_counters: ReadCounters,
    /// Length of the file at the last read.
    known_length: u64,
    /// Time since which the file has not grown.
    pub(super) idle_since: Option<Instant>,
    pub(super) handed_over: Option<HandedOverEntry>,
    /// The content that was read before is gone.
    pub(super) is_replaced: bool,
    /// Bytes in an unknown encoding that have not been reported.
    pub(super) non_text_bytes: u64,
}

impl<'g> OpenFile<'g> {
    /// Opens a file for reading from an offset.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn new(mut content: FileContent, offset: u64, grammar: &'g Matchers) -> io::Result<Self> {
        let metadata = content.metadata()?;
        let known = usize::try_from(offset).unwrap_or(usize::MAX).min(IDENTITY_WINDOW_BYTES);
        let head = content.read_range(0, known)?;
        let encoding = if offset == 0 {
            None
        } else {
            TextEncoding::detect(&content.read_range(0, IDENTITY_WINDOW_BYTES)?)
        };
        let recent = content.read_range(offset - known as u64, known)?;
        let (reader, taken) = (LogReader::new(grammar), ReadCounters::default());
        let (skipping, idle_since, lent) = (false, None, None);
        let (is_replaced, not_text) = (false, 0);
        Ok(Self {
            content,
            metadata,
            reader,
            offset,
            head,
            recent,
            skipping,
            encoding,
            reported_counters: taken,
            known_length: offset,
            idle_since,
            handed_over: lent,
            is_replaced,
            non_text_bytes: not_text,
        })
    }

    /// Opens a file that was read up to a checkpoint, and restores its pending entry.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn resume(
        content: FileContent,
        checkpoint: &FileCheckpoint,
        grammar: &'g Matchers,
        before: Option<&mut Self>,
    ) -> io::Result<Self> {
        let mut tailed = Self::new(content, checkpoint.offset, grammar)?;
        if checkpoint.offset == 0
            && checkpoint.read > 0
            && let Some(before) = before
        {
            before.hand_over_entry(&mut tailed)?;
        }
        let mut buffer = vec![];
        // Parses the pending entry again; events that it yields were reported before.
        while tailed.offset < checkpoint.read {
            let most = checkpoint.read - tailed.offset;
            if tailed.read_block(&mut buffer, most, &mut |_: LogEvent<'_>, _: At<'_>| {})?
                != ReadProgress::Read
            {
                break;
            }
        }
        (tailed.skipping, tailed.non_text_bytes) = (checkpoint.skipping, 0);
        tailed.reported_counters = tailed.reader.counters();
        Ok(tailed)
    }

    /// Returns the read state. A pending entry counts as unread.
    pub(super) fn checkpoint(&self) -> FileCheckpoint {
        let pending =
            self.handed_over.map(|lent| lent.from).into_iter().chain(self.reader.pending_offset()).min();
        FileCheckpoint {
            file: self.metadata.file,
            born: self.metadata.created_at,
            offset: pending.unwrap_or(self.offset).min(self.offset),
            read: self.offset,
            head: compute_checksum(&self.head),
            tail: Some(compute_checksum(&self.recent)),
            skipping: self.skipping,
            unfinished: self.known_length > self.offset,
            copy: false,
            modified: sessionwatch_core::timestamp::UtcTimestamp::UNIX_EPOCH,
        }
    }

    /// Returns the counters since the last call.
    pub(super) fn take_counters(&mut self) -> ReadCounters {
        let counters = self.reader.counters();
        let since = counters.since(self.reported_counters);
        self.reported_counters = counters;
        since
    }

    /// Hands a pending entry over to the next file if its first line continues the entry.
    ///
    /// # Errors
    ///
    /// If the next file cannot be read.
    pub(super) fn hand_over_entry(&mut self, next: &mut Self) -> io::Result<()> {
        let Some(from) = self.reader.pending_offset().filter(|_| next.offset == 0) else { return Ok(()) };
        let first = next.content.read_range(0, BLOCK_BYTES)?;
        let Some(encoding) = TextEncoding::detect(&first) else { return Ok(()) };
        let Some(length) = encoding.line_length(&first) else { return Ok(()) };
        let line = match encoding {
            TextEncoding::Utf8 => first[..length].to_vec(),
            wide => wide.decode_line(&first[..length]),
        };
        if self.reader.transfer_pending(&mut next.reader, &line) {
            self.handed_over = Some(HandedOverEntry { from, to: next.metadata.file });
        }
        Ok(())
    }

    /// Reads up to `most` bytes of whole lines.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or decompressed.
    pub(super) fn read_block(
        &mut self,
        buffer: &mut Vec<u8>,
        most: u64,
        sink: &mut impl LogEventSink,
    ) -> io::Result<ReadProgress> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        // Reads the last bytes again together with the new ones, to detect a replaced file without a race.
        let known = if self.content.is_packed() { 0 } else { self.recent.len() };
        if buffer.len() != known + most {
            // A zeroed allocation is cheap: its pages are mapped only when written.
            *buffer = vec![0; known + most];
        }
        let filled = self.content.read_at(self.offset - known as u64, buffer)?;
        if filled < known || buffer[..known] != self.recent[self.recent.len() - known..] {
            return Ok(ReadProgress::Replaced);
        }
        let bytes = &buffer[known..filled];
        let end = self.offset + bytes.len() as u64;
        if end > self.known_length {
            (self.known_length, self.idle_since) = (end, None);
        }
        if self.encoding.is_none() && self.offset == 0 {
            self.encoding = TextEncoding::detect(bytes);
        }
        let used = match self.encoding {
            _ if bytes.is_empty() => 0,
            None => 0,
            Some(TextEncoding::Utf8) => self.read_lines(bytes, most, sink),
            Some(wide) => self.read_wide_lines(wide, bytes, most, sink),
        };
        self.advance(&buffer[known..known + used]);
        Ok(if used > 0 { ReadProgress::Read } else { ReadProgress::Nothing })
    }

    /// Returns `true` if nothing was read yet.
    pub(super) fn is_unread(&self) -> bool {
        self.offset == 0
    }

    /// Returns `true` if `other` starts with this file's content, and the file is long enough that this is no
    /// coincidence.
    pub(super) fn may_be_prefix_of(&mut self, other: &mut FileContent) -> bool {
        self.content.unpacked_length().is_ok_and(|length| length >= IDENTITY_WINDOW_BYTES as u64)
            && self.content.is_prefix_of(other).is_ok_and(|begins| begins)
    }

    /// Returns `true` if the last bytes that were read are unchanged.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn is_intact(&mut self) -> io::Result<bool> {
        let at = self.offset - self.recent.len() as u64;
        Ok(self.content.read_range(at, self.recent.len())? == self.recent)
    }

    /// Advances the read position past consumed bytes.
    fn advance(&mut self, bytes: &[u8]) {
        let missing = (IDENTITY_WINDOW_BYTES - self.head.len()).min(bytes.len());
        if self.offset < IDENTITY_WINDOW_BYTES as u64 {
            self.head.extend_from_slice(&bytes[..missing]);
        }
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(IDENTITY_WINDOW_BYTES)..]);
        self.recent.drain(..self.recent.len().saturating_sub(IDENTITY_WINDOW_BYTES));
        self.offset += bytes.len() as u64;
    }

    /// Parses whole lines. Returns the number of bytes consumed.
    fn read_lines(&mut self, bytes: &[u8], full: usize, sink: &mut impl LogEventSink) -> usize {
        if self.skipping {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            self.skipping = end == bytes.len() && bytes.last() != Some(&b'\n');
            return end;
        }
        // A process that keeps its write offset after a truncation leaves a hole of NUL bytes.
        let hole = bytes.iter().take_while(|byte| **byte == 0).count();
        if hole > 0 {
            return hole;
        }
        // Stops before a hole between lines; the next read skips the hole.
        let bytes = memchr::memmem::find(bytes, b"\n\0").map_or(bytes, |end| &bytes[..=end]);
        let (whole, overlong) = match memchr::memrchr(b'\n', bytes) {
            Some(end) => (end + 1, false),
            None if bytes.len() >= full => (bytes.len(), true),
            // An incomplete line is left for the next read.
            None => return 0,
        };
        self.skipping = overlong;
        self.count_non_text(&bytes[..whole]);
        self.reader.read_block(&bytes[..whole], self.offset, false, sink);
        if overlong {
            self.reader.count_overlong_line();
        }
        whole
    }

    /// Parses whole lines of UTF-16 text, one by one, so that each event keeps its byte offset in the file.
    fn read_wide_lines(
        &mut self,
        encoding: TextEncoding,
        bytes: &[u8],
        full: usize,
        sink: &mut impl LogEventSink,
    ) -> usize {
        let even = &bytes[..bytes.len() - bytes.len() % 2];
        let mut used = 0;
        while let Some(length) = encoding.line_length(&even[used..]) {
            let line = &even[used..used + length];
            if !std::mem::take(&mut self.skipping) {
                self.read_decoded_line(encoding, self.offset + used as u64, line, sink);
            }
            used += length;
        }
        if used == 0 && even.len() >= full - full % 2 {
            if !std::mem::replace(&mut self.skipping, true) {
                self.read_decoded_line(encoding, self.offset, even, sink);
                self.reader.count_overlong_line();
            }
            used = even.len();
        }
        used
    }

    fn read_decoded_line(
        &mut self,
        encoding: TextEncoding,
        at: u64,
        line: &[u8],
        sink: &mut impl LogEventSink,
    ) {
        let text = encoding.decode_line(line);
        let to = at + line.len() as u64;
        let mut placed = |event: LogEvent<'_>, place: At<'_>| sink(event, At { to, ..place });
        self.reader.read_block(&text, at, false, &mut placed);
    }

    fn count_non_text(&mut self, bytes: &[u8]) {
        if is_wide_text(bytes) {
            self.non_text_bytes += bytes.len() as u64;
        }
    }

    /// Finishes pending entries. If `is_closed`, nothing can follow, so an incomplete last line is parsed too. Returns
    /// the number of bytes of that line.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn finish(&mut self, is_closed: bool, sink: &mut impl LogEventSink) -> io::Result<u64> {
        let mut last = 0;
        if is_closed && !self.skipping {
            let bytes = self.content.read_range(self.offset, BLOCK_BYTES)?;
            last = bytes.iter().filter(|byte| **byte != 0).count() as u64;
            match self.encoding.or_else(|| TextEncoding::detect(&bytes)) {
                Some(wide @ (TextEncoding::Utf16Le | TextEncoding::Utf16Be)) => {
                    self.read_decoded_line(wide, self.offset, &bytes, sink);
                }
                _ if last > 0 => self.reader.read_block(&bytes, self.offset, false, sink),
                _ => {}
            }
            self.advance(&bytes);
        }
        self.reader.finish(sink);
        Ok(last)
    }
}
