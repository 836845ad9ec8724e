//! The alerts page: firing, acknowledged, silenced and pending alerts, silences, and past notifications.

mod form_handlers;
mod history;
mod silences;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppState, Period,
        alerts::{self, AlertFilter, AlertRecord, EventRecord, EventSearch},
        silences::{self as app_silences, SilenceRecord},
        status_summary::TargetSummary,
    },
    checks::describe_check,
};
use sessionwatch_core::{
    alert::AlertState,
    duration::{self, DAY},
    plural::format_count,
    timestamp::UtcTimestamp,
};

pub(super) use self::form_handlers::{
    acknowledge_alert, add_comment, create_silence, expire_silence, resolve_alert,
};

use self::{
    history::{HistoryFilter, render_history, render_recently_resolved},
    silences::render_silences,
};
use super::{
    alert_parts::{check_path, check_state},
    components::{Card, Column, DataTable, EmptyState, Icon, PageHeader, render_state_pill},
    filter_fields::parse_days,
    firing_alerts::FiringAlerts,
    format::{capitalize_first, percent_encode, render_relative_time, render_sentence},
    overview::AttentionList,
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
    unknown_callout::describe_unknown_targets,
    web_error::PageResult,
};

/// Path to which the forms of the page return.
const PAGE_PATH: &str = "/alerts";
/// Most notifications on a page.
const EVENT_PAGE_SIZE: u32 = 200;
/// Days of notifications, unless asked for others.
const DEFAULT_DAYS: i64 = 7;

/// Most days of notifications.
const MAX_DAYS: i64 = 400;

/// Parameters of the page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AlertHistoryQuery {
    text: String,
    /// Text, so that any number shows a page.
    days: String,
}

/// The alerts by what has to be done about them, the most severe first in each list.
#[derive(Clone, Debug, Default)]
struct SortedAlerts<'a> {
    firing: FiringAlerts<'a>,
    pending: Vec<&'a AlertRecord>,
    /// Not firing, but the last result is unknown.
    unknown: Vec<&'a AlertRecord>,
}

pub(super) async fn show_alerts(
    State(app): State<Arc<AppState>>,
    PageQuery(query): PageQuery<AlertHistoryQuery>,
    shell: Shell,
) -> PageResult {
    let days = parse_days(&query.days, MAX_DAYS).unwrap_or(DEFAULT_DAYS);
    let text = Some(query.text.clone()).filter(|text| !text.is_empty());
    let filter = HistoryFilter { text: &query.text, days };
    let all = alerts::list_alerts(&app, AlertFilter::All).await?;
    let silences = app_silences::list_silences(&app).await?;
    let events =
        search_notifications(&app, Period::ending_at(shell.now, duration::from_days(days)), text).await?;
    let latest = search_notifications(&app, Period::ending_at(shell.now, 7 * DAY), None).await?;
    let sorted = SortedAlerts::new(&all, &silences);
    let body = html! {
        (sorted.render_header(&shell.status.targets))
        (sorted.render_lists(&shell, &silences))
        (sorted.render_unconfirmed(shell.now))
        (render_silences(&shell, &silences))
        (render_recently_resolved(&latest, shell.now))
        (render_history(filter, &events, shell.now))
    };
    // A search stays as it is: refreshing would shift the results while somebody reads them.
    let page =
        PageHead { title: "Alerts", section: NavSection::Alerts, target: None, live: query.text.is_empty() };
    Ok(shell.render_page(page, &body))
}

async fn search_notifications(
    app: &Arc<AppState>,
    period: Period,
    text: Option<String>,
) -> Result<Vec<EventRecord>, super::web_error::WebError> {
    let search = EventSearch {
        from: period.from,
        to: period.to,
        target: None,
        check: None,
        text,
        alerts_only: true,
        before_id: None,
        limit: EVENT_PAGE_SIZE,
    };
    Ok(alerts::search_events(app, search).await?)
}

impl<'a> SortedAlerts<'a> {
    fn new(all: &'a [AlertRecord], silences: &[SilenceRecord]) -> Self {
        let is_firing = |alert: &&AlertRecord| matches!(alert.alert.state, AlertState::Firing { .. });
        let firing = FiringAlerts::sort(all.iter().filter(is_firing), silences);
        let mut sorted = Self { firing, ..Self::default() };
        for alert in all {
            let list = match alert.alert.state {
                AlertState::Firing { .. } => continue,
                AlertState::Pending { .. } => &mut sorted.pending,
                AlertState::Resolved if alert.unknown_reason.is_some() => &mut sorted.unknown,
                AlertState::Resolved => continue,
            };
            list.push(alert);
        }
        sorted
    }

