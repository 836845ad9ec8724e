//! A folder in memory for the files of the tests.
//!
//! Most of what tests wait for is the file system: each of hundreds of databases is a copy of 300 files, and each state
//! store syncs its writes. In memory, creating a database takes a quarter of the CPU time.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// File system in memory that Linux always has.
const MEMORY_FILE_SYSTEM: &str = "/dev/shm";
/// Folders begin with this, and end with the process that made them.
const FOLDER_PREFIX: &str = "sessionwatch-tests-";
/// Free space in the file system, and available memory, below which the tests use the disk. A run needs about 2 GB.
const REQUIRED_BYTES: u64 = 6 << 30;

/// A folder that is removed with the value.
#[derive(Debug)]
pub(crate) struct MemoryFolder {
    path: PathBuf,
}

impl MemoryFolder {
    /// Creates a folder. Returns `None` if there is not enough memory, or no such file system.
    pub(crate) fn create() -> Option<Self> {
        let root = Path::new(MEMORY_FILE_SYSTEM);
        remove_abandoned_folders(root);
        if read_free_space(root)? < REQUIRED_BYTES || read_available_memory()? < REQUIRED_BYTES {
            return None;
        }
        Self::create_in(root)
    }

    fn create_in(root: &Path) -> Option<Self> {
        let path = root.join(format!("{FOLDER_PREFIX}{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let folder = Self { path };
        // Servers run as other users, and create files of their own.
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o1777)).ok()?;
        Some(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        // What cannot be removed now, the next run removes.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of runs that were killed.
fn remove_abandoned_folders(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns the bytes that a file system has left.
fn read_free_space(folder: &Path) -> Option<u64> {
    let listed = Command::new("df").args(["--block-size=1", "--output=avail"]).arg(folder).output().ok()?;
    let text = String::from_utf8(listed.stdout).ok()?;
    text.lines().nth(1)?.trim().parse().ok()
}

/// Returns the bytes of memory that programs can still get.
fn read_available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_ended_processes_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.join("inner")).unwrap();
            path
        };
        let own = folder(&format!("{FOLDER_PREFIX}{}", std::process::id()));
        let (ended, other) = (folder(&format!("{FOLDER_PREFIX}4294967295")), folder("other-1"));
        remove_abandoned_folders(root.path());
        assert_eq!((own.exists(), ended.exists(), other.exists()), (true, false, true));
    }

    #[test]
    fn a_folder_is_open_to_other_users_and_removed_with_the_value() {
        let root = tempfile::tempdir().unwrap();
        let folder = MemoryFolder::create_in(root.path()).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o1777);
        fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
        assert!(read_available_memory().unwrap() > 0 && read_free_space(Path::new("/tmp")).is_some());
    }
}
