//! The page of a target: its state, its figures over time, its checks, and how it is monitored.

mod charts;
mod checks_table;
mod facts;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppError, AppState,
        alerts::AlertRecord,
        targets::{self, Overview},
    },
    config::{Config, Target},
};
use sessionwatch_core::plural::format_count;

use super::{
    alert_parts::check_state,
    chart_range::ChartRange,
    components::{Icon, PageHeader, render_icon, render_state_pill},
    firing_alerts::FiringAlerts,
    format::{percent_encode, render_relative_time, sanitize_text},
    overview::{AttentionList, TargetRow, render_activity, render_figures},
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell},
    unknown_callout::render_unknown_callout,
    web_error::PageResult,
};

/// Parameters of the page.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TargetQuery {
    range: ChartRange,
}

/// A target, as the parts of its page show it.
#[derive(Clone, Copy, Debug)]
struct TargetView<'a> {
    app: &'a AppState,
    shell: &'a Shell,
    config: &'a Config,
    /// Everything about this target only.
    overview: &'a Overview,
    row: TargetRow<'a>,
    range: ChartRange,
}

pub(super) async fn show_target(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    PageQuery(query): PageQuery<TargetQuery>,
    shell: Shell,
) -> PageResult {
    let (config, target) = (app.config(), app.target(&name)?);
    let overview = targets::load_target_overview(&app, &name, query.range.period(shell.now)).await?;
    let status =
        overview.statuses.first().ok_or(AppError::Internal("the status of the target is missing"))?;
    let view = TargetView {
        app: &app,
        shell: &shell,
        config: &config,
        overview: &overview,
        row: TargetRow { target: &target, status },
        range: query.range,
    };
    let firing = status.firing_alerts();
    let body = html! {
        (view.render_header())
        (AttentionList {
            shell: &shell,
            firing: &firing,
            silences: &overview.silences,
            back: &view.path(),
            has_primary: true,
        }
        .render())
        (render_unknown_callout(&target.name, status))
        (render_figures(&[view.row], &overview, &firing))
        (view.render_checks())
        (view.render_charts())
        div.cols {
            (render_activity(&overview.activity, shell.now))
            (view.render_facts())
        }
    };
    let page = PageHead {
        title: &target.name,
        section: NavSection::Overview,
        target: Some(&target.name),
        live: query.range.is_live(),
    };
    Ok(shell.render_page(page, &body))
}

impl TargetView<'_> {
    fn target(&self) -> &Target {
        self.row.target
    }

    fn path(&self) -> String {
        format!("/targets/{}", percent_encode(&self.target().name))
    }

    /// Renders the state in words, and links to the pages of the target.
    fn render_header(&self) -> Markup {
        let status = self.row.status;
        let path = self.path();
        let headline = self.headline();
        let meta = html! {
            @if let Some(table) = status.report_text("table") {
                span { (render_icon(Icon::Database)) code { (sanitize_text(table)) } }
            }
            @if let Some(framework) = status.report_text("framework") {
                span { (render_icon(Icon::Info)) (sanitize_text(framework)) }
            }
            span {
                (render_icon(Icon::Clock))
                @match &status.report {
                    Some(report) => { "Checked " (render_relative_time(report.at, self.shell.now)) },
                    None => "Not checked yet"
                }
            }
        };
        let actions = html! {
            a.btn href={ (path) "/sessions" } { (render_icon(Icon::MonitorSmartphone)) "Sessions" }
            a.btn href={ (path) "/report" } { (render_icon(Icon::ClipboardCheck)) "Report" }
            a.btn href={ (path) "/doctor" } { (render_icon(Icon::Activity)) "Run doctor" }
        };
        PageHeader {
            pills: render_state_pill(status.state()),
            headline: &headline,
            lead: self.lead(),
            meta,
            actions,
            ..PageHeader::default()
        }
        .render()
    }

    /// Returns the state in one sentence.
    fn headline(&self) -> String {
        let name = &self.target().name;
        let firing = FiringAlerts::sort(self.row.status.firing_alerts(), &self.overview.silences);
        let open = firing.open.len() as u64;
        match self.row.status.state() {
            "failing" if open > 0 => {
                format!("{} attention on {name}", format_count(open, "problem needs", "problems need"))
            }
            "failing" | "acknowledged" => firing
                .describe_handled(&format!("problem on {name}"), &format!("problems on {name}"))
                .unwrap_or_default(),
            "unknown" if self.row.status.report.is_none() => format!("{name} has not been checked yet"),
            "unknown" => format!("The state of {name} is unknown"),
            "pending" => format!("{name} may have a problem"),
            _ => format!("{name} is healthy"),
        }
    }

    fn lead(&self) -> Markup {
        let alerts = &self.row.status.alerts;
        let count = |is_counted: fn(&AlertRecord) -> bool| {
            alerts.iter().filter(|alert| is_counted(alert)).count() as u64
        };
        let passing = count(|alert| alert.verdict.as_deref() == Some("passing"));
        let unknown = count(|alert| alert.unknown_reason.is_some());
        let skipped = count(|alert| check_state(alert) == "skipped");
        html! {
            @if !alerts.is_empty() {
                (passing) " of " (format_count(alerts.len() as u64 - skipped, "check passes", "checks pass")) "."
                @if unknown > 0 { " The result of " (format_count(unknown, "check is", "checks is")) " unknown." }
                @if skipped > 0 { " " (format_count(skipped, "check is", "checks are")) " skipped." }
            }
        }
    }
}

#[cfg(test)]
mod tests;
