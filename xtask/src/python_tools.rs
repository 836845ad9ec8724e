//! Programs from PyPI, each in its own virtual environment below `target/tools`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// A program from PyPI, pinned to the version that its results were recorded with.
pub(crate) struct PythonTool {
    /// Name of the folder.
    name: &'static str,
    /// Name of the command.
    command: &'static str,
    requirements: &'static [&'static str],
}

/// Property-based tests of the API, generated from its OpenAPI document.
pub(crate) const SCHEMATHESIS_TOOL: PythonTool =
    PythonTool { name: "schemathesis", command: "schemathesis", requirements: &["schemathesis==4.32.5"] };

/// Spell checker for code and documentation.
pub(crate) const TYPOS_TOOL: PythonTool =
    PythonTool { name: "typos", command: "typos", requirements: &["typos==1.52.0"] };

/// Cargo with zig as the linker, which links against old versions of the C library. zig comes along.
pub(crate) const ZIGBUILD_TOOL: PythonTool = PythonTool {
    name: "zigbuild",
    command: "cargo-zigbuild",
    requirements: &["cargo-zigbuild==0.24.1", "ziglang==0.15.2"],
};

/// Python with an image library.
pub(crate) const PILLOW_PYTHON: PythonTool =
    PythonTool { name: "pillow", command: "python", requirements: &["pillow==12.0.0"] };

impl PythonTool {
    fn folder(&self) -> PathBuf {
        Path::new("target/tools").join(self.name)
    }

    /// Returns the path of the program, relative to the root of the project.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder().join("bin").join(self.command)
    }

    /// Installs the program where it is missing.
    ///
    /// # Errors
    ///
    /// Fails if Python cannot create a virtual environment, or pip cannot install the program.
    pub(crate) fn install(&self) -> Result<()> {
        if self.program().exists() {
            return Ok(());
        }
        super::print_message(&format!("downloading {}", self.requirements.join(", ")));
        let folder = self.folder();
        let create_environment = || {
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&folder)
                .status()
                .is_ok_and(|made| made.success())
        };
        // Debian ships the `venv` module in a separate package.
        if !(create_environment()
            || super::is_on_path("apt-get")
                && super::install_with_apt(&["python3-venv"])
                && create_environment())
        {
            bail!("Python cannot create a virtual environment: install python3-venv and run again");
        }
        let status = Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(self.requirements)
            .status()
            .context("cannot run pip")?;
        if status.success() { Ok(()) } else { bail!("pip cannot install {}", self.requirements.join(", ")) }
    }
}
