//! Parse, dispatch, exit code.

use std::{panic, process::ExitCode};

fn main() -> ExitCode {
    // A panic's own message may quote data; its place is enough to find the bug.
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        sessionwatch::cli::print_bug(&place);
    }));
    panic::catch_unwind(sessionwatch::cli::main).unwrap_or(ExitCode::from(sessionwatch::cli::BUG_EXIT_CODE))
}
