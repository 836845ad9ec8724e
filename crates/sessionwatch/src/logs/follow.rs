//! A file that grows: what was added since it was read last, over rotation, truncation and re-creation.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sessionwatch_logs::{
    grammar::Grammar,
    reader::{Counters, Place as At, Reader},
    signal::Signal,
};
use sha2::{Digest as _, Sha256};

use super::{Found, blocks::BLOCK};

/// Bytes at the beginning of a file by which it is known again.
const HEAD: usize = 256;
/// Steps without anything new after which an entry has ended.
const PATIENT: u32 = 2;

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The device, and the number of the file on it.
    pub file: (u64, u64),
    /// The next byte.
    pub offset: u64,
    /// A sum of its first bytes, and how many those are.
    pub head: (String, u64),
}

/// What a step gave.
#[derive(Debug, Default)]
pub struct Step {
    /// Signals.
    pub found: Vec<Found>,
    /// What was read.
    pub counters: Counters,
    /// How far that is, once it is kept; nothing while there is no file.
    pub place: Option<Place>,
    /// There is more to read at once.
    pub more: bool,
    /// What happened to the file: `rotated`, `truncated`, `missing`.
    pub happened: Option<&'static str>,
}

/// A file that is open.
#[derive(Debug)]
struct Open {
    file: File,
    id: (u64, u64),
    head: (String, u64),
    offset: u64,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
}

/// Follows a file.
#[derive(Debug)]
pub struct Follower<'g> {
    path: PathBuf,
    name: String,
    grammar: &'g Grammar,
    reader: Reader<'g>,
    before: Counters,
    open: Option<Open>,
    resume: Option<Place>,
    /// Where a file is read from that is met first.
    from_start: bool,
    idle: u32,
    buffer: Vec<u8>,
}

fn id(facts: &fs::Metadata) -> (u64, u64) {
    (facts.dev(), facts.ino())
}

fn head(file: &File, length: u64) -> io::Result<(String, u64)> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(HEAD).min(HEAD)];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    let sum = Sha256::digest(&bytes[..read]);
    Ok((sum.iter().map(|byte| format!("{byte:02x}")).collect(), read as u64))
}

impl Open {
    fn new(file: File) -> io::Result<Self> {
        let facts = file.metadata()?;
        let head = head(&file, facts.len())?;
        Ok(Self { id: id(&facts), file, head, offset: 0, skipping: false })
    }

    /// Whether it is the file of a place, and begins as that did.
    fn is_at(&self, place: &Place) -> bool {
        let begins = |length| head(&self.file, length).is_ok_and(|found| found == place.head);
        self.id == place.file && begins(place.head.1)
    }

    fn place(&self, offset: u64) -> Place {
        Place { file: self.id, offset, head: self.head.clone() }
    }
}

impl<'g> Follower<'g> {
    /// Of a file, from a place on; without one from its end, or from its start.
    #[must_use]
    pub fn new(
        path: &Path,
        name: &str,
        grammar: &'g Grammar,
        (resume, from_start): (Option<Place>, bool),
    ) -> Self {
        Self {
            path: path.to_owned(),
            name: name.to_owned(),
            grammar,
            reader: Reader::new(grammar),
            before: Counters::default(),
            open: None,
            resume,
            from_start,
            idle: 0,
            buffer: vec![0; BLOCK],
        }
    }

    /// Reads what was added, at most a block of it.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read.
    pub fn step(&mut self) -> io::Result<Step> {
        let mut step = Step::default();
        if self.open.is_none() && !self.find()? {
            // Whatever will stand in it was written since.
            self.from_start = true;
            step.happened = Some("missing");
            return Ok(step);
        }
        // What stands there now may be longer than what was read before.
        let truncated = self.turned()? == Some("truncated");
        let read = if truncated { 0 } else { self.read(&mut step)? };
        if read > 0 {
            self.idle = 0;
            step.more = true;
        } else {
            self.idle = self.idle.saturating_add(1);
            step.happened = self.turned()?;
            let gone = step.happened.is_some();
            if gone || self.idle == PATIENT {
                self.end(step.happened == Some("rotated"), &mut step);
            }
            step.more = gone;
            if gone {
                self.turn(step.happened == Some("rotated"))?;
            }
        }
        let counters = self.reader.counters();
        step.counters = counters.since(self.before);
        self.before = counters;
        step.place = self.place();
        Ok(step)
    }

    /// Says that nothing more will be read: what was begun is given, and read by nobody again.
    pub fn finish(&mut self) -> Step {
        let mut step = Step::default();
        self.end(false, &mut step);
        step.place = self.place();
        step
    }

