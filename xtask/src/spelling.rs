//! Spelling of code, comments, messages and documentation: American English, as `_typos.toml` configures it.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::python_tools::TYPOS_TOOL;

/// Prints the position of every misspelled word.
///
/// # Errors
///
/// Fails if a word is misspelled, or typos cannot be installed or run.
pub(crate) fn check_spelling() -> Result<()> {
    TYPOS_TOOL.install()?;
    super::print_message("==> typos");
    let status = Command::new(TYPOS_TOOL.program())
        .args(["--format", "brief", "."])
        .status()
        .context("cannot run typos")?;
    if status.success() {
        Ok(())
    } else {
        bail!("misspelled words: correct them, or add them to _typos.toml if they are correct")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs typos on one text, with the project's configuration.
    fn accepts(text: &str) -> Result<bool> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("page.md");
        std::fs::write(&file, text)?;
        let status = Command::new(root.join(TYPOS_TOOL.program()))
            .arg("--config")
            .arg(root.join("_typos.toml"))
            .arg(&file)
            .output()?
            .status;
        Ok(status.success())
    }

    #[test]
    fn misspelled_and_british_words_are_rejected() -> Result<()> {
        assert!(accepts("The color of a canceled plan, measured with wrk.\n")?);
        assert!(!accepts("The plan was canceled succesfully.\n")?);
        assert!(!accepts("The colour of a plan.\n")?);
        Ok(())
    }
}
