//! The daemon, `sessionwatch serve`, as a child process.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::{
    ProgramOutput,
    http::{self, ClientResponse},
    program_command,
};

/// A running daemon. Dropping the value kills the process.
#[derive(Debug)]
pub struct DaemonProcess {
    /// The process.
    pub child: Child,
    /// Host and port of its HTTP listener, such as `127.0.0.1:8080`. Empty until the daemon listens.
    pub address: String,
    stdout: BufReader<ChildStdout>,
}

impl DaemonProcess {
    /// Starts a daemon with the configuration in a folder, and waits until it listens.
    ///
    /// # Panics
    ///
    /// Panics if the daemon ends before it listens.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        Self::start_with_command(program_command(&["serve"]).current_dir(folder))
    }

    /// Starts a daemon with a command, and waits until it listens.
    ///
    /// # Panics
    ///
    /// Panics if the daemon ends before it listens.
    #[must_use]
    pub fn start_with_command(command: &mut Command) -> Self {
        // Owned by the value from here on, so that a panic below kills the process too.
        let mut daemon = Self::spawn(command);
        let line = daemon.read_line();
        let (_, address) =
            line.split_once("://").unwrap_or_else(|| panic!("the daemon prints no address: {line}"));
        daemon.address = address.trim_end_matches("/metrics").to_owned();
        daemon
    }

    /// Starts a daemon with a command, without waiting: its address is not known yet.
    ///
    /// # Panics
    ///
    /// Panics if the program cannot be run.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Self { child, address: String::new(), stdout }
    }

    /// Reads the next line of its standard output, without the line ending. Returns an empty string at the end.
    ///
    /// # Panics
    ///
    /// Panics if the output is not UTF-8.
    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the output is UTF-8");
        line.trim_end().to_owned()
    }

    /// Reads up to the next line that contains a text, and returns that line.
    ///
    /// # Panics
    ///
    /// Panics if the output ends without such a line.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.stdout.read_line(&mut line).expect("the output is UTF-8");
            assert!(read > 0, "the daemon ended without printing `{part}`");
        }
        line.trim_end().to_owned()
    }

    /// Reads the line after the address, and returns the path of the setup link. `None` if an account exists.
    ///
    /// # Panics
    ///
    /// Panics if there is no such line.
    pub fn read_setup_path(&mut self) -> Option<String> {
        let line = self.read_line();
        assert!(!line.is_empty(), "the daemon prints the address of the dashboard");
        let (_, token) = line.split_once("/setup/")?;
        let token = token.split_whitespace().next()?.trim_end_matches('.');
        Some(format!("/setup/{token}"))
    }

    /// Sends a GET request for a path.
    #[must_use]
    pub fn get(&self, path: &str) -> ClientResponse {
        http::get(&self.address, path)
    }

    /// Sends a GET request for a path, and returns the body.
    #[must_use]
    pub fn get_body(&self, path: &str) -> String {
        self.get(path).body
    }

    /// Sends a POST request.
    #[must_use]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> ClientResponse {
        http::post(&self.address, path, headers, body)
    }

    /// Sends a signal to the process, by its name without `SIG`.
    ///
    /// # Panics
    ///
    /// Panics if the process has ended.
    pub fn send_signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "cannot send {name} to the daemon");
    }

    /// Waits for the process to end, and returns its exit code. `None` if a signal killed it.
    ///
    /// # Panics
    ///
    /// Panics if waiting fails.
    #[must_use]
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("the daemon ends").code()
    }

    /// Stops the daemon with SIGTERM, and returns its exit code.
    #[must_use]
    pub fn stop(self) -> Option<i32> {
        self.send_signal("TERM");
        self.wait()
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `serve` with a configuration that it must reject, and returns its output. A daemon that starts anyway is
/// killed, and has the exit code -1.
///
/// # Panics
///
/// Panics if the program cannot be run.
#[must_use]
pub fn start_expecting_refusal(folder: &Path) -> ProgramOutput {
    let mut command = program_command(&["serve"]);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
    stdout.read_line(&mut line).expect("the output is UTF-8");
    // A daemon that starts prints a line; one that rejects its configuration closes standard output without one.
    if !line.is_empty() {
        child.kill().expect("the daemon runs");
    }
    child.wait_with_output().expect("the daemon ends").into()
}
