//! Stat tiles: a number, its change, and its course.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// Size of a sparkline in the units of its view box.
const SPARK_WIDTH: f64 = 160.0;
const SPARK_HEIGHT: f64 = 32.0;
/// The line is 1.5 px wide, so its highest point must not touch the edge.
const SPARK_MARGIN: f64 = 2.0;

/// A number with its change and course.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatTile<'a> {
    pub(crate) label: &'a str,
    /// The number, or `–` if it is unknown.
    pub(crate) value: String,
    /// Its change, its usual range, or why it is unknown.
    pub(crate) note: String,
    /// Link to what is behind the number; empty if there is nothing to see.
    pub(crate) href: String,
    pub(crate) course: Option<Sparkline>,
    /// Icon that marks a problem.
    pub(crate) problem: Option<StatProblem>,
}

/// Urgency of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatProblem {
    /// Its check fails with severity critical or high.
    Bad,
    /// Its check fails with a lower severity.
    Warn,
}

/// The course of a number over time.
#[derive(Clone, Debug)]
pub(crate) struct Sparkline {
    /// Values at equal distances, the oldest first; `None` where the value is unknown.
    pub(crate) values: Vec<Option<f64>>,
}

/// Renders tiles side by side in one card.
pub(crate) fn render_stat_tiles(label: &str, tiles: &[StatTile<'_>]) -> Markup {
    let columns = match tiles.len() {
        3 => " stats-3",
        4 => " stats-4",
        _ => "",
    };
    html! { section class={ "card stats" (columns) } aria-label=(label) { @for tile in tiles { (tile.render()) } } }
}

impl StatTile<'_> {
    fn render(&self) -> Markup {
        let (class, spark, icon) = match self.problem {
            Some(StatProblem::Bad) => ("stat stat-bad", "spark spark-bad", Some(Icon::OctagonAlert)),
            Some(StatProblem::Warn) => ("stat stat-warn", "spark spark-warn", Some(Icon::Diamond)),
            None => ("stat", "spark", None),
        };
        let body = html! {
            span.stat-label { @if let Some(icon) = icon { (render_icon(icon)) } (self.label) }
            " "
            span.stat-value { (self.value) }
            " "
            span.stat-note { (self.note) }
            @if let Some(course) = &self.course { (course.render(spark)) }
        };
        html! {
            @if self.href.is_empty() { div class=(class) { (body) } }
            @else { a class=(class) href=(self.href) { (body) } }
        }
    }
}

impl Sparkline {
    /// Renders the course as a picture with these classes.
    pub(crate) fn render(&self, class: &str) -> Markup {
        let view_box = format!("0 0 {SPARK_WIDTH} {SPARK_HEIGHT}");
        html! {
            svg class=(class) viewBox=(view_box) preserveAspectRatio="none" aria-hidden="true" {
                @for run in self.known_runs() {
                    @let line = self.line_path(&run);
                    @let [first, last] = [run.start, run.end - 1].map(|index| self.x_position(index));
                    path.spark-area d={ (line) "L" (last) " " (SPARK_HEIGHT) "L" (first) " " (SPARK_HEIGHT) "Z" } {}
                    path.spark-line d=(line) {}
                }
            }
        }
    }

    /// Returns the index ranges of consecutive known values. Unknown values leave a gap.
    fn known_runs(&self) -> Vec<std::ops::Range<usize>> {
        let mut runs: Vec<std::ops::Range<usize>> = vec![];
        for (index, value) in self.values.iter().enumerate() {
            match (value, runs.last_mut()) {
                (None, _) => {}
                (Some(_), Some(run)) if run.end == index => run.end += 1,
                (Some(_), _) => runs.push(index..index + 1),
            }
        }
        runs
    }

    fn x_position(&self, index: usize) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a position in a picture")]
        let share = index as f64 / self.values.len().saturating_sub(1).max(1) as f64;
        format!("{:.1}", share * SPARK_WIDTH)
    }

    fn line_path(&self, run: &std::ops::Range<usize>) -> String {
        let known = || self.values.iter().copied().flatten();
        let low = known().fold(f64::INFINITY, f64::min).min(known().fold(0.0, f64::max) * 0.75);
        let high = known().fold(f64::NEG_INFINITY, f64::max);
        // A flat line runs along the bottom if it is zero, and otherwise where its height says so.
        let span = (high - low).max(f64::MIN_POSITIVE);
        let points = run.clone().filter_map(|index| Some((index, self.values[index]?)));
        let text = |(index, value): (usize, f64)| {
            let height = (value - low) / span * (SPARK_HEIGHT - 2.0 * SPARK_MARGIN);
            format!("{} {:.1}", self.x_position(index), SPARK_HEIGHT - SPARK_MARGIN - height)
        };
        format!("M{}", points.map(text).collect::<Vec<_>>().join("L"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_leave_a_gap_in_a_sparkline() {
        let course = Sparkline { values: vec![Some(1.0), Some(2.0), None, Some(3.0)] };
        assert_eq!(course.known_runs(), [0..2, 3..4]);
        assert_eq!(course.render("spark").into_string().matches("spark-line").count(), 2);
        let flat = Sparkline { values: vec![Some(0.0), Some(0.0)] };
        assert_eq!(flat.line_path(&(0..2)), "M0.0 30.0L160.0 30.0");
    }
}
