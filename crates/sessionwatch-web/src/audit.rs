//! The audit log: who did what, when and from where.

mod entry;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    audit::{self, AuditPage, AuditQuery, ChainStatus},
};
use sessionwatch_core::{
    duration,
    plural::{format_count, format_number},
};

use self::entry::{describe_action, render_entry};
use super::{
    components::{
        Callout, Card, Column, DataTable, EmptyState, Icon, PageHeader, PillTone, Tone, render_pill,
    },
    filter_fields::{
        FilterInput, FilterOption, FilterSelect, ListPager, link_with, parse_days, render_filter_form,
    },
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

/// Most entries on a page.
const AUDIT_PAGE_SIZE: u32 = 50;
/// Longest text to search for, in characters.
const MAX_TEXT_LENGTH: u32 = 200;
/// Longest period, in days.
const MAX_DAYS: i64 = 4_000;
const AUDIT_COLUMNS: [Column<'_>; 6] = [
    Column::text("When"),
    Column::text("Who"),
    Column::text("Action"),
    Column::text("Object"),
    Column::text("From"),
    Column { title: "Details", class: "detail" },
];

/// Parameters of the page. Empty texts apply no restriction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuditFilter {
    actor: String,
    action: String,
    q: String,
    /// Text, because a form sends an empty one for all time.
    days: String,
    before: Option<i64>,
}

impl AuditFilter {
    /// Returns the length of the period; `None` for all time.
    fn days(&self) -> Option<i64> {
        parse_days(&self.days, MAX_DAYS)
    }

    fn is_empty(&self) -> bool {
        self.actor.is_empty() && self.action.is_empty() && self.q.is_empty() && self.days().is_none()
    }

    /// Returns the link to the page that begins before an entry.
    fn page_link(&self, before: &str) -> String {
        let days = self.days().map(|days| days.to_string()).unwrap_or_default();
        let parameters = [
            ("actor", self.actor.as_str()),
            ("action", &self.action),
            ("q", &self.q),
            ("days", &days),
            ("before", before),
        ];
        link_with("/audit", &parameters)
    }
}

pub(super) async fn show_audit_trail(
    State(app): State<Arc<AppState>>,
    PageQuery(filter): PageQuery<AuditFilter>,
    shell: Shell,
) -> PageResult {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let query = AuditQuery {
        actor: some(&filter.actor),
        action: some(&filter.action),
        text: some(filter.q.trim()),
        from: filter.days().map(|days| shell.now - duration::from_days(days)),
        before: filter.before,
        limit: AUDIT_PAGE_SIZE,
    };
    let page = audit::load_audit_page(&app, query).await?;
    let body = html! {
        (render_headline(&page, &filter))
        @if let ChainStatus::Broken(id) = page.chain { (render_broken_chain(id)) }
        (render_filter_form("/audit", &render_fields(&page, &filter), !filter.is_empty()))
        (render_entries(&page, &filter, &shell))
    };
    let head = PageHead { title: "Audit", section: NavSection::Audit, target: None, live: false };
    Ok(shell.render_page(head, &body))
}

fn render_headline(page: &AuditPage, filter: &AuditFilter) -> Markup {
    let total = match page.chain {
        ChainStatus::Intact(count) => format_number(count),
        ChainStatus::Broken(_) => "the".into(),
    };
    let headline = if filter.is_empty() {
        format_count(page.matching, "recorded action", "recorded actions")
    } else {
        format!("{} of {total} recorded actions", format_number(page.matching))
    };
    let pills = match page.chain {
        ChainStatus::Intact(count) => {
            let text = format!("Intact: {} verified", format_count(count, "entry", "entries"));
            render_pill(PillTone::Passing, Icon::ShieldCheck, &text)
        }
        ChainStatus::Broken(_) => render_pill(PillTone::Failing, Icon::CircleX, "Broken"),
    };
    let lead = html! { "Who did what, when and from where. Entries are chained by hashes and verified on every view." };
    PageHeader { headline: &headline, pills, lead, ..PageHeader::default() }.render()
}

fn render_broken_chain(id: i64) -> Markup {
    let title = format!("The audit log is broken at entry {id}");
    let text = html! {
        "Entries were changed or removed. Keep the state store as it is, and compare it with a backup: "
        "each weekly checklist report names the hash that the log had at that time."
    };
    Callout { tone: Tone::Bad, title: &title, text, action: html! {} }.render()
}

fn render_fields(page: &AuditPage, filter: &AuditFilter) -> Markup {
    let actions = page.actions.iter().map(|action| FilterOption {
        value: action.clone(),
        text: describe_action(action).unwrap_or(action).to_owned(),
    });
    let days = [("1", "Last day"), ("7", "Last 7 days"), ("30", "Last 30 days"), ("365", "Last year")];
    let days = days.map(|(value, text)| FilterOption { value: value.into(), text: text.into() });
    let chosen_days = filter.days().map(|days| days.to_string()).unwrap_or_default();
    let who = FilterSelect {
        label: "Who",
        name: "actor",
        all: "Anyone",
        options: page.actors.iter().map(|actor| FilterOption::named(actor)).collect(),
        value: &filter.actor,
    };
    let what = FilterSelect {
        label: "Action",
        name: "action",
        all: "Any action",
        options: actions.collect(),
        value: &filter.action,
    };
    let when = FilterSelect {
        label: "Period",
        name: "days",
        all: "All time",
        options: days.to_vec(),
        value: &chosen_days,
    };
    let text = FilterInput {
        label: "Text",
        name: "q",
        value: &filter.q,
        placeholder: "Target, check, plan, note…",
        max_length: MAX_TEXT_LENGTH,
    };
    html! { (who.render()) (what.render()) (when.render()) (text.render()) }
}

fn render_entries(page: &AuditPage, filter: &AuditFilter, shell: &Shell) -> Markup {
    let last = page.entries.last().filter(|_| page.has_more).map(|entry| entry.id.to_string());
    let pager = ListPager {
        shown: page.entries.len() as u64,
        matching: page.matching,
        newest: filter.before.map(|_| filter.page_link("")).unwrap_or_default(),
        older: last.map(|id| filter.page_link(&id)).unwrap_or_default(),
    };
    let body = if page.entries.is_empty() {
        render_empty(filter)
    } else {
        let rows = html! { @for entry in &page.entries { (render_entry(entry, shell)) } };
        let table = DataTable {
            label: "Audit entries",
            class: "table-cards table-audit",
            columns: &AUDIT_COLUMNS,
            rows,
        };
        html! { (table.render()) (pager.render()) }
    };
    Card { id: "entries", title: "Actions", note: "Latest first", end: html! {}, body }.render()
}

fn render_empty(filter: &AuditFilter) -> Markup {
    let (title, text, action) = if filter.is_empty() {
        let text = "Logins, acknowledgments, plans and every other change appear here.";
        ("No actions yet", text, html! {})
    } else {
        let action = html! { a.btn href="/audit" { "Clear filters" } };
        ("No matching actions", "Choose a longer period, or another person or action.", action)
    };
    EmptyState { icon: Icon::History, title, text: html! { (text) }, action }.render()
}

#[cfg(test)]
mod tests;
