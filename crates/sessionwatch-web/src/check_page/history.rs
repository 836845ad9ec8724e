//! The value of the check over time, with its limit and the periods in which the alert fired.

use maud::{Markup, html};
use sessionwatch_app::app::{
    Period,
    check_history::{RESULTS_LOOKBACK, gauge_for_check},
};
use sessionwatch_core::checks::CheckThresholds;

use super::{CheckView, result_strip::ResultStrip};
use crate::{
    chart::{Chart, ChartLimit, ChartSeries},
    components::Card,
    overview::chart_markers,
};

impl CheckView<'_> {
    /// Renders the chart, if the value of the check is recorded, and the results of two weeks.
    pub(super) fn render_history(&self) -> Markup {
        let strip = ResultStrip {
            period: Period::ending_at(self.shell.now, RESULTS_LOOKBACK),
            results: &self.check_history.results,
        };
        let Some(gauge) = gauge_for_check(&self.alert.check) else {
            let body = html! {
                div.card-body { (strip.render()) }
                div.card-foot { (strip.render_legend()) (strip.render_table()) }
            };
            let card = Card { id: "course", title: "Results", note: "", end: html! {}, body };
            return html! { div.early { (card.render()) } };
        };
        let body = html! {
            (self.render_chart(gauge))
            div.card-foot.strip-block { (strip.render()) (strip.render_legend()) }
        };
        let end = self.range.render_switch(&self.path());
        let card = Card { id: "course", title: gauge_title(gauge), note: "", end, body };
        html! { div.early { (card.render()) } }
    }

    fn render_chart(&self, gauge: &str) -> Markup {
        let period = self.range.period(self.shell.now);
        let mut thresholds = self.config.checks.thresholds.clone();
        thresholds.user_session_excess.max = self.user_limit();
        Chart {
            period,
            line: ChartSeries { label: gauge_title(gauge), points: self.check_history.values.clone() },
            bars: None,
            limits: check_limits(&self.alert.check, &thresholds, self.stored_sessions()),
            firing: self.check_history.firing.clone(),
            markers: chart_markers(&self.check_history.target_events, period),
        }
        .render()
    }

    /// Returns the number of stored sessions in the last run.
    fn stored_sessions(&self) -> Option<u64> {
        self.check_history.report.as_ref()?.document["stats"]["sessions"].as_u64()
    }
}

/// Returns the title of the chart of a gauge.
pub(crate) fn gauge_title(gauge: &str) -> &'static str {
    match gauge {
        "duplicate_tokens" => "Tokens shared by several sessions",
        "reassigned" => "Tokens that changed users",
        "reappeared" => "Ended sessions that are back",
        "orphaned" => "Orphaned sessions",
        "per_user" => "Active sessions per user",
        "max_per_user" => "Most active sessions of one user",
        "created_last_hour" => "New sessions, last hour",
        "expired" => "Expired sessions still stored",
        _ => "Active sessions",
    }
}

/// Returns the limits at which a check fails, given the number of stored sessions.
#[expect(clippy::cast_precision_loss, reason = "a line in a picture")]
pub(crate) fn check_limits(
    check: &str,
    thresholds: &CheckThresholds,
    stored: Option<u64>,
) -> Vec<ChartLimit> {
    let (above, below) = match gauge_for_check(check).unwrap_or_default() {
        "duplicate_tokens" => (Some(thresholds.duplicate_tokens.max), None),
        "reassigned" => (Some(0), None),
        "reappeared" => (Some(thresholds.reappeared_sessions.max), None),
        "orphaned" => (Some(thresholds.orphaned_sessions.max), None),
        "max_per_user" => (Some(thresholds.user_session_excess.max), None),
        "created_last_hour" => (thresholds.creation_rate.max, thresholds.creation_rate.min),
        "expired" => (
            stored.map_or(thresholds.expired_backlog.max, |stored| {
                Some(thresholds.expired_backlog.max_for_rows(stored))
            }),
            None,
        ),
        "active" => (thresholds.active_sessions.max, thresholds.active_sessions.min),
        "per_user" => {
            return vec![ChartLimit { label: "Fails above", value: thresholds.sessions_per_user.max }];
        }
        _ => (None, None),
    };
    let limit = |label, value: Option<u64>| value.map(|value| ChartLimit { label, value: value as f64 });
    [limit("Fails above", above), limit("Fails below", below)].into_iter().flatten().collect()
}
