//! Discovers the files to read: finds files by their checkpoints, even if they were moved, copied or compressed.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;

use super::{
    FileTailer, StartPosition, TailBatch,
    content::{FileContent, FileMetadata},
    done_files::checkpoint_stored_bytes,
    event_sink,
    open_file::OpenFile,
    position::{FileCheckpoint, LogPosition, compute_checksum},
    rotation_names::RotatedFile,
    rotation_state::{MissingRest, RotationState},
};
use sessionwatch_core::{log_gaps::GapCause, timestamp::UtcTimestamp};

/// Interval between surveys if no change was noticed, for changes that leave no trace in folder times.
const SURVEY_INTERVAL: Duration = Duration::from_secs(60);
/// Attempts to list the files while the log is being rotated.
const MAX_LISTING_ATTEMPTS: usize = 8;

/// The files of a log at one time.
struct FileSurvey {
    /// The file at the log's path.
    current: Option<CurrentFile>,
    /// Rotated files, oldest first.
    rotated: Vec<RotatedFile>,
}

/// The file at the log's path.
struct CurrentFile {
    content: FileContent,
    metadata: FileMetadata,
}

/// Location of the file of a checkpoint.
enum FileLocation<'a> {
    Here(FileContent),
    /// The file exists but cannot be opened.
    Unreadable(&'a RotatedFile),
    /// The file exists, but its content was replaced.
    Replaced,
    Nowhere,
}

