//! The npm packages: one with the program for each platform, and `sessionwatch`, which npm installs with the one that
//! fits the machine.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    platform::{Platform, RELEASE_PLATFORMS},
    staging::Staging,
};

/// Folder of the launcher and of the description.
const SOURCE_FOLDER: &str = "packaging/npm";

/// Packs `sessionwatch-linux-ARCH`, with the program.
///
/// # Errors
///
/// Fails if npm is missing or fails.
pub(super) fn pack_platform(
    staging: &Staging,
    platform: &Platform,
    version: &str,
    output: &Path,
) -> Result<()> {
    let mut manifest = describe_package(&platform_package(platform), version);
    manifest["os"] = json!(["linux"]);
    manifest["cpu"] = json!([platform.node_arch]);
    // npm skips the package where the C library is another one, such as musl on Alpine.
    manifest["libc"] = json!(["glibc"]);
    pack_package(&manifest, &[(&staging.program(), "bin/sessionwatch")], output)
}

/// Packs `sessionwatch`, which runs the program of the package for the platform.
///
/// # Errors
///
/// Fails if npm is missing or fails.
pub(super) fn pack_launcher(version: &str, output: &Path) -> Result<()> {
    let mut manifest = describe_package("sessionwatch", version);
    manifest["bin"] = json!({ "sessionwatch": "bin/sessionwatch.js" });
    manifest["engines"] = json!({ "node": ">=18" });
    let packages = RELEASE_PLATFORMS.iter().map(|platform| (platform_package(platform), version.into()));
    manifest["optionalDependencies"] = Value::Object(packages.collect());
    let source = Path::new(SOURCE_FOLDER);
    let files = ["sessionwatch.js", "README.md"].map(|name| source.join(name));
    pack_package(&manifest, &[(&files[0], "bin/sessionwatch.js"), (&files[1], "README.md")], output)
}

fn platform_package(platform: &Platform) -> String {
    format!("sessionwatch-linux-{}", platform.node_arch)
}

fn describe_package(name: &str, version: &str) -> Value {
    json!({
        "name": name, "version": version, "license": "MIT OR Apache-2.0",
        "description": "Monitors the login sessions in your application's database",
        "keywords": ["auth.js", "next-auth", "better-auth", "sessions", "security", "postgresql"],
    })
}

/// Packs a manifest and files, each a source and its path in the package.
fn pack_package(manifest: &Value, files: &[(&Path, &str)], output: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("package.json"), format!("{manifest:#}\n"))?;
    let licenses = ["LICENSE-APACHE", "LICENSE-MIT"].map(|name| (Path::new(name), name));
    for (source, name) in files.iter().copied().chain(licenses) {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::copy(source, path).with_context(|| format!("cannot copy {}", source.display()))?;
    }
    super::run_step(
        Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(output)
            .current_dir(&folder),
    )
}
