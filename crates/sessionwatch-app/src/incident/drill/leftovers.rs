//! Databases and files that killed drills left behind, named after the drill. A comment on the database and a lock on a
//! file show whether the drill still runs.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_targets::drill_database::drop_statement;

/// Prefix of the names of databases and files of drills.
pub const DRILL_NAME_PREFIX: &str = "sessionwatch_drill_";
/// Hexadecimal digits of a drill number.
const DRILL_NUMBER_DIGITS: usize = 8;
/// Suffix of the file that a drill keeps locked.
const LOCK_FILE_SUFFIX: &str = ".lock";
/// Prefix of the comment on a database.
const COMMENT_PREFIX: &str = "sessionwatch drill, created ";
/// Separator between time and process in the comment.
const PROCESS_SEPARATOR: &str = ", process ";

/// State of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrillState {
    /// The process is running.
    Running,
    /// The process is gone.
    Abandoned,
    /// The process may run on another machine, or in another container.
    Unknown,
}

/// Database of a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftoverDatabase {
    /// Name.
    pub name: String,
    /// Creation time in RFC 3339; `None` if the comment does not have it.
    pub created_at: Option<String>,
    /// State of the drill.
    pub state: DrillState,
}

/// Files of a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftoverFiles {
    /// Paths.
    pub files: Vec<PathBuf>,
    /// State of the drill.
    pub state: DrillState,
}

/// Returns the name of a drill.
#[must_use]
pub fn drill_name(number: u32) -> String {
    format!("{DRILL_NAME_PREFIX}{number:08x}")
}

/// Returns the comment for a database of this process.
#[must_use]
pub fn database_comment(now: UtcTimestamp) -> String {
    let process =
        process_identity().map(|process| format!("{PROCESS_SEPARATOR}{process}")).unwrap_or_default();
    format!("{COMMENT_PREFIX}{}{process}", clock::format_rfc3339(now))
}

impl LeftoverDatabase {
    /// Parses the name and comment of a database. Returns `None` if it does not belong to a drill.
    #[must_use]
    pub fn parse(name: &str, comment: Option<&str>) -> Option<Self> {
        // A longer name that only starts like a drill's belongs to somebody else.
        if drill_number(name)?.len() != name.len() - DRILL_NAME_PREFIX.len() {
            return None;
        }
        let created_by = comment.and_then(|comment| comment.strip_prefix(COMMENT_PREFIX));
        let (created_at, process) =
            match created_by.map(|created_by| created_by.split_once(PROCESS_SEPARATOR)) {
                Some(Some((created_at, process))) => (Some(created_at), Some(process)),
                Some(None) => (created_by, None),
                None => (None, None),
            };
        let state = process.map_or(DrillState::Unknown, drill_state);
        Some(Self { name: name.to_owned(), created_at: created_at.map(str::to_owned), state })
    }

    /// Describes the database.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.created_at {
            Some(at) => format!("drill database `{}`, created {at}", self.name),
            None => format!("drill database `{}`", self.name),
        }
    }

    /// Returns the statement that drops the database.
    #[must_use]
    pub fn drop_statement(&self) -> String {
        drop_statement(&self.name)
    }
}

/// Returns the hexadecimal number in the name of a database or file of a drill.
fn drill_number(name: &str) -> Option<&str> {
    let number = name.strip_prefix(DRILL_NAME_PREFIX)?.get(..DRILL_NUMBER_DIGITS)?;
    number.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(number)
}

/// Identifies this process by boot id, PID namespace, PID and start time. Returns `None` if the system does not provide
/// them.
fn process_identity() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let id = std::process::id();
    Some(format!("{} {} {id} {}", boot.trim(), namespace.display(), process_start_ticks(id)?))
}

/// Returns the start time of a process in clock ticks since boot; `None` if there is no such process.
fn process_start_ticks(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program name in parentheses may contain spaces and parentheses itself.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// Returns whether the process with this identity still runs.
fn drill_state(process: &str) -> DrillState {
    let parts =
        |text: &str| <[String; 4]>::try_from(text.split(' ').map(str::to_owned).collect::<Vec<_>>()).ok();
    let (Some(here), Some(there)) = (process_identity().as_deref().and_then(parts), parts(process)) else {
        return DrillState::Unknown;
    };
    // After a reboot, or in another PID namespace, the PID means nothing.
    if here[..2] != there[..2] {
        return DrillState::Unknown;
    }
    match there[2].parse().map(process_start_ticks) {
        Ok(start) if start.map(|start| start.to_string()).as_ref() == Some(&there[3]) => DrillState::Running,
        Ok(_) => DrillState::Abandoned,
        Err(_) => DrillState::Unknown,
    }
}

/// Creates the file that a drill keeps locked while it runs.
///
/// # Errors
///
/// Fails if the file cannot be created or locked.
pub fn create_lock_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    // The system releases the lock when the process ends, even by SIGKILL.
    file.try_lock().map_err(std::io::Error::from)?;
    Ok(file)
}