fn metadata_at(path: &Path) -> io::Result<Option<FileMetadata>> {
    match fs::metadata(path) {
        Ok(facts) => Ok(Some(FileMetadata::from_metadata(&facts))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl CurrentFile {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        // Opening a pipe would block until a writer opens it.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("not a regular file"));
        }
        match File::open(path) {
            Ok(file) => {
                let content = FileContent::plain(file);
                let metadata = content.metadata()?;
                Ok(Some(Self { content, metadata }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<'g> FileTailer<'g> {
    /// Lists the files of the log. Repeats the listing if the log is rotated meanwhile.
    fn survey_files(&mut self) -> io::Result<FileSurvey> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.done_files.folders.add_log(&self.path);
            // Read before the listing, so that a change during the listing shows as a difference later.
            let changed = self.done_files.folders.modification_times();
            let current = CurrentFile::open(&self.path)?;
            let rotated = self.done_files.folders.list_rotated_files()?;
            let after = metadata_at(&self.path)?;
            let file = |facts: &FileMetadata| facts.file;
            if after.as_ref().map(file) == current.as_ref().map(|current| current.metadata.file)
                || attempts == MAX_LISTING_ATTEMPTS
            {
                self.done_files.is_unsettled = changed != self.done_files.folder_times;
                self.done_files.folder_times = changed;
                return Ok(FileSurvey { current, rotated });
            }
        }
    }

    /// Opens the files to read, from the start position.
    pub(super) fn start_reading(&mut self, step: &mut TailBatch) -> io::Result<()> {
        let survey = match self.survey_files() {
            Ok(survey) => survey,
            Err(error) => {
                // Lines written from now until the file becomes readable count as new.
                let length = |metadata: fs::Metadata| if metadata.is_file() { metadata.len() } else { 0 };
                self.length_at_first = self.length_at_first.or(fs::metadata(&self.path).ok().map(length));
                return Err(error);
            }
        };
        let begin = self.begin.clone();
        match begin {
            Some(StartPosition::Resume(place)) => self.resume_from(place, survey, step)?,
            Some(begin) => {
                let FileSurvey { current, rotated } = survey;
                for sibling in &rotated {
                    self.mark_rotated_done(sibling);
                }
                if let Some(CurrentFile { content, metadata }) = current {
                    let end =
                        self.length_at_first.map_or(metadata.length, |length| length.min(metadata.length));
                    let offset = if begin == StartPosition::AtEnd { end } else { 0 };
                    self.files.push(OpenFile::new(content, offset, self.matchers)?);
                }
                self.done_files.merge_newly_done(&rotated);
            }
            None => {}
        }
        self.begin = None;
        Ok(())
    }

    pub(super) fn mark_rotated_done(&mut self, sibling: &RotatedFile) {
        match File::open(&sibling.path).and_then(|file| checkpoint_stored_bytes(&file)) {
            Ok(checkpoint) => self.done_files.push_done(checkpoint),
            // An unreadable file is identified by its inode alone.
            Err(_) => self.done_files.push_done(FileCheckpoint {
                file: sibling.metadata.file,
                born: sibling.metadata.created_at,
                offset: sibling.metadata.length,
                read: sibling.metadata.length,
                head: compute_checksum(&[]),
                tail: Some(compute_checksum(&[])),
                modified: sibling.metadata.modified_at,
                ..FileCheckpoint::default()
            }),
        }
    }

    /// Resumes from a stored position.
    fn resume_from(
        &mut self,
        place: LogPosition,
        mut survey: FileSurvey,
        step: &mut TailBatch,
    ) -> io::Result<()> {
        // A file that is renamed or packed while the folder is listed is in neither place: the folder is listed again
        // before a gap is recorded.
        let is_gone = |checkpoint| matches!(locate_file(checkpoint, &survey), FileLocation::Nowhere);
        if place.reading.iter().any(is_gone) {
            survey = self.survey_files()?;
        }
        (self.done_files.done, self.done_files.done_before) = (place.done, place.done_before);
        (self.files, self.gaps) = (vec![], vec![]);
        let mut wanted = vec![];
        for checkpoint in place.reading {
            match locate_file(&checkpoint, &survey) {
                FileLocation::Here(content) => {
                    let before = self.files.iter_mut().rfind(|before| before.reader.has_pending_entry());
                    let file = OpenFile::resume(content, &checkpoint, self.matchers, before)?;
                    self.files.push(file);
                }
                FileLocation::Unreadable(sibling) => {
                    self.mark_rotated_done(sibling);
                    let rest = sibling.metadata.length.saturating_sub(checkpoint.read);
                    self.record_gap(GapCause::Unreadable, Some(&sibling.path), Some(rest));
                }
                FileLocation::Replaced => {
                    wanted.push(MissingRest { checkpoint, cause: GapCause::Truncated, before: None })
                }
                FileLocation::Nowhere => {
                    wanted.push(MissingRest { checkpoint, cause: GapCause::FileGone, before: None })
                }
            }
        }
        if place.is_rotation_unknown {
            // Positions of earlier versions do not list rotated files, so new ones are recognized by their time only.
            let last = self.files.last().filter(|_| wanted.is_empty());
            self.done_files.done_before = Some(last.map_or(UtcTimestamp::MAX, |file| {
                file.metadata.modified_at - SignedDuration::from_micros(1)
            }));
        }
        self.apply_survey(survey, wanted, step)?;
        if place.is_rotation_unknown {
            self.done_files.done_before = None;
        }
        Ok(())
    }

    /// Detects rotation, truncation, and new or grown rotated files. Returns what happened to the log.
    pub(super) fn detect_changes(
        &mut self,
        now: Monotonic,
        step: &mut TailBatch,
    ) -> io::Result<Option<&'static str>> {
        let there = metadata_at(&self.path)?;
        if let Some(last) = self.files.last_mut() {
            last.is_replaced |= !last.is_intact()?;
        }
        let is_turned = match (&there, self.files.last()) {
            (Some(there), Some(last)) => there.file != last.metadata.file || last.is_replaced,
            (Some(_), None) => true,
            (None, last) => last.is_some_and(|last| last.is_replaced),
        };
        let is_due = |at: Monotonic| now.saturating_duration_since(at) >= SURVEY_INTERVAL;
        let is_stale = self.done_files.is_unsettled
            || self.done_files.surveyed_at.is_none_or(is_due)
            || self.done_files.has_changed();
        if !is_turned && !is_stale {
            return Ok((there.is_none() && self.files.is_empty()).then_some("missing"));
        }
        let survey = self.survey_files()?;
        let mut wanted = vec![];
        if let Some(last) = self.files.last_mut().filter(|last| last.is_replaced) {
            // Reads the new content from its start, and searches for the rest of the old one.
            let content = FileContent::plain(last.content.file.try_clone()?);
            let before = std::mem::replace(last, OpenFile::new(content, 0, self.matchers)?);
            wanted.push(MissingRest {
                checkpoint: before.checkpoint(),
                cause: GapCause::Truncated,
                before: Some(before),
            });
        }
        let happened = self.apply_survey(survey, wanted, step)?;
        self.done_files.surveyed_at = Some(now);
        Ok(happened)
    }

    /// Opens the file that is now at the log's path, to be read after the others.
    fn open_current(&mut self, content: FileContent) -> io::Result<()> {
        // Editors save by replacing the file with a new one. If it starts with what was read, reading resumes there.
        let replaced =
            self.files.last().filter(|last| last.content.metadata().is_ok_and(|facts| facts.link_count == 0));
        let checkpoint = replaced.map(OpenFile::checkpoint).filter(FileCheckpoint::identifies_file);
        let mut copy = FileContent::plain(content.file.try_clone()?);
        if let Some(checkpoint) =
            checkpoint.filter(|checkpoint| checkpoint.matches_content(&mut copy).is_ok_and(|fits| fits))
        {
            let next = OpenFile::resume(content, &checkpoint, self.matchers, None)?;
            self.files.pop();
            self.files.push(next);
            return Ok(());
        }
        let next = OpenFile::new(content, 0, self.matchers)?;
        if let Some(before) = self.files.last_mut() {
            before.idle_since = None;
        }
        self.files.push(next);
        Ok(())
    }

    /// Opens the files with unread data, and records gaps for those that cannot be found. Returns what happened to the
    /// log.
    fn apply_survey(
        &mut self,
        survey: FileSurvey,
        mut wanted: Vec<MissingRest<'g>>,
        step: &mut TailBatch,
    ) -> io::Result<Option<&'static str>> {
        let FileSurvey { current, rotated } = survey;
        self.done_files.merge_newly_done(&rotated);
        let current_file = current.as_ref().map(|current| current.metadata.file);
        let is_truncated = wanted.iter().any(|wanted| wanted.cause == GapCause::Truncated);
        let is_same =
            self.files.last().map(|last| last.metadata.file) == current_file && current_file.is_some();
        let had_file = !self.files.is_empty() || !wanted.is_empty();
        let mut is_new = false;
        if let Some(CurrentFile { content, .. }) = current.filter(|_| !is_same) {
            self.open_current(content)?;
            is_new = true;
        }
        let (mut unknown, mut found) = self.separate_known(&rotated, current_file, !wanted.is_empty());
        let evidence = RotationState { is_rotated: !is_same || is_truncated, current_file };
        unknown.retain_mut(|one| !self.set_aside_if_recognized(one, evidence, &mut found));
        // Longer checkpoints identify their files better, so they choose first.
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.checkpoint.read));
        for mut wanted in wanted {
            match self.find_rest(&wanted, &mut unknown, &rotated, current_file) {
                Some(rest) => found.rests.push(rest),
                None => {
                    if let Some(before) = &mut wanted.before {
                        before.reader.finish(&mut event_sink(&mut step.events, &self.name, self.matchers));
                        step.counters.merge(before.take_counters());
                    }
                }
            }
        }
        for one in unknown {
            let is_rotated = evidence.is_rotated || found.has_rest;
            self.classify_unknown(one, RotationState { is_rotated, current_file }, &mut found);
        }
        step.has_more |= is_new || is_truncated || !found.grown.is_empty() || !found.rests.is_empty();
        let last = self.files.pop_if(|last| Some(last.metadata.file) == current_file);
        self.files.extend(found.grown.into_iter().chain(found.rests));
        self.files.sort_by_key(|file| {
            file.content.metadata().map_or(UtcTimestamp::UNIX_EPOCH, |facts| facts.modified_at)
        });
        self.files.extend(last);
        if is_new || is_truncated {
            // Copies of the previous file are not copies of this one.
            self.done_files.done.iter_mut().for_each(|checkpoint| checkpoint.copy = false);
        }
        self.done_files.merge_newly_done(&rotated);
        Ok(match is_truncated {
            true => Some("truncated"),
            false => (is_new && had_file).then_some("rotated"),
        })
    }
}

/// Locates the file of a checkpoint by inode.
fn locate_file<'a>(checkpoint: &FileCheckpoint, survey: &'a FileSurvey) -> FileLocation<'a> {
    let mut located = FileLocation::Nowhere;
    if let Some(current) = survey
        .current
        .as_ref()
        .filter(|current| checkpoint.may_be_file(current.metadata.file, current.metadata.created_at))
        && let Ok(file) = current.content.file.try_clone()
    {
        let mut content = FileContent::plain(file);
        if checkpoint.matches_content(&mut content).is_ok_and(|fits| fits) {
            return FileLocation::Here(content);
        }
        located = FileLocation::Replaced;
    }
    for sibling in
        survey.rotated.iter().filter(|one| checkpoint.may_be_file(one.metadata.file, one.metadata.created_at))
    {
        match FileContent::open(&sibling.path) {
            Ok(mut content) => {
                if checkpoint.matches_content(&mut content).is_ok_and(|fits| fits) {
                    return FileLocation::Here(content);
                }
                located = FileLocation::Replaced;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return FileLocation::Unreadable(sibling);
            }
            Err(_) => located = FileLocation::Replaced,
        }
    }
    located
}
