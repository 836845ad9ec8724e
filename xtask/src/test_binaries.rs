//! Builds the test binaries of the workspace, and runs them.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Number of test threads, as the test harness reads it.
const TEST_THREADS_VARIABLE: &str = "RUST_TEST_THREADS";
/// Concurrent tests per CPU. Tests spend most of their time waiting for servers, for other processes and for time to
/// pass.
const TEST_THREADS_PER_CPU: usize = 3;

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestBinary {
    /// Name of the Cargo target: that of a crate, or of a file or folder in `tests/`.
    pub(crate) name: String,
    executable: PathBuf,
    /// Folder of the package, in which tests run.
    package: PathBuf,
}

/// Lints the workspace, and builds all of its test binaries.
///
/// # Errors
///
/// Fails on an error of the compiler or a lint.
pub(crate) fn build_test_binaries() -> Result<Vec<TestBinary>> {
    // The binaries are run directly, not by `cargo test --test NAME`: a selection of targets enables fewer features
    // of dependencies, and compiles many of them again.
    const BUILD_ARGUMENTS: [&str; 6] = [
        "test",
        "--workspace",
        "--locked",
        "--tests",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ];
    super::print_message(&format!("==> cargo {}", BUILD_ARGUMENTS.join(" ")));
    let mut build = super::cargo_with_clippy()
        .args(BUILD_ARGUMENTS)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let messages = build.stdout.take().context("cargo has no output")?;
    let mut binaries = vec![];
    for line in BufReader::new(messages).lines() {
        binaries.extend(parse_artifact(&line.context("cannot read the output of cargo")?));
    }
    let status = build.wait().context("cannot wait for cargo")?;
    if status.success() { Ok(binaries) } else { bail!("`cargo {}` failed", BUILD_ARGUMENTS.join(" ")) }
}

/// Returns the test binary that a message of cargo announces, or `None` for any other message.
fn parse_artifact(line: &str) -> Option<TestBinary> {
    let message: Value = serde_json::from_str(line).ok()?;
    // Programs that tests start are built too, and are no tests.
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    is_test.then_some(())?;
    Some(TestBinary {
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
        package: PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned(),
    })
}

/// How to run test binaries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TestRunOptions<'a> {
    /// Tests whose names contain one of these are not run.
    pub(crate) skipped: &'a [&'a str],
    /// Number of tests that run at a time, unless `RUST_TEST_THREADS` is set.
    pub(crate) threads: usize,
    /// Folder for temporary files, instead of that of the system.
    pub(crate) temporary_folder: Option<&'a Path>,
}

/// Runs the tests of some binaries, one binary after the other.
///
/// # Errors
///
/// Fails if a test fails, after all binaries have run.
pub(crate) fn run_test_binaries<'a>(
    binaries: impl Iterator<Item = &'a TestBinary>,
    options: TestRunOptions<'_>,
) -> Result<()> {
    let mut failed = vec![];
    for binary in binaries {
        super::print_message(&format!("==> {}", binary.executable.display()));
        let mut command = Command::new(&binary.executable);
        command.current_dir(&binary.package).args(options.skipped.iter().flat_map(|test| ["--skip", test]));
        if let Some(folder) = options.temporary_folder {
            command.env("TMPDIR", folder);
        }
        if std::env::var_os(TEST_THREADS_VARIABLE).is_none() {
            command.env(TEST_THREADS_VARIABLE, options.threads.to_string());
        }
        let status = command.status().with_context(|| format!("cannot run the tests of {}", binary.name))?;
        if !status.success() {
            failed.push(binary.name.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("tests failed in {}", failed.join(", ")) }
}

/// Returns the number of tests that run at a time.
pub(crate) fn count_test_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * TEST_THREADS_PER_CPU
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_binaries_are_run() {
        let artifact = |reason: &str, test: bool| {
            format!(
                r#"{{"reason": "{reason}", "manifest_path": "/w/crates/core/Cargo.toml",
                "target": {{"name": "core"}}, "profile": {{"test": {test}}}, "executable": "/w/target/core-1"}}"#
            )
        };
        let expected = TestBinary {
            name: "core".into(),
            executable: "/w/target/core-1".into(),
            package: "/w/crates/core".into(),
        };
        assert_eq!(parse_artifact(&artifact("compiler-artifact", true)), Some(expected));
        for other in [artifact("compiler-artifact", false), artifact("build-script-executed", true)] {
            assert_eq!(parse_artifact(&other), None, "{other}");
        }
        assert_eq!(parse_artifact("not JSON"), None);
    }

    #[test]
    fn every_binary_runs_although_one_fails() {
        let binary = |name: &str| TestBinary {
            name: name.into(),
            executable: format!("/bin/{name}").into(),
            package: "/".into(),
        };
        let all = [binary("false"), binary("true"), binary("false")];
        let failure = run_test_binaries(all.iter(), TestRunOptions::default()).unwrap_err();
        assert_eq!(failure.to_string(), "tests failed in false, false");
        let skipping = TestRunOptions { skipped: &["slow"], ..TestRunOptions::default() };
        assert!(run_test_binaries([binary("true")].iter(), skipping).is_ok());
    }
}
