//! SVG line charts over time: axes with dates, thresholds, gaps where no data exists, and a table of the same values.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_app::app::Period;
use sessionwatch_clock as clock;
use sessionwatch_core::{duration::HOUR, timestamp::UtcTimestamp};

const CHART_WIDTH: f64 = 640.0;
const CHART_HEIGHT: f64 = 180.0;
const LEFT_MARGIN: f64 = 52.0;
const BOTTOM_MARGIN: f64 = 22.0;
const TOP_MARGIN: f64 = 18.0;
const RIGHT_MARGIN: f64 = 10.0;
/// Most rows in the table below a chart.
const MAX_TABLE_ROWS: usize = 48;

/// A line chart.
#[derive(Clone, Debug)]
pub(super) struct Chart<'a> {
    /// The title.
    pub(super) title: &'a str,
    /// The period on the x-axis.
    pub(super) period: Period,
    /// Points, oldest first; `None` stands for a failed run.
    pub(super) points: Vec<(UtcTimestamp, Option<f64>)>,
    /// Labels and values of horizontal threshold lines.
    pub(super) limits: Vec<(&'a str, f64)>,
    /// Times and labels of alerts that started firing.
    pub(super) alert_marks: Vec<(UtcTimestamp, String)>,
}

impl Chart<'_> {
    fn y_axis_max(&self) -> f64 {
        let values = self.points.iter().filter_map(|(_, value)| *value);
        // At least 1, or a flat line at zero would divide by zero.
        let highest = values.fold(1.0, f64::max);
        // A limit far above all values would flatten the line, so it is left out of the scale.
        let limits = self.limits.iter().map(|(_, value)| *value).filter(|value| *value < highest * 3.0);
        let highest = limits.fold(highest, f64::max);
        let step = 10_f64.powf(highest.log10().floor());
        (highest / step * 2.0).ceil() * step / 2.0
    }

    fn x_position(&self, at: UtcTimestamp) -> f64 {
        let shortest = SignedDuration::from_micros(1);
        let share =
            at.duration_since(self.period.from).div_duration_f64(self.period.duration().max(shortest));
        LEFT_MARGIN + share.clamp(0.0, 1.0) * (CHART_WIDTH - LEFT_MARGIN - RIGHT_MARGIN)
    }

    fn y_position(value: f64, top: f64) -> f64 {
        TOP_MARGIN + (1.0 - (value / top).clamp(0.0, 1.0)) * (CHART_HEIGHT - TOP_MARGIN - BOTTOM_MARGIN)
    }

    /// Returns SVG paths through the known values, interrupted at failed runs and at long gaps.
    fn line_paths(&self, top: f64) -> Vec<String> {
        // Long relative to the period shown: a chart of a year has only hourly points.
        let usual = self.period.duration() / 40;
        let (mut paths, mut path, mut last) = (Vec::new(), String::new(), None);
        for (at, value) in &self.points {
            // No line through a failed run: its values are unknown, not interpolated.
            let Some(value) = value else {
                paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                last = None;
                continue;
            };
            if last.is_some_and(|last: UtcTimestamp| at.duration_since(last) > usual) {
                paths.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
            }
            let letter = if path.is_empty() { 'M' } else { 'L' };
            path.push_str(&format!(
                "{letter}{:.1} {:.1} ",
                self.x_position(*at),
                Self::y_position(*value, top)
            ));
            last = Some(*at);
        }
        paths.extend((!path.is_empty()).then_some(path));
        paths
    }

    /// Returns position and label of the ticks on the x-axis: full hours or days.
    fn x_axis_ticks(&self) -> Vec<(f64, String)> {
        let Period { from, to } = self.period;
        let steps = [HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR, 48 * HOUR, 168 * HOUR];
        let fits = |step: &SignedDuration| self.period.duration() < 9 * *step;
        let step = steps.into_iter().find(fits).unwrap_or(720 * HOUR);
        let hours = step.as_hours();
        let begun = from.duration_since(UtcTimestamp::UNIX_EPOCH).as_hours() / hours * hours;
        let first = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(begun) + step;
        let instants = std::iter::successors(Some(first), |at| Some(*at + step)).take_while(|at| *at < to);
        let label = |at: UtcTimestamp| {
            let text = clock::format_utc(at);
            // A slice of the ISO format: hours and minutes, or month and day.
            if step < 24 * HOUR { text[11..16].to_owned() } else { text[5..10].to_owned() }
        };
        instants.map(|at| (self.x_position(at), label(at))).collect()
    }

    /// Renders the chart and the table below it.
    pub(super) fn render(&self) -> Markup {
        let top = self.y_axis_max();
        let known = self.points.iter().filter(|(_, value)| value.is_some()).count();
        html! {
            figure.chart {
                figcaption { (self.title) }
                @if known == 0 {
                    p.empty { "No data for this period yet." }
                } @else {
                    svg viewBox={ "0 0 " (CHART_WIDTH) " " (CHART_HEIGHT) } role="img" aria-label={ (self.title) ", " (self.text_summary()) } {
                        @for share in [0.0, 0.5, 1.0] {
                            line.grid x1=(LEFT_MARGIN) x2=(CHART_WIDTH - RIGHT_MARGIN) y1=(Self::y_position(share * top, top)) y2=(Self::y_position(share * top, top)) {}
                            text.axis x=(LEFT_MARGIN - 6.0) y=(Self::y_position(share * top, top) + 4.0) text-anchor="end" { (format_number(share * top)) }
                        }
                        @for (x, label) in self.x_axis_ticks() {
                            text.axis x=(x) y=(CHART_HEIGHT - 6.0) text-anchor="middle" { (label) }
                        }
                        @for (name, value) in self.limits.iter().filter(|(_, value)| *value <= top) {
                            line.limit x1=(LEFT_MARGIN) x2=(CHART_WIDTH - RIGHT_MARGIN) y1=(Self::y_position(*value, top)) y2=(Self::y_position(*value, top)) {}
                            text.limit x=(CHART_WIDTH - RIGHT_MARGIN) y=(Self::y_position(*value, top) - 3.0) text-anchor="end" { (name) " " (format_number(*value)) }
                        }
                        @for (at, said) in &self.alert_marks {
                            line.event x1=(self.x_position(*at)) x2=(self.x_position(*at)) y1=(TOP_MARGIN) y2=(CHART_HEIGHT - BOTTOM_MARGIN) { title { (said) } }
                        }
                        @for path in self.line_paths(top) { path.line d=(path) {} }
                        @for (at, value) in self.sample_points() {
                            circle.dot cx=(self.x_position(at)) cy=(Self::y_position(value, top)) r="5" {
                                title { (clock::format_utc(at)) ": " (format_number(value)) }
                            }
                        }
                    }
                    details {
                        summary { "Show as table" }
                        table {
                            thead { tr { th scope="col" { "Time" } th scope="col" { (self.title) } } }
                            tbody {
                                @for (at, value) in self.sample_points() { tr { td { (clock::format_utc(at)) } td.number { (format_number(value)) } } }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Returns at most [`MAX_TABLE_ROWS`] known points, evenly spread, including the latest.
    fn sample_points(&self) -> Vec<(UtcTimestamp, f64)> {
        let known: Vec<(UtcTimestamp, f64)> =
            self.points.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect();
        // Counted from the end, so that the latest point is always among them.
        let step = known.len().div_ceil(MAX_TABLE_ROWS).max(1);
        known.into_iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect()
    }

    fn text_summary(&self) -> String {
        let values = || self.points.iter().filter_map(|(_, value)| *value);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        let last = values().next_back().unwrap_or(0.0);
        format!("from {} to {}, latest {}", format_number(low), format_number(high), format_number(last))
    }
}

/// Formats a number for an axis, abbreviating thousands and millions.
pub(super) fn format_number(value: f64) -> String {
    if value >= 1_000_000.0 {
        format!("{:.1} M", value / 1e6)
    } else if value >= 10_000.0 {
        format!("{:.0} k", value / 1e3)
    } else if value.fract().abs() < 0.005 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_608_000 + minutes * 60)
    }

    #[test]
    fn a_line_is_interrupted_where_values_are_unknown() {
        let chart = |points: Vec<(UtcTimestamp, Option<f64>)>| Chart {
            title: "x",
            period: Period { from: at(0), to: at(600) },
            points,
            limits: vec![],
            alert_marks: vec![],
        };
        let some = |minute| (at(minute), Some(5.0));
        assert_eq!(chart(vec![some(0), some(10), some(20)]).line_paths(10.0).len(), 1);
        assert_eq!(chart(vec![some(0), (at(10), None), some(20)]).line_paths(10.0).len(), 2);
        // Nothing was measured for an hour.
        assert_eq!(chart(vec![some(0), some(60)]).line_paths(10.0).len(), 2);
        assert!(chart(vec![(at(1), None)]).render().into_string().contains("No data"));
    }

    #[test]
    fn numbers_and_axes_are_round() {
        assert_eq!(
            [0.0, 12.0, 1.25, 12_345.0, 2_500_000.0].map(format_number),
            ["0", "12", "1.25", "12 k", "2.5 M"]
        );
        let chart = Chart {
            title: "<script>",
            period: Period { from: at(0), to: at(1_440) },
            points: vec![(at(0), Some(430.0))],
            limits: vec![("fails above", 500.0)],
            alert_marks: vec![],
        };
        assert_eq!(chart.y_axis_max(), 500.0);
        let labels: Vec<String> = chart.x_axis_ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00"]);
        assert!(!chart.render().into_string().contains("<script>"));
    }
}
