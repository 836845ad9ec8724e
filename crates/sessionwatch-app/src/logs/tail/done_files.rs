//! Rotated files that are done: read to their end, and read again only if they grow.

use std::{collections::HashSet, fs::File, io, time::Instant as Monotonic};

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    content::{FileContent, FileId},
    position::{FileCheckpoint, IDENTITY_WINDOW_BYTES, MAX_DONE_FILES, compute_checksum},
    rotation_names::{LogFolders, RotatedFile},
};

/// State of the rotated files of a log.
#[derive(Debug, Default)]
pub(super) struct DoneFiles {
    pub(super) folders: LogFolders,
    /// Modification times of the folders at the last survey.
    pub(super) folder_times: Vec<Option<UtcTimestamp>>,
    pub(super) surveyed_at: Option<Monotonic>,
    /// The folders changed during the last survey. A further change may not show in their times, whose resolution is
    /// limited, so the survey is repeated.
    pub(super) is_unsettled: bool,
    pub(super) done: Vec<FileCheckpoint>,
    /// Files to add to `done` after the current survey. Until then, the checkpoints of removed files whose inodes were
    /// reused are still needed.
    pub(super) newly_done: Vec<FileCheckpoint>,
    pub(super) done_before: Option<UtcTimestamp>,
}

impl DoneFiles {
    /// Marks a file as done, regardless of how far it was read.
    pub(super) fn mark_done(&mut self, content: &FileContent) {
        self.newly_done.extend(checkpoint_stored_bytes(&content.file));
    }

    pub(super) fn push_done(&mut self, checkpoint: FileCheckpoint) {
        self.newly_done.push(checkpoint);
    }

    /// Returns the checkpoints of all done files.
    pub(super) fn iter(&self) -> impl Iterator<Item = &FileCheckpoint> {
        let is_evaluated = |checkpoint: &FileCheckpoint| {
            self.newly_done.iter().any(|evaluated| evaluated.file == checkpoint.file)
        };
        self.done.iter().filter(move |checkpoint| !is_evaluated(checkpoint)).chain(&self.newly_done)
    }

    /// Merges newly done files into the done ones.
    pub(super) fn merge_newly_done(&mut self, siblings: &[RotatedFile]) {
        let (mut evaluated, mut files) = (std::mem::take(&mut self.newly_done), HashSet::new());
        // The last checkpoint of each file counts.
        evaluated.reverse();
        evaluated.retain(|checkpoint| files.insert(checkpoint.file));
        evaluated.reverse();
        self.done.retain(|known| !files.contains(&known.file));
        self.done.append(&mut evaluated);
        self.prune(siblings);
    }

    /// Returns `true` if files were added or removed since the last survey.
    pub(super) fn has_changed(&self) -> bool {
        self.folders.modification_times() != self.folder_times
    }

    /// Limits the number of checkpoints. First drops those of removed files, then the oldest, which `done_before`
    /// covers.
    fn prune(&mut self, siblings: &[RotatedFile]) {
        let Some(mut excess) = self.done.len().checked_sub(MAX_DONE_FILES + 1).map(|more| more + 1) else {
            return;
        };
        let there: HashSet<FileId> = siblings.iter().map(|sibling| sibling.metadata.file).collect();
        self.done.retain(|checkpoint| {
            let is_kept = excess == 0 || there.contains(&checkpoint.file);
            excess -= usize::from(!is_kept);
            is_kept
        });
        self.done.sort_by_key(|checkpoint| checkpoint.modified);
        for checkpoint in self.done.drain(..excess) {
            self.done_before = self.done_before.max(Some(checkpoint.modified));
        }
    }

    /// Returns the index of a file's checkpoint among the done files; `None` if there is none or its content changed.
    pub(super) fn find_done(&self, content: &FileContent) -> Option<usize> {
        let facts = content.metadata().ok()?;
        // Compressed files are identified by their stored bytes, which saves decompression.
        let mut stored = FileContent::plain(content.file.try_clone().ok()?);
        self.done.iter().position(|checkpoint| {
            checkpoint.may_be_file(facts.file, facts.created_at)
                && checkpoint.matches_content(&mut stored).is_ok_and(|fits| fits)
        })
    }
}

/// Returns the checkpoint of a done file, based on its stored bytes.
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
