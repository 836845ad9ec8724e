//! Every line is read once or reported as a gap, whatever happens to the files.

mod text;
mod truncation;

use std::{
    cell::Cell,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sessionwatch_core::severity::Severity;
use sessionwatch_logs::{pattern::Pattern, timestamps::TimestampDefaults};

use super::*;

const LINE: &str = "[AUTH-ADAPTER] Session created { userId: ";
/// Repeated, longer than the identity window of a file.
const BANNER: &str = "================================================================\n";

pub(super) fn line(user: u32) -> String {
    format!("{LINE}{user} }}\n")
}

fn banner() -> String {
    BANNER.repeat(5)
}

pub(super) fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

/// Compresses a file, as `gzip` does.
pub(super) fn pack(path: &Path) {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packer.write_all(&fs::read(path).unwrap()).unwrap();
    fs::write(&packed, packer.finish().unwrap()).unwrap();
    // The compressed file keeps the time of the original.
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::File::options().append(true).open(&packed).unwrap().set_modified(modified).unwrap();
    fs::remove_file(path).unwrap();
}

/// Copies a file and truncates it, as logrotate's `copytruncate` does.
fn copytruncate(path: &Path, copy: &Path) {
    fs::copy(path, copy).unwrap();
    fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
}

/// Everything that was read until there was nothing more.
#[derive(Debug, Default)]
pub(super) struct Seen {
    users: Vec<String>,
    gaps: Vec<GapCause>,
    lost_bytes: u64,
    counters: ReadCounters,
    pub(super) place: Option<LogPosition>,
}

pub(super) struct Scene {
    folder: tempfile::TempDir,
    pub(super) grammar: Matchers,
    pub(super) now: Cell<Instant>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let grammar = Matchers::new(vec![], TimestampDefaults::default());
        Self { folder: tempfile::tempdir().unwrap(), grammar, now: Cell::new(Instant::now()) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path("app.log")
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn follower(&self, place: Option<LogPosition>) -> FileTailer<'_> {
        // Positions are stored as text.
        let place = place.map(|place| serde_json::from_str(&serde_json::to_string(&place).unwrap()).unwrap());
        FileTailer::new(
            &self.log(),
            "app",
            &self.grammar,
            place.map_or(StartPosition::AtStart, StartPosition::Resume),
        )
    }

    pub(super) fn passes(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    /// Reads everything there is to read.
    pub(super) fn read(&self, follower: &mut FileTailer<'_>) -> Seen {
        let (mut seen, mut idle) = (Seen::default(), 0);
        while idle < 3 {
            let step = follower.read_batch(self.now.get()).unwrap();
            idle = if step.has_more { 0 } else { idle + 1 };
            seen.take(step);
        }
        seen
    }

    /// Reads everything there is to read from a position.
    pub(super) fn read_from(&self, place: Option<LogPosition>) -> Seen {
        self.read(&mut self.follower(place))
    }
}

impl Seen {
    fn take(&mut self, step: TailBatch) {
        let user = |found: &LocatedLogEvent| found.event.user.as_deref().unwrap_or("?").to_owned();
        self.users.extend(step.events.iter().map(user));
        self.gaps.extend(step.gaps.iter().map(|gap| gap.cause));
        self.lost_bytes += step.lost_bytes;
        self.counters.merge(step.counters);
        self.place = step.position.or(self.place.take());
    }

    /// Asserts that exactly these users were read, without a gap.
    #[track_caller]
    pub(super) fn is(self, users: &[u32]) -> Option<LogPosition> {
        let users: Vec<String> = users.iter().map(u32::to_string).collect();
        assert_eq!((self.users, self.gaps), (users, vec![]));
        self.place
    }

    /// Asserts that exactly these users were read, with this gap.
    #[track_caller]
    fn has_gap(self, users: &[u32], gap: GapCause) -> Option<LogPosition> {
        let users: Vec<String> = users.iter().map(u32::to_string).collect();
        assert_eq!((self.users, self.gaps), (users, vec![gap]));
        self.place
    }
}

#[test]
fn every_line_is_read_once_across_rotation_truncation_and_re_creation() {
    let scene = Scene::new();
    let path = scene.log();
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[]);
    append(&path, line(1) + LINE);
    scene.read(&mut follower).is(&[1]);
    append(&path, "2 }\n");
    scene.read(&mut follower).is(&[2]);
    // Renamed, still written to for a while, and recreated.
    append(&path, line(3));
    scene.rename("app.log", "app.log.1");
    append(&scene.path("app.log.1"), line(4));
    scene.read(&mut follower).is(&[3, 4]);
    append(&path, line(5));
    scene.read(&mut follower).is(&[5]);
    // Copied and truncated; the new content is longer than the old one.
    append(&path, line(6));
    copytruncate(&path, &scene.path("app.log.2"));
    append(&path, line(7) + &line(8) + &line(9));
    scene.read(&mut follower).is(&[6, 7, 8, 9]);
    // Removed and recreated.
    append(&path, line(10));
    fs::remove_file(&path).unwrap();
    append(&path, line(11));
    scene.read(&mut follower).is(&[10, 11]);
}

#[test]
fn a_tailer_resumes_where_it_stopped() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let place = scene.read_from(None).is(&[1]);
    append(&path, line(2));
    scene.rename("app.log", "app.log.1");
    append(&path, line(3));
    let place = scene.read_from(place).is(&[2, 3]);
    let place = scene.read_from(place).is(&[]);
    // Truncated while stopped, with a copy and without.
    append(&path, line(4));
    copytruncate(&path, &scene.path("app.log.2"));
    append(&path, line(5) + &line(6) + &line(7));
    let place = scene.read_from(place).is(&[4, 5, 6, 7]);
    append(&path, line(8));
    fs::write(&path, line(9)).unwrap();
    scene.read_from(place).has_gap(&[9], GapCause::Truncated);
}

