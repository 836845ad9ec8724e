//! Progress of long work, on a terminal: drawn once it has taken a second, wiped when it is over.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use sessionwatch_targets::scan_progress::{RowCountCallback, ScanProgress};

/// Whether anybody watches: set by the command line where standard error is a terminal.
static PROGRESS_ENABLED: AtomicBool = AtomicBool::new(false);

/// Work that takes longer shows its progress.
const DRAW_DELAY: Duration = Duration::from_secs(1);
/// How often it is drawn at most, per second.
const DRAW_RATE_HZ: u8 = 5;

/// Lets progress be drawn from now on.
pub fn enable_progress() {
    PROGRESS_ENABLED.store(true, Ordering::Relaxed);
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProgressUnit {
    Sessions,
    Bytes,
}

/// The progress of work of which the number done is told now and then.
#[derive(Debug)]
pub struct ProgressMeter {
    bar: ProgressBar,
    started: Instant,
    is_drawn: bool,
}

impl ProgressMeter {
    /// Of that many rows; nothing is known with zero.
    #[must_use]
    pub fn new(expected: u64) -> Self {
        Self::with_unit(ProgressUnit::Sessions, expected)
    }

    /// Of that many bytes; nothing is known with zero.
    #[must_use]
    pub fn for_bytes(expected: u64) -> Self {
        Self::with_unit(ProgressUnit::Bytes, expected)
    }

    fn with_unit(unit: ProgressUnit, expected: u64) -> Self {
        let style =
            ProgressStyle::with_template("{line}{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("line", move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let line = format_progress(unit, state.pos(), state.len().unwrap_or(0), state.per_sec());
            // Nobody is harmed by a line that cannot be drawn.
            let _ = out.write_str(&line);
        });
        let length = (expected > 0).then_some(expected);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden()).with_style(style);
        Self { bar, started: Instant::now(), is_drawn: false }
    }

    /// So many are done; the state is said behind.
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

/// Draws the progress of scans, if anybody watches.
#[must_use]
pub fn scan_progress() -> Option<ScanProgress> {
    let begin = |expected| {
        let mut meter = ProgressMeter::new(expected);
        Box::new(move |rows| meter.draw(rows, "")) as RowCountCallback
    };
    PROGRESS_ENABLED.load(Ordering::Relaxed).then(|| ScanProgress::new(begin))
}

/// What is drawn of work that does so many a second; the end is not known with zero.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn format_progress(unit: ProgressUnit, done: u64, expected: u64, rate: f64) -> String {
    let mega = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
    let (mut line, all) = match unit {
        ProgressUnit::Sessions => (format!("{done} sessions, {rate:.0} a second"), expected.to_string()),
        ProgressUnit::Bytes => {
            (format!("{}, {} a second", mega(done as f64), mega(rate)), mega(expected as f64))
        }
    };
    if expected > done && rate > 0.0 {
        let left = (expected - done) as f64 / rate;
        // Writing to a String cannot fail.
        let _ = write!(line, ", of about {all}: {left:.0} s left");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_rate_and_time_left_where_the_end_is_known() {
        let sessions = |done, expected| format_progress(ProgressUnit::Sessions, done, expected, 500.0);
        assert_eq!(sessions(1_000, 4_000), "1000 sessions, 500 a second, of about 4000: 6 s left");
        assert_eq!(sessions(1_000, 0), "1000 sessions, 500 a second");
        let bytes = format_progress(ProgressUnit::Bytes, 100_000_000, 400_000_000, 50e6);
        assert_eq!(bytes, "100 MB, 50 MB a second, of about 400 MB: 6 s left");
    }
}
