//! Progress of long work, on a terminal: drawn once it has taken a second, wiped when it is over.

use std::{
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::{
    output,
    target::scan_progress::{OnRows, ScanProgress},
};

/// Whether anybody watches: set by the command line where standard error is a terminal.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Work that takes longer shows its progress.
const PATIENCE: Duration = Duration::from_secs(1);
const REDRAWN: Duration = Duration::from_millis(200);

/// Lets progress be drawn from now on.
pub fn watch() {
    WATCHED.store(true, Ordering::Relaxed);
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Sessions,
    Bytes,
}

/// The progress of a scan.
#[derive(Debug)]
pub struct Progress {
    unit: Unit,
    expected: u64,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// Of about that many rows; nothing is known with zero.
    #[must_use]
    pub fn new(expected: u64) -> Self {
        Self { unit: Unit::Sessions, expected, done: 0, started: Instant::now(), drawn: None }
    }

    fn draw(&mut self, state: &str) {
        let taken = self.started.elapsed();
        if taken < PATIENCE || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAWN) {
            return;
        }
        self.drawn = Some(Instant::now());
        // Nobody is harmed by a line that cannot be drawn.
        let _ =
            write!(output::stderr(), "\r\x1b[K{}{state}", line(self.unit, (self.done, self.expected), taken));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(output::stderr(), "\r\x1b[K");
        }
    }
}

/// Draws the progress of scans, if anybody watches.
#[must_use]
pub fn scan_progress() -> Option<ScanProgress> {
    let begin = |expected| {
        let mut meter = Meter::new(expected);
        Box::new(move |rows| meter.draw(rows, "")) as OnRows
    };
    WATCHED.load(Ordering::Relaxed).then(|| ScanProgress::new(begin))
}

/// The progress of work of which the number done is told now and then.
#[derive(Debug)]
pub struct Meter(Progress);

impl Meter {
    /// Of that many rows.
    #[must_use]
    pub fn new(expected: u64) -> Self {
        Self(Progress::new(expected))
    }

    /// Of that many bytes; nothing is known with zero.
    #[must_use]
    pub fn bytes(expected: u64) -> Self {
        Self(Progress { unit: Unit::Bytes, ..Progress::new(expected) })
    }

    /// So many are done; the state is said behind.
    pub fn draw(&mut self, done: u64, state: &str) {
        if WATCHED.load(Ordering::Relaxed) {
            self.0.done = done;
            self.0.draw(state);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn line(unit: Unit, (done, expected): (u64, u64), taken: Duration) -> String {
    let rate = done as f64 / taken.as_secs_f64();
    let mega = |bytes: f64| format!("{:.0} MB", bytes / 1e6);
    let (mut line, all) = match unit {
        Unit::Sessions => (format!("{done} sessions, {rate:.0} a second"), expected.to_string()),
        Unit::Bytes => (format!("{}, {} a second", mega(done as f64), mega(rate)), mega(expected as f64)),
    };
    if expected > done {
        let left = (expected - done) as f64 / rate;
        line.push_str(&format!(", of about {all}: {left:.0} s left"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_rate_and_time_left_where_the_end_is_known() {
        let taken = Duration::from_secs(2);
        let sessions = |done, expected| line(Unit::Sessions, (done, expected), taken);
        assert_eq!(sessions(1_000, 4_000), "1000 sessions, 500 a second, of about 4000: 6 s left");
        assert_eq!(sessions(1_000, 0), "1000 sessions, 500 a second");
        let bytes = line(Unit::Bytes, (100_000_000, 400_000_000), taken);
        assert_eq!(bytes, "100 MB, 50 MB a second, of about 400 MB: 6 s left");
    }
}
