//! The overview: problems and key figures of all targets.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use sessionwatch_app::{
    app::{
        AppState, Period,
        alerts::AlertRecord,
        targets::{self, TargetStatus},
    },
    config::{Config, Target},
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    alert::AlertState as Alerting, duration::DAY, plural::format_count, timestamp::UtcTimestamp,
};

use super::{
    PageResult,
    auth::LoggedIn,
    chart::{self, Chart},
    layout::{self, PageHead},
};

/// Most notifications shown per target.
const MAX_SHOWN_EVENTS: u32 = 12;

pub(super) async fn show_overview(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
) -> PageResult {
    let (config, now) = (app.config(), app.clock.now());
    let configured: Vec<Target> = config.targets.clone();
    let known = targets::list_target_statuses(&app).await?;
    let wrong: Vec<(&Target, &AlertRecord)> = configured
        .iter()
        .zip(&known)
        .flat_map(|(target, known)| known.firing_alerts().into_iter().map(move |kept| (target, kept)))
        .collect();
    let open = wrong.iter().filter(|(_, kept)| kept.acknowledged_by.is_none()).count();
    let unknown = known.iter().filter(|known| known.state() == "unknown").count();
    let pending: usize = known.iter().map(TargetStatus::count_pending_alerts).sum();
    let body = html! {
        @if !configured.is_empty() { (render_overall_status(open, wrong.len(), unknown, pending)) }
        @if !wrong.is_empty() {
            section aria-labelledby="problems" {
                h2 id="problems" { "Problems" }
                ul.list { @for (_, kept) in &wrong { li { (render_alert_line(kept, now)) } } }
            }
        }
        @for (target, known) in configured.iter().zip(&known) { (render_target_card(&config, target, known, now)) }
        @if configured.is_empty() {
            p.empty { "No targets configured. Run " code { "sessionwatch init URL" } " to create a configuration." }
        }
    };
    Ok(layout::render_page(&person, PageHead { title: "Overview", path: "/", live: true }, &body))
}

/// Renders the status of all targets in one line, given the number of unacknowledged and of all firing alerts, of
/// targets with unknown status, and of pending alerts.
fn render_overall_status(open: usize, all: usize, unknown: usize, pending: usize) -> Markup {
    let (state, said) = match (open, all, unknown) {
        (0, 0, 0) if pending > 0 => {
            ("pending", format_count(pending as u64, "pending alert", "pending alerts"))
        }
        (0, 0, 0) => ("passing", "No problems found".to_owned()),
        (0, 0, _) => {
            ("unknown", format!("Status of {} unknown", format_count(unknown as u64, "target", "targets")))
        }
        (0, ..) => ("acknowledged", format_count(all as u64, "acknowledged alert", "acknowledged alerts")),
        _ => {
            let open_alerts = format_count(open as u64, "unacknowledged alert", "unacknowledged alerts");
            (
                "failing",
                if open == all { open_alerts } else { format!("{open_alerts}, {all} firing in total") },
            )
        }
    };
    html! { p class={ "verdict " (state) } role="status" { (layout::render_status_badge(state)) " " strong { (said) } } }
}

/// Renders an alert in one line, with a link to its check.
pub(super) fn render_alert_line(record: &AlertRecord, now: UtcTimestamp) -> Markup {
    let link = format!(
        "/targets/{}/checks/{}",
        layout::percent_encode(&record.target),
        layout::percent_encode(&record.check)
    );
    let since = if let Alerting::Firing { since, .. } = record.alert.state { Some(since) } else { None };
    html! {
        (layout::render_severity_badge(&record.severity)) " "
        a href=(link) { (record.check) } " on " (record.target) ": " (layout::sanitize_text(&record.summary))
        @if let Some(since) = since { span.dim { ", started firing " (layout::render_relative_time(since, now)) } }
        @if let Some(owner) = &record.acknowledged_by { span.dim { ", acknowledged by " (layout::sanitize_text(owner)) } }
    }
}

