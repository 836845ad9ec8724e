//! What is done with rotated files that are not known: whether they are what is read or was read under another name, the rest of
//! a file, or files that came and were rotated since the last look.

use std::io;

use super::{
    Follower,
    content::{Content, Facts, FileId},
    done::raw_mark,
    place::{Mark, WINDOW},
    rotated::Sibling,
    tailed::Tailed,
};
use sessionwatch_core::{instant::Instant, log_gaps::GapCause};

/// A file whose rest is looked for by what was read of it.
pub(super) struct Wanted<'g> {
    pub(super) mark: Mark,
    /// What is told if it is not found.
    pub(super) cause: GapCause,
    /// The file as it was read, where it was read a moment ago.
    pub(super) before: Option<Tailed<'g>>,
}

/// A rotated file that is not known.
pub(super) struct Unknown<'a> {
    sibling: &'a Sibling,
    /// `None` if it cannot be read or unpacked.
    content: Option<Content>,
    /// How far it was read under another name.
    read: u64,
}

/// What was found that remains to be read.
#[derive(Default)]
pub(super) struct Found<'g> {
    /// Files that were done with and have grown.
    pub(super) grown: Vec<Tailed<'g>>,
    /// Rests of files, and whole files that came and were rotated since, in the order of their time.
    pub(super) rests: Vec<Tailed<'g>>,
    /// One of them is what stood in the present file before it was truncated.
    pub(super) has_rest: bool,
}

/// What is known of the log when rotated files are judged.
#[derive(Clone, Copy)]
pub(super) struct Evidence {
    /// The log was rotated or truncated, so that files may have come and been rotated since.
    pub(super) is_rotated: bool,
    /// The file that has the name of the log.
    pub(super) at_path: Option<FileId>,
}

/// As what a rotated file is recognized.
enum Recognized {
    /// All of it is read or was read.
    Done,
    /// It is a copy of the present file.
    Copy,
    /// It is still being packed, from a file that is read or was read.
    Partly,
}

