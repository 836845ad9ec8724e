//! Rotated files that are done with: they are read no more, unless they grow.

use std::{collections::HashSet, fs::File, io, time::Instant as Monotonic};

use sessionwatch_core::instant::Instant;

use super::{
    content::{Content, FileId},
    place::{MAX_DONE, Mark, WINDOW, sum},
    rotated::{Folders, Sibling},
};

/// What is known of rotated files.
#[derive(Debug, Default)]
pub(super) struct Rotated {
    pub(super) folders: Folders,
    /// When the folders were changed last, as of the last survey.
    pub(super) changed: Vec<Option<Instant>>,
    pub(super) surveyed_at: Option<Monotonic>,
    /// What changes right after a survey may not show in the times of folders.
    pub(super) is_unsettled: bool,
    /// Files of which nothing more is to be read.
    pub(super) done: Vec<Mark>,
    /// Files that are added to these after a survey. Until then, the marks of files count that are there no more, though others
    /// have their numbers now.
    pub(super) judged: Vec<Mark>,
    pub(super) done_before: Option<Instant>,
}

impl Rotated {
    /// Remembers a file of which nothing more is to be read, whatever it holds.
    pub(super) fn remember(&mut self, content: &Content) {
        self.judged.extend(raw_mark(&content.file));
    }

    pub(super) fn add(&mut self, mark: Mark) {
        self.judged.push(mark);
    }

    /// Returns the files of which nothing more is to be read.
    pub(super) fn done(&self) -> impl Iterator<Item = &Mark> {
        let is_judged = |mark: &Mark| self.judged.iter().any(|judged| judged.file == mark.file);
        self.done.iter().filter(move |mark| !is_judged(mark)).chain(&self.judged)
    }

    /// Adds the files that were judged to those that are done with.
    pub(super) fn settle(&mut self, siblings: &[Sibling]) {
        let (mut judged, mut files) = (std::mem::take(&mut self.judged), HashSet::new());
        // Of the marks of one file, the last one counts.
        judged.reverse();
        judged.retain(|mark| files.insert(mark.file));
        judged.reverse();
        self.done.retain(|known| !files.contains(&known.file));
        self.done.append(&mut judged);
        self.prune(siblings);
    }

    /// Whether files came or went since the last survey.
    pub(super) fn is_changed(&self) -> bool {
        self.folders.changed() != self.changed
    }

    /// Remembers only as many files as fit into a place: of the others, the time up to which they are done with.
    fn prune(&mut self, siblings: &[Sibling]) {
        let Some(mut excess) = self.done.len().checked_sub(MAX_DONE + 1).map(|more| more + 1) else { return };
        let there: HashSet<FileId> = siblings.iter().map(|sibling| sibling.facts.file).collect();
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
    pub(super) fn known(&self, content: &Content) -> Option<usize> {
        let facts = content.facts().ok()?;
        // What was packed is known by its bytes as they are stored.
        let mut stored = Content::plain(content.file.try_clone().ok()?);
        self.done.iter().position(|mark| {
            mark.is_file(facts.file, facts.born) && mark.fits(&mut stored).is_ok_and(|fits| fits)
        })
    }
}

/// Returns the mark of a file that is done with, by its bytes as they are stored.
pub(super) fn raw_mark(file: &File) -> io::Result<Mark> {
    let mut content = Content::plain(file.try_clone()?);
    let facts = content.facts()?;
    let known = usize::try_from(facts.length).unwrap_or(usize::MAX).min(WINDOW);
    Ok(Mark {
        file: facts.file,
        born: facts.born,
        offset: facts.length,
        read: facts.length,
        head: sum(&content.bytes(0, known)?),
        tail: Some(sum(&content.bytes(facts.length - known as u64, known)?)),
        modified: facts.modified,
        ..Mark::default()
    })
}
