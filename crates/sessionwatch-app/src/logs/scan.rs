//! Scans whole files: plain files in parallel, compressed files and pipes sequentially.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use sessionwatch_logs::{
    line_reader::{LogExcerpt, LogReader, ReadCounters},
    log_event::LogEvent,
    matchers::Matchers,
};

use super::{block_reader::BlockReader, zstd_frames::ZstdFrameReader};
use crate::progress::ProgressMeter;

/// The size of a range that one thread scans.
const RANGE_BYTES: u64 = 16 << 20;
/// Bytes before a range that are parsed to find the entry to which its first lines belong.
const RANGE_CONTEXT_BYTES: u64 = 256 << 10;
/// The number of finished ranges that may wait for a slower one, which bounds memory.
const MAX_RANGES_AHEAD: usize = 8;

/// The reason why a file cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file cannot be opened.
    #[error("cannot read {path}: {why}")]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// The reason, such as `no such file or directory`.
        why: String,
    },
    /// The file cannot be read to its end.
    #[error("cannot read {path} beyond byte {at}: {why}")]
    Broken {
        /// Path of the file.
        path: PathBuf,
        /// Offset up to which the file was read, in decompressed bytes.
        at: u64,
        /// The reason.
        why: String,
    },
}

impl ScanError {
    /// Converts the error of opening a file. The code of the operating system is left out: the words say the same.
    #[must_use]
    pub fn from_open_error(path: &Path, error: &io::Error) -> Self {
        let text = error.to_string();
        let why = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        Self::Open { path: path.to_owned(), why }
    }

    /// Returns what to do about the error, if something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => Some("check the path and the permissions of the file"),
            Self::Broken { .. } => None,
        }
    }
}

/// Compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// Detects the compression of a file from its first 4 bytes.
    pub(super) fn detect(first: &[u8]) -> Self {
        // By content and not by name, because rotated files have any name.
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Wraps a stream in the matching decompressor.
    pub(super) fn unpack<'a>(
        self,
        source: impl BufRead + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Self::Plain => Box::new(source),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Self::Zstd => Box::new(ZstdFrameReader::new(source)),
        })
    }
}

/// Collects the log events of a part of a file.
pub trait LogEventCollector: Send {
    /// Adds an event.
    fn push_event(&mut self, event: LogEvent<'_>, place: LogExcerpt<'_>);
}

/// A file to scan.
#[derive(Debug)]
pub struct ScanJob<'a, M> {
    /// Path of the file; `-` is standard input.
    pub path: &'a Path,
    /// The line matchers.
    pub matchers: &'a Matchers,
    /// Creates the collector for one part of the file.
    pub new_collector: M,
}

/// Scans a file. Passes the collector of each part to `hand_over`, in file order, with the counters of the part.
///
/// # Errors
///
/// If the file cannot be read, or `hand_over` fails.
pub fn scan_file<G: LogEventCollector, E: From<ScanError>>(
    search: &ScanJob<'_, impl Fn() -> G + Sync>,
    mut hand_over: impl FnMut(G, ReadCounters) -> Result<(), E>,
) -> Result<(), E> {
    let path = search.path;
    if path.as_os_str() == "-" {
        return scan_stream(search, unpack_stream(path, io::stdin())?, 0, &mut hand_over);
    }
    let refused = |error: io::Error| ScanError::from_open_error(path, &error);
    let file = File::open(path).map_err(refused)?;
    let facts = file.metadata().map_err(refused)?;
    // Opening a directory succeeds on Linux, and only reading it fails.
    if facts.is_dir() {
        return Err(ScanError::from_open_error(path, &io::ErrorKind::IsADirectory.into()).into());
    }
    // Only regular files can be read in ranges; a pipe or device is a stream.
    let mut first = [0; 4];
    // Read at an offset, which does not move the position of the file.
    let known = if facts.is_file() { file.read_at(&mut first, 0).map_err(refused)? } else { 0 };
    if facts.is_file() && Compression::detect(&first[..known]) == Compression::Plain {
        scan_ranges(search, &file, facts.len(), &mut hand_over)
    } else {
        scan_stream(search, unpack_stream(path, file)?, 0, &mut hand_over)
    }
}

