//! The figures of a target over time.

use maud::{Markup, html};
use sessionwatch_core::checks::{
    active_sessions::ACTIVE_SESSIONS_CHECK, creation_rate::CREATION_RATE_CHECK,
    expired_backlog::EXPIRED_BACKLOG_CHECK, sessions_per_user::SESSIONS_PER_USER_CHECK,
};

use super::TargetView;
use crate::{
    alert_parts::check_path,
    chart::{Chart, ChartPoint, ChartSeries},
    check_page::{check_limits, gauge_title},
    components::Card,
    overview::chart_markers,
};

/// Gauges with a chart, each with the check that watches it.
const CHARTED_GAUGES: [(&str, &str); 4] = [
    ("active", ACTIVE_SESSIONS_CHECK.id),
    ("created_last_hour", CREATION_RATE_CHECK.id),
    ("per_user", SESSIONS_PER_USER_CHECK.id),
    ("expired", EXPIRED_BACKLOG_CHECK.id),
];

impl TargetView<'_> {
    /// Renders one chart for each of the main gauges.
    pub(super) fn render_charts(&self) -> Markup {
        html! {
            section.section aria-labelledby="over-time" {
                div.row.row-wrap.between {
                    h2.h2 id="over-time" { "Over time" } (self.range.render_switch(&self.path()))
                }
                div.grid-2 { @for (gauge, check) in CHARTED_GAUGES { (self.render_chart(gauge, check)) } }
            }
        }
    }

    fn render_chart(&self, gauge: &str, check: &str) -> Markup {
        let period = self.range.period(self.shell.now);
        let title = gauge_title(gauge);
        let stored =
            self.row.status.report_document().and_then(|report| report["stats"]["sessions"].as_u64());
        let chart = Chart {
            period,
            line: ChartSeries { label: title, points: self.gauge_series(gauge) },
            bars: None,
            limits: check_limits(check, &self.config.checks.thresholds, stored),
            firing: vec![],
            markers: chart_markers(&self.overview.activity, period)
                .into_iter()
                .filter(|marker| !marker.is_problem)
                .collect(),
        };
        let is_known = self.row.status.alerts.iter().any(|alert| alert.check == check);
        let end = html! { @if is_known { a href=(check_path(&self.target().name, check)) { "Open check" } } };
        Card { id: gauge, title, note: "", end, body: chart.render() }.render()
    }

    fn gauge_series(&self, gauge: &str) -> Vec<ChartPoint> {
        let samples = self.overview.chart_samples.iter().flatten();
        samples.map(|sample| (sample.at, sample.gauges.get(gauge).map(|[mean, ..]| *mean))).collect()
    }
}
