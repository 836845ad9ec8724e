//! Tails a log file: reads what was added since the last read, across rotation, truncation and re-creation, even while
//! the daemon is down.
//!
//! A tailer reads the file at the log's path, and rotated files that may still grow or have unread data. Files are
//! identified by inode, creation time, first bytes, and the bytes before the read position. Names only show where to
//! look.

mod content;
mod discovery;
mod done_files;
mod encoding;
mod open_file;
mod position;
mod rotation_names;
mod rotation_state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unusual_files_tests;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sessionwatch_core::log_gaps::{GapCause, LogGap};
use sessionwatch_logs::{
    line_reader::{LogExcerpt as At, ReadCounters},
    log_event::LogEvent,
    matchers::Matchers,
};

use self::{
    content::FileId,
    done_files::DoneFiles,
    open_file::{OpenFile, ReadProgress},
    position::FileCheckpoint,
};
pub use self::{open_file::IDLE_ENTRY_TIMEOUT, position::LogPosition};
use super::{LocatedLogEvent, block_reader::BLOCK_BYTES};

/// Minimum interval between two gaps that report non-text data.
const NON_TEXT_GAP_INTERVAL: Duration = Duration::from_secs(600);

/// The result of one read.
#[derive(Debug, Default)]
pub struct TailBatch {
    /// Log events.
    pub events: Vec<LocatedLogEvent>,
    /// Counters of what was read.
    pub counters: ReadCounters,
    /// Position to store together with the batch.
    pub position: Option<LogPosition>,
    /// `true` if more can be read at once.
    pub has_more: bool,
    /// Change of the file: `rotated`, `truncated` or `missing`.
    pub file_change: Option<&'static str>,
    /// Gaps in which lines may be missing.
    pub gaps: Vec<LogGap>,
    /// Number of bytes that could not be read or decoded, as far as known.
    pub lost_bytes: u64,
}

/// The position from which a log is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// The end of the file. A file that is created later is read from its start.
    AtEnd,
    /// The start of the file.
    AtStart,
    /// The position of an earlier read.
    Resume(LogPosition),
}

/// Tails a log file.
#[derive(Debug)]
pub struct FileTailer<'g> {
    path: PathBuf,
    name: String,
    matchers: &'g Matchers,
    /// `None` once reading has started.
    begin: Option<StartPosition>,
    /// Length of the file when it was first seen but could not be read.
    length_at_first: Option<u64>,
    /// The open files, oldest first.
    files: Vec<OpenFile<'g>>,
    done_files: DoneFiles,
    /// Gaps that were not returned yet.
    gaps: Vec<LogGap>,
    non_text_reported_at: Option<Instant>,
    buffer: Vec<u8>,
}