/// Decompresses a stream if it is compressed.
fn unpack_stream<'a>(
    path: &Path,
    source: impl Read + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, ScanError> {
    let broken = |why: io::Error| read_error(path, 0, &why);
    // A large buffer: a scan reads whole files, and each read is a system call.
    let mut source = BufReader::with_capacity(256 << 10, source);
    let mut first = Vec::with_capacity(4);
    (&mut source).take(4).read_to_end(&mut first).map_err(broken)?;
    let packing = Compression::detect(&first);
    // The bytes that the detection consumed come first.
    packing.unpack(io::Cursor::new(first).chain(source)).map_err(broken)
}

fn read_error(path: &Path, at: u64, why: &io::Error) -> ScanError {
    // These kinds come from a decompressor; all others are from the operating system.
    let why = match why.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected end of file".to_owned(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            "invalid compressed data".to_owned()
        }
        kind => kind.to_string(),
    };
    ScanError::Broken { path: path.to_owned(), at, why }
}

fn scan_stream<G: LogEventCollector, E: From<ScanError>>(
    search: &ScanJob<'_, impl Fn() -> G + Sync>,
    source: Box<dyn Read + Send + '_>,
    size: u64,
    hand_over: &mut impl FnMut(G, ReadCounters) -> Result<(), E>,
) -> Result<(), E> {
    let (mut blocks, mut reader) = (BlockReader::new(source, 0), LogReader::new(search.matchers));
    let (mut meter, mut before) = (ProgressMeter::for_bytes(size), ReadCounters::default());
    loop {
        let (mut gathered, at) = ((search.new_collector)(), blocks.position());
        let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| gathered.push_event(event, place);
        let ended = match blocks.read_next() {
            Ok(Some(block)) => {
                reader.read_block(block.bytes, block.offset, false, &mut sink);
                if block.overlong {
                    reader.count_overlong_line();
                }
                false
            }
            Ok(None) => {
                reader.finish(&mut sink);
                true
            }
            Err(why) => {
                // What was found before the damage is still reported.
                reader.finish(&mut sink);
                let counters = reader.counters().since(before);
                hand_over(gathered, counters)?;
                return Err(read_error(search.path, at, &why).into());
            }
        };
        let counters = reader.counters();
        // Handed over block by block, so that the memory does not grow with the file.
        hand_over(gathered, counters.since(before))?;
        before = counters;
        meter.draw(counters.bytes, "");
        if ended {
            return Ok(());
        }
    }
}

/// Scans a file in ranges, with one thread per processor. Each range also parses the bytes before it, to find the entry
/// to which its first lines belong.
fn scan_ranges<G: LogEventCollector, E: From<ScanError>>(
    search: &ScanJob<'_, impl Fn() -> G + Sync>,
    file: &File,
    size: u64,
    hand_over: &mut impl FnMut(G, ReadCounters) -> Result<(), E>,
) -> Result<(), E> {
    let count = size.div_ceil(RANGE_BYTES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(usize::try_from(count).unwrap_or(usize::MAX)).max(1);
    let (next, done) = (AtomicU64::new(0), ReorderWindow::default());
    let mut meter = ProgressMeter::for_bytes(size);
    std::thread::scope(|scope| {
        // Bounded, so that a slow consumer slows the threads down instead of filling the memory.
        let (sender, receiver) = mpsc::sync_channel(threads * 2);
        for _ in 0..threads {
            let (sender, next, done) = (sender.clone(), &next, &done);
            scope.spawn(move || {
                loop {
                    // Taken from a counter, so that a thread that is done early takes more ranges.
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || !done.wait_for_turn(number) {
                        return;
                    }
                    let read = scan_range(search, file, size, number);
                    if sender.send((number, read)).is_err() {
                        return;
                    }
                }
            });
        }
        // Only the threads hold senders now, so the receiver ends with the last thread.
        drop(sender);
        let mut waiting = std::collections::BTreeMap::new();
        let (mut due, mut read) = (0, 0);
        let outcome = receiver.iter().try_for_each(|(number, part)| {
            waiting.insert(number, part);
            while let Some(part) = waiting.remove(&due) {
                due += 1;
                done.advance_to(due);
                let (gathered, counters) = part.map_err(|(at, why)| read_error(search.path, at, &why))?;
                read += counters.bytes;
                meter.draw(read, "");
                // In file order: what counts as the first event of a kind must not depend on the threads.
                hand_over(gathered, counters)?;
            }
            Ok(())
        });
        // After an error, releases the threads that still wait for their turn.
        done.advance_to(u64::MAX);
        outcome
    })
}

/// Counts the ranges handed over, so that no thread runs too far ahead.
#[derive(Debug, Default)]
struct ReorderWindow {
    done: Mutex<u64>,
    advanced: std::sync::Condvar,
}

impl ReorderWindow {
    fn advance_to(&self, done: u64) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = done;
        self.advanced.notify_all();
    }

    /// Waits until a range is close enough to the first unfinished one. Returns `false` if the scan was aborted.
    fn wait_for_turn(&self, number: u64) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let far = |done: &mut u64| number >= done.saturating_add(MAX_RANGES_AHEAD as u64);
        let done = self.advanced.wait_while(done, far).unwrap_or_else(PoisonError::into_inner);
        *done != u64::MAX
    }
}

