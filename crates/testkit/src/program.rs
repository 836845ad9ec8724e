//! The program as a child process, in an empty environment.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// Password of every account.
pub const ACCOUNT_PASSWORD: &str = "a sentence is a good one";

/// Disables the duration budget of check runs, which a busy machine would exceed.
const LENIENT_CONFIGURATION: &str = "[checks.slow-check-run]\nbudget_ms = 3600000\n";

/// Result of a run of the program.
#[derive(Clone, Debug)]
pub struct ProgramOutput {
    /// Exit code; -1 if a signal killed the process.
    pub exit_code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl ProgramOutput {
    /// Returns the report on the first target of `check --format json`.
    ///
    /// # Panics
    ///
    /// If the program printed none.
    #[must_use]
    pub fn check_report(&self) -> Value {
        let document = serde_json::from_str::<Value>(&self.stdout);
        let mut document = document.unwrap_or_else(|_| panic!("no JSON: {} {}", self.stdout, self.stderr));
        document["targets"][0].take()
    }
}

impl From<Output> for ProgramOutput {
    fn from(output: Output) -> Self {
        Self {
            exit_code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Returns the path of the program, which Cargo builds in the parent folder of the test binaries.
fn program_path() -> PathBuf {
    let tests = std::env::current_exe().expect("this process has a path");
    let built = tests.parent().and_then(Path::parent).expect("the test binary is in a subfolder");
    built.join("sessionwatch")
}

/// Copies the program to a path, for tests that run it as another user.
///
/// # Panics
///
/// Panics if the program cannot be copied.
pub fn copy_program(to: &Path) {
    // Another process makes the copy. If this one wrote the file, a program that another thread is starting would
    // inherit the writable descriptor until its exec, and running the copy would fail with ETXTBSY.
    let status = Command::new("cp").arg(program_path()).arg(to).status().expect("cp runs");
    assert!(status.success(), "the program cannot be copied to {}", to.display());
}

/// Builds a command for the program, with an empty environment and a working folder with a lenient configuration.
///
/// # Panics
///
/// Panics if the folder cannot be created.
#[must_use]
pub fn program_command(arguments: &[&str]) -> Command {
    static DEFAULT_FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = DEFAULT_FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("sessionwatch.toml");
        std::fs::write(file, LENIENT_CONFIGURATION).expect("the configuration is written");
        folder
    });
    let mut command = Command::new(program_path());
    command.args(arguments).env_clear().current_dir(folder.path()).stdin(Stdio::null());
    command
}

/// Runs the program and returns its output.
///
/// # Panics
///
/// Panics if the program cannot be run.
#[must_use]
pub fn run_program(arguments: &[&str]) -> ProgramOutput {
    program_command(arguments).output().expect("the program runs").into()
}

/// Runs the program in a folder, with environment variables, and returns its output.
///
/// # Panics
///
/// Panics if the program cannot be run.
#[must_use]
pub fn run_program_in(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> ProgramOutput {
    let output = program_command(arguments).current_dir(folder).envs(variables.iter().copied()).output();
    output.expect("the program runs").into()
}

/// Runs `check URL --format json` and returns the report.
///
/// # Panics
///
/// Panics if the output is not JSON.
#[must_use]
pub fn run_check(url: &str, more: &[&str]) -> Value {
    run_program(&[&["check", url, "--format", "json"], more].concat()).check_report()
}

/// Runs the program and parses its output as JSON.
///
/// # Panics
///
/// Panics if the output is not JSON.
#[must_use]
pub fn run_for_json(arguments: &[&str]) -> Value {
    let ProgramOutput { stdout, stderr, .. } = run_program(arguments);
    serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("not JSON: {stdout} {stderr}"))
}

/// Returns the result of a check in a report.
///
/// # Panics
///
/// Panics if the report has no such check.
#[must_use]
pub fn find_check_result<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a report has checks");
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check `{id}`"))
}

/// Creates a dashboard account, with the configuration in a folder.
///
/// # Panics
///
/// Panics if the command fails.
pub fn create_account(folder: &Path, name: &str, role: &str) {
    let mut child = program_command(&["accounts", "add", name, "--role", role])
        .current_dir(folder)
        .env("USER", "root")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut typed = child.stdin.take().expect("standard input is piped");
    typed.write_all(ACCOUNT_PASSWORD.as_bytes()).expect("the program reads the password");
    drop(typed);
    assert!(child.wait().expect("the program ends").success());
}
