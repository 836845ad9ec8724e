//! The logs page: log events, their correlation with sessions, and the state of log sources.

mod sources;
mod stream;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppState, Period,
        logs::{self, LogEventPage, LogEventQuery, LogSourceStatus},
    },
    config::Config,
};
use sessionwatch_core::{
    duration::DAY, plural::format_count, source_activity::SourceStatus, timestamp::UtcTimestamp,
};

use self::{
    sources::render_sources,
    stream::{EVENT_KINDS, describe_kind, render_events},
};
use super::{
    PageResult,
    components::PageHeader,
    filter_fields::{FilterInput, FilterOption, FilterSelect, link_with, render_filter_form},
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
};

/// Most log events on a page.
const LOG_EVENT_PAGE_SIZE: u32 = 100;
/// Days for which log events are searched.
const SEARCHED_DAYS: i32 = 30;

/// Parameters of the page. Empty texts apply no restriction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogEventFilter {
    target: String,
    kind: String,
    source: String,
    token: String,
    user: String,
    /// Not empty for events with a severity only.
    bad: String,
    before: Option<i64>,
}

impl LogEventFilter {
    fn is_empty(&self) -> bool {
        [&self.target, &self.kind, &self.source, &self.token, &self.user, &self.bad]
            .iter()
            .all(|value| value.is_empty())
    }

    /// Returns the link to the page that begins before an event.
    fn page_link(&self, before: &str) -> String {
        let parameters = [
            ("target", self.target.as_str()),
            ("kind", &self.kind),
            ("source", &self.source),
            ("token", &self.token),
            ("user", &self.user),
            ("bad", &self.bad),
            ("before", before),
        ];
        link_with("/logs", &parameters)
    }

    fn to_query(&self, config: &Config, now: UtcTimestamp) -> LogEventQuery {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let is_meant = |name: &&String| self.target.is_empty() || **name == self.target;
        LogEventQuery {
            targets: config.targets.iter().map(|target| &target.name).filter(is_meant).cloned().collect(),
            kind: some(&self.kind),
            token_prefix: some(&self.token),
            user: some(&self.user),
            source: some(&self.source),
            only_warnings: !self.bad.is_empty(),
            period: Period { from: now - SEARCHED_DAYS * DAY, to: UtcTimestamp::MAX },
            before: self.before,
            limit: LOG_EVENT_PAGE_SIZE,
        }
    }
}

pub(super) async fn show_logs(
    State(app): State<Arc<AppState>>,
    PageQuery(filter): PageQuery<LogEventFilter>,
    shell: Shell,
) -> PageResult {
    let config = app.config();
    let all = LogEventFilter { bad: "yes".into(), ..LogEventFilter::default() };
    let problems = logs::count_log_events(&app, all.to_query(&config, shell.now)).await?;
    let page = logs::load_log_event_page(&app, filter.to_query(&config, shell.now)).await?;
    let sources = logs::list_log_sources(&app).await?;
    let body = html! {
        (render_headline(&sources, problems, shell.now))
        (render_sources(&sources, &config, shell.now))
        @if !sources.is_empty() || page.matching > 0 || !filter.is_empty() {
            (render_filter_form("/logs", &render_fields(&config, &filter), !filter.is_empty()))
            (render_events(&EventList { page: &page, filter: &filter, config: &config, now: shell.now }))
        }
    };
    // An older page would change under the reader.
    let live = filter.before.is_none();
    Ok(shell.render_page(PageHead { title: "Logs", section: NavSection::Logs, target: None, live }, &body))
}

/// Log events and what they are shown with.
#[derive(Clone, Copy, Debug)]
struct EventList<'a> {
    page: &'a LogEventPage,
    filter: &'a LogEventFilter,
    config: &'a Config,
    now: UtcTimestamp,
}

fn render_headline(sources: &[LogSourceStatus], problems: u64, now: UtcTimestamp) -> Markup {
    let status = |source: &LogSourceStatus| {
        let record = &source.record;
        record.activity.status_at(record.last_line_at, now, source.config.idle_after)
    };
    let idle = sources.iter().filter(|source| status(source) == SourceStatus::Idle).count() as u64;
    let headline = if sources.is_empty() {
        "No log sources yet".to_owned()
    } else if idle > 0 {
        format_count(idle, "log source is idle", "log sources are idle")
    } else if problems == 0 && sources.iter().all(|source| status(source) == SourceStatus::NeverActive) {
        // Without lines, nothing is known.
        "No log lines yet".to_owned()
    } else if problems > 0 {
        format!("{} in the logs of the last 30 days", format_count(problems, "problem", "problems"))
    } else {
        "No problems in the logs".to_owned()
    };
    let lead = html! {
        @if sources.is_empty() { "Logs show what the session table cannot: who caused a problem, and when it began." }
        @else {
            @if idle > 0 { "Lines are missing at an hour that usually has some. " }
            "Events that the application logged about sessions, matched with the session table. No log text is stored."
        }
    };
    PageHeader { headline: &headline, lead, ..PageHeader::default() }.render()
}

fn render_fields(config: &Config, filter: &LogEventFilter) -> Markup {
    let targets: Vec<FilterOption> =
        config.targets.iter().map(|target| FilterOption::named(&target.name)).collect();
    let sources: Vec<FilterOption> =
        config.logs.sources.iter().map(|source| FilterOption::named(&source.name)).collect();
    let built_in = EVENT_KINDS.iter().map(|kind| FilterOption {
        value: (*kind).to_owned(),
        text: describe_kind(kind).unwrap_or(kind).to_owned(),
    });
    let custom = config.logs.custom_checks.iter().map(|check| FilterOption::named(&check.pattern.name));
    let select =
        |label, name, all, options, value| FilterSelect { label, name, all, options, value }.render();
    let problems = vec![FilterOption { value: "yes".into(), text: "Problems only".into() }];
    let input = |label, name, value, max_length| {
        FilterInput { label, name, value, placeholder: "", max_length }.render()
    };
    html! {
        (select("Level", "bad", "All levels", problems, &filter.bad))
        (select("Event", "kind", "Any event", built_in.chain(custom).collect(), &filter.kind))
        @if targets.len() > 1 { (select("Target", "target", "All targets", targets, &filter.target)) }
        @if sources.len() > 1 { (select("Source", "source", "All sources", sources, &filter.source)) }
        (input("User ID", "user", &filter.user, 200))
        (input("Token prefix", "token", &filter.token, 8))
    }
}

#[cfg(test)]
mod tests;
