//! The daemon as a child process.

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

/// The daemon, and the address of its pages. It ends with this value.
#[derive(Debug)]
pub struct DaemonProcess {
    /// Its process.
    pub child: Child,
    /// Where it listens, such as `127.0.0.1:8080`.
    pub address: String,
    stdout: BufReader<ChildStdout>,
}

impl DaemonProcess {
    /// Starts it with the configuration in a folder, and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        Self::start_with_command(program_command(&["serve"]).current_dir(folder))
    }

    /// Starts it by that command.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    #[must_use]
    pub fn start_with_command(command: &mut Command) -> Self {
        // Whatever goes wrong from here on, it ends with the story.
        let mut daemon = Self::spawn(command);
        let line = daemon.read_line();
        let (_, address) =
            line.split_once("://").unwrap_or_else(|| panic!("it says where it listens: {line}"));
        daemon.address = address.trim_end_matches("/metrics").to_owned();
        daemon
    }

    /// Starts it by that command, and waits for nothing: its address is not known yet.
    ///
    /// # Panics
    ///
    /// If the program cannot be run.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Self { child, address: String::new(), stdout }
    }

    /// The next line that it prints; empty where there is none any more.
    ///
    /// # Panics
    ///
    /// If it prints what is no text.
    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints text");
        line.trim_end().to_owned()
    }

    /// The next line that it prints with that part in it.
    ///
    /// # Panics
    ///
    /// If it ends without such a line.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let read = self.stdout.read_line(&mut line).expect("it prints text");
            assert!(read > 0, "it ends without a line with `{part}`");
        }
        line.trim_end().to_owned()
    }

    /// Where the first account is made, as the line says that follows the one about its address; `None` where there is one.
    ///
    /// # Panics
    ///
    /// If there is no such line.
    pub fn read_setup_path(&mut self) -> Option<String> {
        let line = self.read_line();
        assert!(!line.is_empty(), "it says where the dashboard is");
        let (_, token) = line.split_once("/setup/")?;
        let token = token.split_whitespace().next()?.trim_end_matches('.');
        Some(format!("/setup/{token}"))
    }

    /// What one of its pages answers.
    #[must_use]
    pub fn get(&self, path: &str) -> ClientResponse {
        http::get(&self.address, path)
    }

    /// What one of its pages says.
    #[must_use]
    pub fn get_body(&self, path: &str) -> String {
        self.get(path).body
    }

    /// What is answered to something that is posted to it.
    #[must_use]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> ClientResponse {
        http::post(&self.address, path, headers, body)
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn send_signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "{name} reaches it");
    }

    /// Waits until it has ended: its exit code.
    ///
    /// # Panics
    ///
    /// If its end cannot be waited for.
    #[must_use]
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// Asks it to end: its exit code.
    #[must_use]
    pub fn stop(self) -> Option<i32> {
        self.send_signal("TERM");
        self.wait()
    }
}

impl Drop for DaemonProcess {
    fn drop(&mut self) {
        // It has ended where the story went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `serve` says that is to refuse the configuration in a folder; one that runs is ended, and has the code -1.
///
/// # Panics
///
/// If it cannot be run.
#[must_use]
pub fn start_expecting_refusal(folder: &Path) -> ProgramOutput {
    let mut command = program_command(&["serve"]);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
    stdout.read_line(&mut line).expect("it prints text");
    // A line says that it runs; the end of its output that it does not.
    if !line.is_empty() {
        child.kill().expect("it runs");
    }
    child.wait_with_output().expect("it ends").into()
}
