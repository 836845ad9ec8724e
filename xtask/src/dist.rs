//! `cargo xtask dist`: builds the release artifacts into `target/dist`.
//!
//! Every artifact holds the same program. Nothing is compiled twice, and installing one needs no Rust.

mod container;
mod debian_package;
mod npm_packages;
mod platform;
mod sbom;
mod staging;
mod tarball;
mod wheel;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use self::{
    platform::{Platform, RELEASE_PLATFORMS},
    staging::Staging,
};
use super::{python_tools::ZIGBUILD_TOOL, tidy};

const OUTPUT_FOLDER: &str = "target/dist";
const CHECKSUMS_FILE: &str = "SHA256SUMS";

/// What `cargo xtask dist` was asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
struct DistOptions {
    /// A built program for this machine, to package instead of building one for each platform.
    program: Option<PathBuf>,
    /// Folder of the artifacts.
    output: PathBuf,
    /// Also builds for ARM, for which rustup has to install the standard library.
    builds_arm: bool,
}

impl DistOptions {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { output: OUTPUT_FOLDER.into(), ..Self::default() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--program" => options.program = Some(std::path::absolute(value()?)?),
                "--output" => options.output = value()?.into(),
                "--arm" => options.builds_arm = true,
                _ => bail!(
                    "unknown argument `{argument}`: dist takes --program FILE, --output FOLDER and --arm"
                ),
            }
        }
        options.output = std::path::absolute(&options.output)?;
        Ok(options)
    }
}

/// Builds the program for every platform and packages it, or packages a given program for this machine.
///
/// # Errors
///
/// Fails if a build fails, or a packaging tool is missing or fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = DistOptions::parse(arguments)?;
    std::env::set_current_dir(tidy::REPOSITORY_ROOT)
        .with_context(|| format!("{} does not exist", tidy::REPOSITORY_ROOT))?;
    prepare_output(&options.output)?;
    let version = read_version()?;
    if let Some(program) = &options.program {
        let platform = platform::this_machine()?;
        let staging = Staging::prepare(program, program)?;
        package_platform(&staging, &platform, &version, &options.output)?;
    } else {
        ZIGBUILD_TOOL.install()?;
        let mut native = None;
        for platform in RELEASE_PLATFORMS.iter().filter(|platform| platform.is_native() || options.builds_arm)
        {
            let program = build_program(platform)?;
            // Programs for other processors do not run here, but print the same pages.
            let printing: PathBuf = native.get_or_insert_with(|| program.clone()).clone();
            let staging = Staging::prepare(&program, &printing)?;
            package_platform(&staging, platform, &version, &options.output)?;
        }
    }
    npm_packages::pack_launcher(&version, &options.output)?;
    sbom::write_sbom(&version, &options.output)?;
    write_checksums(&options.output)?;
    super::print_message(&format!("wrote {}", options.output.display()));
    Ok(())
}

/// Creates the folder of the artifacts. An earlier result, known by its checksums, is replaced. Any other folder has to
/// be empty, or a mistyped argument would delete it.
fn prepare_output(output: &Path) -> Result<()> {
    if output.exists() && !list_names(output)?.is_empty() {
        if !output.join(CHECKSUMS_FILE).is_file() {
            bail!("{} holds something other than artifacts: choose an empty folder", output.display());
        }
        std::fs::remove_dir_all(output)?;
    }
    std::fs::create_dir_all(output)?;
    // Written first, so that the folder is recognized even if a later step fails.
    Ok(std::fs::write(output.join(CHECKSUMS_FILE), "")?)
}

/// Writes the artifacts of one platform.
fn package_platform(staging: &Staging, platform: &Platform, version: &str, output: &Path) -> Result<()> {
    tarball::write_tarball(staging, platform, version, output)?;
    npm_packages::pack_platform(staging, platform, version, output)?;
    wheel::build_wheel(staging, platform, version, output)?;
    debian_package::build_package(staging, platform, version, output)?;
    container::write_build_context(staging, platform, version, output)
}

/// Builds the release program for a platform, for the oldest C library that its packages promise.
fn build_program(platform: &Platform) -> Result<PathBuf> {
    if !platform.is_native() {
        run_step(Command::new("rustup").args(["target", "add", platform.rust_target]))?;
    }
    let target = format!("{}.{}", platform.rust_target, platform::GLIBC_VERSION);
    let arguments = ["zigbuild", "--release", "--locked", "--package", "sessionwatch", "--target", &target];
    let tools = std::path::absolute(ZIGBUILD_TOOL.program())?;
    let tools = tools.parent().context("the tool has a folder")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([tools.to_owned()].into_iter().chain(std::env::split_paths(&path)))?;
    let mut command = Command::new(env!("CARGO"));
    command.env("PATH", path);
    super::run_cargo(command, &arguments)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(std::path::absolute(folder.join(platform.rust_target).join("release/sessionwatch"))?)
}

/// Returns the version of the workspace.
fn read_version() -> Result<String> {
    let manifest = std::fs::read_to_string("Cargo.toml").context("cannot read Cargo.toml")?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = "));
    Ok(line.context("Cargo.toml states no version")?.trim_matches('"').to_owned())
}

/// Writes the SHA-256 of every artifact, in the format of `sha256sum --check`.
fn write_checksums(output: &Path) -> Result<()> {
    let mut names = list_names(output)?;
    names.retain(|name| name != CHECKSUMS_FILE);
    names.sort();
    let sums = Command::new("sha256sum").args(&names).current_dir(output).output();
    let sums = sums.context("cannot run sha256sum: install coreutils")?;
    if !sums.status.success() {
        bail!("sha256sum failed");
    }
    Ok(std::fs::write(output.join(CHECKSUMS_FILE), sums.stdout)?)
}

fn list_names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Runs a packaging tool without its output, which an error repeats.
fn run_step(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.output().with_context(|| format!("cannot run {program}: install it and run again"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut message = format!("{program} failed");
    for text in [&output.stdout, &output.stderr] {
        let _ = write!(message, "\n{}", String::from_utf8_lossy(text).trim_end());
    }
    bail!(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<DistOptions> {
        DistOptions::parse(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_parsed_or_named_in_the_error() {
        let options = parse(&["--program", "/x/sessionwatch", "--output", "/y"]).unwrap();
        assert_eq!(options.program, Some("/x/sessionwatch".into()));
        assert_eq!(options.output, PathBuf::from("/y"));
        assert!(!options.builds_arm && parse(&["--arm"]).unwrap().builds_arm);
        assert_eq!(parse(&["--program"]).unwrap_err().to_string(), "--program needs a value");
        assert!(parse(&["--wheel"]).unwrap_err().to_string().starts_with("unknown argument `--wheel`"));
    }

    #[test]
    fn only_artifacts_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("letter"), "").unwrap();
        let error = prepare_output(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("holds something other than artifacts: choose an empty folder"), "{error}");
        assert!(folder.path().join("letter").exists());
        std::fs::remove_file(folder.path().join("letter")).unwrap();
        prepare_output(folder.path()).unwrap();
        std::fs::write(folder.path().join("sessionwatch.tgz"), "").unwrap();
        prepare_output(folder.path()).unwrap();
        assert_eq!(list_names(folder.path()).unwrap(), [CHECKSUMS_FILE]);
    }

    #[test]
    fn a_failed_step_repeats_the_output_of_the_tool() {
        let error = run_step(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh failed\n\nwhy");
        let error = run_step(&mut Command::new("no-such-tool")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run no-such-tool: install it and run again");
    }
}