/// Reads a file from one offset to another.
struct RangeReader<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Scans the lines that start in a range.
fn scan_range<G: LogEventCollector>(
    search: &ScanJob<'_, impl Fn() -> G + Sync>,
    file: &File,
    size: u64,
    number: u64,
) -> Result<(G, ReadCounters), (u64, io::Error)> {
    let (begin, end) = (number * RANGE_BYTES, ((number + 1) * RANGE_BYTES).min(size));
    let from = begin.saturating_sub(RANGE_CONTEXT_BYTES);
    let mut gathered = (search.new_collector)();
    let mut reader = LogReader::new(search.matchers);
    let mut sink = |event: LogEvent<'_>, place: LogExcerpt<'_>| {
        // An event from the context belongs to the previous range, which reports it.
        if place.from >= begin && place.from < end {
            gathered.push_event(event, place);
        }
    };
    let mut blocks = BlockReader::new(RangeReader { file, at: from, end: size }, from);
    // The context rarely starts at a line, so its first, partial line is dropped.
    let mut skipped = from == 0;
    let mut before = ReadCounters::default();
    loop {
        let at = blocks.position();
        // The offset of the last block is kept, since the error does not carry one.
        let Some(block) = blocks.read_next().map_err(|why| (at, why))? else { break };
        let (mut bytes, mut at) = (block.bytes, block.offset);
        if !skipped {
            let first = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |first| first + 1);
            (bytes, at, skipped) = (&bytes[first..], at + first as u64, true);
        }
        if at < begin {
            // A line belongs to the range in which it starts, so one that crosses the border belongs to the context.
            let inside = usize::try_from(begin - at).unwrap_or(0);
            let first = match inside.checked_sub(1).and_then(|last| bytes.get(last..)) {
                Some(rest) => inside - 1 + memchr::memchr(b'\n', rest).map_or(rest.len(), |first| first + 1),
                None => bytes.len(),
            };
            reader.read_block(&bytes[..first], at, false, &mut sink);
            // What was read for context only is subtracted from the counters at the end.
            before = reader.counters();
            (bytes, at) = (&bytes[first..], at + first as u64);
        }
        let inside = usize::try_from(end.saturating_sub(at)).unwrap_or(0).min(bytes.len());
        let own = match inside.checked_sub(1).map(|last| &bytes[last..]) {
            Some(rest) => inside - 1 + memchr::memchr(b'\n', rest).map_or(rest.len(), |last| last + 1),
            None => 0,
        };
        reader.read_block(&bytes[..own], at, false, &mut sink);
        if block.overlong && own > 0 {
            reader.count_overlong_line();
        }
        let over = own < bytes.len() || at + own as u64 >= end;
        // An entry that continues beyond the range is read to its end by the range in which it starts.
        if over && !reader.drain_pending(&bytes[own..], at + own as u64, &mut sink) {
            break;
        }
    }
    reader.finish(&mut sink);
    Ok((gathered, reader.counters().since(before)))
}
