//! Classifies unknown rotated files: a file that is or was read under another name, the rest of a file, or a new file
//! that was created and rotated since the last survey.

use std::io;

use super::{
    FileTailer,
    content::{FileContent, FileId, FileMetadata},
    done_files::checkpoint_stored_bytes,
    open_file::OpenFile,
    position::{FileCheckpoint, IDENTITY_WINDOW_BYTES},
    rotation_names::RotatedFile,
};
use sessionwatch_core::{log_gaps::GapCause, timestamp::UtcTimestamp};

/// A file that was read in part and is missing now; its rest is searched for by checkpoint.
pub(super) struct MissingRest<'g> {
    pub(super) checkpoint: FileCheckpoint,
    /// Cause of the gap that is reported if the rest is not found.
    pub(super) cause: GapCause,
    /// The open file, if it was being read until now.
    pub(super) before: Option<OpenFile<'g>>,
}

/// A rotated file that matches no checkpoint.
pub(super) struct UnknownFile<'a> {
    file: &'a RotatedFile,
    /// `None` if the file cannot be read or decompressed.
    content: Option<FileContent>,
    /// Number of bytes that were read under another name.
    read: u64,
}

/// Files with unread data.
#[derive(Default)]
pub(super) struct FilesToRead<'g> {
    /// Files that were read to their end and have grown.
    pub(super) grown: Vec<OpenFile<'g>>,
    /// Rests of files, and files created and rotated since the last survey, oldest first.
    pub(super) rests: Vec<OpenFile<'g>>,
    /// `true` if one of them holds the content of the current file before its truncation.
    pub(super) has_rest: bool,
}

/// State of the log when rotated files are classified.
#[derive(Clone, Copy)]
pub(super) struct RotationState {
    /// The log was rotated or truncated, so that there may be new files.
    pub(super) is_rotated: bool,
    /// The file at the log's path.
    pub(super) current_file: Option<FileId>,
}

/// Result of the comparison of a rotated file with known ones.
enum Recognition {
    /// The whole file is being read or was read.
    Done,
    /// The file is a copy of the current file.
    Copy,
    /// The file is still being compressed, from a file that is being read or was read.
    Partial,
}

