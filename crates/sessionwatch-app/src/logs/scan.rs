//! Whole files, from one end to the other: a plain file by every processor, what is packed or piped as it comes.

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
    log_event::LogEvent,
    matchers::Matchers,
    reader::{LogExcerpt, LogReader, ReadCounters},
};

use super::{block_reader::BlockReader, zstd_frames::ZstdFrameReader};
use crate::progress::ProgressMeter;

/// Bytes of a file that a processor takes at once.
const RANGE_BYTES: u64 = 16 << 20;
/// Bytes before a range that are read to know what its first lines belong to.
const RANGE_CONTEXT_BYTES: u64 = 256 << 10;
/// Ranges that may wait for one that takes longer.
const MAX_RANGES_AHEAD: usize = 8;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It cannot be opened.
    #[error("cannot read {0}: is it there, and may it be read?")]
    Open(PathBuf),
    /// It cannot be read to its end.
    #[error("{path} cannot be read beyond byte {at}: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// How far it was read, unpacked.
        at: u64,
        /// In words.
        why: String,
    },
}

/// How what a file holds is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// Returns how a file is packed that begins with these bytes.
    pub(super) fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Unpacks a stream.
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

/// What gathers the signals of a part of a file.
pub trait LogEventCollector: Send {
    /// A signal that was read there.
    fn push_event(&mut self, signal: LogEvent<'_>, place: LogExcerpt<'_>);
}

/// What is looked for in a file, and how to begin to gather what is found.
#[derive(Debug)]
pub struct ScanJob<'a, M> {
    /// The file; `-` is standard input.
    pub path: &'a Path,
    /// What is looked for.
    pub matchers: &'a Matchers,
    /// Makes what gathers the signals of one part.
    pub new_collector: M,
}

/// Reads a file. What each part of it gathered is handed over in order, with what was read.
///
/// # Errors
///
/// If it cannot be read, or what it gathered cannot be handed over.
pub fn scan_file<G: LogEventCollector, E: From<ScanError>>(
    search: &ScanJob<'_, impl Fn() -> G + Sync>,
    mut hand_over: impl FnMut(G, ReadCounters) -> Result<(), E>,
) -> Result<(), E> {
    let path = search.path;
    if path.as_os_str() == "-" {
        return scan_stream(search, unpack_stream(path, io::stdin())?, 0, &mut hand_over);
    }
    let refused = |_| ScanError::Open(path.to_owned());
    let file = File::open(path).map_err(refused)?;
    let facts = file.metadata().map_err(refused)?;
    if facts.is_dir() {
        return Err(ScanError::Open(path.to_owned()).into());
    }
    let mut first = [0; 4];
    let known = if facts.is_file() { file.read_at(&mut first, 0).map_err(refused)? } else { 0 };
    if facts.is_file() && Compression::detect(&first[..known]) == Compression::Plain {
        scan_ranges(search, &file, facts.len(), &mut hand_over)
    } else {
        scan_stream(search, unpack_stream(path, file)?, 0, &mut hand_over)
    }
}

/// A stream, unpacked if it is packed.
fn unpack_stream<'a>(
    path: &Path,
    source: impl Read + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, ScanError> {
    let broken = |why: io::Error| read_error(path, 0, &why);
    let mut source = BufReader::with_capacity(256 << 10, source);
    let mut first = Vec::with_capacity(4);
    (&mut source).take(4).read_to_end(&mut first).map_err(broken)?;
    let packing = Compression::detect(&first);
    packing.unpack(io::Cursor::new(first).chain(source)).map_err(broken)
}

fn read_error(path: &Path, at: u64, why: &io::Error) -> ScanError {
    // What unpacks says what is wrong with the packing; what the system says stays with it.
    let why = match why.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            "it is not packed as it says".to_owned()
        }
        kind => kind.to_string(),
    };
    ScanError::Broken { path: path.to_owned(), at, why }
}

/// Reads a stream.
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
        let mut sink = |signal: LogEvent<'_>, place: LogExcerpt<'_>| gathered.push_event(signal, place);
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
                reader.finish(&mut sink);
                let counters = reader.counters().since(before);
                hand_over(gathered, counters)?;
                return Err(read_error(search.path, at, &why).into());
            }
        };
        let counters = reader.counters();
        hand_over(gathered, counters.since(before))?;
        before = counters;
        meter.draw(counters.bytes, "");
        if ended {
            return Ok(());
        }
    }
}

/// Reads a file in ranges, by every processor. Each range knows by what stands before it what its first lines belong to.
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
        let (sender, receiver) = mpsc::sync_channel(threads * 2);
        for _ in 0..threads {
            let (sender, next, done) = (sender.clone(), &next, &done);
            scope.spawn(move || {
                loop {
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
                hand_over(gathered, counters)?;
            }
            Ok(())
        });
        // Whoever still waits need not.
        done.advance_to(u64::MAX);
        outcome
    })
}

/// How many ranges were handed over, so that nobody runs too far ahead.
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

    /// Waits until a range is near enough: whether it is still wanted.
    fn wait_for_turn(&self, number: u64) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let far = |done: &mut u64| number >= done.saturating_add(MAX_RANGES_AHEAD as u64);
        let done = self.advanced.wait_while(done, far).unwrap_or_else(PoisonError::into_inner);
        *done != u64::MAX
    }
}

/// A file from a place on.
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

/// Reads the lines that begin in a range.
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
    let mut sink = |signal: LogEvent<'_>, place: LogExcerpt<'_>| {
        if place.from >= begin && place.from < end {
            gathered.push_event(signal, place);
        }
    };
    let mut blocks = BlockReader::new(RangeReader { file, at: from, end: size }, from);
    // Where it does not begin with a line, the rest of one is no line.
    let mut skipped = from == 0;
    let mut before = ReadCounters::default();
    loop {
        let at = blocks.position();
        let Some(block) = blocks.read_next().map_err(|why| (at, why))? else { break };
        let (mut bytes, mut at) = (block.bytes, block.offset);
        if !skipped {
            let first = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |first| first + 1);
            (bytes, at, skipped) = (&bytes[first..], at + first as u64, true);
        }
        if at < begin {
            // A line belongs to the range in which it begins.
            let inside = usize::try_from(begin - at).unwrap_or(0);
            let first = match inside.checked_sub(1).and_then(|last| bytes.get(last..)) {
                Some(rest) => inside - 1 + memchr::memchr(b'\n', rest).map_or(rest.len(), |first| first + 1),
                None => bytes.len(),
            };
            reader.read_block(&bytes[..first], at, false, &mut sink);
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
        if over && !reader.drain_pending(&bytes[own..], at + own as u64, &mut sink) {
            break;
        }
    }
    reader.finish(&mut sink);
    Ok((gathered, reader.counters().since(before)))
}
