//! Charts over time: an SVG with axes, limits, firing periods, markers and gaps where values are unknown, and a table
//! of the same values. The script turns it into one with hover and zoom.

mod drawing;
mod resample;
mod scale;

use maud::{Markup, PreEscaped, html};
use serde_json::json;
use sessionwatch_app::app::Period;
use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;

use self::{drawing::Drawing, resample::resample_points};
use super::{assets::Asset, components::Icon, format::format_amount};

/// Most points of a line in the data for the script, and in the drawings.
const MAX_DATA_POINTS: usize = 480;
const MAX_WIDE_POINTS: usize = 240;
const MAX_NARROW_POINTS: usize = 80;
/// Most rows in the table below a chart.
const MAX_TABLE_ROWS: usize = 48;

/// A value at a time; `None` stands for an unknown value, for example of a failed run.
pub(super) type ChartPoint = (UtcTimestamp, Option<f64>);

/// A line, or the bars below it.
#[derive(Clone, Debug)]
pub(super) struct ChartSeries<'a> {
    pub(super) label: &'a str,
    /// Points, the oldest first.
    pub(super) points: Vec<ChartPoint>,
}

/// A horizontal line.
#[derive(Clone, Debug)]
pub(super) struct ChartLimit {
    /// Text in front of the value, such as `Fails above`.
    pub(super) label: &'static str,
    pub(super) value: f64,
}

/// Something that happened: an alert, a deploy, an incident or a plan.
#[derive(Clone, Debug)]
pub(super) struct ChartMarker {
    pub(super) at: UtcTimestamp,
    pub(super) icon: Icon,
    /// `true` if it is a problem that still lasts.
    pub(super) is_problem: bool,
    pub(super) label: String,
}

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct Chart<'a> {
    pub(super) period: Period,
    /// The line, with the area below it.
    pub(super) line: ChartSeries<'a>,
    /// Bars in a pane of their own.
    pub(super) bars: Option<ChartSeries<'a>>,
    pub(super) limits: Vec<ChartLimit>,
    /// Periods during which the alert was firing.
    pub(super) firing: Vec<Period>,
    pub(super) markers: Vec<ChartMarker>,
}

impl Chart<'_> {
    /// Renders the drawing, the legend and the table. The contents of a card.
    pub(super) fn render(&self) -> Markup {
        let known = self.line.points.iter().filter(|(_, value)| value.is_some()).count();
        if known == 0 {
            return html! { p.empty.muted { "No data in this period." } };
        }
        html! {
            figure.card-body data-chart {
                (Drawing { chart: self, width: 800.0, is_narrow: false, max_points: MAX_WIDE_POINTS }.render())
                (Drawing { chart: self, width: 326.0, is_narrow: true, max_points: MAX_NARROW_POINTS }.render())
                // Data, not code: the policy of the page allows no inline scripts.
                script type="application/json" { (PreEscaped(self.data())) }
            }
            div.card-foot { (self.render_legend()) (self.render_table()) }
            link rel="stylesheet" href=(Asset::ChartStylesheet.url());
            script src=(Asset::ChartScript.url()) defer {}
        }
    }

    /// Returns the values as JSON that is safe inside of HTML.
    fn data(&self) -> String {
        let seconds = |at: UtcTimestamp| at.micros() / 1_000_000;
        let points = resample_points(&self.line.points, self.period, MAX_DATA_POINTS);
        let bars = self.bars.as_ref().map(|bars| {
            let values = resample_points(&bars.points, self.period, MAX_DATA_POINTS);
            json!({
                "label": bars.label,
                "times": values.iter().map(|(at, _)| seconds(*at)).collect::<Vec<_>>(),
                "values": values.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            })
        });
        let limits = self.limits.iter().map(|limit| json!({ "label": limit.label, "value": limit.value }));
        let markers = self.markers.iter();
        let markers = markers.map(|marker| json!({ "at": seconds(marker.at), "label": marker.label }));
        let data = json!({
            "from": seconds(self.period.from),
            "to": seconds(self.period.to),
            "label": self.line.label,
            "times": points.iter().map(|(at, _)| seconds(*at)).collect::<Vec<_>>(),
            "values": points.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            "bars": bars,
            "limits": limits.collect::<Vec<_>>(),
            "firing": self.firing.iter().map(|period| [seconds(period.from), seconds(period.to)]).collect::<Vec<_>>(),
            "markers": markers.collect::<Vec<_>>(),
        });
        // A label with `</script>` would end the element.
        data.to_string().replace('<', "\\u003c")
    }

    fn render_legend(&self) -> Markup {
        html! {
            ul.legend {
                li { span.key.key-line {} (self.line.label) }
                @if !self.limits.is_empty() { li { span.key.key-limit {} "Limit" } }
                @if !self.firing.is_empty() { li { span.key.key-fire {} "Firing" } }
                @if let Some(bars) = &self.bars { li { span.key.key-bar {} (bars.label) } }
            }
        }
    }

    fn render_table(&self) -> Markup {
        html! {
            details.data {
                summary { "Show as table" }
                table.table.table-dense {
                    thead { tr { th scope="col" { "Time" } th.num scope="col" { (self.line.label) } } }
                    tbody {
                        @for (at, value) in self.sample_points() {
                            tr { td { (clock::format_utc(at)) } td.num { (format_amount(value)) } }
                        }
                    }
                }
            }
        }
    }

    /// Returns at most [`MAX_TABLE_ROWS`] known points, evenly spread, including the latest.
    fn sample_points(&self) -> Vec<(UtcTimestamp, f64)> {
        let known: Vec<(UtcTimestamp, f64)> =
            self.line.points.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect();
        // Counted from the end, so that the latest point is always among them.
        let step = known.len().div_ceil(MAX_TABLE_ROWS).max(1);
        known.into_iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect()
    }

    /// Returns the values in words, for screen readers.
    fn text_summary(&self) -> String {
        let values = || self.line.points.iter().filter_map(|(_, value)| *value);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        let last = values().next_back().unwrap_or(0.0);
        let firing = match self.firing.len() {
            0 => String::new(),
            1 => ", firing once".into(),
            count => format!(", firing {count} times"),
        };
        format!(
            "{}: between {} and {}, latest {}{firing}",
            self.line.label,
            format_amount(low),
            format_amount(high),
            format_amount(last)
        )
    }
}

#[cfg(test)]
mod tests;
