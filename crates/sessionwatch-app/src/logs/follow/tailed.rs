//! A file that is read: the one that the log is written to, or a rotated one that may still grow.

use std::{
    io,
    time::{Duration, Instant},
};

use sessionwatch_logs::{
    matchers::Matchers,
    reader::{Counters, Place as At, Reader},
    signal::Signal,
};

use super::{
    content::{Content, Facts, FileId},
    encoding::{Encoding, is_wide_text},
    place::{Mark, WINDOW, sum},
};
use crate::logs::blocks::BLOCK;

/// How long a file must not have grown until an open entry is taken to have ended, and until a rotated file is closed.
pub const QUIET: Duration = Duration::from_secs(10);

/// What takes the signals.
pub(super) trait Sink: FnMut(Signal<'_>, At<'_>) {}

impl<F: FnMut(Signal<'_>, At<'_>)> Sink for F {}

/// What reading on gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Bytes were used up.
    Read,
    /// There is nothing new, or only the beginning of a line.
    Nothing,
    /// What was read before stands there no more: the file was truncated or overwritten.
    Replaced,
}

/// An entry that began in a file, and goes on in the one after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    /// Where it began.
    from: u64,
    /// The file in which it goes on.
    pub(super) to: FileId,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Tailed<'g> {
    pub(super) content: Content,
    pub(super) facts: Facts,
    pub(super) reader: Reader<'g>,
    /// The next byte.
    offset: u64,
    /// The first bytes of what was read.
    head: Vec<u8>,
    /// The last bytes of what was read.
    recent: Vec<u8>,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
    encoding: Option<Encoding>,
    /// The counters of the reader when they were taken last.
    taken: Counters,
    /// How long the file was when it was read last.
    seen: u64,
    /// Since when it did not grow.
    pub(super) quiet_since: Option<Instant>,
    /// An entry that goes on in another file.
    pub(super) lent: Option<Lent>,
    /// What was read of it stands there no more.
    pub(super) is_replaced: bool,
    /// Bytes that are no text in a known encoding, not yet taken.
    pub(super) not_text: u64,
}

