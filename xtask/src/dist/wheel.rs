//! The Python wheel, for `pip install sessionwatch` and `uvx sessionwatch`.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{platform::Platform, staging::Staging};

/// Writes the wheel: Python has no tool that packages a program without building it.
const BUILD_SCRIPT: &str = include_str!("build_wheel.py");

/// Builds `sessionwatch-VERSION-py3-none-PLATFORM.whl`.
///
/// # Errors
///
/// Fails if Python is missing or fails.
pub(super) fn build_wheel(
    staging: &Staging,
    platform: &Platform,
    version: &str,
    output: &Path,
) -> Result<()> {
    super::run_step(
        Command::new("python3")
            .args(["-c", BUILD_SCRIPT, version, platform.wheel_tag])
            .arg(staging.program())
            .arg("packaging/npm/README.md")
            .arg(output),
    )
}
