//! Platforms that the artifacts are made for, and how each packaging system names them.

use anyhow::{Context, Result};

/// Oldest GNU C library that the programs run on: that of RHEL 7, which Rust's own programs need too.
pub(super) const GLIBC_VERSION: &str = "2.17";

/// A platform, by its names in the packaging systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Platform {
    /// Target of the compiler.
    pub(super) rust_target: &'static str,
    /// `process.arch` of Node.js.
    pub(super) node_arch: &'static str,
    /// Platform tag of Python wheels.
    pub(super) wheel_tag: &'static str,
    /// Architecture of Debian.
    pub(super) debian_arch: &'static str,
}

/// Platforms of a release.
pub(super) const RELEASE_PLATFORMS: [Platform; 2] = [
    Platform {
        rust_target: "x86_64-unknown-linux-gnu",
        node_arch: "x64",
        wheel_tag: "manylinux_2_17_x86_64.manylinux2014_x86_64",
        debian_arch: "amd64",
    },
    Platform {
        rust_target: "aarch64-unknown-linux-gnu",
        node_arch: "arm64",
        wheel_tag: "manylinux_2_17_aarch64.manylinux2014_aarch64",
        debian_arch: "arm64",
    },
];

impl Platform {
    /// Returns `true` if programs for this platform run on this machine.
    pub(super) fn is_native(&self) -> bool {
        self.rust_target.starts_with(std::env::consts::ARCH)
    }
}

/// Returns this machine, whose programs promise nothing about other machines.
///
/// # Errors
///
/// Fails if there is no platform for the processor.
pub(super) fn this_machine() -> Result<Platform> {
    let native = RELEASE_PLATFORMS.into_iter().find(Platform::is_native);
    let native = native.with_context(|| format!("no packages are made for {}", std::env::consts::ARCH))?;
    let wheel_tag = if native.node_arch == "x64" { "linux_x86_64" } else { "linux_aarch64" };
    Ok(Platform { wheel_tag, ..native })
}
