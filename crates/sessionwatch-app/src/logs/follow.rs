//! A log that grows: what was added since it was read last, over rotation, truncation and re-creation, also while nobody
//! reads it.
//!
//! A follower reads the file that has the log's name, and beside it rotated files that may still grow or of which something
//! is left to read. Files are known by number, creation time, first bytes, and the bytes before the place that was read to;
//! never by their names, which only say where to look.

mod content;
mod done;
mod encoding;
mod place;
mod rotated;
mod sorting;
mod survey;
mod tailed;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unusual_files_tests;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sessionwatch_core::log_gaps::{Gap, GapCause};
use sessionwatch_logs::{
    matchers::Matchers,
    reader::{Counters, Place as At},
    signal::Signal,
};

use self::{
    content::FileId,
    done::Rotated,
    place::Mark,
    tailed::{Progress, Tailed},
};
pub use self::{place::Place, tailed::QUIET};
use super::{Found, blocks::BLOCK};

/// How often it is told that a file is no text.
const NOT_TEXT_INTERVAL: Duration = Duration::from_secs(600);

/// What a step gave.
#[derive(Debug, Default)]
pub struct Step {
    /// Signals.
    pub found: Vec<Found>,
    /// What was read.
    pub counters: Counters,
    /// How far that is, once it is kept.
    pub place: Option<Place>,
    /// There is more to read at once.
    pub more: bool,
    /// What happened to the file: `rotated`, `truncated`, `missing`.
    pub happened: Option<&'static str>,
    /// Where lines may be missing.
    pub gaps: Vec<Gap>,
    /// Bytes that could not be read or understood, as far as that is known.
    pub lost_bytes: u64,
}

/// Where a log is begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where the file ends; a file that is made later, from its start.
    AtEnd,
    /// Where the file starts.
    AtStart,
    /// Where it was read to before.
    At(Place),
}

/// Follows a log.
#[derive(Debug)]
pub struct Follower<'g> {
    path: PathBuf,
    name: String,
    grammar: &'g Matchers,
    /// Where to begin; `None` once it has begun.
    begin: Option<Begin>,
    /// How long the file was when it was first met and could not be read.
    length_at_first: Option<u64>,
    /// The files that are read, the newest last.
    files: Vec<Tailed<'g>>,
    rotated: Rotated,
    /// Not yet given.
    gaps: Vec<Gap>,
    not_text_told: Option<Instant>,
    buffer: Vec<u8>,
}

