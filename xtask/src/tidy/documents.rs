//! The text files of the repository other than Rust: documentation, markup, configuration.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

/// Extensions of text files that people write.
const TEXT_FILE_ENDINGS: [&str; 9] = ["css", "html", "js", "md", "mjs", "service", "toml", "yaml", "yml"];

/// Path segments of generated and third-party files, which are not checked.
const LEFT_OUT: [&str; 4] = ["/fixtures/", "/samples/", "/snapshots/", "/vendor/"];

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Path relative to the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads every text file that git tracks or would track.
///
/// # Errors
///
/// Fails if git cannot list the files, or a file cannot be read.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Document>> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !listed.status.success() {
        bail!("git cannot list the files of {}", root.display());
    }
    let listed = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
    let mut documents = Vec::new();
    for path in listed.lines().filter(|path| is_text(path)) {
        // git lists a deleted file until the deletion is staged.
        if !root.join(path).exists() {
            continue;
        }
        let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
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
    fn fixtures_and_images_are_not_text_files() {
        assert!(is_text("docs/checks/orphaned-sessions.md"));
        assert!(is_text("crates/sessionwatch-web/src/assets/app.css"));
        assert!(!is_text("docs/screenshots/start.png"));
        assert!(!is_text("crates/sessionwatch/tests/fixtures/cases/a.md"));
    }
}