impl<'g> Follower<'g> {
    /// Puts aside what is known: files that are read, and files that are done with. Returns the others, and files that were done
    /// with and have grown.
    pub(super) fn sort_out<'a>(
        &mut self,
        siblings: &'a [Sibling],
        at_path: Option<FileId>,
        is_wanted: bool,
    ) -> (Vec<Unknown<'a>>, Found<'g>) {
        let (mut unknown, mut found) = (vec![], Found::default());
        for sibling in siblings {
            let is_read = |file: &Tailed<'_>| file.facts.file == sibling.facts.file;
            if Some(sibling.facts.file) == at_path || self.files.iter().any(is_read) {
                continue;
            }
            let Facts { file, born, modified, .. } = sibling.facts;
            let is_old = self.rotated.done_before.is_some_and(|before| modified <= before);
            let mut content = match Content::open(&sibling.path) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.rotated.is_unsettled = true;
                    continue;
                }
                Err(_) if is_old || self.rotated.done.iter().any(|mark| mark.is_file(file, born)) => continue,
                Err(_) => {
                    unknown.push(Unknown { sibling, content: None, read: 0 });
                    continue;
                }
            };
            let Some(at) = self.rotated.known(&content) else {
                if !is_old {
                    unknown.push(Unknown { sibling, content: Some(content), read: 0 });
                }
                continue;
            };
            let mark = &self.rotated.done[at];
            let is_grown =
                !content.is_packed() && content.facts().is_ok_and(|facts| facts.length > mark.read);
            let is_candidate = is_wanted && (mark.copy || mark.read == 0);
            if !is_grown && !is_candidate {
                continue;
            }
            let mark = self.rotated.done.remove(at);
            let copied = self.files.last_mut().filter(|last| Some(last.facts.file) == at_path);
            let is_copy = || {
                copied.is_some_and(|last| {
                    content.is_beginning_of(&mut last.content).is_ok_and(|is_copy| is_copy)
                })
            };
            if is_candidate || mark.copy || is_copy() {
                let read = if mark.copy { mark.read } else { 0 };
                unknown.push(Unknown { sibling, content: Some(content), read });
            } else if let Ok(grown) = Tailed::resume(content, &mark, self.grammar, None) {
                found.grown.push(grown);
            } else {
                unknown.push(Unknown { sibling, content: None, read: 0 });
            }
        }
        (unknown, found)
    }

    /// Finds the rest of a file by what was read of it, and tells where that is missing or not certain.
    pub(super) fn find_rest(
        &mut self,
        Wanted { mark, cause, .. }: &Wanted<'g>,
        unknown: &mut Vec<Unknown<'_>>,
        siblings: &[Sibling],
        at_path: Option<FileId>,
    ) -> Option<Tailed<'g>> {
        let fits = |content: &mut Content| mark.is_telling() && mark.fits(content).is_ok_and(|fits| fits);
        // What begins in all files alike says little.
        let present = self.files.last_mut().filter(|last| Some(last.facts.file) == at_path);
        let is_in_present = present.is_some_and(|present| fits(&mut present.content));
        let (mut is_certain, mut rest) = (!is_in_present, None::<Content>);
        unknown.retain_mut(|one| {
            let Some(mut content) = one.content.take() else { return true };
            // A copy of what was read further is not the rest of a file that begins alike.
            if one.read > mark.read || !fits(&mut content) {
                one.content = Some(content);
                return true;
            }
            let Some(mut known) = rest.take() else {
                rest = Some(content);
                return false;
            };
            // Two short files may be alike by chance.
            let begins = |one: &mut Content, other: &mut Content| {
                one.length().is_ok_and(|length| length >= WINDOW as u64)
                    && one.is_beginning_of(other).is_ok_and(|is_beginning| is_beginning)
            };
            if begins(&mut content, &mut known) {
                self.rotated.remember(&content);
                rest = Some(known);
                return false;
            }
            if begins(&mut known, &mut content) {
                self.rotated.remember(&known);
                rest = Some(content);
                return false;
            }
            (rest, one.content, is_certain) = (Some(known), Some(content), false);
            true
        });
        // It may have been packed while it was still read.
        let packed = || siblings.iter().rev().filter_map(|sibling| Content::open(&sibling.path).ok());
        if rest.is_none() && is_certain && *cause == GapCause::FileGone {
            rest = packed()
                .filter(Content::is_packed)
                .find_map(|mut content| fits(&mut content).then_some(content));
        }
        // A copy may be from before the file was gone.
        is_certain &= *cause != GapCause::FileGone || rest.as_ref().is_none_or(Content::is_packed);
        let found = match rest {
            Some(rest) => Tailed::resume(rest, mark, self.grammar, None).ok(),
            // Its number is another one, as after a move to another disk.
            None if is_in_present && *cause == GapCause::FileGone => {
                self.skip_in_present(mark);
                None
            }
            None => None,
        };
        // A file that was empty is one of those that came since, where there are any: all of it is read.
        let is_empty = !mark.is_telling() && !mark.unfinished;
        let is_among_new = is_empty && *cause == GapCause::FileGone && !unknown.is_empty();
        if (!is_certain || found.is_none()) && !is_among_new {
            self.tell_gap(*cause, None, None);
        }
        found
    }

    /// Goes on in the present file where another one was read to that begins alike.
    fn skip_in_present(&mut self, mark: &Mark) {
        if let Some(last) = self.files.last_mut().filter(|last| last.is_untouched())
            && let Ok(file) = last.content.file.try_clone()
            && let Ok(resumed) = Tailed::resume(Content::plain(file), mark, self.grammar, None)
        {
            *last = resumed;
        }
    }

    /// Takes in a rotated file that is not known and not what was looked for.
    pub(super) fn take_in(&mut self, mut unknown: Unknown<'_>, evidence: Evidence, found: &mut Found<'g>) {
        if self.is_recognized(&mut unknown, evidence, found) {
            return;
        }
        let Unknown { sibling, content, read } = unknown;
        let Some(mut content) = content else {
            let mut reading = self.files.iter().filter_map(|file| file.content.facts().ok());
            let is_packed_known = self.rotated.done.iter().any(|mark| sibling.is_of_time(mark.modified))
                || reading.any(|facts| sibling.is_of_time(facts.modified));
            if evidence.is_rotated && !is_packed_known {
                let bytes = Some(sibling.facts.length);
                self.tell_gap(GapCause::Unreadable, Some(&sibling.path), bytes);
            }
            self.remember_sibling(sibling);
            return;
        };
        let mut mark = None;
        if !evidence.is_rotated {
            if self.was_in_present(&mut content, read) {
                found.has_rest = true;
                mark = self.files.last().map(Tailed::mark);
            } else if read == 0 {
                self.rotated.remember(&content);
                return;
            }
        }
        if let Some(at) = found.rests.iter_mut().position(|rest| rest.may_begin(&mut content)) {
            let shorter = found.rests.remove(at);
            self.rotated.remember(&shorter.content);
            mark = Some(shorter.mark());
        }
        let opened = match &mark {
            Some(mark) => Tailed::resume(content, mark, self.grammar, None),
            None => Tailed::new(content, read, self.grammar),
        };
        match opened {
            Ok(file) => found.rests.push(file),
            Err(_) => {
                self.tell_gap(GapCause::Unreadable, Some(&sibling.path), Some(sibling.facts.length));
                self.remember_sibling(sibling);
            }
        }
    }

    /// Whether a rotated file holds what stood in the present file before that was truncated: what was read of both is alike, or
    /// nothing was read.
    fn was_in_present(&self, content: &mut Content, read: u64) -> bool {
        let Some(present) = self.files.last() else { return false };
        let mark = present.mark();
        let is_older = || {
            let modified = content.facts().map_or(Instant::UNIX_EPOCH, |facts| facts.modified);
            present.facts.born.is_some_and(|born| modified < born)
        };
        let may_be = mark.is_telling() || read == 0 && !is_older();
        may_be && mark.fits(content).is_ok_and(|fits| fits)
    }

    /// Puts a rotated file aside that holds what is read or was read under another name. Returns `true` if it does.
    pub(super) fn is_recognized(
        &mut self,
        one: &mut Unknown<'_>,
        evidence: Evidence,
        found: &mut Found<'g>,
    ) -> bool {
        if one.sibling.is_being_packed(evidence.at_path) {
            return true;
        }
        let Some(content) = &mut one.content else { return false };
        let verdict = match self.recognize(content, &mut one.read, evidence, found) {
            Ok(verdict) => verdict,
            // One that cannot be unpacked now is told of when it is read.
            Err(_) if evidence.is_rotated => None,
            Err(_) => Some(Recognized::Partly),
        };
        match verdict {
            None => return false,
            Some(Recognized::Done) => self.rotated.remember(content),
            Some(Recognized::Copy) => {
                let mark = raw_mark(&content.file).map(|mark| Mark { copy: true, ..mark });
                self.rotated.judged.extend(mark);
            }
            Some(Recognized::Partly) => {}
        }
        true
    }

    /// Compares a rotated file with those that are read or were read. Notes how far it was read before it grew and was packed.
    fn recognize(
        &mut self,
        content: &mut Content,
        read: &mut u64,
        evidence: Evidence,
        found: &mut Found<'g>,
    ) -> io::Result<Option<Recognized>> {
        // `None` if it breaks off.
        let length = content.length().ok();
        // Two short files may be alike by chance, except that a packed file is packed from something.
        let is_short = length.is_some_and(|length| length < WINDOW as u64);
        let mut read_before = 0;
        let done = self.rotated.done.iter().filter(|mark| mark.is_telling() && !mark.copy);
        for mark in done.filter(|_| content.is_packed() || !is_short).cloned().collect::<Vec<_>>() {
            if mark.fits(content).is_ok_and(|fits| fits) {
                if length == Some(mark.read) {
                    return Ok(Some(Recognized::Done));
                }
                read_before = read_before.max(mark.read);
            }
        }
        for file in self.files.iter_mut().chain(&mut found.rests).chain(&mut found.grown) {
            let is_present = Some(file.facts.file) == evidence.at_path;
            let facts = file.content.facts()?;
            let may_be_equal = if content.is_packed() { !is_present } else { facts.names == 0 };
            let is_equal = may_be_equal && length == Some(facts.length);
            let may_be_copy = !is_short || is_equal || is_present && !evidence.is_rotated;
            if !may_be_copy || !content.is_beginning_of(&mut file.content)? {
                continue;
            }
            return Ok(Some(match is_present && !content.is_packed() {
                true => Recognized::Copy,
                // It is still being packed if it breaks off.
                false if length.is_none() => Recognized::Partly,
                false => Recognized::Done,
            }));
        }
        if content.is_packed() {
            *read = read_before;
        }
        Ok(None)
    }
}