impl<'g> Follower<'g> {
    /// Follows a log from where it is to be begun with.
    #[must_use]
    pub fn new(path: &Path, name: &str, grammar: &'g Matchers, begin: Begin) -> Self {
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            grammar,
            begin: Some(begin),
            length_at_first: None,
            files: vec![],
            rotated: Rotated::default(),
            gaps: vec![],
            not_text_told: None,
            buffer: vec![],
        }
    }

    /// Takes none of these files for a rotated one: they are logs themselves.
    #[must_use]
    pub fn sparing(mut self, logs: Vec<PathBuf>) -> Self {
        self.rotated.folders.spare(logs);
        self
    }

    /// Reads what was added, at most a block of it.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read, or its folder cannot be listed. Nothing is lost by that: a later step goes on.
    pub fn step(&mut self, now: Instant) -> io::Result<Step> {
        let mut step = Step::default();
        if self.begin.is_some() {
            self.start(&mut step)?;
        }
        // A copy says how far a file was read only before more is read of what stands there now.
        // What hinders it then is told after that.
        if self.rotated.is_changed() {
            step.happened = self.look_around(now, &mut step).unwrap_or_default();
        }
        if self.read_on(now, &mut step)? {
            step.more = true;
        } else {
            if step.happened.is_none() {
                step.happened = self.look_around(now, &mut step)?;
            }
            self.settle(now, &mut step);
        }
        if !step.more {
            // Many logs are quiet at the same time.
            self.buffer = vec![];
        }
        self.complete(now, &mut step);
        Ok(step)
    }

    /// Ends what was begun: open entries are given as they are, and are not read again.
    pub fn finish(&mut self, now: Instant) -> Step {
        let mut step = Step::default();
        let mut sink = sink(&mut step.found, &self.name, self.grammar);
        for file in &mut self.files {
            file.reader.finish(&mut sink);
            file.lent = None;
        }
        drop(sink);
        self.complete(now, &mut step);
        step
    }

    /// How far the log was read: entries that may go on were not. `None` before it was begun with.
    fn place(&self) -> Option<Place> {
        if self.begin.is_some() {
            return None;
        }
        Some(Place {
            reading: self.files.iter().map(Tailed::mark).collect(),
            done: self.rotated.done().cloned().collect(),
            done_before: self.rotated.done_before,
            is_blind: false,
        })
    }

    fn complete(&mut self, now: Instant, step: &mut Step) {
        self.take_back_entries();
        let mut not_text = 0;
        for file in &mut self.files {
            step.counters.add(file.counters());
            not_text += std::mem::take(&mut file.not_text);
        }
        step.gaps.append(&mut self.gaps);
        step.lost_bytes = not_text + step.gaps.iter().filter_map(|gap| gap.bytes).sum::<u64>();
        let is_due = |told: Instant| now.saturating_duration_since(told) >= NOT_TEXT_INTERVAL;
        if not_text > 0 && self.not_text_told.is_none_or(is_due) {
            self.not_text_told = Some(now);
            let file = self.path.display().to_string();
            step.gaps.push(Gap { cause: GapCause::NotText, file, bytes: Some(not_text) });
        }
        step.place = self.place();
    }

    /// Notes which entries that were open in the file after theirs have ended.
    fn take_back_entries(&mut self) {
        let open: Vec<FileId> = self
            .files
            .iter()
            .filter(|file| file.reader.pending_from() == Some(0))
            .map(|file| file.facts.file)
            .collect();
        for file in &mut self.files {
            file.lent = file.lent.filter(|lent| open.contains(&lent.to));
        }
    }

    fn tell_gap(&mut self, cause: GapCause, path: Option<&Path>, bytes: Option<u64>) {
        let file = path.unwrap_or(&self.path).display().to_string();
        self.gaps.push(Gap { cause, file, bytes });
    }

    /// Reads a block of the first file that has something new, the oldest first. Returns `true` if there was one.
    fn read_on(&mut self, now: Instant, step: &mut Step) -> io::Result<bool> {
        let mut at = 0;
        while at < self.files.len() {
            let (before, from) = self.files.split_at_mut(at);
            let file = &mut from[0];
            if let Some(before) = before.iter_mut().rfind(|before| before.reader.is_pending()) {
                before.hand_over(file)?;
            }
            let mut sink = sink(&mut step.found, &self.name, self.grammar);
            let read = file.read(&mut self.buffer, BLOCK as u64, &mut sink);
            drop(sink);
            let is_last = at + 1 == self.files.len();
            match read {
                Ok(Progress::Read) => return Ok(true),
                Ok(Progress::Nothing) => {
                    self.files[at].quiet_since.get_or_insert(now);
                    at += 1;
                }
                Ok(Progress::Replaced) if is_last => {
                    self.files[at].is_replaced = true;
                    at += 1;
                }
                Err(error) if is_last => return Err(error),
                Ok(Progress::Replaced) => self.give_up(at, GapCause::Truncated, step),
                Err(_) => self.give_up(at, GapCause::Unreadable, step),
            }
        }
        Ok(false)
    }

    /// Reads a rotated file no further, of which something is lost.
    fn give_up(&mut self, at: usize, cause: GapCause, step: &mut Step) {
        let mut file = self.files.remove(at);
        let bytes = match file.content.facts() {
            Ok(facts) if cause == GapCause::Unreadable && !file.content.is_packed() => {
                Some(facts.length.saturating_sub(file.mark().read))
            }
            _ => None,
        };
        file.reader.finish(&mut sink(&mut step.found, &self.name, self.grammar));
        step.counters.add(file.counters());
        self.rotated.remember(&file.content);
        self.tell_gap(cause, None, bytes);
    }

    /// Ends entries that nothing was added to for a while, and closes rotated files that did not grow for as long.
    fn settle(&mut self, now: Instant, step: &mut Step) {
        self.take_back_entries();
        let mut at = 0;
        while at < self.files.len() {
            let (until, after) = self.files.split_at_mut(at + 1);
            let file = &mut until[at];
            let is_old = !after.is_empty();
            let is_quiet =
                file.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= QUIET);
            let is_removed = || file.content.facts().is_ok_and(|facts| facts.names == 0);
            let is_over = if is_old {
                let is_read = file.content.is_packed() && file.quiet_since.is_some();
                is_quiet || is_read && !file.reader.is_pending()
            } else {
                is_quiet && is_removed()
            };
            if is_over && file.lent.is_none() {
                self.close(at, step);
                continue;
            }
            if is_quiet && file.reader.is_pending() {
                file.reader.finish(&mut sink(&mut step.found, &self.name, self.grammar));
            }
            at += 1;
        }
    }

    /// Closes a rotated file that was read to its end.
    fn close(&mut self, at: usize, step: &mut Step) {
        let mut file = self.files.remove(at);
        let ended = file.end(true, &mut sink(&mut step.found, &self.name, self.grammar));
        step.counters.add(file.counters());
        match ended {
            Ok(0) => {}
            Ok(bytes) => self.tell_gap(GapCause::CutLine, None, Some(bytes)),
            Err(_) => self.tell_gap(GapCause::Unreadable, None, None),
        }
        if file.content.is_packed() {
            self.rotated.remember(&file.content);
        } else {
            let modified = file
                .content
                .facts()
                .map_or(sessionwatch_core::instant::Instant::UNIX_EPOCH, |facts| facts.modified);
            let mark = file.mark();
            self.rotated.add(Mark { offset: mark.read, modified, ..mark });
        }
        step.more = true;
    }
}

/// Why a file cannot be read, in words.
#[must_use]
pub fn cause(error: &io::Error) -> String {
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
fn sink<'a>(
    found: &'a mut Vec<Found>,
    name: &'a str,
    grammar: &'a Matchers,
) -> impl FnMut(Signal<'_>, At<'_>) + 'a {
    |signal, place| found.push(Found::of(signal, place, name, grammar.patterns()))
}
