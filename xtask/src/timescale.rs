//! PostgreSQL with TimescaleDB: downloaded server programs, and the extension that Debian builds for their version.
//!
//! The extension may need a newer C library than the machine has, so the server runs with Debian's own. Nothing is
//! installed on the system, and no root privileges are needed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{install_with_apt, is_on_path, postgresql, print_message};

/// Major version of PostgreSQL that the extension in [`DEBIAN_SUITE`] is built for.
const POSTGRES_MAJOR: u32 = postgresql::TIMESCALE_MAJOR;
/// Debian release that ships the extension.
const DEBIAN_SUITE: &str = "trixie";
const TIMESCALE_FOLDER: &str = "target/tools/timescaledb";
/// Keys that Debian signs its releases with.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names of a CPU architecture, and its Debian mirror.
struct MachineKind {
    /// As Debian packages name it.
    architecture: &'static str,
    /// Name of the library folder, such as `x86_64-linux-gnu`.
    triplet: &'static str,
    /// Dynamic loader that comes with the C library.
    loader: &'static str,
    /// URL of the Debian mirror.
    mirror: String,
}

/// Creates `target/tools/timescaledb/native` unless it exists.
///
/// # Errors
///
/// Fails if a download fails. A machine without `apt-get` or a Debian mirror only prints a note, so that the other
/// tests can run.
pub(crate) fn fetch_timescale() -> Result<()> {
    let folder = PathBuf::from(TIMESCALE_FOLDER);
    let native = folder.join("native");
    if native.exists() {
        return Ok(());
    }
    let server = postgresql::fetched_folder(POSTGRES_MAJOR);
    let machine =
        detect_machine().filter(|_| is_on_path("apt-get") && is_on_path("dpkg-deb") && server.exists());
    let Some(machine) = machine else {
        print_message(
            "note: TimescaleDB needs apt-get and a Debian mirror on x86_64 or arm64; the hypertable test will fail",
        );
        return Ok(());
    };
    print_message(&format!(
        "downloading TimescaleDB for PostgreSQL {POSTGRES_MAJOR} from Debian {DEBIAN_SUITE}"
    ));
    let unpacked = folder.join("unpacked");
    download_packages(&folder, &unpacked, &machine)?;
    let part = folder.join("part");
    assemble_server(&server, &unpacked, &part, &machine)?;
    fs::remove_dir_all(unpacked)?;
    // Renamed last, so that a folder of this name is always complete.
    Ok(fs::rename(part, native)?)
}

fn detect_machine() -> Option<MachineKind> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some(MachineKind {
            architecture: "amd64",
            triplet: "x86_64-linux-gnu",
            loader: "ld-linux-x86-64.so.2",
            mirror: find_debian_mirror()?,
        }),
        ("linux", "aarch64") => Some(MachineKind {
            architecture: "arm64",
            triplet: "aarch64-linux-gnu",
            loader: "ld-linux-aarch64.so.1",
            mirror: find_debian_mirror()?,
        }),
        _ => None,
    }
}

/// Downloads the extension and the C library with a private apt configuration, which ignores the installed packages.
fn download_packages(folder: &Path, unpacked: &Path, machine: &MachineKind) -> Result<()> {
    if !Path::new(DEBIAN_KEYRING).exists() && !install_with_apt(&["debian-archive-keyring"]) {
        bail!("{DEBIAN_KEYRING} is missing: install the package debian-archive-keyring and run again");
    }
    fs::create_dir_all(folder)?;
    let apt = folder.canonicalize()?.join("apt");
    for needed in [
        "etc/apt/preferences.d",
        "etc/apt/apt.conf.d",
        "etc/apt/trusted.gpg.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
        "packages",
    ] {
        fs::create_dir_all(apt.join(needed))?;
    }
    fs::write(apt.join("var/lib/dpkg/status"), "")?;
    fs::write(
        apt.join("etc/apt/sources.list"),
        format!("deb [signed-by={DEBIAN_KEYRING}] {} {DEBIAN_SUITE} main\n", machine.mirror),
    )?;
    let run = |arguments: &[&str]| {
        let options = [
            format!("Dir={}", apt.display()),
            format!("Dir::State::status={}", apt.join("var/lib/dpkg/status").display()),
            format!("APT::Architecture={}", machine.architecture),
            format!("APT::Architectures={}", machine.architecture),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
            "Acquire::Retries=2".to_owned(),
        ];
        Command::new("apt-get")
            .arg("-qq")
            .args(options.iter().flat_map(|option| ["-o", option]))
            .args(arguments)
            .current_dir(apt.join("packages"))
            .status()
            .is_ok_and(|status| status.success())
    };
    let extension = format!("postgresql-{POSTGRES_MAJOR}-timescaledb");
    if !(run(&["update"]) && run(&["download", &extension, "libc6"])) {
        bail!(
            "cannot download {extension} from {}: check that this Debian mirror is reachable",
            machine.mirror
        );
    }
    for package in fs::read_dir(apt.join("packages"))? {
        let done = Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(unpacked).status();
        if !done.context("cannot run dpkg-deb")?.success() {
            bail!("dpkg-deb cannot unpack a Debian package");
        }
    }
    Ok(fs::remove_dir_all(apt)?)
}

/// Returns the first Debian mirror of this machine's apt sources, or `None` if they name none.
fn find_debian_mirror() -> Option<String> {
    let parts =
        fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|part| part.path());
    let sources = parts.chain([PathBuf::from("/etc/apt/sources.list")]);
    let text: String = sources.filter_map(|source| fs::read_to_string(source).ok()).collect();
    let found = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"));
    found.map(str::to_owned)
}

/// Copies the server programs, adds the extension, and wraps `postgres` so that it runs with Debian's C library.
fn assemble_server(server: &Path, unpacked: &Path, part: &Path, machine: &MachineKind) -> Result<()> {
    if part.exists() {
        fs::remove_dir_all(part)?;
    }
    let copied = Command::new("cp").arg("-a").arg(server.canonicalize()?).arg(part).status()?;
    if !copied.success() {
        bail!("cannot copy {}", server.display());
    }
    let extension = unpacked.join(format!("usr/lib/postgresql/{POSTGRES_MAJOR}/lib"));
    copy_files(&extension, &part.join("lib/postgresql"))?;
    let control = unpacked.join(format!("usr/share/postgresql/{POSTGRES_MAJOR}/extension"));
    copy_files(&control, &part.join("share/postgresql/extension"))?;
    copy_files(&unpacked.join("usr/lib").join(machine.triplet), &part.join("libc"))?;
    // PostgreSQL finds its folders by the name that it was started with, hence `--argv0`.
    let program = part.join("bin/postgres");
    fs::rename(&program, part.join("bin/postgres.program"))?;
    let starter = format!(
        "#!/bin/sh\nhere=${{0%/*}}/..\nexec \"$here/libc/{}\" --library-path \"$here/libc:$here/lib\" --argv0 \"$0\" \
         \"$here/bin/postgres.program\" \"$@\"\n",
        machine.loader
    );
    fs::write(&program, starter)?;
    Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
}

/// Copies the files of a folder, without its subfolders.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(())
}