    /// How far it was read: an entry that may go on was not.
    fn place(&self) -> Option<Place> {
        let open = self.open.as_ref()?;
        Some(open.place(self.reader.pending_from().unwrap_or(open.offset)))
    }

    /// Opens the file, or the one that it has become since it was read last: whether there is one.
    fn find(&mut self) -> io::Result<bool> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut open = Open::new(file)?;
        match self.resume.take() {
            Some(place) if open.is_at(&place) => open.offset = place.offset.min(open.file.metadata()?.len()),
            // It was moved away meanwhile: what was added before is read first.
            Some(place) => {
                if let Some(mut moved) = self.moved(&place)? {
                    moved.offset = place.offset;
                    open = moved;
                }
            }
            None if !self.from_start => open.offset = open.file.metadata()?.len(),
            None => {}
        }
        // Whatever comes after it is new.
        self.from_start = true;
        self.open = Some(open);
        Ok(true)
    }

    /// The file of a place, where it is called something else now.
    fn moved(&self, place: &Place) -> io::Result<Option<Open>> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))?.filter_map(Result::ok) {
            let same = entry.metadata().is_ok_and(|facts| facts.is_file() && id(&facts) == place.file);
            if same && let Ok(open) = File::open(entry.path()).and_then(Open::new) {
                return Ok(Some(open).filter(|open| open.is_at(place)));
            }
        }
        Ok(None)
    }

    /// Reads a block: how many bytes were used.
    fn read(&mut self, step: &mut Step) -> io::Result<usize> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let mut filled = 0;
        while filled < self.buffer.len() {
            match open.file.read_at(&mut self.buffer[filled..], open.offset + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        let bytes = &self.buffer[..filled];
        if open.head.1 < HEAD as u64 && filled > 0 {
            open.head = head(&open.file, HEAD as u64)?;
        }
        if open.skipping {
            let end = memchr::memchr(b'\n', bytes).map_or(filled, |end| end + 1);
            open.skipping = end == filled && bytes.last() != Some(&b'\n');
            open.offset += end as u64;
            return Ok(end);
        }
        let (whole, overlong) = match memchr::memrchr(b'\n', bytes) {
            Some(end) => (end + 1, false),
            None if filled == self.buffer.len() => (filled, true),
            // A line that has not ended is left for later.
            None => return Ok(0),
        };
        let at = open.offset;
        (open.offset, open.skipping) = (at + whole as u64, overlong);
        let mut sink = sink(&mut step.found, &self.name, self.grammar);
        self.reader.read(&self.buffer[..whole], (at, false), &mut sink);
        if overlong {
            self.reader.overlong();
        }
        Ok(whole)
    }

    /// What happened to the file that was read to its end, if it is not the one of that name any more.
    fn turned(&self) -> io::Result<Option<&'static str>> {
        let Some(open) = &self.open else { return Ok(None) };
        let facts = match fs::metadata(&self.path) {
            Ok(facts) => facts,
            // It may come back: what is open is read until another one is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(if id(&facts) != open.id {
            Some("rotated")
        } else if facts.len() < open.offset || !open.is_at(&open.place(0)) {
            Some("truncated")
        } else {
            None
        })
    }

    /// Gives what was begun; of a file that was moved away also a last line that has no end.
    fn end(&mut self, moved: bool, step: &mut Step) {
        let mut sink = sink(&mut step.found, &self.name, self.grammar);
        if let Some(open) = self.open.as_mut().filter(|open| moved && !open.skipping) {
            let read = open.file.read_at(&mut self.buffer, open.offset).unwrap_or(0);
            self.reader.read(&self.buffer[..read], (open.offset, false), &mut sink);
            open.offset += read as u64;
        }
        self.reader.finish(&mut sink);
    }

    /// Goes on with the file that is there now.
    fn turn(&mut self, rotated: bool) -> io::Result<()> {
        let before = self.open.take();
        self.find()?;
        if let (false, Some(open), Some(_)) = (rotated, &mut self.open, before) {
            open.offset = 0;
        }
        Ok(())
    }
}

