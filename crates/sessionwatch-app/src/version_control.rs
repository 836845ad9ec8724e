//! Advice for files that must not be committed with the application beside which they were created.

use std::path::Path;

/// Beginning of the names of all files that are created beside a configuration.
const OWN_FILES_PREFIX: &str = "sessionwatch-";

/// Returns the advice for a new file in a git work tree; `None` outside of one, and if a `.gitignore` names such files.
#[must_use]
pub fn advise_to_ignore(file: &Path) -> Option<String> {
    let file = std::path::absolute(file).ok()?;
    for folder in file.ancestors().skip(1) {
        let ignored = std::fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
        if ignored.lines().any(|line| line.trim_start_matches('/').starts_with(OWN_FILES_PREFIX)) {
            return None;
        }
        // A file in linked work trees and submodules, a folder elsewhere.
        if folder.join(".git").exists() {
            return Some(format!("this is a git work tree: add `{OWN_FILES_PREFIX}*` to .gitignore"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_a_work_tree_are_to_be_ignored_until_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web/sessionwatch-state.db");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        assert_eq!(advise_to_ignore(&file), None);
        std::fs::create_dir(folder.path().join(".git")).unwrap();
        let advice = advise_to_ignore(&file).unwrap();
        assert_eq!(advice, "this is a git work tree: add `sessionwatch-*` to .gitignore");
        std::fs::write(folder.path().join(".gitignore"), "node_modules\n").unwrap();
        assert!(advise_to_ignore(&file).is_some());
        std::fs::write(folder.path().join(".gitignore"), "node_modules\n/sessionwatch-*\n").unwrap();
        assert_eq!(advise_to_ignore(&file), None);
    }
}
