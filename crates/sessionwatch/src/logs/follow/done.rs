//! Rotated files that are done with: they are read no more, unless they grow.

use std::{fs::File, io, time::Instant};

use super::{
    content::Content,
    place::{MAX_DONE, Mark, WINDOW, sum},
    rotated::{Folders, Sibling},
};

/// What is known of rotated files.
#[derive(Debug, Default)]
pub(super) struct Rotated {
    pub(super) folders: Folders,
    /// When the folders were changed last, as of the last survey.
    pub(super) changed: Vec<Option<i64>>,
    pub(super) surveyed_at: Option<Instant>,
    /// What changes right after a survey may not show in the times of folders.
    pub(super) is_unsettled: bool,
    /// Files of which nothing more is to be read.
    pub(super) done: Vec<Mark>,
    /// Files that are added to these after a survey. Until then, the marks of files count that are there no more, though others
    /// have their numbers now.
    pub(super) judged: Vec<Mark>,
    pub(super) done_before: Option<i64>,
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
        for mark in std::mem::take(&mut self.judged) {
            self.done.retain(|known| known.file != mark.file);
            self.done.push(mark);
        }
        self.prune(siblings);
    }

    /// Whether files came or went since the last survey.
    pub(super) fn is_changed(&self) -> bool {
        self.folders.changed() != self.changed
    }

    /// Remembers only as many files as fit into a place: of the others, the time up to which they are done with.
    fn prune(&mut self, siblings: &[Sibling]) {
        let is_there = |mark: &Mark| siblings.iter().any(|sibling| sibling.facts.file == mark.file);
        while self.done.len() > MAX_DONE {
            if let Some(at) = self.done.iter().position(|mark| !is_there(mark)) {
                self.done.remove(at);
                continue;
            }
            let oldest = self.done.iter().enumerate().min_by_key(|(_, mark)| mark.modified);
            let Some(at) = oldest.map(|(at, _)| at) else { return };
            let mark = self.done.remove(at);
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
