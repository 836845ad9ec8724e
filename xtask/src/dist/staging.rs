//! What every artifact holds: the program, its manual pages, its completions and the licenses.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Files of the repository that every artifact holds.
const PACKAGED_DOCUMENTS: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "example.toml"];

/// Programs above this size still have symbols.
const MAX_STRIPPED_BYTES: u64 = 64 * 1024 * 1024;

/// A folder with the files to package. It is removed with the value.
#[derive(Debug)]
pub(super) struct Staging {
    folder: tempfile::TempDir,
}

/// A shell, and the path of its completions below `usr/share` and in a tarball.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shell {
    pub(super) name: &'static str,
    /// File name by which the shell finds the completions.
    pub(super) file: &'static str,
    /// Folder below `usr/share` in Debian.
    pub(super) debian_folder: &'static str,
}

pub(super) const COMPLETED_SHELLS: [Shell; 3] = [
    Shell { name: "bash", file: "sessionwatch", debian_folder: "bash-completion/completions" },
    Shell { name: "zsh", file: "_sessionwatch", debian_folder: "zsh/vendor-completions" },
    Shell { name: "fish", file: "sessionwatch.fish", debian_folder: "fish/vendor_completions.d" },
];

impl Staging {
    /// Collects the files. `printing` is the same version of the program for this machine, and prints the pages.
    ///
    /// # Errors
    ///
    /// Fails if the program cannot be copied, stripped or run.
    pub(super) fn prepare(program: &Path, printing: &Path) -> Result<Self> {
        let staging = Self { folder: tempfile::tempdir()? };
        let copied = staging.program();
        std::fs::copy(program, &copied).with_context(|| format!("cannot copy {}", program.display()))?;
        // Release builds are stripped already, and `strip` knows no other processors.
        if std::fs::metadata(&copied)?.len() > MAX_STRIPPED_BYTES {
            super::run_step(Command::new("strip").arg(&copied))?;
        }
        let man = staging.man_folder();
        std::fs::create_dir_all(&man)?;
        super::run_step(Command::new(printing).args(["man", "--output"]).arg(&man))?;
        for shell in COMPLETED_SHELLS {
            let file = staging.completions(shell);
            std::fs::create_dir_all(file.parent().context("completions have a folder")?)?;
            let output = Command::new(printing).args(["completions", shell.name]).output()?;
            if !output.status.success() {
                bail!("the program prints no completions for {}", shell.name);
            }
            std::fs::write(file, output.stdout)?;
        }
        for name in PACKAGED_DOCUMENTS {
            std::fs::copy(name, staging.folder.path().join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        Ok(staging)
    }

    pub(super) fn program(&self) -> PathBuf {
        self.folder.path().join("sessionwatch")
    }

    pub(super) fn man_folder(&self) -> PathBuf {
        self.folder.path().join("man")
    }

    pub(super) fn completions(&self, shell: Shell) -> PathBuf {
        self.folder.path().join("completions").join(shell.name).join(shell.file)
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = PathBuf> {
        PACKAGED_DOCUMENTS.iter().map(|name| self.folder.path().join(name))
    }

    /// Folder with all files, as a tarball holds them.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}
