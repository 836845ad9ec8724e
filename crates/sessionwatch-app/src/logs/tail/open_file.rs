//! A file that is read: the one that the log is written to, or a rotated one that may still grow.

use std::{
    io,
    time::{Duration, Instant},
};

use sessionwatch_logs::{
    log_event::LogEvent,
    matchers::Matchers,
    reader::{LogExcerpt as At, LogReader, ReadCounters},
};

use super::{
    content::{FileContent, FileId, FileMetadata},
    encoding::{TextEncoding, is_wide_text},
    position::{FileCheckpoint, IDENTITY_WINDOW_BYTES, compute_checksum},
};
use crate::logs::block_reader::BLOCK_BYTES;

/// How long a file must not have grown until an open entry is taken to have ended, and until a rotated file is closed.
pub const IDLE_ENTRY_TIMEOUT: Duration = Duration::from_secs(10);

/// What takes the signals.
pub(super) trait LogEventSink: FnMut(LogEvent<'_>, At<'_>) {}

impl<F: FnMut(LogEvent<'_>, At<'_>)> LogEventSink for F {}

/// What reading on gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadProgress {
    /// Bytes were used up.
    Read,
    /// There is nothing new, or only the beginning of a line.
    Nothing,
    /// What was read before stands there no more: the file was truncated or overwritten.
    Replaced,
}

/// An entry that began in a file, and goes on in the one after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandedOverEntry {
    /// Where it began.
    from: u64,
    /// The file in which it goes on.
    pub(super) to: FileId,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct OpenFile<'g> {
    pub(super) content: FileContent,
    pub(super) metadata: FileMetadata,
    pub(super) reader: LogReader<'g>,
    /// The next byte.
    offset: u64,
    /// The first bytes of what was read.
    head: Vec<u8>,
    /// The last bytes of what was read.
    recent: Vec<u8>,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
    encoding: Option<TextEncoding>,
    /// The counters of the reader when they were taken last.
    reported_counters: ReadCounters,
    /// How long the file was when it was read last.
    known_length: u64,
    /// Since when it did not grow.
    pub(super) idle_since: Option<Instant>,
    /// An entry that goes on in another file.
    pub(super) handed_over: Option<HandedOverEntry>,
    /// What was read of it stands there no more.
    pub(super) is_replaced: bool,
    /// Bytes that are no text in a known encoding, not yet taken.
    pub(super) non_text_bytes: u64,
}

