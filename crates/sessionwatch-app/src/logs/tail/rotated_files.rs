//! Rotated files that are done with: they are read no more, unless they grow.

use std::{collections::HashSet, fs::File, io, time::Instant as Monotonic};

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    content::{FileContent, FileId},
    position::{FileCheckpoint, IDENTITY_WINDOW_BYTES, MAX_DONE_FILES, compute_checksum},
    rotation_names::{LogFolders, RotatedFile},
};

/// What is known of rotated files.
#[derive(Debug, Default)]
pub(super) struct RotatedFiles {
    pub(super) folders: LogFolders,
    /// When the folders were changed last, as of the last survey.
    pub(super) folder_times: Vec<Option<UtcTimestamp>>,
    pub(super) surveyed_at: Option<Monotonic>,
    /// What changes right after a survey may not show in the times of folders.
    pub(super) is_unsettled: bool,
    /// Files of which nothing more is to be read.
    pub(super) done: Vec<FileCheckpoint>,
    /// Files that are added to these after a survey. Until then, the marks of files count that are there no more, though others
    /// have their numbers now.
    pub(super) newly_done: Vec<FileCheckpoint>,
    pub(super) done_before: Option<UtcTimestamp>,
}

impl RotatedFiles {
    /// Remembers a file of which nothing more is to be read, whatever it holds.
    pub(super) fn mark_done(&mut self, content: &FileContent) {
        self.newly_done.extend(checkpoint_stored_bytes(&content.file));
    }

    pub(super) fn push_done(&mut self, mark: FileCheckpoint) {
        self.newly_done.push(mark);
    }

    /// Returns the files of which nothing more is to be read.
    pub(super) fn done_files(&self) -> impl Iterator<Item = &FileCheckpoint> {
        let is_judged = |mark: &FileCheckpoint| self.newly_done.iter().any(|judged| judged.file == mark.file);
        self.done.iter().filter(move |mark| !is_judged(mark)).chain(&self.newly_done)
    }

    /// Adds the files that were judged to those that are done with.
    pub(super) fn merge_newly_done(&mut self, siblings: &[RotatedFile]) {
        let (mut judged, mut files) = (std::mem::take(&mut self.newly_done), HashSet::new());
        // Of the marks of one file, the last one counts.
        judged.reverse();
        judged.retain(|mark| files.insert(mark.file));
        judged.reverse();
        self.done.retain(|known| !files.contains(&known.file));
        self.done.append(&mut judged);
        self.prune(siblings);
    }

    /// Whether files came or went since the last survey.
    pub(super) fn has_changed(&self) -> bool {
        self.folders.modification_times() != self.folder_times
    }

    /// Remembers only as many files as fit into a place: of the others, the time up to which they are done with.
    fn prune(&mut self, siblings: &[RotatedFile]) {
        let Some(mut excess) = self.done.len().checked_sub(MAX_DONE_FILES + 1).map(|more| more + 1) else {
            return;
        };
        let there: HashSet<FileId> = siblings.iter().map(|sibling| sibling.metadata.file).collect();
        self.done.retain(|mark| {
            let is_kept = excess == 0 || there.contains(&mark.file);
            excess -= usize::from(!is_kept);
            is_kept
        });
        self.done.sort_by_key(|mark| mark.modified);
        for mark in self.done.drain(..excess) {
            self.done_before = self.done_before.max(Some(mark.modified));
        }
    }

    /// Returns the index of the mark of a file that is done with, if it is still the same file, or `None`.
    pub(super) fn find_done(&self, content: &FileContent) -> Option<usize> {
        let facts = content.metadata().ok()?;
        // What was packed is known by its bytes as they are stored.
        let mut stored = FileContent::plain(content.file.try_clone().ok()?);
        self.done.iter().position(|mark| {
            mark.may_be_file(facts.file, facts.created_at)
                && mark.matches_content(&mut stored).is_ok_and(|fits| fits)
        })
    }
}

/// Returns the mark of a file that is done with, by its bytes as they are stored.
pub(super) fn checkpoint_stored_bytes(file: &File) -> io::Result<FileCheckpoint> {
    let mut content = FileContent::plain(file.try_clone()?);
    let facts = content.metadata()?;
    let known = usize::try_from(facts.length).unwrap_or(usize::MAX).min(IDENTITY_WINDOW_BYTES);
    Ok(FileCheckpoint {
        file: facts.file,
        born: facts.created_at,
        offset: facts.length,
        read: facts.length,
        head: compute_checksum(&content.read_range(0, known)?),
        tail: Some(compute_checksum(&content.read_range(facts.length - known as u64, known)?)),
        modified: facts.modified_at,
        ..FileCheckpoint::default()
    })
}
