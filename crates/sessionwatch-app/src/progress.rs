//! Progress of long work on a terminal: drawn after a second, cleared at the end.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use sessionwatch_core::plural::format_number;
use sessionwatch_targets::scan_progress::{RowCountCallback, ScanProgress};

/// Set by the command line where standard error is a terminal.
static PROGRESS_ENABLED: AtomicBool = AtomicBool::new(false);

/// Shorter work draws nothing: a line that flashes helps nobody.
const DRAW_DELAY: Duration = Duration::from_secs(1);
/// Redraws per second, at most.
const DRAW_RATE_HZ: u8 = 5;

/// Enables progress for the rest of the process.
pub fn enable_progress() {
    PROGRESS_ENABLED.store(true, Ordering::Relaxed);
}

/// The unit of a progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgressUnit {
    Sessions,
    Bytes,
}

/// A progress line, updated with the amount that is done.
#[derive(Debug)]
pub struct ProgressMeter {
    bar: ProgressBar,
    started: Instant,
    is_drawn: bool,
}

impl ProgressMeter {
    /// Creates a meter of sessions. With an `expected` of 0 the total is unknown.
    #[must_use]
    pub fn new(expected: u64) -> Self {
        Self::with_unit(ProgressUnit::Sessions, expected)
    }

    /// Creates a meter of bytes. With an `expected` of 0 the total is unknown.
    #[must_use]
    pub fn for_bytes(expected: u64) -> Self {
        Self::with_unit(ProgressUnit::Bytes, expected)
    }

    fn with_unit(unit: ProgressUnit, expected: u64) -> Self {
        let style =
            ProgressStyle::with_template("{line}{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("line", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let line = format_progress(unit, state.pos(), state.len().unwrap_or(0), state.per_sec());
            // A line that cannot be drawn is not worth an error.
            let _ = out.write_str(&line);
        });
        let length = (expected > 0).then_some(expected);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden()).with_style(style);
        Self { bar, started: Instant::now(), is_drawn: false }
    }

    /// Draws the amount that is done, followed by `state`.
    pub fn draw(&mut self, done: u64, state: &'static str) {
        if !PROGRESS_ENABLED.load(Ordering::Relaxed) {
            return;
        }
        if !self.is_drawn && self.started.elapsed() >= DRAW_DELAY {
            self.is_drawn = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAW_RATE_HZ));
        }
        self.bar.set_message(state);
        self.bar.set_position(done);
    }
}

impl Drop for ProgressMeter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns a progress callback for scans; `None` if progress is disabled.
#[must_use]
pub fn scan_progress() -> Option<ScanProgress> {
    let begin = |expected| {
        let mut meter = ProgressMeter::new(expected);
        Box::new(move |rows| meter.draw(rows, "")) as RowCountCallback
    };
    PROGRESS_ENABLED.load(Ordering::Relaxed).then(|| ScanProgress::new(begin))
}

/// Formats a progress line. `rate` is per second; with an `expected` of 0 the total is unknown.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts for people, never negative"
)]
fn format_progress(unit: ProgressUnit, done: u64, expected: u64, rate: f64) -> String {
    let mega = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
    let amount = |count: u64| match unit {
        ProgressUnit::Sessions => format_number(count),
        ProgressUnit::Bytes => mega(count as f64),
    };
    let noun = if unit == ProgressUnit::Sessions { " sessions" } else { "" };
    // The planner's estimate of the rows may be too low, so that it is left out once it is passed.
    let is_ahead = expected > done;
    let total = if is_ahead { format!(" of about {}", amount(expected)) } else { String::new() };
    let mut line = format!("{}{total}{noun}, {} per second", amount(done), amount(rate.round() as u64));
    if is_ahead && rate > 0.0 {
        // Writing to a String cannot fail.
        let _ = write!(line, ", {:.0} s left", (expected - done) as f64 / rate);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_shows_the_rate_and_the_time_left() {
        let sessions = |done, expected| format_progress(ProgressUnit::Sessions, done, expected, 500.0);
        assert_eq!(sessions(1_000, 4_000), "1,000 of about 4,000 sessions, 500 per second, 6 s left");
        assert_eq!(sessions(1_000, 0), "1,000 sessions, 500 per second");
        let bytes = format_progress(ProgressUnit::Bytes, 100_000_000, 400_000_000, 50e6);
        assert_eq!(bytes, "100 MB of about 400 MB, 50 MB per second, 6 s left");
    }
}
