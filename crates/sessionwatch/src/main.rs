//! Parse, dispatch, exit code.

use std::{io::Write as _, panic, process::ExitCode};

use clap::Parser;

/// The exit code of a bug (`EX_SOFTWARE` of `sysexits.h`).
const BUG: u8 = 70;

fn main() -> ExitCode {
    // A panic's own message may quote data; its place is enough to find the bug.
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        let _ = writeln!(
            std::io::stderr(),
            "error: this is a bug of sessionwatch{place}\nhint: please report it"
        );
    }));
    panic::catch_unwind(|| sessionwatch::cli::Cli::parse().run()).unwrap_or(ExitCode::from(BUG))
}
