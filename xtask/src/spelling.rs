//! The spelling of code, comments, messages and documentation: American English, by `_typos.toml`.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::python_tools::TYPOS;

/// Fails on every misspelled word, and prints where it is.
///
/// # Errors
///
/// If a word is misspelled, or the program that checks cannot be installed or run.
pub(crate) fn check_spelling() -> Result<()> {
    TYPOS.install()?;
    super::print_message("==> typos");
    let status = Command::new(TYPOS.program())
        .args(["--format", "brief", "."])
        .status()
        .context("typos cannot be run")?;
    if status.success() {
        Ok(())
    } else {
        bail!("words are misspelled: correct them, or add them to _typos.toml if they are right")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs typos with the project's configuration on one text.
    fn accepts(text: &str) -> Result<bool> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("page.md");
        std::fs::write(&file, text)?;
        let status = Command::new(root.join(TYPOS.program()))
            .arg("--config")
            .arg(root.join("_typos.toml"))
            .arg(&file)
            .output()?
            .status;
        Ok(status.success())
    }

    #[test]
    fn misspelled_and_british_words_are_refused() -> Result<()> {
        assert!(accepts("The color of a canceled plan, measured with wrk.\n")?);
        assert!(!accepts("The plan was canceled succesfully.\n")?);
        assert!(!accepts("The colour of a plan.\n")?);
        Ok(())
    }
}
