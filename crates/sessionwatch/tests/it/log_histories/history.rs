//! One history of a log, and of its writers, its rotation and its reader.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde_json::Value;
use sessionwatch_app::logs::{
    log_batch::{self, LogBatch},
    tail::{FileTailer, StartPosition},
};
use sessionwatch_clock as clock;
use sessionwatch_logs::matchers::Matchers;
use sessionwatch_store::{Store, log_events};

use super::{Manner, Step};
use crate::log_rotation::{BANNER, append, line, pack, time, truncate};

/// A log, the application that writes it, and the daemon that reads it.
pub(super) struct History<'s> {
    store: &'s Store,
    grammar: &'s Matchers,
    manner: Manner,
    folder: tempfile::TempDir,
    target: String,
    follower: Option<FileTailer<'s>>,
    now: Instant,
    /// The last user number.
    pub(super) user: u32,
    /// Completes the line or entry that was begun.
    rest: Option<String>,
    /// The file that a slow writer still writes to.
    slow: Option<(fs::File, PathBuf)>,
    /// Rotated files, and their total number.
    rotated: Vec<PathBuf>,
    rotations: u32,
    /// Number of the file that the link points to.
    present: u32,
    /// The daemon has read a line of the current file.
    is_seen: bool,
    /// Rotated files that the daemon has not seen.
    unseen: Vec<PathBuf>,
    /// The current file has been copied.
    is_copied: bool,
    /// Lines may be missing.
    pub(super) is_lossy: bool,
    /// Seconds by which the file system's clock is ahead: it advances with every change of a file.
    ahead: Cell<u64>,
}

impl<'s> History<'s> {
    pub(super) fn new(store: &'s Store, grammar: &'s Matchers, manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut history = Self {
            store,
            grammar,
            manner,
            folder,
            target,
            follower: None,
            now: Instant::now(),
            user: 0,
            rest: None,
            slow: None,
            rotated: vec![],
            rotations: 0,
            present: 0,
            is_seen: false,
            unseen: vec![],
            is_copied: false,
            is_lossy: false,
            ahead: Cell::new(0),
        };
        history.create();
        history
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("app.log")
    }

    /// Path of the file that is written to.
    fn file(&self) -> PathBuf {
        if self.manner.is_link {
            self.folder.path().join(format!("{}.log", self.present))
        } else {
            self.log()
        }
    }

    fn encoded(&self, text: &str) -> Vec<u8> {
        match self.manner.encode {
            Some(encode) => text.encode_utf16().flat_map(encode).collect(),
            None => text.as_bytes().to_vec(),
        }
    }

    fn write(&self, text: &str) {
        append(&self.file(), self.encoded(text));
        self.touch(&fs::File::options().append(true).open(self.file()).unwrap());
    }

    /// Gives a file a later modification time than any other one.
    fn touch(&self, file: &fs::File) {
        self.ahead.set(self.ahead.get() + 1);
        let now = u64::try_from(clock::now().micros()).unwrap();
        let at = UNIX_EPOCH + Duration::from_micros(now) + Duration::from_secs(self.ahead.get());
        file.set_modified(at).unwrap();
    }

    /// Begins the current file.
    fn begin(&self) {
        let mark = if self.manner.encode.is_some() { "\u{feff}" } else { "" };
        let banner = if self.manner.has_banner { BANNER.repeat(5) } else { String::new() };
        self.write(&format!("{mark}{banner}"));
    }

    fn create(&mut self) {
        if self.manner.is_link {
            self.present += 1;
        }
        self.begin();
        if self.manner.is_link {
            let next = self.folder.path().join("next");
            symlink(self.file(), &next).unwrap();
            fs::rename(next, self.log()).unwrap();
        }
        (self.is_seen, self.is_copied) = (false, false);
    }

