//! The build context of the container image: a Dockerfile and the program.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use super::{platform::Platform, staging::Staging, tarball};

const RELEASE_DOCKERFILE: &str = "packaging/docker/release.Dockerfile";

/// Writes `sessionwatch-VERSION-container-ARCHITECTURE.tar.gz`, which `docker build` reads as it is.
///
/// # Errors
///
/// Fails if a file cannot be copied, or `tar` fails.
pub(super) fn write_build_context(
    staging: &Staging,
    platform: &Platform,
    version: &str,
    output: &Path,
) -> Result<()> {
    let context = tempfile::tempdir()?;
    std::fs::copy(staging.program(), context.path().join("sessionwatch"))?;
    std::fs::copy(RELEASE_DOCKERFILE, context.path().join("Dockerfile"))
        .with_context(|| format!("cannot copy {RELEASE_DOCKERFILE}"))?;
    let name = format!("sessionwatch-{version}-container-{}.tar.gz", platform.debian_arch);
    let mut tar = Command::new("tar");
    tar.args(tarball::REPRODUCIBLE_ARGUMENTS)
        .arg("--file")
        .arg(output.join(name))
        .arg("--directory")
        .arg(context.path())
        .args(["Dockerfile", "sessionwatch"]);
    super::run_step(&mut tar)
}
