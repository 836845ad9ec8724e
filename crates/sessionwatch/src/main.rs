//! The program: parses the command line, runs the command, returns the exit code.

use std::{panic, process::ExitCode};

fn main() -> ExitCode {
    // A panic message may quote stored data; the location is enough to find the bug.
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        sessionwatch::cli::print_bug(&place);
    }));
    panic::catch_unwind(sessionwatch::cli::main).unwrap_or(ExitCode::from(sessionwatch::cli::BUG_EXIT_CODE))
}