#[test]
fn a_rotated_file_is_read_until_idle_and_again_if_it_grows_later() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    // Idle for a long time before the rotation.
    scene.passes(IDLE_ENTRY_TIMEOUT * 10);
    scene.read(&mut follower).is(&[]);
    let mut slow = fs::OpenOptions::new().append(true).open(&path).unwrap();
    scene.rename("app.log", "app.log.1");
    append(&path, "");
    for user in 2..8 {
        scene.passes(IDLE_ENTRY_TIMEOUT * 9 / 10);
        slow.write_all(line(user).as_bytes()).unwrap();
        append(&path, line(100 + user));
        scene.read(&mut follower).is(&[user, 100 + user]);
    }
    scene.passes(IDLE_ENTRY_TIMEOUT);
    let place = scene.read(&mut follower).is(&[]);
    let place = place.unwrap();
    assert_eq!((place.reading.len(), place.done.len()), (1, 1));
    slow.write_all(line(8).as_bytes()).unwrap();
    scene.passes(Duration::from_secs(60));
    let place = scene.read(&mut follower).is(&[8]);
    // Grows while stopped, and in the middle of a line.
    slow.write_all((line(9) + LINE).as_bytes()).unwrap();
    let place = scene.read_from(place).is(&[9]);
    slow.write_all(b"10 }\n").unwrap();
    scene.read_from(place).is(&[10]);
}

#[test]
fn files_created_and_rotated_between_two_reads_are_read_in_order() {
    for [newer, older] in
        [["app.log.1", "app.log.2"], ["app.1", "app.2"], ["app.log-20261128", "app.log-20261127"]]
    {
        let scene = Scene::new();
        let path = scene.log();
        let mut follower = scene.follower(None);
        scene.read(&mut follower).is(&[]);
        for user in [0, 10, 20] {
            append(&path, line(user));
            scene.rename("app.log", older);
            append(&path, line(user + 1));
            scene.rename("app.log", newer);
            append(&path, line(user + 2));
            scene.read(&mut follower).is(&[user, user + 1, user + 2]);
            append(&path, line(user + 3));
            scene.read(&mut follower).is(&[user + 3]);
        }
    }
}

