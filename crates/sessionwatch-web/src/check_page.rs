//! The page of a check on a target: its alert, its value over time, the evidence, and what to do.

mod actions;
mod evidence;
mod header;
mod history;
mod result_strip;
mod side_column;
mod timeline;

use std::sync::Arc;

use axum::extract::State;
use maud::html;
use serde::Deserialize;
use serde_json::Value;
use sessionwatch_app::{
    app::{
        AppError, AppState,
        alerts::{AlertRecord, AlertRef},
        check_history::{self, CheckHistory},
        targets::{self, CheckDetails},
    },
    checks::{CheckText, describe_check},
    config::{Config, Target},
};
use sessionwatch_core::{alert::AlertState, duration::MINUTE, severity::Severity, timestamp::UtcTimestamp};

pub(super) use self::history::{check_limits, gauge_title};

use super::{
    alert_parts::check_path,
    chart_range::ChartRange,
    components::{Card, Crumb, PageHeader, render_code_block},
    format::percent_encode,
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

/// Parameters of the page.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CheckQuery {
    /// Without one, a period that suits the alert.
    range: Option<ChartRange>,
}

/// A check on a target, as the parts of its page show it.
#[derive(Clone, Copy, Debug)]
struct CheckView<'a> {
    shell: &'a Shell,
    config: &'a Config,
    target: &'a Target,
    alert: &'a AlertRecord,
    details: &'a CheckDetails,
    check_history: &'a CheckHistory,
    range: ChartRange,
}

pub(super) async fn show_check(
    State(app): State<Arc<AppState>>,
    PagePath((name, check)): PagePath<(String, String)>,
    PageQuery(query): PageQuery<CheckQuery>,
    shell: Shell,
) -> PageResult {
    let (config, target) = (app.config(), app.target(&name)?);
    let found = targets::find_check(&app, AlertRef { target: name.clone(), check: check.clone() }).await?;
    let Some(details) = found else {
        return Err(AppError::NotFound(format!("Check “{check}” on target “{name}” not found.")).into());
    };
    let range = query.range.unwrap_or_else(|| default_range(&details.alert, shell.now));
    let check_history =
        check_history::load_check_history(&app, &details.alert, range.period(shell.now)).await?;
    let view = CheckView {
        shell: &shell,
        config: &config,
        target: &target,
        alert: &details.alert,
        details: &details,
        check_history: &check_history,
        range,
    };
    let body = html! {
        (view.render_header())
        div.cols.cols-flow {
            div.stack {
                (view.render_history())
                (view.render_evidence())
                (view.render_log_events())
                (view.render_timeline())
                (view.render_runbook())
            }
            aside.stack aria-label="About this check" {
                (view.render_what_to_do())
                (view.render_last_time())
                (view.render_facts())
                (view.render_query_link())
            }
        }
        (view.render_dialogs())
    };
    let title = view.text().title;
    let page = PageHead {
        title: &title,
        section: NavSection::Alerts,
        target: Some(&target.name),
        live: range.is_live(),
    };
    Ok(shell.render_page(page, &body))
}

impl CheckView<'_> {
    /// Returns the title and the impact.
    fn text(&self) -> CheckText {
        describe_check(&self.alert.check)
    }

    fn path(&self) -> String {
        check_path(&self.alert.target, &self.alert.check)
    }

    fn severity(&self) -> Severity {
        self.alert.severity.parse().unwrap_or(Severity::Critical)
    }

    fn is_firing(&self) -> bool {
        matches!(self.alert.alert.state, AlertState::Firing { .. })
    }

    /// Returns the time of the first failing run.
    fn failing_since(&self) -> Option<UtcTimestamp> {
        match self.alert.alert.state {
            AlertState::Firing { since, .. } | AlertState::Pending { since, .. } => Some(since),
            AlertState::Resolved => None,
        }
    }

    /// Returns the result of the last run of the target, as JSON; null if that run did not include this check.
    fn last_result(&self) -> &Value {
        let report = self.check_history.report.as_ref();
        let checks = report.and_then(|report| report.document["checks"].as_array());
        let mut results = checks.into_iter().flatten();
        results.find(|result| result["id"] == self.alert.check.as_str()).unwrap_or(&Value::Null)
    }

    /// Returns the last known value.
    fn result_value(&self) -> Option<f64> {
        self.results().into_iter().find_map(|result| result["value"].as_f64())
    }

    /// Returns a text of the last failing result if the check still fails, otherwise of the last run.
    fn result_text(&self, key: &str) -> &str {
        self.results().into_iter().find_map(|result| result[key].as_str()).unwrap_or_default()
    }

    /// Returns the number of sessions that the check permits per user: in the result that applies now, which may be
    /// stricter than the configuration.
    fn user_limit(&self) -> u64 {
        let found = self.results().into_iter().find_map(|result| result["user_limit"].as_u64());
        found.unwrap_or(self.config.checks.thresholds.user_session_excess.max)
    }

    /// Returns the last failing result and that of the last run, the one that applies now first.
    fn results(&self) -> [&Value; 2] {
        let [finding, last] = [&self.details.finding, self.last_result()];
        if self.failing_since().is_some() { [finding, last] } else { [last, finding] }
    }
}

/// Returns an hour for an alert that began within the last minutes, which a day would show as one point.
fn default_range(alert: &AlertRecord, now: UtcTimestamp) -> ChartRange {
    match alert.alert.state {
        AlertState::Firing { since, .. } | AlertState::Pending { since, .. }
            if now.duration_since(since) < 45 * MINUTE =>
        {
            ChartRange::Hour
        }
        _ => ChartRange::default(),
    }
}

pub(super) async fn show_check_query(
    State(app): State<Arc<AppState>>,
    PagePath((name, check)): PagePath<(String, String)>,
    shell: Shell,
) -> PageResult {
    let asked = AlertRef { target: name.clone(), check: check.clone() };
    let query = targets::render_check_query(&app, &asked).await?;
    let title = describe_check(&check).title;
    let headline = format!("Query: {title}");
    let header = PageHeader {
        crumbs: vec![
            Crumb { href: format!("/targets/{}", percent_encode(&name)), text: name.clone() },
            Crumb { href: check_path(&name, &check), text: title },
        ],
        headline: &headline,
        lead: html! {
            "SQL behind this check on " (name) ". Run it with psql for PostgreSQL or sqlite3 for SQLite. "
            "It returns token prefixes only, never whole tokens."
        },
        ..PageHeader::default()
    };
    let body = html! {
        (header.render())
        (Card {
            id: "query",
            title: "SQL",
            note: "read-only",
            end: html! { a href=(check_path(&name, &check)) { "Back to the check" } },
            body: render_code_block("query", &format!("{query};")),
        }.render_padded())
    };
    let page = PageHead { title: &headline, section: NavSection::Alerts, target: Some(&name), live: false };
    Ok(shell.render_page(page, &body))
}

#[cfg(test)]
mod tests;
