//! The tarball: program, manual pages, completions and licenses.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{platform::Platform, staging::Staging};

/// Arguments of `tar` for a new compressed archive. Order, owner and time are fixed, so that the same program gives the
/// same archive.
pub(super) const REPRODUCIBLE_ARGUMENTS: [&str; 8] = [
    "--create",
    "--gzip",
    "--sort=name",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mtime=@0",
    "--mode=u=rwX,go=rX",
];

/// Writes `sessionwatch-VERSION-TARGET.tar.gz`, with one folder of that name in it.
///
/// # Errors
///
/// Fails if `tar` fails.
pub(super) fn write_tarball(
    staging: &Staging,
    platform: &Platform,
    version: &str,
    output: &Path,
) -> Result<()> {
    let name = format!("sessionwatch-{version}-{}", platform.rust_target);
    let mut tar = Command::new("tar");
    tar.args(REPRODUCIBLE_ARGUMENTS)
        .arg(format!("--transform=s,^\\.,{name},"))
        .arg("--file")
        .arg(output.join(format!("{name}.tar.gz")))
        .arg("--directory")
        .arg(staging.path())
        .arg(".");
    super::run_step(&mut tar)
}