#[test]
fn files_rotated_while_stopped_are_read() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let place = scene.read_from(None).is(&[1]);
    // Rotated twice, and compressed.
    append(&path, line(2));
    scene.rename("app.log", "app.log.2");
    append(&path, line(3));
    scene.rename("app.log", "app.log.1");
    append(&path, line(4));
    let place = scene.read_from(place).is(&[2, 3, 4]);
    append(&path, line(5));
    pack(&scene.path("app.log.2"));
    pack(&scene.path("app.log.1"));
    scene.rename("app.log.2.gz", "app.log.4.gz");
    scene.rename("app.log.1.gz", "app.log.3.gz");
    scene.rename("app.log", "app.log.2");
    pack(&scene.path("app.log.2"));
    append(&path, line(6));
    scene.rename("app.log", "app.log.1");
    pack(&scene.path("app.log.1"));
    append(&path, line(7));
    let place = scene.read_from(place).is(&[5, 6, 7]);
    let place = scene.read_from(place).is(&[]);
    // Copied and truncated twice, the first copy compressed.
    append(&path, line(8));
    copytruncate(&path, &scene.path("app.log-20261128"));
    append(&path, line(9));
    copytruncate(&path, &scene.path("app.log-20261129"));
    pack(&scene.path("app.log-20261128"));
    append(&path, line(10));
    let place = scene.read_from(place).is(&[8, 9, 10]);
    // Truncated, and then renamed.
    append(&path, line(11));
    copytruncate(&path, &scene.path("app.log-20261130"));
    append(&path, line(12));
    scene.rename("app.log", "app.log-20261201");
    append(&path, line(13));
    let place = scene.read_from(place).is(&[11, 12, 13]);
    // The file is missing for a while.
    scene.rename("app.log", "app.log-20261202");
    let place = scene.read_from(place).is(&[]);
    append(&path, line(14));
    scene.read_from(place).is(&[14]);
}

#[test]
fn rotated_files_from_before_the_start_are_not_read() {
    let scene = Scene::new();
    let path = scene.log();
    for old in ["app.log.1", "app.log.2", "app.log-20261101"] {
        append(&scene.path(old), line(1));
    }
    append(&scene.path("app.log.3"), line(2));
    pack(&scene.path("app.log.3"));
    append(&path, line(3));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[3]);
    scene.rename("app.log.3.gz", "app.log.4.gz");
    scene.rename("app.log.2", "app.log.3");
    pack(&scene.path("app.log.3"));
    scene.rename("app.log.1", "app.log.2");
    scene.rename("app.log", "app.log.1");
    append(&path, line(4));
    scene.read(&mut follower).is(&[4]);
    // A file put there later without a rotation is not read either.
    append(&scene.path("app.log.9"), line(5));
    let place = scene.read(&mut follower).is(&[]);
    scene.read_from(place).is(&[]);
}

#[test]
fn daily_rotation_loses_and_repeats_nothing() {
    for (is_delayed, is_watched) in [(true, true), (true, false), (false, true), (false, false)] {
        let scene = Scene::new();
        let path = scene.log();
        append(&path, "");
        append(&path, "started 0\n");
        let mut follower = scene.follower(None);
        let mut place = scene.read(&mut follower).is(&[]);
        for day in 0..60 {
            append(&path, line(day));
            if is_watched {
                scene.read(&mut follower).is(&[day]);
            }
            append(&path, line(1_000 + day));
            for number in (1..7).rev() {
                for ending in ["", ".gz"] {
                    let to = scene.path(&format!("app.log.{}{ending}", number + 1));
                    let _ = fs::rename(scene.path(&format!("app.log.{number}{ending}")), to);
                }
            }
            scene.rename("app.log", "app.log.1");
            append(&path, format!("started {}\n", day + 1));
            let packed = scene.path(if is_delayed { "app.log.2" } else { "app.log.1" });
            if packed.exists() {
                pack(&packed);
            }
            let _ = fs::remove_file(scene.path("app.log.7.gz"));
            let expected = if is_watched { vec![1_000 + day] } else { vec![day, 1_000 + day] };
            if !is_watched {
                follower = scene.follower(place);
            }
            place = scene.read(&mut follower).is(&expected);
            scene.passes(IDLE_ENTRY_TIMEOUT * 2);
            place = scene.read(&mut follower).is(&[]).or(place);
        }
    }
}

