//! The logs page: log events, their correlation with sessions, and the state of log sources.

mod event_table;
mod sources;

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
    event_table::{EVENT_KINDS, describe_kind, render_events},
    sources::render_sources,
};
use super::{
    components::PageHeader,
    filter_fields::{FilterInput, FilterOption, FilterSelect, link_with, render_filter_form},
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

/// Most log events on a page.
const LOG_EVENT_PAGE_SIZE: u32 = 50;
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
        (render_headline(SourceCounts::new(&sources, &config, shell.now), problems))
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

/// Number of log sources in each state.
#[derive(Clone, Copy, Debug)]
struct SourceCounts {
    /// Sources whose configuration cannot be resolved, so that they are not read.
    unread: u64,
    idle: u64,
    /// Sources that have not sent a line yet.
    silent: u64,
    active: u64,
}

impl SourceCounts {
    fn new(sources: &[LogSourceStatus], config: &Config, now: UtcTimestamp) -> Self {
        let count = |wanted: SourceStatus| {
            sources.iter().filter(|source| source.status_at(now) == wanted).count() as u64
        };
        Self {
            unread: config.logs.unresolved_sources.len() as u64,
            idle: count(SourceStatus::Idle),
            silent: count(SourceStatus::NeverActive),
            active: count(SourceStatus::Normal),
        }
    }

    fn total(self) -> u64 {
        self.unread + self.idle + self.silent + self.active
    }

    /// Returns the state of the logs in one sentence. Only sources that all send lines can show that nothing is wrong.
    fn headline(self, problems: u64) -> String {
        if self.total() == 0 {
            "No log sources yet".to_owned()
        } else if self.idle > 0 {
            format_count(self.idle, "log source is idle", "log sources are idle")
        } else if problems > 0 {
            format!("{} in the logs of the last 30 days", format_count(problems, "problem", "problems"))
        } else if self.unread > 0 {
            format_count(self.unread, "log source is not read", "log sources are not read")
        } else if self.active == 0 {
            "No log lines yet".to_owned()
        } else if self.silent > 0 {
            let words = ["log source has not sent a line yet", "log sources have not sent a line yet"];
            format_count(self.silent, words[0], words[1])
        } else {
            "No problems in the logs".to_owned()
        }
    }
}

fn render_headline(counts: SourceCounts, problems: u64) -> Markup {
    let lead = html! {
        @if counts.total() == 0 { "Logs show what the session table cannot: who caused a problem, and when it began." }
        @else {
            @if counts.idle > 0 { "Lines are missing at an hour that usually has some. " }
            "Events that the application logged about sessions, matched with the session table. No log text is stored."
        }
    };
    PageHeader { headline: &counts.headline(problems), lead, ..PageHeader::default() }.render()
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