impl<'g> OpenFile<'g> {
    /// Opens a content whose next byte is at an offset.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn new(mut content: FileContent, offset: u64, grammar: &'g Matchers) -> io::Result<Self> {
        let facts = content.metadata()?;
        let known = usize::try_from(offset).unwrap_or(usize::MAX).min(IDENTITY_WINDOW_BYTES);
        let head = content.read_range(0, known)?;
        let encoding = if offset == 0 {
            None
        } else {
            TextEncoding::detect(&content.read_range(0, IDENTITY_WINDOW_BYTES)?)
        };
        let recent = content.read_range(offset - known as u64, known)?;
        let (reader, taken) = (LogReader::new(grammar), ReadCounters::default());
        let (skipping, quiet_since, lent) = (false, None, None);
        let (is_replaced, not_text) = (false, 0);
        Ok(Self {
            content,
            metadata: facts,
            reader,
            offset,
            head,
            recent,
            skipping,
            encoding,
            reported_counters: taken,
            known_length: offset,
            idle_since: quiet_since,
            handed_over: lent,
            is_replaced,
            non_text_bytes: not_text,
        })
    }

    /// Opens a content that was read before, as far as a mark says. An entry that was open is open again.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn resume(
        content: FileContent,
        mark: &FileCheckpoint,
        grammar: &'g Matchers,
        before: Option<&mut Self>,
    ) -> io::Result<Self> {
        let mut tailed = Self::new(content, mark.offset, grammar)?;
        if mark.offset == 0
            && mark.read > 0
            && let Some(before) = before
        {
            before.hand_over_entry(&mut tailed)?;
        }
        let mut buffer = vec![];
        // What this gives was given before.
        while tailed.offset < mark.read {
            let most = mark.read - tailed.offset;
            if tailed.read_block(&mut buffer, most, &mut |_: LogEvent<'_>, _: At<'_>| {})?
                != ReadProgress::Read
            {
                break;
            }
        }
        (tailed.skipping, tailed.non_text_bytes) = (mark.skipping, 0);
        tailed.reported_counters = tailed.reader.counters();
        Ok(tailed)
    }

    /// How far it was read: an entry that may go on was not.
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

    /// Returns what was counted since it was asked last.
    pub(super) fn take_counters(&mut self) -> ReadCounters {
        let counters = self.reader.counters();
        let since = counters.since(self.reported_counters);
        self.reported_counters = counters;
        since
    }

    /// Lets an open entry go on in the file after this one, if the first line of that continues it and nothing follows here.
    ///
    /// # Errors
    ///
    /// If the file after this one cannot be read.
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

    /// Reads on, at most so many bytes, which end where a line does.
    ///
    /// # Errors
    ///
    /// If it cannot be read or unpacked.
    pub(super) fn read_block(
        &mut self,
        buffer: &mut Vec<u8>,
        most: u64,
        sink: &mut impl LogEventSink,
    ) -> io::Result<ReadProgress> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(BLOCK_BYTES);
        // Reading what was read last again, at once with what is new, shows that it still stands there.
        let known = if self.content.is_packed() { 0 } else { self.recent.len() };
        if buffer.len() != known + most {
            // Memory that is not written to costs nothing.
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

    /// Whether nothing was read of it.
    pub(super) fn is_unread(&self) -> bool {
        self.offset == 0
    }

    /// Whether another content goes on where this one ends. Of short files, that may be so by chance.
    pub(super) fn may_be_prefix_of(&mut self, other: &mut FileContent) -> bool {
        self.content.unpacked_length().is_ok_and(|length| length >= IDENTITY_WINDOW_BYTES as u64)
            && self.content.is_prefix_of(other).is_ok_and(|begins| begins)
    }

    /// Whether what was read last still stands there.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn is_intact(&mut self) -> io::Result<bool> {
        let at = self.offset - self.recent.len() as u64;
        Ok(self.content.read_range(at, self.recent.len())? == self.recent)
    }

    /// Notes that bytes were used up.
    fn advance(&mut self, bytes: &[u8]) {
        let missing = (IDENTITY_WINDOW_BYTES - self.head.len()).min(bytes.len());
        if self.offset < IDENTITY_WINDOW_BYTES as u64 {
            self.head.extend_from_slice(&bytes[..missing]);
        }
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(IDENTITY_WINDOW_BYTES)..]);
        self.recent.drain(..self.recent.len().saturating_sub(IDENTITY_WINDOW_BYTES));
        self.offset += bytes.len() as u64;
    }

    /// Reads whole lines: how many bytes were used.
    fn read_lines(&mut self, bytes: &[u8], full: usize, sink: &mut impl LogEventSink) -> usize {
        if self.skipping {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            self.skipping = end == bytes.len() && bytes.last() != Some(&b'\n');
            return end;
        }
        // Who writes on at the old place after a truncation leaves a hole before it.
        let hole = bytes.iter().take_while(|byte| **byte == 0).count();
        if hole > 0 {
            return hole;
        }
        // A hole between lines is left for the next time, as one at the beginning.
        let bytes = memchr::memmem::find(bytes, b"\n\0").map_or(bytes, |end| &bytes[..=end]);
        let (whole, overlong) = match memchr::memrchr(b'\n', bytes) {
            Some(end) => (end + 1, false),
            None if bytes.len() >= full => (bytes.len(), true),
            // A line that has not ended is left for later.
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

    /// Reads whole lines of text whose letters are not bytes, one after the other, so that each keeps its place.
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
        let mut placed = |signal: LogEvent<'_>, place: At<'_>| sink(signal, At { to, ..place });
        self.reader.read_block(&text, at, false, &mut placed);
    }

    /// Counts text that is not understood.
    fn count_non_text(&mut self, bytes: &[u8]) {
        if is_wide_text(bytes) {
            self.non_text_bytes += bytes.len() as u64;
        }
    }

    /// Ends what was begun, also a last line without an end where nothing more can follow. Returns how many bytes that line has.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
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