#[test]
fn forgotten_rotated_files_are_not_read_again() {
    let scene = Scene::new();
    let path = scene.log();
    for number in 0..100 {
        let old = scene.path(&format!("app.log-2026{number:04}"));
        append(&old, line(number));
        let day = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + u64::from(number));
        fs::File::options().append(true).open(&old).unwrap().set_modified(day).unwrap();
    }
    append(&path, line(200));
    let place = scene.read_from(None).is(&[200]);
    assert!(serde_json::to_string(&place).unwrap().len() < 40_000);
    scene.rename("app.log", "app.log-20261129");
    append(&path, line(201));
    scene.read_from(place).is(&[201]);
}

#[test]
fn a_symbolic_link_is_followed_from_target_to_target() {
    let scene = Scene::new();
    fs::create_dir(scene.path("pod")).unwrap();
    let pod = |number: u32| scene.path(&format!("pod/{number}.log"));
    let switch = |number: u32| {
        let _ = fs::remove_file(scene.path("next"));
        symlink(pod(number), scene.path("next")).unwrap();
        scene.rename("next", "app.log");
    };
    append(&pod(0), line(1));
    switch(0);
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    append(&pod(0), line(2));
    append(&pod(1), line(3));
    switch(1);
    append(&pod(0), line(4));
    scene.read(&mut follower).is(&[2, 4, 3]);
    // Two restarts at once.
    append(&pod(1), line(5));
    append(&pod(2), line(6));
    switch(2);
    append(&pod(3), line(7));
    switch(3);
    let place = scene.read(&mut follower).is(&[5, 6, 7]);
    append(&pod(3), line(8));
    append(&pod(4), line(9));
    append(&pod(5), line(10));
    switch(5);
    scene.read_from(place).is(&[8, 9, 10]);
}

#[test]
fn reading_resumes_once_the_file_is_readable_again() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    append(&path, line(2));
    scene.rename("app.log", "app.log.1");
    symlink(&path, &path).unwrap();
    assert_eq!(follower.read_batch(scene.now.get()).unwrap().events.len(), 1);
    assert!(follower.read_batch(scene.now.get()).is_err());
    append(&scene.path("app.log.1"), line(3));
    assert_eq!(follower.read_batch(scene.now.get()).unwrap().events.len(), 1);
    assert!(follower.read_batch(scene.now.get()).is_err());
    fs::remove_file(&path).unwrap();
    append(&path, line(4));
    scene.read(&mut follower).is(&[4]);
}

#[test]
fn a_position_of_an_earlier_version_is_resumed() {
    use std::os::unix::fs::MetadataExt as _;
    let scene = Scene::new();
    let path = scene.log();
    append(&scene.path("app.log.2"), line(8));
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::options().append(true).open(scene.path("app.log.2")).unwrap().set_modified(old).unwrap();
    append(&path, line(1));
    let facts = fs::metadata(&path).unwrap();
    let sum = const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(fs::read(&path).unwrap()));
    let (device, number, length) = (facts.dev(), facts.ino(), facts.len());
    let place = format!(r#"{{"file":[{device},{number}],"offset":{length},"head":["{sum}",{length}]}}"#);
    append(&path, line(2));
    scene.rename("app.log", "app.log.1");
    append(&path, line(3));
    let place: LogPosition = serde_json::from_str(&place).unwrap();
    let mut follower = FileTailer::new(&path, "app", &scene.grammar, StartPosition::Resume(place));
    scene.read(&mut follower).is(&[2, 3]);
}

#[test]
fn starting_at_the_end_reads_new_lines_only() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let from_end = || FileTailer::new(&path, "app", &scene.grammar, StartPosition::AtEnd);
    let mut follower = from_end();
    scene.read(&mut follower).is(&[]);
    append(&path, line(2));
    scene.read(&mut follower).is(&[2]);
    // A file that is created after the start is read in full, even if it is created while stopped.
    fs::remove_file(&path).unwrap();
    let mut follower = from_end();
    let place = scene.read(&mut follower).is(&[]);
    append(&path, line(3));
    scene.read(&mut follower).is(&[3]);
    scene.read_from(place).is(&[3]);
}