fn render_target_card(config: &Config, target: &Target, status: &TargetStatus, now: UtcTimestamp) -> Markup {
    let link = format!("/targets/{}", layout::percent_encode(&target.name));
    let census = status.report_document().map(|report| &report["stats"]);
    let count = |key: &str| census.and_then(|census| census[key].as_f64());
    html! {
        section.card aria-label=(target.name) {
            h2 { a href=(link) { (target.name) } " " (layout::render_status_badge(status.state())) }
            p.dim {
                @match &status.report {
                    Some(report) => {
                        "Last check " (layout::render_relative_time(report.at, now)) ", "
                        (report.document["duration_ms"].as_f64().map(|ms| format!("{ms:.0} ms")).unwrap_or_default())
                        " · " (status.report_text("profile").unwrap_or("no session table found"))
                    }
                    None => "Not checked yet.",
                }
            }
            dl.numbers {
                @for (name, key, to) in TARGET_FIGURES {
                    div {
                        dt { (name) }
                        dd { a href={ (link) (to) } { (count(key).map_or("?".to_owned(), chart::format_number)) } }
                    }
                }
            }
            div.charts { (render_charts(config, status, Period { from: now - DAY, to: now })) }
            @if status.events.is_empty() {
                p.dim { "No notifications in the last 24 hours." }
            } @else {
                details {
                    summary { "Last 24 hours: " (format_count(status.events.len() as u64, "notification", "notifications")) }
                    ul.list {
                        @for event in status.events.iter().rev().take(MAX_SHOWN_EVENTS as usize) {
                            li { (layout::render_relative_time(event.at, now)) " " (event.kind) ": " (event.check) ", " (layout::sanitize_text(&event.summary)) }
                        }
                    }
                }
            }
        }
    }
}

/// The key figures of a target: label, name in the session stats, and link to the sessions behind the figure.
const TARGET_FIGURES: [(&str, &str, &str); 6] = [
    ("Active sessions", "active", "/sessions?status=active"),
    ("Expired sessions", "expired", "/sessions?status=expired"),
    ("Users with sessions", "users_active", "/sessions?sort=user"),
    ("Sessions per user", "sessions_per_user", "/sessions?sort=user"),
    ("Shared tokens", "duplicate_tokens", "/checks/duplicate-tokens"),
    ("Orphaned sessions", "orphaned", "/checks/orphaned-sessions"),
];

/// Renders the charts of a target over a period.
pub(super) fn render_charts(config: &Config, status: &TargetStatus, period: Period) -> Markup {
    let thresholds = &config.checks.thresholds;
    #[expect(clippy::cast_precision_loss, reason = "a line in a picture")]
    let limit = |value: u64| value as f64;
    let usual =
        |label: &'static str, value: Option<u64>| value.map(limit).map(|value| (label, value)).into_iter();
    let marks: Vec<(UtcTimestamp, String)> = status
        .events
        .iter()
        .filter(|event| event.kind == "firing")
        .map(|event| (event.at, format!("{} {}", clock::format_utc(event.at), event.check)))
        .collect();
    let all = [
        (
            "Active sessions",
            "active",
            usual("normal up to", thresholds.active_sessions.max)
                .chain(usual("normal from", thresholds.active_sessions.min))
                .collect(),
        ),
        (
            "Expired sessions in the table",
            "expired",
            usual("fails above", thresholds.expired_backlog.max).collect(),
        ),
        (
            "Sessions created in the last hour",
            "created_last_hour",
            usual("fails above", thresholds.creation_rate.max).collect(),
        ),
        ("Sessions per user", "per_user", vec![("fails above", thresholds.sessions_per_user.max)]),
    ];
    html! {
        @for (title, gauge, limits) in all {
            (Chart { title, period, points: status.gauge_series(gauge), limits, alert_marks: marks.clone() }.render())
        }
    }
}

#[cfg(test)]
mod tests;
