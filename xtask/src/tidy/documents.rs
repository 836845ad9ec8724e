//! The texts of the repository that are no Rust: documentation, markup, configuration.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

/// Endings of files that people write and read.
const TEXT_FILE_ENDINGS: [&str; 9] = ["css", "html", "js", "md", "mjs", "service", "toml", "yaml", "yml"];

/// What nobody wrote by hand, or what stands for other people's texts.
const LEFT_OUT: [&str; 4] = ["/fixtures/", "/samples/", "/snapshots/", "/vendor/"];

/// One text.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads every text that git knows.
///
/// # Errors
///
/// git cannot list them, or one cannot be read.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Document>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git cannot be run")?;
    if !listed.status.success() {
        bail!("git cannot list the files of {}", root.display());
    }
    let listed = String::from_utf8(listed.stdout).context("a file has a name that is not UTF-8")?;
    let mut documents = Vec::new();
    for path in listed.lines().filter(|path| is_text(path)) {
        // A file that was deleted is listed until that is committed.
        if !root.join(path).exists() {
            continue;
        }
        let text =
            std::fs::read_to_string(root.join(path)).with_context(|| format!("{path} cannot be read"))?;
        documents.push(Document { path: path.to_owned(), text });
    }
    Ok(documents)
}

fn is_text(path: &str) -> bool {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| TEXT_FILE_ENDINGS.contains(&ending))
        && !LEFT_OUT.iter().any(|part| path.contains(part))
        && path != "fuzz/Cargo.lock"
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn fixtures_and_pictures_are_no_texts() {
        assert!(is_text("docs/checks/orphaned-sessions.md"));
        assert!(is_text("crates/sessionwatch-web/src/assets/app.css"));
        assert!(!is_text("docs/screenshots/start.png"));
        assert!(!is_text("crates/sessionwatch/tests/fixtures/cases/a.md"));
    }
}
