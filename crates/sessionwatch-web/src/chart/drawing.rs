//! The SVG of a chart.

use maud::{Markup, html};
use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    Chart, ChartMarker, ChartPoint,
    resample::resample_points,
    scale::{axis_end, time_ticks},
};
use crate::{assets::Asset, format::format_amount};

const TOP_MARGIN: f64 = 30.0;
const RIGHT_MARGIN: f64 = 12.0;
/// Height of the pane of the line, in the wide and in the narrow drawing.
const LINE_HEIGHT: f64 = 184.0;
const NARROW_LINE_HEIGHT: f64 = 150.0;
/// Height of the pane of the line above bars: with both, the chart is the main part of its page.
const LINE_HEIGHT_ABOVE_BARS: f64 = 264.0;
/// Distance between the panes, and height of the pane of the bars.
const PANE_GAP: f64 = 34.0;
const BAR_HEIGHT: f64 = 76.0;
/// Space for the labels of the x-axis.
const AXIS_HEIGHT: f64 = 24.0;
/// Width of a digit of an axis label, rounded up.
const DIGIT_WIDTH: f64 = 7.0;

/// One drawing of a chart. There are two, so that labels keep their size on phones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawing<'a> {
    pub(super) chart: &'a Chart<'a>,
    pub(super) width: f64,
    pub(super) is_narrow: bool,
    pub(super) max_points: usize,
}

/// A pane: its upper edge, its height, and the value at the upper edge.
#[derive(Clone, Copy, Debug)]
struct Pane {
    top: f64,
    height: f64,
    end: f64,
}

impl Pane {
    fn y(self, value: f64) -> f64 {
        self.top + self.height * (1.0 - (value / self.end).clamp(0.0, 1.0))
    }

    fn bottom(self) -> f64 {
        self.top + self.height
    }
}

