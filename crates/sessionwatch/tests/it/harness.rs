//! The program as a child process, in a scrubbed environment.

use std::process::{Command, Output};

use serde_json::Value;

/// What the program said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn run(arguments: &[&str]) -> Said {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_sessionwatch"))
        .args(arguments)
        .env_clear()
        .output()
        .expect("the program runs");
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `check --format json`.
pub(crate) fn check(url: &str, more: &[&str]) -> Value {
    let said = run(&[&["check", url, "--format", "json"], more].concat());
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("no JSON: {} {}", said.stdout, said.stderr))
}

/// The named check of a report.
pub(crate) fn outcome<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()
}