    /// Renders how many alerts need a person, and whether anything is unknown.
    fn render_header(&self, targets: &[TargetSummary]) -> Markup {
        let firing = &self.firing;
        let count = |alerts: &[&AlertRecord]| alerts.len() as u64;
        let headline = match (count(&firing.open), count(&firing.acknowledged), count(&firing.silenced)) {
            (0, 0, 0) => "No alert is firing".to_owned(),
            (0, _, _) => "No alert needs attention".to_owned(),
            (open, _, _) => format!("{} attention", format_count(open, "alert needs", "alerts need")),
        };
        let parts = [
            (count(&firing.acknowledged), "is acknowledged", "are acknowledged"),
            (count(&firing.silenced), "is silenced", "are silenced"),
            (count(&self.pending), "is pending", "are pending"),
            (count(&self.unknown), "check is unknown", "checks are unknown"),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| format_count(count, one, many))
            .collect();
        let lead = html! {
            @if !parts.is_empty() { (capitalize_first(&parts.join(", "))) ". " }
            (self.describe_targets(targets))
        };
        PageHeader { headline: &headline, lead, ..PageHeader::default() }.render()
    }

    /// Returns which targets are unknown as a whole, or that all checks pass; otherwise an empty text.
    fn describe_targets(&self, targets: &[TargetSummary]) -> String {
        let is_listed = |name: &str| self.unknown.iter().any(|alert| alert.target == name);
        let unknown = targets.iter().filter(|target| target.state == "unknown" && !is_listed(&target.name));
        let unknown: Vec<&str> = unknown.map(|target| target.name.as_str()).collect();
        if targets.is_empty() {
            "No target is monitored yet.".to_owned()
        } else if !unknown.is_empty() {
            format!("{}.", describe_unknown_targets(&unknown))
        } else if targets.iter().all(|target| target.state == "passing") {
            "All checks pass. When one fails, its alert appears here with the next step.".to_owned()
        } else {
            String::new()
        }
    }

    /// Renders the firing alerts in up to three lists.
    fn render_lists(&self, shell: &Shell, silences: &[SilenceRecord]) -> Markup {
        let list = |alerts: &[&AlertRecord], has_primary: bool| {
            AttentionList { shell, firing: alerts, silences, back: PAGE_PATH, has_primary }.render()
        };
        let handled = [
            ("acknowledged", "Acknowledged", &self.firing.acknowledged),
            ("silenced", "Silenced", &self.firing.silenced),
        ];
        html! {
            (list(&self.firing.open, true))
            @for (id, title, alerts) in handled {
                @if !alerts.is_empty() {
                    section.section aria-labelledby=(id) {
                        h2.h2 id=(id) { (title) }
                        (list(alerts, false))
                    }
                }
            }
            @if self.firing.all().is_empty() {
                section.card aria-label="Firing alerts" { (EmptyState {
                    icon: Icon::ShieldCheck,
                    title: "Nothing is firing",
                    text: html! { "Critical alerts fire with the first failing run, others with the second." },
                    action: html! {},
                }.render()) }
            }
        }
    }

    /// Renders the pending alerts, and the checks whose result is unknown.
    fn render_unconfirmed(&self, now: UtcTimestamp) -> Markup {
        const ALERT_COLUMNS: [Column<'_>; 5] = [
            Column::text("State"),
            Column::text("Check"),
            Column::text("Target"),
            Column::fill("Result"),
            Column::number("Since"),
        ];
        let alerts = || self.pending.iter().chain(&self.unknown);
        if alerts().next().is_none() {
            return html! {};
        }
        let rows = html! {
            @for alert in alerts() {
                tr {
                    td.up { (render_state_pill(check_state(alert))) }
                    td.first {
                        a href=(check_path(&alert.target, &alert.check)) { (describe_check(&alert.check).title) }
                    }
                    td.hide-s { a.plain href={ "/targets/" (percent_encode(&alert.target)) } { (alert.target) } }
                    td.fill.muted.result { (render_sentence(&capitalize_first(&alert.summary))) }
                    td.num.hide-s {
                        @match alert.alert.state {
                            AlertState::Pending { since, .. } => (render_relative_time(since, now)),
                            _ => "–",
                        }
                    }
                }
            }
        };
        let body =
            DataTable { label: "Unconfirmed alerts", class: "table-cards", columns: &ALERT_COLUMNS, rows };
        Card {
            id: "unconfirmed",
            title: "Pending and unknown",
            note: "confirmed by the next runs",
            end: html! {},
            body: body.render(),
        }
        .render()
    }
}

#[cfg(test)]
mod tests;