/// Returns the path of a drill's lock file.
#[must_use]
pub fn lock_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{LOCK_FILE_SUFFIX}"))
}

impl LeftoverFiles {
    /// Returns the paths, separated by spaces.
    #[must_use]
    pub fn joined_names(&self) -> String {
        self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
    }
}

/// Lists the files of drills in a folder and in the current folder.
#[must_use]
pub fn find_leftover_files(folder: &Path) -> Vec<LeftoverFiles> {
    let here = Path::new("");
    let is_here = folder.as_os_str().is_empty()
        || std::fs::canonicalize(folder).ok() == std::fs::canonicalize(".").ok();
    let mut found = list_leftover_files(here);
    if !is_here {
        found.extend(list_leftover_files(folder));
    }
    found
}

/// Lists the files of drills in a folder; none if the folder cannot be read.
#[must_use]
pub fn list_leftover_files(folder: &Path) -> Vec<LeftoverFiles> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut drills = BTreeMap::<String, Vec<PathBuf>>::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        if let Some(number) = file_name.to_str().and_then(drill_number) {
            let path = if folder == Path::new(".") { PathBuf::from(&file_name) } else { entry.path() };
            drills.entry(format!("{DRILL_NAME_PREFIX}{number}")).or_default().push(path);
        }
    }
    let left = |(name, mut files): (String, Vec<PathBuf>)| {
        files.sort();
        let locked = OpenOptions::new().append(true).open(lock_path(folder, &name));
        let state = match locked.as_ref().map(File::try_lock) {
            Ok(Ok(())) => DrillState::Abandoned,
            Ok(Err(TryLockError::WouldBlock)) => DrillState::Running,
            Ok(Err(TryLockError::Error(_))) | Err(_) => DrillState::Unknown,
        };
        LeftoverFiles { files, state }
    };
    drills.into_iter().map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_abandoned_once_the_process_of_its_drill_is_gone() {
        let comment = database_comment(UtcTimestamp::MIN);
        let name = drill_name(7);
        let left = LeftoverDatabase::parse(&name, Some(&comment)).unwrap();
        assert!(left.describe().contains("created "), "{}", left.describe());
        // This process runs; an earlier process with the same PID does not.
        let (before, start) = comment.rsplit_once(' ').unwrap();
        let earlier = format!("{before} {}", start.parse::<u64>().unwrap() - 1);
        let other = comment.replace("pid:[", "pid:[9");
        let states = [Some(comment.as_str()), Some(&earlier), Some(&other), Some("mine"), None]
            .map(|comment| LeftoverDatabase::parse(&name, comment).unwrap().state);
        let [running, abandoned, unknown] = [DrillState::Running, DrillState::Abandoned, DrillState::Unknown];
        assert_eq!(states, [running, abandoned, unknown, unknown, unknown]);
        for other in
            ["sessionwatch_drill_report", "sessionwatch_drill_0000000", "sessionwatch_drill_000000001"]
        {
            assert_eq!(LeftoverDatabase::parse(other, Some(&earlier)), None, "{other}");
        }
    }

    #[test]
    fn files_are_abandoned_once_their_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let lock_of = |number| lock_path(folder.path(), &drill_name(number));
        let held = create_lock_file(&lock_of(1)).unwrap();
        drop(create_lock_file(&lock_of(2)).unwrap());
        for file in [
            "sessionwatch_drill_00000002-state.db",
            "sessionwatch_drill_00000003.db",
            "sessionwatch_drill_x.db",
        ] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let states: Vec<_> = list_leftover_files(folder.path())
            .into_iter()
            .map(|left| (left.state, left.files.len()))
            .collect();
        assert_eq!(states, [(DrillState::Running, 1), (DrillState::Abandoned, 2), (DrillState::Unknown, 1)]);
        drop(held);
        assert_eq!(list_leftover_files(folder.path())[0].state, DrillState::Abandoned);
        assert_eq!(list_leftover_files(&folder.path().join("none")), []);
    }
}