impl<'g> FileTailer<'g> {
    /// Separates known files, which are being read or done, from unknown ones. Returns the unknown files, and done
    /// files that have grown.
    pub(super) fn separate_known<'a>(
        &mut self,
        siblings: &'a [RotatedFile],
        at_path: Option<FileId>,
        is_wanted: bool,
    ) -> (Vec<UnknownFile<'a>>, FilesToRead<'g>) {
        let (mut unknown, mut found) = (vec![], FilesToRead::default());
        for sibling in siblings {
            let is_read = |file: &OpenFile<'_>| file.metadata.file == sibling.metadata.file;
            if Some(sibling.metadata.file) == at_path || self.files.iter().any(is_read) {
                continue;
            }
            let FileMetadata { file, created_at: born, modified_at: modified, .. } = sibling.metadata;
            let is_old = self.done_files.done_before.is_some_and(|before| modified <= before);
            let mut content = match FileContent::open(&sibling.path) {
                Ok(content) => content,
                // Renamed or removed since the listing: survey again soon.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.done_files.is_unsettled = true;
                    continue;
                }
                Err(_)
                    if is_old
                        || self
                            .done_files
                            .done
                            .iter()
                            .any(|checkpoint| checkpoint.may_be_file(file, born)) =>
                {
                    continue;
                }
                Err(_) => {
                    unknown.push(UnknownFile { file: sibling, content: None, read: 0 });
                    continue;
                }
            };
            let Some(at) = self.done_files.find_done(&content) else {
                if !is_old {
                    unknown.push(UnknownFile { file: sibling, content: Some(content), read: 0 });
                }
                continue;
            };
            let checkpoint = &self.done_files.done[at];
            let is_grown =
                !content.is_packed() && content.metadata().is_ok_and(|facts| facts.length > checkpoint.read);
            let is_candidate = is_wanted && (checkpoint.copy || checkpoint.read == 0);
            if !is_grown && !is_candidate {
                continue;
            }
            let checkpoint = self.done_files.done.remove(at);
            let copied = self.files.last_mut().filter(|last| Some(last.metadata.file) == at_path);
            let is_copy = || {
                copied
                    .is_some_and(|last| content.is_prefix_of(&mut last.content).is_ok_and(|is_copy| is_copy))
            };
            if is_candidate || checkpoint.copy || is_copy() {
                let read = if checkpoint.copy { checkpoint.read } else { 0 };
                unknown.push(UnknownFile { file: sibling, content: Some(content), read });
            } else if let Ok(grown) = OpenFile::resume(content, &checkpoint, self.matchers, None) {
                found.grown.push(grown);
            } else {
                unknown.push(UnknownFile { file: sibling, content: None, read: 0 });
            }
        }
        (unknown, found)
    }

    /// Finds the rest of a file by its checkpoint. Records a gap if the rest is missing or ambiguous.
    pub(super) fn find_rest(
        &mut self,
        MissingRest { checkpoint, cause, .. }: &MissingRest<'g>,
        unknown: &mut Vec<UnknownFile<'_>>,
        siblings: &[RotatedFile],
        at_path: Option<FileId>,
    ) -> Option<OpenFile<'g>> {
        let fits = |content: &mut FileContent| {
            checkpoint.identifies_file() && checkpoint.matches_content(content).is_ok_and(|fits| fits)
        };
        // If the current file matches too, the match is weak: many logs start with the same banner.
        let present = self.files.last_mut().filter(|last| Some(last.metadata.file) == at_path);
        let is_in_present = present.is_some_and(|present| fits(&mut present.content));
        let (mut is_certain, mut rest) = (!is_in_present, None::<FileContent>);
        unknown.retain_mut(|one| {
            let Some(mut content) = one.content.take() else { return true };
            // A file that was read further is not the rest of this one, even if both start alike.
            if one.read > checkpoint.read || !fits(&mut content) {
                one.content = Some(content);
                return true;
            }
            let Some(mut known) = rest.take() else {
                rest = Some(content);
                return false;
            };
            // If one candidate is a prefix of the other, both are versions of one file, and the longer one is used.
            // Short files may be equal by chance.
            let begins = |one: &mut FileContent, other: &mut FileContent| {
                one.unpacked_length().is_ok_and(|length| length >= IDENTITY_WINDOW_BYTES as u64)
                    && one.is_prefix_of(other).is_ok_and(|is_beginning| is_beginning)
            };
            if begins(&mut content, &mut known) {
                self.done_files.mark_done(&content);
                rest = Some(known);
                return false;
            }
            if begins(&mut known, &mut content) {
                self.done_files.mark_done(&known);
                rest = Some(content);
                return false;
            }
            (rest, one.content, is_certain) = (Some(known), Some(content), false);
            true
        });
        // The file may have been compressed while it was still being read, and so be marked as done already.
        let packed = || siblings.iter().rev().filter_map(|sibling| FileContent::open(&sibling.path).ok());
        if rest.is_none() && is_certain && *cause == GapCause::FileGone {
            rest = packed()
                .filter(FileContent::is_packed)
                .find_map(|mut content| fits(&mut content).then_some(content));
        }
        // A plain file may be a copy made before the original was removed, and so lack its last lines.
        is_certain &= *cause != GapCause::FileGone || rest.as_ref().is_none_or(FileContent::is_packed);
        let found = match rest {
            Some(rest) => OpenFile::resume(rest, checkpoint, self.matchers, None).ok(),
            // The log may have been moved to another disk, which changes the inode: resume in the current file.
            None if is_in_present && *cause == GapCause::FileGone => {
                self.skip_known_in_current(checkpoint);
                None
            }
            None => None,
        };
        // A file that was empty at the last read is among the unknown files, if any, which are read in full.
        let is_empty = !checkpoint.identifies_file() && !checkpoint.unfinished;
        let is_among_new = is_empty && *cause == GapCause::FileGone && !unknown.is_empty();
        if (!is_certain || found.is_none()) && !is_among_new {
            self.record_gap(*cause, None, None);
        }
        found
    }

    /// Resumes the current file at the checkpoint of another file with the same start.
    fn skip_known_in_current(&mut self, checkpoint: &FileCheckpoint) {
        if let Some(last) = self.files.last_mut().filter(|last| last.is_unread())
            && let Ok(file) = last.content.file.try_clone()
            && let Ok(resumed) = OpenFile::resume(FileContent::plain(file), checkpoint, self.matchers, None)
        {
            *last = resumed;
        }
    }

    /// Classifies a rotated file that is not the rest of a known one.
    pub(super) fn classify_unknown(
        &mut self,
        mut unknown: UnknownFile<'_>,
        evidence: RotationState,
        found: &mut FilesToRead<'g>,
    ) {
        if self.set_aside_if_recognized(&mut unknown, evidence, found) {
            return;
        }
        let UnknownFile { file: sibling, content, read } = unknown;
        let Some(mut content) = content else {
            // A compressed file usually keeps the time of its original, so an equal time means that the original was
            // read.
            let mut reading = self.files.iter().filter_map(|file| file.content.metadata().ok());
            let is_packed_known =
                self.done_files.done.iter().any(|checkpoint| sibling.was_modified_at(checkpoint.modified))
                    || reading.any(|facts| sibling.was_modified_at(facts.modified_at));
            if evidence.is_rotated && !is_packed_known {
                let bytes = Some(sibling.metadata.length);
                self.record_gap(GapCause::Unreadable, Some(&sibling.path), bytes);
            }
            self.mark_rotated_done(sibling);
            return;
        };
        let mut checkpoint = None;
        if !evidence.is_rotated {
            if self.was_in_current(&mut content, read) {
                found.has_rest = true;
                checkpoint = self.files.last().map(OpenFile::checkpoint);
            } else if read == 0 {
                self.done_files.mark_done(&content);
                return;
            }
        }
        // A longer version of a file found before replaces it and is resumed at its end.
        if let Some(at) = found.rests.iter_mut().position(|rest| rest.may_be_prefix_of(&mut content)) {
            let shorter = found.rests.remove(at);
            self.done_files.mark_done(&shorter.content);
            checkpoint = Some(shorter.checkpoint());
        }
        let opened = match &checkpoint {
            Some(checkpoint) => OpenFile::resume(content, checkpoint, self.matchers, None),
            None => OpenFile::new(content, read, self.matchers),
        };
        match opened {
            Ok(file) => found.rests.push(file),
            Err(_) => {
                self.record_gap(GapCause::Unreadable, Some(&sibling.path), Some(sibling.metadata.length));
                self.mark_rotated_done(sibling);
            }
        }
    }

    /// Returns `true` if a rotated file may hold the content of the current file before its truncation: its start
    /// matches the checkpoint, or nothing was read of either.
    fn was_in_current(&self, content: &mut FileContent, read: u64) -> bool {
        let Some(present) = self.files.last() else { return false };
        let checkpoint = present.checkpoint();
        let is_older = || {
            let modified = content.metadata().map_or(UtcTimestamp::UNIX_EPOCH, |facts| facts.modified_at);
            present.metadata.created_at.is_some_and(|born| modified < born)
        };
        let may_be = checkpoint.identifies_file() || read == 0 && !is_older();
        may_be && checkpoint.matches_content(content).is_ok_and(|fits| fits)
    }

    /// Sets a rotated file aside if its content is being read or was read under another name. Returns `true` if so.
    pub(super) fn set_aside_if_recognized(
        &mut self,
        one: &mut UnknownFile<'_>,
        evidence: RotationState,
        found: &mut FilesToRead<'g>,
    ) -> bool {
        if one.file.is_being_packed(evidence.current_file) {
            return true;
        }
        let Some(content) = &mut one.content else { return false };
        let verdict = match self.recognize_file(content, &mut one.read, evidence, found) {
            Ok(verdict) => verdict,
            // If decompression fails, the gap is reported when the file is read.
            Err(_) if evidence.is_rotated => None,
            Err(_) => Some(Recognition::Partial),
        };
        match verdict {
            None => return false,
            Some(Recognition::Done) => self.done_files.mark_done(content),
            Some(Recognition::Copy) => {
                let checkpoint = checkpoint_stored_bytes(&content.file)
                    .map(|checkpoint| FileCheckpoint { copy: true, ..checkpoint });
                self.done_files.newly_done.extend(checkpoint);
            }
            Some(Recognition::Partial) => {}
        }
        true
    }

    /// Compares a rotated file with those that are being read or were read. Sets `read` if the file grew and was
    /// compressed after it was read.
    fn recognize_file(
        &mut self,
        content: &mut FileContent,
        read: &mut u64,
        evidence: RotationState,
        found: &mut FilesToRead<'g>,
    ) -> io::Result<Option<Recognition>> {
        // `None` if the compressed data is incomplete.
        let length = content.unpacked_length().ok();
        // Short files may be equal by chance. A compressed file is an exception, since it always has an original.
        let is_short = length.is_some_and(|length| length < IDENTITY_WINDOW_BYTES as u64);
        let mut read_before = 0;
        let done =
            self.done_files.done.iter().filter(|checkpoint| checkpoint.identifies_file() && !checkpoint.copy);
        for checkpoint in done.filter(|_| content.is_packed() || !is_short).cloned().collect::<Vec<_>>() {
            if checkpoint.matches_content(content).is_ok_and(|fits| fits) {
                if length == Some(checkpoint.read) {
                    return Ok(Some(Recognition::Done));
                }
                read_before = read_before.max(checkpoint.read);
            }
        }
        for file in self.files.iter_mut().chain(&mut found.rests).chain(&mut found.grown) {
            let is_present = Some(file.metadata.file) == evidence.current_file;
            let facts = file.content.metadata()?;
            let may_be_equal = if content.is_packed() { !is_present } else { facts.link_count == 0 };
            let is_equal = may_be_equal && length == Some(facts.length);
            let may_be_copy = !is_short || is_equal || is_present && !evidence.is_rotated;
            if !may_be_copy || !content.is_prefix_of(&mut file.content)? {
                continue;
            }
            return Ok(Some(match is_present && !content.is_packed() {
                true => Recognition::Copy,
                // Incomplete compressed data: the file is still being compressed.
                false if length.is_none() => Recognition::Partial,
                false => Recognition::Done,
            }));
        }
        if content.is_packed() {
            *read = read_before;
        }
        Ok(None)
    }
}