impl<'g> Tailed<'g> {
    /// Opens a content whose next byte is at an offset.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn new(mut content: Content, offset: u64, grammar: &'g Matchers) -> io::Result<Self> {
        let facts = content.facts()?;
        let known = usize::try_from(offset).unwrap_or(usize::MAX).min(WINDOW);
        let head = content.bytes(0, known)?;
        let encoding = if offset == 0 { None } else { Encoding::of(&content.bytes(0, WINDOW)?) };
        let recent = content.bytes(offset - known as u64, known)?;
        let (reader, taken) = (Reader::new(grammar), Counters::default());
        let (skipping, quiet_since, lent) = (false, None, None);
        let (is_replaced, not_text) = (false, 0);
        Ok(Self {
            content,
            facts,
            reader,
            offset,
            head,
            recent,
            skipping,
            encoding,
            taken,
            seen: offset,
            quiet_since,
            lent,
            is_replaced,
            not_text,
        })
    }

    /// Opens a content that was read before, as far as a mark says. An entry that was open is open again.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn resume(
        content: Content,
        mark: &Mark,
        grammar: &'g Matchers,
        before: Option<&mut Self>,
    ) -> io::Result<Self> {
        let mut tailed = Self::new(content, mark.offset, grammar)?;
        if mark.offset == 0
            && mark.read > 0
            && let Some(before) = before
        {
            before.hand_over(&mut tailed)?;
        }
        let mut buffer = vec![];
        // What this gives was given before.
        while tailed.offset < mark.read {
            let most = mark.read - tailed.offset;
            if tailed.read(&mut buffer, most, &mut |_: Signal<'_>, _: At<'_>| {})? != Progress::Read {
                break;
            }
        }
        (tailed.skipping, tailed.not_text) = (mark.skipping, 0);
        tailed.taken = tailed.reader.counters();
        Ok(tailed)
    }

    /// How far it was read: an entry that may go on was not.
    pub(super) fn mark(&self) -> Mark {
        let pending = self.lent.map(|lent| lent.from).into_iter().chain(self.reader.pending_from()).min();
        Mark {
            file: self.facts.file,
            born: self.facts.born,
            offset: pending.unwrap_or(self.offset).min(self.offset),
            read: self.offset,
            head: sum(&self.head),
            tail: Some(sum(&self.recent)),
            skipping: self.skipping,
            unfinished: self.seen > self.offset,
            copy: false,
            modified: sessionwatch_core::instant::Instant::UNIX_EPOCH,
        }
    }

    /// Returns what was counted since it was asked last.
    pub(super) fn counters(&mut self) -> Counters {
        let counters = self.reader.counters();
        let since = counters.since(self.taken);
        self.taken = counters;
        since
    }

    /// Lets an open entry go on in the file after this one, if the first line of that continues it and nothing follows here.
    ///
    /// # Errors
    ///
    /// If the file after this one cannot be read.
    pub(super) fn hand_over(&mut self, next: &mut Self) -> io::Result<()> {
        let Some(from) = self.reader.pending_from().filter(|_| next.offset == 0) else { return Ok(()) };
        let first = next.content.bytes(0, BLOCK)?;
        let Some(encoding) = Encoding::of(&first) else { return Ok(()) };
        let Some(length) = encoding.line_length(&first) else { return Ok(()) };
        let line = match encoding {
            Encoding::Utf8 => first[..length].to_vec(),
            wide => wide.decode(&first[..length]),
        };
        if self.reader.hand_over(&mut next.reader, &line) {
            self.lent = Some(Lent { from, to: next.facts.file });
        }
        Ok(())
    }

    /// Reads on, at most so many bytes, which end where a line does.
    ///
    /// # Errors
    ///
    /// If it cannot be read or unpacked.
    pub(super) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        most: u64,
        sink: &mut impl Sink,
    ) -> io::Result<Progress> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(BLOCK);
        // Reading what was read last again, at once with what is new, shows that it still stands there.
        let known = if self.content.is_packed() { 0 } else { self.recent.len() };
        if buffer.len() != known + most {
            // Memory that is not written to costs nothing.
            *buffer = vec![0; known + most];
        }
        let filled = self.content.fill(self.offset - known as u64, buffer)?;
        if filled < known || buffer[..known] != self.recent[self.recent.len() - known..] {
            return Ok(Progress::Replaced);
        }
        let bytes = &buffer[known..filled];
        let end = self.offset + bytes.len() as u64;
        if end > self.seen {
            (self.seen, self.quiet_since) = (end, None);
        }
        if self.encoding.is_none() && self.offset == 0 {
            self.encoding = Encoding::of(bytes);
        }
        let used = match self.encoding {
            _ if bytes.is_empty() => 0,
            None => 0,
            Some(Encoding::Utf8) => self.read_bytes(bytes, most, sink),
            Some(wide) => self.read_wide(wide, bytes, most, sink),
        };
        self.advance(&buffer[known..known + used]);
        Ok(if used > 0 { Progress::Read } else { Progress::Nothing })
    }

    /// Whether nothing was read of it.
    pub(super) fn is_untouched(&self) -> bool {
        self.offset == 0
    }

    /// Whether another content goes on where this one ends. Of short files, that may be so by chance.
    pub(super) fn may_begin(&mut self, other: &mut Content) -> bool {
        self.content.length().is_ok_and(|length| length >= WINDOW as u64)
            && self.content.is_beginning_of(other).is_ok_and(|begins| begins)
    }

    /// Whether what was read last still stands there.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn is_intact(&mut self) -> io::Result<bool> {
        let at = self.offset - self.recent.len() as u64;
        Ok(self.content.bytes(at, self.recent.len())? == self.recent)
    }

    /// Notes that bytes were used up.
    fn advance(&mut self, bytes: &[u8]) {
        let missing = (WINDOW - self.head.len()).min(bytes.len());
        if self.offset < WINDOW as u64 {
            self.head.extend_from_slice(&bytes[..missing]);
        }
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(WINDOW)..]);
        self.recent.drain(..self.recent.len().saturating_sub(WINDOW));
        self.offset += bytes.len() as u64;
    }

    /// Reads whole lines: how many bytes were used.
    fn read_bytes(&mut self, bytes: &[u8], full: usize, sink: &mut impl Sink) -> usize {
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
        self.judge_text(&bytes[..whole]);
        self.reader.read(&bytes[..whole], self.offset, false, sink);
        if overlong {
            self.reader.overlong();
        }
        whole
    }

    /// Reads whole lines of text whose letters are not bytes, one after the other, so that each keeps its place.
    fn read_wide(&mut self, encoding: Encoding, bytes: &[u8], full: usize, sink: &mut impl Sink) -> usize {
        let even = &bytes[..bytes.len() - bytes.len() % 2];
        let mut used = 0;
        while let Some(length) = encoding.line_length(&even[used..]) {
            let line = &even[used..used + length];
            if !std::mem::take(&mut self.skipping) {
                self.read_decoded(encoding, self.offset + used as u64, line, sink);
            }
            used += length;
        }
        if used == 0 && even.len() >= full - full % 2 {
            if !std::mem::replace(&mut self.skipping, true) {
                self.read_decoded(encoding, self.offset, even, sink);
                self.reader.overlong();
            }
            used = even.len();
        }
        used
    }

    fn read_decoded(&mut self, encoding: Encoding, at: u64, line: &[u8], sink: &mut impl Sink) {
        let text = encoding.decode(line);
        let to = at + line.len() as u64;
        let mut placed = |signal: Signal<'_>, place: At<'_>| sink(signal, At { to, ..place });
        self.reader.read(&text, at, false, &mut placed);
    }

    /// Counts text that is not understood.
    fn judge_text(&mut self, bytes: &[u8]) {
        if is_wide_text(bytes) {
            self.not_text += bytes.len() as u64;
        }
    }

    /// Ends what was begun, also a last line without an end where nothing more can follow. Returns how many bytes that line has.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(super) fn end(&mut self, is_closed: bool, sink: &mut impl Sink) -> io::Result<u64> {
        let mut last = 0;
        if is_closed && !self.skipping {
            let bytes = self.content.bytes(self.offset, BLOCK)?;
            last = bytes.iter().filter(|byte| **byte != 0).count() as u64;
            match self.encoding.or_else(|| Encoding::of(&bytes)) {
                Some(wide @ (Encoding::Utf16Le | Encoding::Utf16Be)) => {
                    self.read_decoded(wide, self.offset, &bytes, sink);
                }
                _ if last > 0 => self.reader.read(&bytes, self.offset, false, sink),
                _ => {}
            }
            self.advance(&bytes);
        }
        self.reader.finish(sink);
        Ok(last)
    }
}