impl Drawing<'_> {
    /// Renders the SVG.
    pub(super) fn render(self) -> Markup {
        let (line, bars) = self.panes();
        let bottom = bars.map_or(line.bottom(), Pane::bottom);
        let class = if self.is_narrow { "chart chart-narrow" } else { "chart chart-wide" };
        let view_box = format!("0 0 {} {}", self.width, bottom + AXIS_HEIGHT);
        html! {
            svg class=(class) viewBox=(view_box) role="img" aria-label=(self.chart.text_summary()) {
                (self.render_grid(line))
                @for period in &self.chart.firing { (self.render_firing(line, period.from, period.to)) }
                (self.render_limits(line))
                (self.render_line(line))
                @for marker in &self.chart.markers { (self.render_marker(line, marker)) }
                @if let Some(bars) = bars { (self.render_bars(bars)) }
                (self.render_time_axis(bottom))
            }
        }
    }

    fn panes(self) -> (Pane, Option<Pane>) {
        let height = match (self.is_narrow, self.chart.bars.is_some()) {
            (true, _) => NARROW_LINE_HEIGHT,
            (false, true) => LINE_HEIGHT_ABOVE_BARS,
            (false, false) => LINE_HEIGHT,
        };
        let known = |points: &[ChartPoint]| points.iter().filter_map(|(_, value)| *value).collect::<Vec<_>>();
        let limits = self.chart.limits.iter().map(|limit| limit.value);
        let end = axis_end(known(&self.chart.line.points).into_iter(), limits);
        let line = Pane { top: TOP_MARGIN, height, end };
        let bars = self.chart.bars.as_ref().map(|bars| Pane {
            top: line.bottom() + PANE_GAP,
            height: BAR_HEIGHT,
            end: axis_end(known(&bars.points).into_iter(), std::iter::empty()),
        });
        (line, bars)
    }

    /// Returns the width of the labels of the y-axis.
    fn left(self) -> f64 {
        let (line, bars) = self.panes();
        let ends = [Some(line), bars].into_iter().flatten().map(|pane| axis_label(pane.end).len());
        #[expect(clippy::cast_precision_loss, reason = "a few letters")]
        let width = ends.max().unwrap_or(1) as f64 * DIGIT_WIDTH;
        width + 14.0
    }

    fn x(self, at: UtcTimestamp) -> f64 {
        let period = self.chart.period;
        let span = period.duration().as_secs_f64().max(1.0);
        let share = at.duration_since(period.from).as_secs_f64() / span;
        let left = self.left();
        left + share.clamp(0.0, 1.0) * (self.width - left - RIGHT_MARGIN)
    }

    fn render_grid(self, pane: Pane) -> Markup {
        let [left, right] = [self.left(), self.width - RIGHT_MARGIN];
        html! {
            @for share in [0.0, 0.5, 1.0] {
                @let y = pane.y(share * pane.end);
                @let class = if share > 0.0 { "c-grid" } else { "c-axis" };
                line class=(class) x1=(Px(left)) x2=(Px(right)) y1=(Px(y)) y2=(Px(y)) {}
                text x=(Px(left - 8.0)) y=(Px(y + 4.0)) text-anchor="end" { (axis_label(share * pane.end)) }
            }
        }
    }

    fn render_firing(self, pane: Pane, from: UtcTimestamp, to: UtcTimestamp) -> Markup {
        let (x, end) = (self.x(from), self.x(to));
        let label = format!("Firing from {} to {}", clock::format_utc(from), clock::format_utc(to));
        // At least two pixels, or a short alert in a long period would be invisible.
        let width = (end - x).max(2.0);
        html! {
            rect.c-fire x=(Px(x)) y=(Px(pane.top)) width=(Px(width)) height=(Px(pane.height)) {
                title { (label) }
            }
        }
    }

    fn render_limits(self, pane: Pane) -> Markup {
        let latest = self.chart.line.points.iter().rev().find_map(|(_, value)| *value).unwrap_or(0.0);
        let [left, right] = [self.left(), self.width - RIGHT_MARGIN];
        html! {
            @for limit in self.chart.limits.iter().filter(|limit| limit.value <= pane.end) {
                @let y = pane.y(limit.value);
                @let is_crossed = latest > limit.value && limit.label.contains("above");
                @let [line_class, text_class] =
                    if is_crossed { ["c-limit c-limit-bad", "lim lim-bad"] } else { ["c-limit", "lim"] };
                line class=(line_class) x1=(Px(left)) x2=(Px(right)) y1=(Px(y)) y2=(Px(y)) {}
                text class=(text_class) x=(Px(left + 4.0)) y=(Px(y - 5.0)) {
                    (limit.label) " " (format_amount(limit.value))
                }
            }
        }
    }

    fn render_line(self, pane: Pane) -> Markup {
        let points = resample_points(&self.chart.line.points, self.chart.period, self.max_points);
        let runs = points.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty());
        let latest = points.iter().rev().find_map(|(at, value)| Some((*at, (*value)?)));
        html! {
            @for run in runs {
                @let path = self.line_path(pane, run);
                @let [first, last] = [run[0].0, run[run.len() - 1].0].map(|at| Px(self.x(at)));
                @let bottom = Px(pane.bottom());
                path.c-area d={ (path) "L" (last) " " (bottom) "L" (first) " " (bottom) "Z" } {}
                path.c-line d=(path) {}
            }
            @if let Some((at, value)) = latest {
                circle.c-dot cx=(Px(self.x(at))) cy=(Px(pane.y(value))) r="4.5" {}
                text.val x=(Px(self.x(at))) y=(Px(pane.y(value) - 12.0)) text-anchor="end" { (format_amount(value)) }
            }
        }
    }

    fn line_path(self, pane: Pane, run: &[ChartPoint]) -> String {
        let point =
            |(at, value): &ChartPoint| format!("{} {}", Px(self.x(*at)), Px(pane.y(value.unwrap_or(0.0))));
        format!("M{}", run.iter().map(point).collect::<Vec<_>>().join("L"))
    }

    fn render_marker(self, pane: Pane, marker: &ChartMarker) -> Markup {
        let (x, name): (f64, &str) = (self.x(marker.at), marker.icon.into());
        let [badge, icon] =
            if marker.is_problem { ["c-badge c-badge-bad", "c-ico c-ico-bad"] } else { ["c-badge", "c-ico"] };
        html! {
            line.c-mark x1=(Px(x)) x2=(Px(x)) y1=(Px(pane.top - 8.0)) y2=(Px(pane.bottom())) {}
            g {
                title { (marker.label) ": " (clock::format_utc(marker.at)) }
                circle class=(badge) cx=(Px(x)) cy=(Px(pane.top - 18.0)) r="10" {}
                @let href = format!("{}#i-{name}", Asset::Sprite.url());
                use class=(icon) href=(href) x=(Px(x - 6.0)) y=(Px(pane.top - 24.0)) width="12" height="12" {}
            }
        }
    }

    fn render_bars(self, pane: Pane) -> Markup {
        let Some(bars) = &self.chart.bars else { return html! {} };
        let slots = self.max_points / 2;
        let points = resample_points(&bars.points, self.chart.period, slots);
        #[expect(clippy::cast_precision_loss, reason = "a few hundred bars")]
        let width = ((self.width - self.left() - RIGHT_MARGIN) / slots as f64 - 1.0).max(1.0);
        html! {
            (self.render_grid(pane))
            text.pane x=(Px(self.left())) y=(Px(pane.top - 12.0)) { (bars.label) }
            @for (at, value) in &points {
                @if let Some(value) = value {
                    @let [x, y] = [self.x(*at) - width, pane.y(*value)];
                    rect.c-bar x=(Px(x)) y=(Px(y)) width=(Px(width)) height=(Px(pane.bottom() - y)) {}
                }
            }
        }
    }

    fn render_time_axis(self, bottom: f64) -> Markup {
        let wanted = if self.is_narrow { 4 } else { 8 };
        html! {
            @for (at, label) in time_ticks(self.chart.period, wanted) {
                @let x = self.x(at);
                line.c-axis x1=(Px(x)) x2=(Px(x)) y1=(Px(bottom)) y2=(Px(bottom + 4.0)) {}
                text x=(Px(x)) y=(Px(bottom + 18.0)) text-anchor="middle" { (label) }
            }
        }
    }
}

/// A coordinate, shown with one decimal, which is finer than a pixel.
#[derive(Clone, Copy, Debug)]
struct Px(f64);

impl std::fmt::Display for Px {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.1}", self.0)
    }
}

/// Formats a value of the y-axis, with `k` for thousands.
fn axis_label(value: f64) -> String {
    if (1_000.0..1e6).contains(&value) {
        format!("{}k", (value / 100.0).round() / 10.0)
    } else if value.fract() == 0.0 || value >= 1e6 {
        format_amount(value)
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_labels_are_short() {
        assert_eq!(
            [0.0, 2.5, 50.0, 1_500.0, 6_000.0, 2e6].map(axis_label),
            ["0", "2.5", "50", "1.5k", "6k", "2.0M"]
        );
    }
}