    /// Returns `true` if an entry of several lines was begun, rather than a line.
    fn is_entry_open(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.ends_with("\n}\n"))
    }

    /// Completes what was begun.
    pub(super) fn end(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.write(&rest);
        }
    }

    fn next_line(&mut self) -> String {
        self.user += 1;
        line(self.user)
    }

    /// A name for a rotated file.
    fn rotated_name(&mut self) -> PathBuf {
        self.rotations += 1;
        let name = self.file().display().to_string();
        if !self.manner.is_numbered {
            return PathBuf::from(format!("{name}-2026{:04}", self.rotations));
        }
        let first = format!("{name}.");
        let mut moved: Vec<(u32, PathBuf, PathBuf)> = vec![];
        for path in &self.rotated {
            let text = path.display().to_string();
            let Some(rest) = text.strip_prefix(&first) else { continue };
            let (number, ending) = rest.split_once('.').map_or((rest, ""), |(number, _)| (number, ".gz"));
            let number: u32 = number.parse().unwrap();
            moved.push((number, path.clone(), PathBuf::from(format!("{name}.{}{ending}", number + 1))));
        }
        moved.sort();
        for (_, from, to) in moved.into_iter().rev() {
            fs::rename(&from, &to).unwrap();
            let slow = self.slow.iter_mut().map(|(_, path)| path);
            let known = self.rotated.iter_mut().chain(&mut self.unseen).chain(slow);
            known.filter(|path| **path == from).for_each(|path| path.clone_from(&to));
        }
        PathBuf::from(format!("{name}.1"))
    }

    fn add_rotated(&mut self, path: PathBuf) {
        if !self.is_seen || self.follower.is_none() {
            self.unseen.push(path.clone());
        }
        self.rotated.push(path);
    }

    fn rename(&mut self, is_slow: bool) {
        // A line is completed in its own file; an entry continues in the next file, unless that has a banner.
        if self.manner.has_banner || is_slow || !self.is_entry_open() {
            self.end();
        }
        let file = self.file();
        let slow = is_slow.then(|| fs::OpenOptions::new().append(true).open(&file).unwrap());
        self.slow = None;
        if self.manner.is_link {
            self.add_rotated(file);
        } else {
            let name = self.rotated_name();
            fs::rename(&file, &name).unwrap();
            self.add_rotated(name);
        }
        self.slow = slow.zip(self.rotated.last().cloned());
        self.create();
    }

    fn copytruncate(&mut self) {
        if self.manner.has_banner {
            self.end();
        }
        // An entry cut by a truncation is lost.
        self.is_lossy |= self.rest.is_some() && !self.is_entry_open();
        self.copy();
        truncate(&self.file());
        self.begin();
        (self.is_seen, self.is_copied) = (false, false);
    }

    fn copy(&mut self) {
        let name = self.rotated_name();
        fs::copy(self.file(), &name).unwrap();
        self.touch(&fs::File::options().append(true).open(&name).unwrap());
        self.unseen.push(name.clone());
        self.rotated.push(name);
        self.is_copied = true;
    }

    /// Compresses or deletes a rotated file, if there is one without a writer.
    fn take(&mut self, which: u8, is_packed: bool) {
        let plain: Vec<usize> = (0..self.rotated.len())
            .filter(|at| !is_packed || self.rotated[*at].extension().is_none_or(|ending| ending != "gz"))
            .collect();
        let Some(at) = plain.get(usize::from(which) % plain.len().max(1)).copied() else { return };
        let path = self.rotated[at].clone();
        // Lines added to a closed file are read within a minute, if the file is unchanged otherwise.
        if is_packed
            && self.slow.as_ref().is_some_and(|(_, slow)| *slow == path && self.unseen.contains(slow))
        {
            return;
        }
        if is_packed {
            self.slow = None;
            pack(&path);
            let packed = PathBuf::from(format!("{}.gz", path.display()));
            for known in self.unseen.iter_mut().filter(|known| **known == path) {
                known.clone_from(&packed);
            }
            self.rotated[at] = packed;
        } else if !self.unseen.contains(&path) {
            self.slow = None;
            fs::remove_file(&path).unwrap();
            self.rotated.remove(at);
            self.is_lossy = true;
        }
    }

    pub(super) fn apply(&mut self, step: Step) {
        match step {
            Step::Write(lines) => {
                self.end();
                for _ in 0..lines {
                    let line = self.next_line();
                    self.write(&line);
                }
            }
            Step::WriteHalf => {
                self.end();
                let line = self.next_line();
                let (first, rest) = line.split_at(line.len() * 2 / 3);
                self.write(first);
                self.rest = Some(rest.to_owned());
            }
            Step::BeginEntry => {
                self.end();
                self.user += 1;
                self.write(&format!("{} [AUTH-ADAPTER] Session created {{\n", time(self.user)));
                self.rest = Some(format!("  userId: {}\n}}\n", self.user));
            }
            Step::Rename { is_slow } => self.rename(is_slow),
            Step::WriteSlowly => self.write_slowly(),
            Step::CopyTruncate => self.copytruncate(),
            Step::Truncate => self.lose(truncate),
            Step::Recreate => self.lose(|path| fs::remove_file(path).unwrap()),
            Step::Copy => {
                if fs::metadata(self.file()).unwrap().len() > 600 {
                    self.copy();
                }
            }
            Step::Pack(which) => self.take(which, true),
            Step::Remove(which) => self.take(which, false),
            Step::Read(steps) => self.read(u32::from(steps)),
            Step::Rest => {
                self.end();
                self.settle();
            }
            Step::Kill { reads } => {
                if let Some(mut follower) = self.follower.take().filter(|_| reads) {
                    let _ = follower.read_batch(self.now);
                }
            }
        }
    }

    fn write_slowly(&mut self) {
        if self.slow.is_none() {
            return;
        }
        self.end();
        let line = self.next_line();
        let line = self.encoded(&line);
        let (slow, path) = self.slow.as_ref().unwrap();
        (&*slow).write_all(&line).unwrap();
        self.touch(slow);
        self.unseen.push(path.clone());
    }

    /// Truncates or deletes the current file. If nothing was read, or a copy is as long, the loss cannot be detected.
    fn lose(&mut self, lose: impl Fn(&Path)) {
        if self.is_seen && !self.is_copied {
            self.end();
            lose(&self.file());
            self.is_lossy = true;
            if self.file().exists() {
                self.begin();
                self.is_seen = false;
            } else {
                self.create();
            }
        }
    }

    /// Reads and stores, as the daemon does. Returns `true` if there is more.
    fn read_once(&mut self) -> bool {
        let kept = || self.store.read(|db| sessionwatch_app::logs::find_source(db, &self.target)).unwrap();
        let mut follower = self.follower.take().unwrap_or_else(|| {
            let begin =
                kept().and_then(|kept| kept.position).map_or(StartPosition::AtStart, StartPosition::Resume);
            FileTailer::new(&self.log(), &self.target, self.grammar, begin)
        });
        self.now += Duration::from_millis(20);
        let step = follower.read_batch(self.now).unwrap();
        self.follower = Some(follower);
        let batch = LogBatch {
            source: self.target.clone(),
            target: self.target.clone(),
            events: step.events.into_iter().map(|found| (None, found)).collect(),
            position: step.position,
            gaps: step.gaps,
            ..LogBatch::default()
        };
        self.store.write(|db| log_batch::record_batch(db, &batch, clock::now())).unwrap();
        step.has_more
    }

    pub(super) fn read(&mut self, steps: u32) {
        for _ in 0..steps {
            if !self.read_once() {
                // The file was read to its end.
                self.is_seen = self.has_read_line();
                // Lines added to a closed file are read within a minute.
                let slow = self.slow.as_ref().map(|(_, slow)| slow);
                self.unseen.retain(|path| Some(path) == slow);
            }
        }
    }

    /// Returns `true` if a line of the current file has been read.
    fn has_read_line(&self) -> bool {
        let text = fs::read(self.file()).unwrap();
        let needle = self.encoded("userId");
        let end = self.encoded("}\n");
        let found = memchr::memmem::find(&text, &needle);
        found.is_some_and(|at| memchr::memmem::find(&text[at..], &end).is_some())
    }

    /// Reads until nothing more can arrive.
    pub(super) fn settle(&mut self) {
        for pause in [1, 11, 61, 11, 1] {
            self.now += Duration::from_secs(pause);
            while self.read_once() {}
            self.read(3);
        }
        self.unseen.clear();
    }

    /// Counts the events of each user, and the gaps that were reported.
    pub(super) fn outcome(&self) -> (BTreeMap<String, u32>, usize) {
        let period = sessionwatch_core::period::Period::ALL_TIME;
        let search = log_events::LogEventSearch { limit: 10_000, ..log_events::LogEventSearch::default() };
        let found =
            self.store.read(|db| log_events::search_log_events(db, &self.target, period, &search)).unwrap();
        let mut users = BTreeMap::new();
        for user in found.into_iter().filter_map(|signal| signal.user) {
            *users.entry(user).or_insert(0) += 1;
        }
        let source =
            self.store.read(|db| sessionwatch_app::logs::find_source(db, &self.target)).unwrap().unwrap();
        let gaps = source.counters.get("gaps").and_then(Value::as_u64).unwrap_or(0);
        (users, usize::try_from(gaps).unwrap())
    }
}
