//! The program as a child process, in a scrubbed environment.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// The password of every account.
pub const ACCOUNT_PASSWORD: &str = "a sentence is a good one";

/// How long a run takes on a busy machine says nothing about the program.
const LENIENT_CONFIGURATION: &str = "[checks.slow-check-run]\nbudget_ms = 3600000\n";

/// What the program said.
#[derive(Clone, Debug)]
pub struct ProgramOutput {
    /// The exit code; -1 where a signal ended it.
    pub exit_code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
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

/// The program, which Cargo builds beside the tests of its package.
fn program_path() -> PathBuf {
    let tests = std::env::current_exe().expect("this process has a path");
    let built = tests.parent().and_then(Path::parent).expect("tests are in a folder of their own");
    built.join("sessionwatch")
}

/// Copies the program to a path, for tests that run it as another user.
///
/// # Panics
///
/// If it cannot be copied.
pub fn copy_program(to: &Path) {
    // Another process copies it. A file that this process wrote cannot be run while a thread beside this one starts a
    // program: that one inherits the descriptor until it becomes that program.
    let status = Command::new("cp").arg(program_path()).arg(to).status().expect("cp runs");
    assert!(status.success(), "the program cannot be copied to {}", to.display());
}

/// The program, in an empty environment and a folder with nothing but patience.
///
/// # Panics
///
/// If that folder cannot be made.
#[must_use]
pub fn program_command(arguments: &[&str]) -> Command {
    static DEFAULT_FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = DEFAULT_FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sessionwatch.toml");
        std::fs::write(file, LENIENT_CONFIGURATION).expect("a file");
        folder
    });
    let mut command = Command::new(program_path());
    command.args(arguments).env_clear().current_dir(folder.path()).stdin(Stdio::null());
    command
}

/// What the program says.
///
/// # Panics
///
/// If it cannot be run.
#[must_use]
pub fn run_program(arguments: &[&str]) -> ProgramOutput {
    program_command(arguments).output().expect("the program runs").into()
}

/// The same in that folder, with these variables.
///
/// # Panics
///
/// If it cannot be run.
#[must_use]
pub fn run_program_in(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> ProgramOutput {
    let output = program_command(arguments).current_dir(folder).envs(variables.iter().copied()).output();
    output.expect("the program runs").into()
}

/// The report of `check --format json` on one target.
///
/// # Panics
///
/// If that prints no JSON.
#[must_use]
pub fn run_check(url: &str, more: &[&str]) -> Value {
    run_program(&[&["check", url, "--format", "json"], more].concat()).check_report()
}

/// Whatever prints JSON.
///
/// # Panics
///
/// If it prints none.
#[must_use]
pub fn run_for_json(arguments: &[&str]) -> Value {
    let said = run_program(arguments);
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("no JSON: {} {}", said.stdout, said.stderr))
}

/// The named check of a report.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn find_check_result<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a report has checks");
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check `{id}`"))
}

/// Makes an account of the dashboard whose configuration is in a folder.
///
/// # Panics
///
/// If that is refused.
pub fn create_account(folder: &Path, name: &str, role: &str) {
    let mut child = program_command(&["accounts", "add", name, "--role", role])
        .current_dir(folder)
        .env("USER", "root")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut typed = child.stdin.take().expect("standard input is piped");
    typed.write_all(ACCOUNT_PASSWORD.as_bytes()).expect("the password is read");
    drop(typed);
    assert!(child.wait().expect("the program ends").success());
}
