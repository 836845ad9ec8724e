//! The Debian package: program, manual pages, completions and the systemd unit.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    platform::{GLIBC_VERSION, Platform},
    staging::{COMPLETED_SHELLS, Staging},
};

/// Makes systemd read the unit, unless the package is installed into another root.
const POST_INSTALL: &str = include_str!("../../../packaging/debian/postinst");

/// Builds `sessionwatch_VERSION_ARCH.deb`.
///
/// # Errors
///
/// Fails if `dpkg-deb` is missing or fails.
pub(super) fn build_package(
    staging: &Staging,
    platform: &Platform,
    version: &str,
    output: &Path,
) -> Result<()> {
    let root = tempfile::tempdir()?;
    let install = |source: &Path, path: &str, mode: u32| install_file(source, &root.path().join(path), mode);
    install(&staging.program(), "usr/bin/sessionwatch", 0o755)?;
    let unit = Path::new("packaging/systemd/sessionwatch.service");
    install(unit, "usr/lib/systemd/system/sessionwatch.service", 0o644)?;
    for shell in COMPLETED_SHELLS {
        let path = format!("usr/share/{}/{}", shell.debian_folder, shell.file);
        install(&staging.completions(shell), &path, 0o644)?;
    }
    for document in staging.documents() {
        let name = document.file_name().context("a document has a name")?.to_string_lossy().into_owned();
        install(&document, &format!("usr/share/doc/sessionwatch/{name}"), 0o644)?;
    }
    for page in super::list_names(&staging.man_folder())? {
        let path = format!("usr/share/man/man1/{page}");
        install(&staging.man_folder().join(&page), &path, 0o644)?;
        super::run_step(Command::new("gzip").args(["-9", "--no-name"]).arg(root.path().join(path)))?;
    }
    // The configuration is for the operator to write, so the folder starts empty.
    std::fs::create_dir_all(root.path().join("etc/sessionwatch"))?;
    let control = root.path().join("DEBIAN");
    std::fs::create_dir_all(&control)?;
    let installed_kib = sum_sizes(root.path())? / 1024;
    std::fs::write(control.join("control"), describe_package(platform, version, installed_kib))?;
    std::fs::write(control.join("postinst"), POST_INSTALL)?;
    std::fs::set_permissions(control.join("postinst"), PermissionsExt::from_mode(0o755))?;
    // Folders are created with the mask of the person who builds, which may hide them from everyone else.
    super::run_step(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(root.path()))?;
    let file = output.join(format!("sessionwatch_{version}_{}.deb", platform.debian_arch));
    super::run_step(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "--build"])
            .arg(root.path())
            .arg(file)
            // Fixed, so that the same program gives the same package.
            .env("SOURCE_DATE_EPOCH", "0"),
    )
}

fn describe_package(platform: &Platform, version: &str, installed_kib: u64) -> String {
    format!(
        "Package: sessionwatch\nVersion: {version}\nArchitecture: {}\n\
         Maintainer: sessionwatch developers <sessionwatch@localhost>\n\
         Installed-Size: {installed_kib}\nDepends: libc6 (>= {GLIBC_VERSION})\nRecommends: ca-certificates\n\
         Section: admin\nPriority: optional\n\
         Description: monitors the login sessions in an application's database\n \
         Finds shared, orphaned and expired sessions, alerts, and cleans them up. Every cleanup\n can be undone.\n",
        platform.debian_arch
    )
}

fn install_file(source: &Path, path: &Path, mode: u32) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    std::fs::copy(source, path).with_context(|| format!("cannot copy {}", source.display()))?;
    Ok(std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?)
}

/// Sums up the sizes of all files below a folder, in bytes.
fn sum_sizes(folder: &Path) -> Result<u64> {
    let entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries
        .iter()
        .map(|path| if path.is_dir() { sum_sizes(path) } else { Ok(std::fs::metadata(path)?.len()) })
        .sum()
}
