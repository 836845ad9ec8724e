//! A log that grows: what was added since it was read last, over rotation, truncation and re-creation, also while nobody
//! reads it.
//!
//! A follower reads the file that has the log's name, and beside it rotated files that may still grow or of which something
//! is left to read. Files are known by number, creation time, first bytes, and the bytes before the place that was read to;
//! never by their names, which only say where to look.

mod classify;
mod content;
mod discovery;
mod encoding;
mod open_file;
mod position;
mod rotated_files;
mod rotation_names;
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
    log_event::LogEvent,
    matchers::Matchers,
    reader::{LogExcerpt as At, ReadCounters},
};

use self::{
    content::FileId,
    open_file::{OpenFile, ReadProgress},
    position::FileCheckpoint,
    rotated_files::RotatedFiles,
};
pub use self::{open_file::IDLE_ENTRY_TIMEOUT, position::LogPosition};
use super::{LocatedLogEvent, block_reader::BLOCK_BYTES};

/// How often it is told that a file is no text.
const NON_TEXT_GAP_INTERVAL: Duration = Duration::from_secs(600);

/// What a step gave.
#[derive(Debug, Default)]
pub struct TailBatch {
    /// Signals.
    pub events: Vec<LocatedLogEvent>,
    /// What was read.
    pub counters: ReadCounters,
    /// How far that is, once it is kept.
    pub position: Option<LogPosition>,
    /// There is more to read at once.
    pub has_more: bool,
    /// What happened to the file: `rotated`, `truncated`, `missing`.
    pub file_change: Option<&'static str>,
    /// Where lines may be missing.
    pub gaps: Vec<LogGap>,
    /// Bytes that could not be read or understood, as far as that is known.
    pub lost_bytes: u64,
}

/// Where a log is begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// Where the file ends; a file that is made later, from its start.
    AtEnd,
    /// Where the file starts.
    AtStart,
    /// Where it was read to before.
    Resume(LogPosition),
}

/// Follows a log.
#[derive(Debug)]
pub struct FileTailer<'g> {
    path: PathBuf,
    name: String,
    matchers: &'g Matchers,
    /// Where to begin; `None` once it has begun.
    begin: Option<StartPosition>,
    /// How long the file was when it was first met and could not be read.
    length_at_first: Option<u64>,
    /// The files that are read, the newest last.
    files: Vec<OpenFile<'g>>,
    rotated_files: RotatedFiles,
    /// Not yet given.
    gaps: Vec<LogGap>,
    non_text_reported_at: Option<Instant>,
    buffer: Vec<u8>,
}

impl<'g> FileTailer<'g> {
    /// Follows a log from where it is to be begun with.
    #[must_use]
    pub fn new(path: &Path, name: &str, grammar: &'g Matchers, begin: StartPosition) -> Self {
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            matchers: grammar,
            begin: Some(begin),
            length_at_first: None,
            files: vec![],
            rotated_files: RotatedFiles::default(),
            gaps: vec![],
            non_text_reported_at: None,
            buffer: vec![],
        }
    }

    /// Takes none of these files for a rotated one: they are logs themselves.
    #[must_use]
    pub fn excluding(mut self, logs: Vec<PathBuf>) -> Self {
        self.rotated_files.folders.exclude_logs(logs);
        self
    }

    /// Reads what was added, at most a block of it.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read, or its folder cannot be listed. Nothing is lost by that: a later step goes on.
    pub fn read_batch(&mut self, now: Instant) -> io::Result<TailBatch> {
        let mut step = TailBatch::default();
        if self.begin.is_some() {
            self.start_reading(&mut step)?;
        }
        // A copy says how far a file was read only before more is read of what stands there now.
        // What hinders it then is told after that.
        if self.rotated_files.has_changed() {
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
            // Many logs are quiet at the same time.
            self.buffer = vec![];
        }
        self.complete_batch(now, &mut step);
        Ok(step)
    }

    /// Ends what was begun: open entries are given as they are, and are not read again.
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

    /// How far the log was read: entries that may go on were not. `None` before it was begun with.
    fn position(&self) -> Option<LogPosition> {
        if self.begin.is_some() {
            return None;
        }
        Some(LogPosition {
            reading: self.files.iter().map(OpenFile::checkpoint).collect(),
            done: self.rotated_files.done_files().cloned().collect(),
            done_before: self.rotated_files.done_before,
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
        let is_due = |told: Instant| now.saturating_duration_since(told) >= NON_TEXT_GAP_INTERVAL;
        if not_text > 0 && self.non_text_reported_at.is_none_or(is_due) {
            self.non_text_reported_at = Some(now);
            let file = self.path.display().to_string();
            step.gaps.push(LogGap { cause: GapCause::NotText, file, bytes: Some(not_text) });
        }
        step.position = self.position();
    }

    /// Notes which entries that were open in the file after theirs have ended.
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

    /// Reads a block of the first file that has something new, the oldest first. Returns `true` if there was one.
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

    /// Reads a rotated file no further, of which something is lost.
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
        self.rotated_files.mark_done(&file.content);
        self.record_gap(cause, None, bytes);
    }

    /// Ends entries that nothing was added to for a while, and closes rotated files that did not grow for as long.
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

    /// Closes a rotated file that was read to its end.
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
            self.rotated_files.mark_done(&file.content);
        } else {
            let modified = file
                .content
                .metadata()
                .map_or(sessionwatch_core::timestamp::UtcTimestamp::UNIX_EPOCH, |facts| facts.modified_at);
            let mark = file.checkpoint();
            self.rotated_files.push_done(FileCheckpoint { offset: mark.read, modified, ..mark });
        }
        step.has_more = true;
    }
}

/// Why a file cannot be read, in words.
#[must_use]
pub fn describe_read_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "the user that runs sessionwatch may not read it, or not enter its folder".into()
        }
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        // What the system says, without its number.
        kind if error.raw_os_error().is_some() => kind.to_string(),
        _ => error.to_string(),
    }
}

/// Keeps signals as they are found.
fn event_sink<'a>(
    events: &'a mut Vec<LocatedLogEvent>,
    name: &'a str,
    grammar: &'a Matchers,
) -> impl FnMut(LogEvent<'_>, At<'_>) + 'a {
    |signal, place| events.push(LocatedLogEvent::new(signal, place, name, grammar.patterns()))
}
