//! Report of the race: medians, ratios and budgets.

use serde_json::{Value, json};

use crate::{
    contenders::{
        ANOMALOUS_TABLE_GUIDE_QUERIES, ANOMALOUS_TABLE_PUSHDOWN, ANOMALOUS_TABLE_SCAN, BARE_TABLE_SCAN,
        BINARY_COPY_BY_PSQL, BenchCandidate, CHECK_PUSHDOWN, CHECK_SCAN, GUIDE_QUERIES_BY_PSQL, SQL_EXPORTER,
    },
    run_cost::RunCost,
};

/// Results for one table size.
pub(crate) struct RoundReport {
    pub(crate) rows: u64,
    stats: Vec<CandidateStats>,
}

/// Times and memory of one candidate.
struct CandidateStats {
    name: &'static str,
    is_sessionwatch: bool,
    median_ms: f64,
    min_ms: f64,
    max_ms: f64,
    peak_bytes: u64,
}

/// A budget, and the measured figure.
struct BudgetResult {
    what: String,
    figure: String,
    met: bool,
}

impl RoundReport {
    pub(crate) fn from_candidates(rows: u64, candidates: &[BenchCandidate]) -> Self {
        Self { rows, stats: candidates.iter().filter_map(CandidateStats::from_candidate).collect() }
    }

    fn find_stats(&self, name: &str) -> Option<&CandidateStats> {
        self.stats.iter().find(|figure| figure.name == name)
    }

    /// Returns the median of the first candidate divided by that of the second. `None` if one did not run.
    fn median_ratio(&self, first: &str, second: &str) -> Option<f64> {
        Some(self.find_stats(first)?.median_ms / self.find_stats(second)?.median_ms)
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "the table is the result")]
    pub(crate) fn print_table(&self) {
        println!("\n{} sessions", self.rows);
        println!("{:<44} {:>9} {:>9} {:>9} {:>7} {:>9}", "", "median ms", "min", "max", "÷ scan", "peak MiB");
        let scan = self.find_stats(CHECK_SCAN).map_or(f64::NAN, |scan| scan.median_ms);
        for figure in &self.stats {
            let CandidateStats { name, median_ms, min_ms, max_ms, peak_bytes, .. } = figure;
            let (ratio, peak) = (median_ms / scan, bytes_as_mebibytes(*peak_bytes));
            println!("{name:<44} {median_ms:>9.1} {min_ms:>9.1} {max_ms:>9.1} {ratio:>7.2} {peak:>9.1}");
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let figure = |figure: &CandidateStats| {
            json!({
                "name": figure.name, "median_ms": figure.median_ms, "min_ms": figure.min_ms, "max_ms": figure.max_ms,
                "peak_bytes": figure.peak_bytes,
            })
        };
        json!({ "rows": self.rows, "contestants": self.stats.iter().map(figure).collect::<Vec<_>>() })
    }
}

impl CandidateStats {
    fn from_candidate(candidate: &BenchCandidate) -> Option<Self> {
        let mut times: Vec<f64> = candidate.runs.iter().map(|run| run.duration_ms).collect();
        times.sort_by(f64::total_cmp);
        Some(Self {
            name: candidate.name,
            is_sessionwatch: candidate.is_sessionwatch,
            // The median: a single slow run of a busy machine should not decide.
            median_ms: *times.get(times.len() / 2)?,
            min_ms: *times.first()?,
            max_ms: *times.last()?,
            peak_bytes: candidate.runs.iter().map(|run: &RunCost| run.peak_bytes).max()?,
        })
    }
}

/// Prints which budgets are met, and returns them as JSON.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn print_budgets(rounds: &[RoundReport]) -> Value {
    let mut budgets = Vec::new();
    // Ratios count at the largest size, where the fixed cost of a process no longer matters.
    if let Some(largest) = rounds.iter().max_by_key(|round| round.rows) {
        let at = largest.rows;
        let mut at_least = |what: &str, ratio: Option<f64>, least: f64| {
            budgets.extend(ratio.map(|ratio| BudgetResult {
                what: format!("{what} at {at} sessions, at least {least}"),
                figure: format!("{ratio:.2}"),
                met: ratio >= least,
            }));
        };
        at_least("seven queries ÷ scan", largest.median_ratio(GUIDE_QUERIES_BY_PSQL, CHECK_SCAN), 5.0);
        at_least("exporter ÷ scan", largest.median_ratio(SQL_EXPORTER, CHECK_SCAN), 2.5);
        at_least(
            "seven queries ÷ pushdown",
            largest.median_ratio(GUIDE_QUERIES_BY_PSQL, CHECK_PUSHDOWN),
            2.0,
        );
        at_least(
            "seven ÷ pushdown, anomalous",
            largest.median_ratio(ANOMALOUS_TABLE_GUIDE_QUERIES, ANOMALOUS_TABLE_PUSHDOWN),
            2.0,
        );
        let mut at_most = |what: &str, ratio: Option<f64>, most: f64| {
            budgets.extend(ratio.map(|ratio| BudgetResult {
                what: format!("{what} at {at} sessions, at most {most}"),
                figure: format!("{ratio:.2}"),
                met: ratio <= most,
            }));
        };
        at_most("scan ÷ bare COPY", largest.median_ratio(CHECK_SCAN, BINARY_COPY_BY_PSQL), 1.5);
        at_most(
            "scan of anomalous ÷ healthy",
            largest.median_ratio(ANOMALOUS_TABLE_SCAN, BARE_TABLE_SCAN),
            1.2,
        );
    }
    // Absolute times count at a small size, where the start of the program dominates.
    if let Some(small) = rounds.iter().find(|round| round.rows == 10_000) {
        budgets.extend(small.stats.iter().filter(|figure| figure.is_sessionwatch).map(|figure| {
            BudgetResult {
                what: format!("`{}` at 10000 sessions, under 100 ms", figure.name),
                figure: format!("{:.1} ms", figure.median_ms),
                met: figure.median_ms < 100.0,
            }
        }));
    }
    budgets.extend(memory_budget(rounds));
    println!("\nBudgets");
    for BudgetResult { what, figure, met } in &budgets {
        println!("{what:<58} {figure:>10}  {}", if *met { "met" } else { "NOT met" });
    }
    let budget =
        |budget: &BudgetResult| json!({ "what": budget.what, "figure": budget.figure, "met": budget.met });
    budgets.iter().map(budget).collect()
}

/// Computes the additional peak memory per session, from the smallest to the largest table.
#[expect(clippy::cast_precision_loss, reason = "a rounded size")]
fn memory_budget(rounds: &[RoundReport]) -> Option<BudgetResult> {
    let small = rounds.iter().min_by_key(|round| round.rows)?;
    let large = rounds.iter().max_by_key(|round| round.rows).filter(|large| large.rows > small.rows)?;
    let peak = |round: &RoundReport| round.find_stats(CHECK_SCAN).map(|scan| scan.peak_bytes);
    // The difference of two sizes, which leaves out the memory of the program itself.
    let bytes = peak(large)?.saturating_sub(peak(small)?) as f64 / (large.rows - small.rows) as f64;
    Some(BudgetResult {
        what: "peak memory of a scan per session, at most 64 bytes".into(),
        figure: format!("{bytes:.0} bytes"),
        met: bytes <= 64.0,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rounded size")]
fn bytes_as_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
