//! Which files remain to be read: found by what was read of them, wherever they were moved, copied or packed to.

use std::{
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;

use super::{
    Begin, Follower, Step,
    content::{Content, Facts},
    done::raw_mark,
    place::{Mark, Place, sum},
    rotated::Sibling,
    sink,
    sorting::{Evidence, Wanted},
    tailed::Tailed,
};
use sessionwatch_core::{instant::Instant, log_gaps::GapCause};

/// How often rotated files are looked at where nothing shows that one came, changed or went.
const SURVEY_INTERVAL: Duration = Duration::from_secs(60);
/// Attempts at listing rotated files while the log is rotated.
const MAX_LISTINGS: usize = 8;

/// The files of a log at one time.
struct Survey {
    /// The file that has the name of the log.
    current: Option<Current>,
    /// Rotated files, in the order of their time.
    siblings: Vec<Sibling>,
}

/// The file that has the name of the log.
struct Current {
    content: Content,
    facts: Facts,
}

/// Where the file of a mark is.
enum Located<'a> {
    Here(Content),
    /// It is there, and cannot be opened.
    Unreadable(&'a Sibling),
    /// The file is there, and what was read of it stands there no more.
    Replaced,
    Nowhere,
}

fn facts_at(path: &Path) -> io::Result<Option<Facts>> {
    match fs::metadata(path) {
        Ok(facts) => Ok(Some(Facts::of(&facts))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Current {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        // Whoever opens a pipe waits for somebody who writes to it.
        if fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
            return Err(io::Error::other("it is not a regular file"));
        }
        match File::open(path) {
            Ok(file) => {
                let content = Content::plain(file);
                let facts = content.facts()?;
                Ok(Some(Self { content, facts }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<'g> Follower<'g> {
    /// Lists the files of the log, again if it is rotated meanwhile.
    fn survey(&mut self) -> io::Result<Survey> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.rotated.folders.add(&self.path);
            let changed = self.rotated.folders.changed();
            let current = Current::open(&self.path)?;
            let siblings = self.rotated.folders.list()?;
            let after = facts_at(&self.path)?;
            let file = |facts: &Facts| facts.file;
            if after.as_ref().map(file) == current.as_ref().map(|current| current.facts.file)
                || attempts == MAX_LISTINGS
            {
                self.rotated.is_unsettled = changed != self.rotated.changed;
                self.rotated.changed = changed;
                return Ok(Survey { current, siblings });
            }
        }
    }

    /// Begins to read.
    pub(super) fn start(&mut self, step: &mut Step) -> io::Result<()> {
        let survey = match self.survey() {
            Ok(survey) => survey,
            Err(error) => {
                // What is written until it can be read is new; what is no file holds nothing.
                let length = |facts: fs::Metadata| if facts.is_file() { facts.len() } else { 0 };
                self.length_at_first = self.length_at_first.or(fs::metadata(&self.path).ok().map(length));
                return Err(error);
            }
        };
        let begin = self.begin.clone();
        match begin {
            Some(Begin::At(place)) => self.resume(place, survey, step)?,
            Some(begin) => {
                let Survey { current, siblings } = survey;
                for sibling in &siblings {
                    self.remember_sibling(sibling);
                }
                if let Some(Current { content, facts }) = current {
                    let end = self.length_at_first.map_or(facts.length, |length| length.min(facts.length));
                    let offset = if begin == Begin::AtEnd { end } else { 0 };
                    self.files.push(Tailed::new(content, offset, self.grammar)?);
                }
                self.rotated.settle(&siblings);
            }
            None => {}
        }
        self.begin = None;
        Ok(())
    }

    pub(super) fn remember_sibling(&mut self, sibling: &Sibling) {
        match File::open(&sibling.path).and_then(|file| raw_mark(&file)) {
            Ok(mark) => self.rotated.add(mark),
            // Without its bytes, it is known by its number.
            Err(_) => self.rotated.add(Mark {
                file: sibling.facts.file,
                born: sibling.facts.born,
                offset: sibling.facts.length,
                read: sibling.facts.length,
                head: sum(&[]),
                tail: Some(sum(&[])),
                modified: sibling.facts.modified,
                ..Mark::default()
            }),
        }
    }

    /// Goes on where it was read to before.
    fn resume(&mut self, place: Place, survey: Survey, step: &mut Step) -> io::Result<()> {
        (self.rotated.done, self.rotated.done_before) = (place.done, place.done_before);
        (self.files, self.gaps) = (vec![], vec![]);
        let mut wanted = vec![];
        for mark in place.reading {
            match locate(&mark, &survey) {
                Located::Here(content) => {
                    let before = self.files.iter_mut().rfind(|before| before.reader.is_pending());
                    let file = Tailed::resume(content, &mark, self.grammar, before)?;
                    self.files.push(file);
                }
                Located::Unreadable(sibling) => {
                    self.remember_sibling(sibling);
                    let rest = sibling.facts.length.saturating_sub(mark.read);
                    self.tell_gap(GapCause::Unreadable, Some(&sibling.path), Some(rest));
                }
                Located::Replaced => wanted.push(Wanted { mark, cause: GapCause::Truncated, before: None }),
                Located::Nowhere => wanted.push(Wanted { mark, cause: GapCause::FileGone, before: None }),
            }
        }
        if place.is_blind {
            // Rotated files from before cannot be told from those that came since but by their time.
            let last = self.files.last().filter(|_| wanted.is_empty());
            self.rotated.done_before =
                Some(last.map_or(Instant::MAX, |file| file.facts.modified - SignedDuration::from_micros(1)));
        }
        self.take_up(survey, wanted, step)?;
        if place.is_blind {
            self.rotated.done_before = None;
        }
        Ok(())
    }

    /// Looks whether the log was rotated or truncated, and whether rotated files came or grew. Returns what happened.
    pub(super) fn look_around(
        &mut self,
        now: Monotonic,
        step: &mut Step,
    ) -> io::Result<Option<&'static str>> {
        let there = facts_at(&self.path)?;
        if let Some(last) = self.files.last_mut() {
            last.is_replaced |= !last.is_intact()?;
        }
        let is_turned = match (&there, self.files.last()) {
            (Some(there), Some(last)) => there.file != last.facts.file || last.is_replaced,
            (Some(_), None) => true,
            (None, last) => last.is_some_and(|last| last.is_replaced),
        };
        let is_due = |at: Monotonic| now.saturating_duration_since(at) >= SURVEY_INTERVAL;
        let is_stale = self.rotated.is_unsettled
            || self.rotated.surveyed_at.is_none_or(is_due)
            || self.rotated.is_changed();
        if !is_turned && !is_stale {
            return Ok((there.is_none() && self.files.is_empty()).then_some("missing"));
        }
        let survey = self.survey()?;
        let mut wanted = vec![];
        if let Some(last) = self.files.last_mut().filter(|last| last.is_replaced) {
            // What stands there now is read from its start, and what stood there is looked for.
            let content = Content::plain(last.content.file.try_clone()?);
            let before = std::mem::replace(last, Tailed::new(content, 0, self.grammar)?);
            wanted.push(Wanted { mark: before.mark(), cause: GapCause::Truncated, before: Some(before) });
        }
        let happened = self.take_up(survey, wanted, step)?;
        self.rotated.surveyed_at = Some(now);
        Ok(happened)
    }

    /// Opens the file that has the name of the log now, and reads it after the others. One that an editor wrote in place of
    /// the file that was read begins with what was read, and is read on from there.
    fn open_next(&mut self, content: Content) -> io::Result<()> {
        let replaced =
            self.files.last().filter(|last| last.content.facts().is_ok_and(|facts| facts.names == 0));
        let mark = replaced.map(Tailed::mark).filter(Mark::is_telling);
        let mut copy = Content::plain(content.file.try_clone()?);
        if let Some(mark) = mark.filter(|mark| mark.fits(&mut copy).is_ok_and(|fits| fits)) {
            let next = Tailed::resume(content, &mark, self.grammar, None)?;
            self.files.pop();
            self.files.push(next);
            return Ok(());
        }
        let next = Tailed::new(content, 0, self.grammar)?;
        if let Some(before) = self.files.last_mut() {
            before.quiet_since = None;
        }
        self.files.push(next);
        Ok(())
    }

    /// Takes up what remains to be read, and tells of what cannot be found. Returns what happened to the log.
    fn take_up(
        &mut self,
        survey: Survey,
        mut wanted: Vec<Wanted<'g>>,
        step: &mut Step,
    ) -> io::Result<Option<&'static str>> {
        let Survey { current, siblings } = survey;
        self.rotated.settle(&siblings);
        let at_path = current.as_ref().map(|current| current.facts.file);
        let is_truncated = wanted.iter().any(|wanted| wanted.cause == GapCause::Truncated);
        let is_same = self.files.last().map(|last| last.facts.file) == at_path && at_path.is_some();
        let had_file = !self.files.is_empty() || !wanted.is_empty();
        let mut is_new = false;
        if let Some(Current { content, .. }) = current.filter(|_| !is_same) {
            self.open_next(content)?;
            is_new = true;
        }
        let (mut unknown, mut found) = self.sort_out(&siblings, at_path, !wanted.is_empty());
        let evidence = Evidence { is_rotated: !is_same || is_truncated, at_path };
        unknown.retain_mut(|one| !self.is_recognized(one, evidence, &mut found));
        // What was read furthest is known best.
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.mark.read));
        for mut wanted in wanted {
            match self.find_rest(&wanted, &mut unknown, &siblings, at_path) {
                Some(rest) => found.rests.push(rest),
                None => {
                    if let Some(before) = &mut wanted.before {
                        before.reader.finish(&mut sink(&mut step.found, &self.name, self.grammar));
                        step.counters.add(before.counters());
                    }
                }
            }
        }
        for one in unknown {
            let is_rotated = evidence.is_rotated || found.has_rest;
            self.take_in(one, Evidence { is_rotated, at_path }, &mut found);
        }
        step.more |= is_new || is_truncated || !found.grown.is_empty() || !found.rests.is_empty();
        let last = self.files.pop_if(|last| Some(last.facts.file) == at_path);
        self.files.extend(found.grown.into_iter().chain(found.rests));
        self.files
            .sort_by_key(|file| file.content.facts().map_or(Instant::UNIX_EPOCH, |facts| facts.modified));
        self.files.extend(last);
        if is_new || is_truncated {
            // What was copied from the file before is no copy of this one.
            self.rotated.done.iter_mut().for_each(|mark| mark.copy = false);
        }
        self.rotated.settle(&siblings);
        Ok(match is_truncated {
            true => Some("truncated"),
            false => (is_new && had_file).then_some("rotated"),
        })
    }
}

/// Looks for the file of a mark by its number.
fn locate<'a>(mark: &Mark, survey: &'a Survey) -> Located<'a> {
    let mut located = Located::Nowhere;
    if let Some(current) =
        survey.current.as_ref().filter(|current| mark.is_file(current.facts.file, current.facts.born))
        && let Ok(file) = current.content.file.try_clone()
    {
        let mut content = Content::plain(file);
        if mark.fits(&mut content).is_ok_and(|fits| fits) {
            return Located::Here(content);
        }
        located = Located::Replaced;
    }
    for sibling in survey.siblings.iter().filter(|one| mark.is_file(one.facts.file, one.facts.born)) {
        match Content::open(&sibling.path) {
            Ok(mut content) => {
                if mark.fits(&mut content).is_ok_and(|fits| fits) {
                    return Located::Here(content);
                }
                located = Located::Replaced;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Located::Unreadable(sibling);
            }
            Err(_) => located = Located::Replaced,
        }
    }
    located
}
