//! The scorecard: items by result, and the trend of the last weeks.

use maud::{Markup, html};
use sessionwatch_app::app::checklists::{ItemCounts, WeekScore};
use sessionwatch_clock as clock;
use sessionwatch_core::duration::SECOND;

use super::ReportView;
use crate::components::render_state_pill;

/// Size of the trend in the units of its view box.
const CHART_WIDTH: usize = 480;
const CHART_HEIGHT: usize = 126;
/// Top and bottom of the highest bar.
const BAR_TOP: f64 = 16.0;
const BAR_BOTTOM: f64 = 103.0;
/// Gap between two parts of a bar.
const PART_GAP: f64 = 1.5;

/// A part of a bar.
#[derive(Clone, Copy, Debug)]
struct BarPart {
    class: &'static str,
    top: f64,
    height: f64,
}

/// Renders the scorecard.
pub(super) fn render_score(view: &ReportView<'_>) -> Markup {
    let counts = view.counts();
    let before = view.report.trend.iter().find(|week| week.weeks_ago == view.weeks_ago + 1);
    html! {
        section.card.score aria-label="Score" {
            div {
                div.score-big { (calculate_percent(counts)) "%" small { " pass" } }
                p.muted {
                    @match before {
                        Some(WeekScore { counts: Some(before), .. }) => {
                            (calculate_percent(*before)) "% the week before"
                        }
                        Some(_) => "No check runs the week before",
                        None => "Items of the operator guide",
                    }
                }
            }
            div.tally {
                (render_tally("passing", "m-ok", counts.passing, counts.total()))
                (render_tally("failing", "m-bad", counts.failing, counts.total()))
                (render_tally("unknown", "m-na", counts.unknown, counts.total()))
            }
            div {
                p.muted { "Items passing, last " (view.report.trend.len()) " weeks" }
                (render_trend(view))
            }
        }
    }
}

/// Returns the passing items in percent.
fn calculate_percent(counts: ItemCounts) -> usize {
    // Rounded down: 100% must mean all.
    counts.passing * 100 / counts.total().max(1)
}

fn render_tally(state: &str, class: &str, count: usize, total: usize) -> Markup {
    let total = total.max(1);
    html! {
        div {
            (render_state_pill(state))
            svg.meter viewBox={ "0 0 " (total) " 6" } preserveAspectRatio="none" aria-hidden="true" {
                rect.m-track width=(total) height="6" {}
                rect class=(class) width=(count) height="6" {}
            }
            span.n { (count) span.sr { " of " (total) } }
        }
    }
}

/// Renders one bar per week, each a link to its checklist.
fn render_trend(view: &ReportView<'_>) -> Markup {
    let trend = &view.report.trend;
    let step = CHART_WIDTH / trend.len().max(1);
    html! {
        svg.chart viewBox={ "0 0 " (CHART_WIDTH) " " (CHART_HEIGHT) } role="group" aria-label="Items passing by week" {
            line.c-axis x1="0" x2=(CHART_WIDTH) y1="104" y2="104" {}
            @for (index, week) in trend.iter().enumerate() { (render_week(view, week, index * step, step)) }
        }
    }
}

fn render_week(view: &ReportView<'_>, week: &WeekScore, left: usize, step: usize) -> Markup {
    let middle = left + step / 2;
    let last_day = clock::format_day(week.period.to - SECOND);
    let class = (week.weeks_ago == view.weeks_ago).then_some("val");
    let label = week.counts.map_or_else(
        || format!("Week to {last_day}: no check runs"),
        |ItemCounts { passing, failing, unknown }| {
            format!("Week to {last_day}: {passing} passing, {failing} failing, {unknown} unknown")
        },
    );
    html! {
        a.trend href=(view.week_path(week.weeks_ago)) aria-current=[class.map(|_| "true")] {
            title { (label) }
            rect.c-hit x=(left) y="0" width=(step) height=(CHART_HEIGHT) {}
            @if let Some(counts) = week.counts {
                @for part in bar_parts(counts) {
                    rect class=(part.class) x=(left + 9) width=(step - 18) rx="1.5"
                        y={ (format!("{:.1}", part.top)) } height={ (format!("{:.1}", part.height)) } {}
                }
            }
            text class=[class] x=(middle) y="11" text-anchor="middle" {
                @match week.counts { Some(counts) => (counts.passing), None => "–" }
            }
            text class=[class] x=(middle) y="120" text-anchor="middle" { (last_day) }
        }
    }
}

/// Returns the parts of a bar from the bottom: passing, unknown, failing.
#[expect(clippy::cast_precision_loss, reason = "a picture")]
fn bar_parts(counts: ItemCounts) -> Vec<BarPart> {
    let unit = (BAR_BOTTOM - BAR_TOP) / counts.total().max(1) as f64;
    let parts = [("c-ok-soft", counts.passing), ("c-na", counts.unknown), ("c-no-soft", counts.failing)];
    let mut bottom = BAR_BOTTOM;
    let mut drawn = Vec::new();
    for (class, count) in parts {
        let height = unit * count as f64;
        bottom -= height;
        if count > 0 {
            drawn.push(BarPart { class, top: bottom, height: height - PART_GAP });
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_items() {
        let parts = bar_parts(ItemCounts { passing: 4, failing: 3, unknown: 0 });
        assert_eq!(parts.iter().map(|part| part.class).collect::<Vec<_>>(), ["c-ok-soft", "c-no-soft"]);
        assert!((parts[1].top - BAR_TOP).abs() < 1e-9);
        assert_eq!(calculate_percent(ItemCounts { passing: 199, failing: 1, unknown: 0 }), 99);
        assert_eq!(calculate_percent(ItemCounts::default()), 0);
    }
}