/// Keeps signals as they are found.
fn sink<'a>(
    found: &'a mut Vec<Found>,
    name: &'a str,
    grammar: &'a Grammar,
) -> impl FnMut(Signal<'_>, At<'_>) + 'a {
    |signal, place| found.push(Found::of(signal, place, name, grammar.patterns()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LINE: &str = "[AUTH-ADAPTER] Session created { userId: ";

    fn line(user: u32) -> String {
        format!("{LINE}{user} }}\n")
    }

    fn append(path: &Path, text: &str) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Everything there is to read: the users, and the place after it.
    fn users(follower: &mut Follower<'_>) -> (Vec<String>, Option<Place>) {
        let (mut users, mut place, mut idle) = (vec![], None, 0);
        while idle < 4 {
            let step = follower.step().unwrap();
            users.extend(
                step.found.iter().map(|found| found.signal.user.as_deref().unwrap_or("?").to_owned()),
            );
            place = step.place.or(place);
            idle = if step.more { 0 } else { idle + 1 };
        }
        (users, place)
    }

    struct Scene {
        folder: tempfile::TempDir,
        grammar: Grammar,
    }

    impl Scene {
        fn new() -> Self {
            let grammar = Grammar::new(vec![], sessionwatch_logs::time::Clock::default());
            Self { folder: tempfile::tempdir().unwrap(), grammar }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn follower(&self, resume: Option<Place>) -> Follower<'_> {
            Follower::new(&self.path("app.log"), "app", &self.grammar, (resume, true))
        }
    }

    #[test]
    fn every_line_is_read_once_over_rotation_truncation_and_re_creation() {
        let scene = Scene::new();
        let path = scene.path("app.log");
        let mut follower = scene.follower(None);
        assert_eq!(users(&mut follower).0, Vec::<String>::new());
        append(&path, &(line(1) + LINE));
        assert_eq!(users(&mut follower).0, ["1"]);
        append(&path, "2 }\n");
        assert_eq!(users(&mut follower).0, ["2"]);
        // Renamed, still written to for a while, and made anew.
        append(&path, &line(3));
        fs::rename(&path, scene.path("app.log.1")).unwrap();
        append(&scene.path("app.log.1"), &line(4));
        assert_eq!(users(&mut follower).0, ["3", "4"]);
        append(&path, &line(5));
        assert_eq!(users(&mut follower).0, ["5"]);
        // Copied away and truncated; what is new is longer than what was old.
        fs::write(&path, "").unwrap();
        append(&path, &format!("{}{}", line(6), line(7)));
        assert_eq!(users(&mut follower).0, ["6", "7"]);
        // Removed and made anew.
        fs::remove_file(&path).unwrap();
        append(&path, &line(8));
        assert_eq!(users(&mut follower).0, ["8"]);
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let scene = Scene::new();
        let path = scene.path("app.log");
        append(&path, &line(1));
        let (found, place) = users(&mut scene.follower(None));
        assert_eq!(found, ["1"]);
        // While nobody reads, lines are added, and the file is rotated.
        append(&path, &line(2));
        fs::rename(&path, scene.path("app.log.1")).unwrap();
        append(&path, &line(3));
        let (found, place) = users(&mut scene.follower(place));
        assert_eq!(found, ["2", "3"]);
        assert_eq!(users(&mut scene.follower(place.clone())).0, Vec::<String>::new());
        // While nobody reads, it is truncated.
        fs::write(&path, "").unwrap();
        append(&path, &format!("{}{}", line(4), line(5)));
        assert_eq!(users(&mut scene.follower(place)).0, ["4", "5"]);
    }

    #[test]
    fn an_entry_that_goes_on_is_kept_open_and_not_lost() {
        let scene = Scene::new();
        let path = scene.path("app.log");
        append(&path, "[AUTH-ADAPTER] Session created {\n");
        let mut follower = scene.follower(None);
        let step = follower.step().unwrap();
        assert_eq!((step.found.len(), step.place.map(|place| place.offset)), (0, Some(0)));
        append(&path, "  userId: 1\n}\n");
        assert_eq!(users(&mut follower).0, ["1"]);
        append(&path, "[AUTH-ADAPTER] Session created {\n  userId: 2,\n");
        assert_eq!(users(&mut follower).0, ["2"]);
        append(&path, "[AUTH-ADAPTER] Session created {\n  userId: 3,\n");
        follower.step().unwrap();
        let last = follower.finish();
        assert_eq!(last.found.len(), 1);
        assert_eq!(users(&mut scene.follower(last.place)).0, Vec::<String>::new());
    }

    #[test]
    fn from_its_end_only_what_is_new_is_read() {
        let scene = Scene::new();
        let path = scene.path("app.log");
        append(&path, &line(1));
        let mut follower = Follower::new(&path, "app", &scene.grammar, (None, false));
        assert_eq!(users(&mut follower).0, Vec::<String>::new());
        append(&path, &line(2));
        assert_eq!(users(&mut follower).0, ["2"]);
        // What is made only after that is new from its start.
        fs::remove_file(&path).unwrap();
        let mut follower = Follower::new(&path, "app", &scene.grammar, (None, false));
        assert_eq!(users(&mut follower).0, Vec::<String>::new());
        append(&path, &line(3));
        assert_eq!(users(&mut follower).0, ["3"]);
    }
}
