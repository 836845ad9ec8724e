//! Recognizes rotated files of a log by their names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sessionwatch_core::{duration::SECOND, timestamp::UtcTimestamp};

use super::content::{FileId, FileMetadata};

/// File name suffixes of compressed files.
const PACKED_SUFFIXES: [&str; 10] =
    [".gz", ".zst", ".xz", ".bz2", ".lz4", ".lzma", ".Z", ".zip", ".tgz", ".gzip"];
/// Suffix words of rotated files, such as `app.log.old`.
const ROTATION_WORDS: [&str; 3] = ["old", "prev", "bak"];
/// The number of remembered names of a log whose symbolic link changes its target.
const MAX_REMEMBERED_NAMES: usize = 4;
/// Minimum number of digits of a date; fewer digits are a sequence number or part of a program's name.
const MIN_DATE_DIGITS: usize = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RotatedFile {
    pub(super) path: PathBuf,
    pub(super) metadata: FileMetadata,
}

impl RotatedFile {
    /// Returns the sequence number at the end of the name: the higher, the older. 0 if there is none.
    fn rotation_number(&self) -> u64 {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let last = strip_packed_suffix(name).rsplit('.').next().unwrap_or_default();
        last.parse().ok().filter(|_| last.len() < MIN_DATE_DIGITS).unwrap_or(0)
    }

    /// Returns `true` if the file is a compressed one next to its original, other than the log itself: the compression
    /// is still running then.
    pub(super) fn is_being_packed(&self, log: Option<FileId>) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let plain = strip_packed_suffix(name);
        let beside = || {
            fs::metadata(self.path.with_file_name(plain))
                .map(|facts| FileMetadata::from_metadata(&facts).file)
        };
        plain != name && beside().is_ok_and(|file| Some(file) != log)
    }

    /// Returns `true` if the file has the modification time of another one. Compressors copy it from the original.
    pub(super) fn was_modified_at(&self, modified: UtcTimestamp) -> bool {
        modified > UtcTimestamp::UNIX_EPOCH
            && self.metadata.modified_at.duration_since(modified).abs() < SECOND
    }
}

/// The folders and names by which rotated files of a log are searched.
#[derive(Clone, Debug, Default)]
pub(super) struct LogFolders {
    names: Vec<LogName>,
    /// Logs of other sources.
    excluded_logs: Vec<PathBuf>,
}

/// A current or former name of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogName {
    folder: PathBuf,
    name: String,
    /// The name is the target of a symbolic link.
    is_target: bool,
}

impl LogFolders {
    /// Adds the name of the log, and that of its target if it is a symbolic link.
    pub(super) fn add_log(&mut self, path: &Path) {
        self.add_name(path, false);
        if fs::symlink_metadata(path).is_ok_and(|facts| facts.is_symlink())
            && let Ok(target) = fs::canonicalize(path)
        {
            self.add_name(&target, true);
        }
    }

    pub(super) fn exclude_logs(&mut self, logs: Vec<PathBuf>) {
        self.excluded_logs = logs;
    }

    fn add_name(&mut self, path: &Path, is_target: bool) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let name = LogName { folder, name: name.to_owned(), is_target };
        if self.names.contains(&name) {
            return;
        }
        self.names.push(name);
        // The first one is the configured name, which stays.
        if self.names.len() > MAX_REMEMBERED_NAMES {
            self.names.remove(1);
        }
    }

    /// Returns the modification times of the folders, which change when files are added or removed.
    pub(super) fn modification_times(&self) -> Vec<Option<UtcTimestamp>> {
        let changed = |folder: &Path| {
            fs::metadata(folder).ok().map(|facts| FileMetadata::from_metadata(&facts).modified_at)
        };
        self.names.iter().map(|name| changed(&name.folder)).collect()
    }

    /// Lists the rotated files, oldest first.
    ///
    /// # Errors
    ///
    /// If a folder exists and cannot be listed.
    pub(super) fn list_rotated_files(&self) -> io::Result<Vec<RotatedFile>> {
        let mut found: Vec<RotatedFile> = vec![];
        let file =
            |path: &PathBuf| fs::metadata(path).ok().map(|facts| FileMetadata::from_metadata(&facts).file);
        let spared: Vec<FileId> = self.excluded_logs.iter().filter_map(file).collect();
        for LogName { folder, name: own, is_target } in &self.names {
            let entries = match fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let is_rotated =
                    name.to_str().is_some_and(|name| name != own && is_rotated_name(name, own, *is_target));
                if !is_rotated {
                    continue;
                }
                // Renamed or removed meanwhile; a renamed file is found by its new name.
                let Ok(facts) = entry.metadata() else { continue };
                let sibling =
                    RotatedFile { path: entry.path(), metadata: FileMetadata::from_metadata(&facts) };
                if facts.is_file()
                    && !spared.contains(&sibling.metadata.file)
                    && found.iter().all(|other| other.metadata.file != sibling.metadata.file)
                {
                    found.push(sibling);
                }
            }
        }
        // Files rotated within the resolution of file times are ordered by sequence number.
        found.sort_by(|one, other| {
            let key = |sibling: &RotatedFile| {
                (sibling.metadata.modified_at, std::cmp::Reverse(sibling.rotation_number()))
            };
            key(one).cmp(&key(other)).then_with(|| one.path.cmp(&other.path))
        });
        Ok(found)
    }
}

