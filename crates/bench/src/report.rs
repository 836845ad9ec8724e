//! Medians, ratios and budgets.

use serde_json::{Value, json};

use crate::{
    contestant::{
        BARE, BARE_SCAN, Contestant, EXPORTER, PUSHDOWN, SCAN, SEVEN, SICK_PUSHDOWN, SICK_SCAN, SICK_SEVEN,
    },
    run::Run,
};

/// What one table size gave.
pub(crate) struct Round {
    pub(crate) rows: u64,
    figures: Vec<Figure>,
}

/// What one contestant gave.
struct Figure {
    name: &'static str,
    ours: bool,
    median: f64,
    min: f64,
    max: f64,
    peak_bytes: u64,
}

/// A promise, and what was measured.
struct Budget {
    what: String,
    figure: String,
    met: bool,
}

impl Round {
    pub(crate) fn of(rows: u64, contestants: &[Contestant]) -> Self {
        Self { rows, figures: contestants.iter().filter_map(Figure::of).collect() }
    }

    fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// The first's time divided by the second's.
    fn ratio(&self, first: &str, second: &str) -> Option<f64> {
        Some(self.figure(first)?.median / self.figure(second)?.median)
    }

    /// The table, for people.
    #[expect(clippy::print_stdout, reason = "the table is the result")]
    pub(crate) fn print(&self) {
        println!("\n{} sessions", self.rows);
        println!("{:<44} {:>9} {:>9} {:>9} {:>7} {:>9}", "", "median ms", "min", "max", "÷ scan", "peak MiB");
        let scan = self.figure(SCAN).map_or(f64::NAN, |scan| scan.median);
        for figure in &self.figures {
            let Figure { name, median, min, max, peak_bytes, .. } = figure;
            let (ratio, peak) = (median / scan, mebibytes(*peak_bytes));
            println!("{name:<44} {median:>9.1} {min:>9.1} {max:>9.1} {ratio:>7.2} {peak:>9.1}");
        }
    }

    pub(crate) fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            json!({
                "name": figure.name, "median_ms": figure.median, "min_ms": figure.min, "max_ms": figure.max,
                "peak_bytes": figure.peak_bytes,
            })
        };
        json!({ "rows": self.rows, "contestants": self.figures.iter().map(figure).collect::<Vec<_>>() })
    }
}

impl Figure {
    fn of(contestant: &Contestant) -> Option<Self> {
        let mut times: Vec<f64> = contestant.runs.iter().map(|run| run.milliseconds).collect();
        times.sort_by(f64::total_cmp);
        Some(Self {
            name: contestant.name,
            ours: contestant.ours,
            median: *times.get(times.len() / 2)?,
            min: *times.first()?,
            max: *times.last()?,
            peak_bytes: contestant.runs.iter().map(|run: &Run| run.peak_bytes).max()?,
        })
    }
}

/// Prints which budgets hold, and gives them as JSON.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn budgets(rounds: &[Round]) -> Value {
    let mut budgets = Vec::new();
    if let Some(largest) = rounds.iter().max_by_key(|round| round.rows) {
        let at = largest.rows;
        let mut at_least = |what: &str, ratio: Option<f64>, least: f64| {
            budgets.extend(ratio.map(|ratio| Budget {
                what: format!("{what} at {at} sessions, at least {least}"),
                figure: format!("{ratio:.2}"),
                met: ratio >= least,
            }));
        };
        at_least("seven queries ÷ scan", largest.ratio(SEVEN, SCAN), 5.0);
        at_least("exporter ÷ scan", largest.ratio(EXPORTER, SCAN), 2.5);
        at_least("seven queries ÷ pushdown", largest.ratio(SEVEN, PUSHDOWN), 2.0);
        at_least("seven ÷ pushdown in trouble", largest.ratio(SICK_SEVEN, SICK_PUSHDOWN), 2.0);
        let mut at_most = |what: &str, ratio: Option<f64>, most: f64| {
            budgets.extend(ratio.map(|ratio| Budget {
                what: format!("{what} at {at} sessions, at most {most}"),
                figure: format!("{ratio:.2}"),
                met: ratio <= most,
            }));
        };
        at_most("scan ÷ bare COPY", largest.ratio(SCAN, BARE), 1.5);
        at_most("scan in trouble ÷ healthy", largest.ratio(SICK_SCAN, BARE_SCAN), 1.2);
    }
    if let Some(small) = rounds.iter().find(|round| round.rows == 10_000) {
        budgets.extend(small.figures.iter().filter(|figure| figure.ours).map(|figure| Budget {
            what: format!("`{}` at 10000 sessions, under 100 ms", figure.name),
            figure: format!("{:.1} ms", figure.median),
            met: figure.median < 100.0,
        }));
    }
    budgets.extend(memory(rounds));
    println!("\nBudgets");
    for Budget { what, figure, met } in &budgets {
        println!("{what:<58} {figure:>10}  {}", if *met { "met" } else { "NOT met" });
    }
    let budget = |budget: &Budget| json!({ "what": budget.what, "figure": budget.figure, "met": budget.met });
    budgets.iter().map(budget).collect()
}

/// What each session more costs at the peak, everything included.
#[expect(clippy::cast_precision_loss, reason = "bytes for people")]
fn memory(rounds: &[Round]) -> Option<Budget> {
    let small = rounds.iter().min_by_key(|round| round.rows)?;
    let large = rounds.iter().max_by_key(|round| round.rows).filter(|large| large.rows > small.rows)?;
    let peak = |round: &Round| round.figure(SCAN).map(|scan| scan.peak_bytes);
    let bytes = peak(large)?.saturating_sub(peak(small)?) as f64 / (large.rows - small.rows) as f64;
    Some(Budget {
        what: "peak memory of a scan for each session, at most 64 bytes".into(),
        figure: format!("{bytes:.0} bytes"),
        met: bytes <= 64.0,
    })
}

#[expect(clippy::cast_precision_loss, reason = "mebibytes for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