impl<'g> FileTailer<'g> {
    /// Creates a tailer that starts at `begin`.
    #[must_use]
    pub fn new(path: &Path, name: &str, matchers: &'g Matchers, begin: StartPosition) -> Self {
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            matchers,
            begin: Some(begin),
            length_at_first: None,
            files: vec![],
            done_files: DoneFiles::default(),
            gaps: vec![],
            non_text_reported_at: None,
            buffer: vec![],
        }
    }

    /// Excludes files that are logs of other sources, which are never taken for rotated files of this one.
    #[must_use]
    pub fn excluding(mut self, logs: Vec<PathBuf>) -> Self {
        self.done_files.folders.exclude_logs(logs);
        self
    }

    /// Reads what was added, at most one block.
    ///
    /// # Errors
    ///
    /// If the file exists and cannot be read, or its folder cannot be listed. Nothing is lost: call again later.
    pub fn read_batch(&mut self, now: Instant) -> io::Result<TailBatch> {
        let mut step = TailBatch::default();
        if self.begin.is_some() {
            self.start_reading(&mut step)?;
        }
        // Changes are detected before more is read: a copy made by `copytruncate` is recognized by the current read
        // position. An error here is not fatal, since the second detection below reports it.
        if self.done_files.has_changed() {
            step.file_change = self.detect_changes(now, &mut step).unwrap_or_default();
        }
        if self.read_next_block(now, &mut step)? {
            step.has_more = true;
        } else {
            if step.file_change.is_none() {
                step.file_change = self.detect_changes(now, &mut step)?;
            }
            self.close_idle_files(now, &mut step);
        }
        if !step.has_more {
            // Frees the memory of idle tailers, of which there may be many.
            self.buffer = vec![];
        }
        self.complete_batch(now, &mut step);
        Ok(step)
    }

    /// Finishes reading: returns unfinished entries as they are, so that they are not read again.
    pub fn finish(&mut self, now: Instant) -> TailBatch {
        let mut step = TailBatch::default();
        let mut sink = event_sink(&mut step.events, &self.name, self.matchers);
        for file in &mut self.files {
            file.reader.finish(&mut sink);
            file.handed_over = None;
        }
        drop(sink);
        self.complete_batch(now, &mut step);
        step
    }

    /// Returns the position to resume from, before entries that may continue. `None` before the first read.
    fn position(&self) -> Option<LogPosition> {
        if self.begin.is_some() {
            return None;
        }
        Some(LogPosition {
            reading: self.files.iter().map(OpenFile::checkpoint).collect(),
            done: self.done_files.iter().cloned().collect(),
            done_before: self.done_files.done_before,
            is_rotation_unknown: false,
        })
    }

    fn complete_batch(&mut self, now: Instant, step: &mut TailBatch) {
        self.reclaim_entries();
        let mut not_text = 0;
        for file in &mut self.files {
            step.counters.merge(file.take_counters());
            not_text += std::mem::take(&mut file.non_text_bytes);
        }
        step.gaps.append(&mut self.gaps);
        step.lost_bytes = not_text + step.gaps.iter().filter_map(|gap| gap.bytes).sum::<u64>();
        let is_due = |reported: Instant| now.saturating_duration_since(reported) >= NON_TEXT_GAP_INTERVAL;
        if not_text > 0 && self.non_text_reported_at.is_none_or(is_due) {
            self.non_text_reported_at = Some(now);
            let file = self.path.display().to_string();
            step.gaps.push(LogGap { cause: GapCause::NotText, file, bytes: Some(not_text) });
        }
        step.position = self.position();
    }

    /// Takes back entries that were handed over to the next file and have ended there.
    fn reclaim_entries(&mut self) {
        let open: Vec<FileId> = self
            .files
            .iter()
            .filter(|file| file.reader.pending_offset() == Some(0))
            .map(|file| file.metadata.file)
            .collect();
        for file in &mut self.files {
            file.handed_over = file.handed_over.filter(|lent| open.contains(&lent.to));
        }
    }

    fn record_gap(&mut self, cause: GapCause, path: Option<&Path>, bytes: Option<u64>) {
        let file = path.unwrap_or(&self.path).display().to_string();
        self.gaps.push(LogGap { cause, file, bytes });
    }

    /// Reads a block of the oldest file that has new data. Returns `true` if there was one.
    fn read_next_block(&mut self, now: Instant, step: &mut TailBatch) -> io::Result<bool> {
        let mut at = 0;
        while at < self.files.len() {
            let (before, from) = self.files.split_at_mut(at);
            let file = &mut from[0];
            if let Some(before) = before.iter_mut().rfind(|before| before.reader.has_pending_entry()) {
                before.hand_over_entry(file)?;
            }
            let mut sink = event_sink(&mut step.events, &self.name, self.matchers);
            let read = file.read_block(&mut self.buffer, BLOCK_BYTES as u64, &mut sink);
            drop(sink);
            let is_last = at + 1 == self.files.len();
            match read {
                Ok(ReadProgress::Read) => return Ok(true),
                Ok(ReadProgress::Nothing) => {
                    self.files[at].idle_since.get_or_insert(now);
                    at += 1;
                }
                Ok(ReadProgress::Replaced) if is_last => {
                    self.files[at].is_replaced = true;
                    at += 1;
                }
                Err(error) if is_last => return Err(error),
                Ok(ReadProgress::Replaced) => self.abandon_file(at, GapCause::Truncated, step),
                Err(_) => self.abandon_file(at, GapCause::Unreadable, step),
            }
        }
        Ok(false)
    }

    /// Abandons a rotated file whose rest is lost.
    fn abandon_file(&mut self, at: usize, cause: GapCause, step: &mut TailBatch) {
        let mut file = self.files.remove(at);
        let bytes = match file.content.metadata() {
            Ok(facts) if cause == GapCause::Unreadable && !file.content.is_packed() => {
                Some(facts.length.saturating_sub(file.checkpoint().read))
            }
            _ => None,
        };
        file.reader.finish(&mut event_sink(&mut step.events, &self.name, self.matchers));
        step.counters.merge(file.take_counters());
        self.done_files.mark_done(&file.content);
        self.record_gap(cause, None, bytes);
    }

    /// Ends entries that have not grown for a while, and closes rotated files that have not grown for as long.
    fn close_idle_files(&mut self, now: Instant, step: &mut TailBatch) {
        self.reclaim_entries();
        let mut at = 0;
        while at < self.files.len() {
            let (until, after) = self.files.split_at_mut(at + 1);
            let file = &mut until[at];
            let is_old = !after.is_empty();
            let is_quiet = file
                .idle_since
                .is_some_and(|since| now.saturating_duration_since(since) >= IDLE_ENTRY_TIMEOUT);
            let is_removed = || file.content.metadata().is_ok_and(|facts| facts.link_count == 0);
            // An application may write to a rotated file until it reopens its log, but a compressed file is complete.
            let is_over = if is_old {
                let is_read = file.content.is_packed() && file.idle_since.is_some();
                is_quiet || is_read && !file.reader.has_pending_entry()
            } else {
                is_quiet && is_removed()
            };
            if is_over && file.handed_over.is_none() {
                self.close_file(at, step);
                continue;
            }
            if is_quiet && file.reader.has_pending_entry() {
                file.reader.finish(&mut event_sink(&mut step.events, &self.name, self.matchers));
            }
            at += 1;
        }
    }

    /// Closes a rotated file that has been read to its end.
    fn close_file(&mut self, at: usize, step: &mut TailBatch) {
        let mut file = self.files.remove(at);
        let ended = file.finish(true, &mut event_sink(&mut step.events, &self.name, self.matchers));
        step.counters.merge(file.take_counters());
        match ended {
            Ok(0) => {}
            Ok(bytes) => self.record_gap(GapCause::CutLine, None, Some(bytes)),
            Err(_) => self.record_gap(GapCause::Unreadable, None, None),
        }
        if file.content.is_packed() {
            self.done_files.mark_done(&file.content);
        } else {
            let modified = file
                .content
                .metadata()
                .map_or(sessionwatch_core::timestamp::UtcTimestamp::UNIX_EPOCH, |facts| facts.modified_at);
            let checkpoint = file.checkpoint();
            self.done_files.push_done(FileCheckpoint { offset: checkpoint.read, modified, ..checkpoint });
        }
        step.has_more = true;
    }
}

/// Describes why a file cannot be read.
#[must_use]
pub fn describe_read_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "permission denied: the user that runs sessionwatch must be able to read the file and enter its directory"
                .into()
        }
        io::ErrorKind::IsADirectory => "the path is a directory".into(),
        // The description of the operating system, without the error number.
        kind if error.raw_os_error().is_some() => kind.to_string(),
        _ => error.to_string(),
    }
}

fn event_sink<'a>(
    events: &'a mut Vec<LocatedLogEvent>,
    name: &'a str,
    grammar: &'a Matchers,
) -> impl FnMut(LogEvent<'_>, At<'_>) + 'a {
    |event, place| events.push(LocatedLogEvent::new(event, place, name, grammar.patterns()))
}