fn strip_packed_suffix(name: &str) -> &str {
    PACKED_SUFFIXES.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Returns `true` if `name` is that of a rotated file of `log`. `is_target`: the log is the target of a symbolic link.
fn is_rotated_name(name: &str, log: &str, is_target: bool) -> bool {
    let is_packed = strip_packed_suffix(name) != name;
    let name = strip_packed_suffix(name);
    if name == log {
        return is_packed;
    }
    // app.log.1, app.log-20261129, app.log.old
    if let Some(rest) = name.strip_prefix(log)
        && is_rotation_suffix(rest, 1)
    {
        return true;
    }
    let (stem, ending) = log.rsplit_once('.').map_or((log, ""), |(stem, ending)| (stem, ending));
    // app.1.log, app-20261129.log, app.1
    let bare = name.strip_suffix(ending).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    if !ending.is_empty()
        && let Some(rest) = bare.strip_prefix(stem)
        && is_rotation_suffix(rest, if rest.starts_with('.') { 1 } else { MIN_DATE_DIGITS })
    {
        return true;
    }
    // 0.log and 1.log, app-20261128.log and app-20261129.log: if a symbolic link points to the current one
    let shape = |name: &str| {
        let digits = name.bytes().filter(u8::is_ascii_digit).count();
        let other: String = name.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        (other, digits)
    };
    let (one, own) = shape(log);
    let is_alike = |(two, other): (String, usize)| {
        let only_digits = one.trim_start_matches('.') == ending;
        two == one && own.min(other) > 0 && (only_digits || own.min(other) >= MIN_DATE_DIGITS)
    };
    // A former target may itself have been rotated, as Kubernetes does: 0.log.20261129-101500.gz.
    let cuts = name.char_indices().filter(|(_, letter)| ".-_".contains(*letter)).map(|(at, _)| at);
    is_target
        && (is_alike(shape(name))
            || cuts.into_iter().any(|at| is_rotation_suffix(&name[at..], 1) && is_alike(shape(&name[..at]))))
}

/// Returns `true` for a rotation suffix: a separator followed by a number, a date, or a word such as `old`.
fn is_rotation_suffix(rest: &str, fewest_digits: usize) -> bool {
    let Some(first) = rest.chars().next().filter(|first| ".-_".contains(*first)) else { return false };
    let rest = &rest[first.len_utf8()..];
    if ROTATION_WORDS.contains(&rest) {
        return true;
    }
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    rest.starts_with(|letter: char| letter.is_ascii_digit())
        && digits >= fewest_digits
        && rest.chars().all(|letter| letter.is_ascii_digit() || ".-_:+TZ".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_recognized_by_name() {
        for name in [
            "app.log.1",
            "app.log.12",
            "app.log.0.gz",
            "app.log-20261129",
            "app.log-20261129.gz",
            "app.log.2026-11-29",
            "app.log-2026-11-29T10:00:00+00:00",
            "app.log.20261129-101500.gz",
            "app.log_1795943720",
            "app.log.old",
            "app.log.gz",
            "app.log.1.zst",
            "app.1.log",
            "app-20261129.log",
            "app-2026-11-29.log.gz",
            "app.2026-11-29.1.log",
            "app.1",
            "app-20261129",
            "app.3.gz",
        ] {
            assert!(is_rotated_name(name, "app.log", false), "{name}");
        }
        for name in [
            "app.log",
            "app.log.d",
            "app.log.1.tmp",
            "app.log1",
            "app.logs.1",
            "app-1.log",
            "app-error.log",
            "app-error.log.1",
            "other.log.1",
            "app2.log",
            "app.conf",
            "app.gz",
            "app",
        ] {
            assert!(!is_rotated_name(name, "app.log", false), "{name}");
        }
        assert!(is_rotated_name("syslog.1", "syslog", false));
        assert!(is_rotated_name("messages-20261129.xz", "messages", false));
        assert!(!is_rotated_name("messages2", "messages", false));
    }

    #[test]
    fn link_targets_are_recognized_by_number_or_date() {
        for (name, log) in [
            ("1.log", "0.log"),
            ("10.log", "9.log"),
            ("app-20261129.log", "app-20261128.log"),
            ("0.log.20261129-101500.gz", "0.log"),
            ("0.log.20261129-101500.gz", "1.log"),
            ("0.log.1", "1.log"),
        ] {
            assert!(is_rotated_name(name, log, true), "{name}");
        }
        for (name, log) in [("worker-2.log", "worker-1.log"), ("b.log", "a.log"), ("app.log", "0.log")] {
            assert!(!is_rotated_name(name, log, true), "{name}");
        }
        assert!(!is_rotated_name("1.log", "0.log", false));
    }
}
