//! The head of the list: what it shows in words, and the saved filters.

use maud::{Markup, html};
use sessionwatch_app::app::session_totals::SessionTotals;
use sessionwatch_core::plural::{format_count, format_number};

use super::{SessionPage, filter::SessionFilter};
use crate::{
    components::{Icon, Menu, MenuItem, PageHeader, render_icon},
    format::render_relative_time,
};

/// A saved filter.
struct FilterTab {
    label: &'static str,
    /// Query string with its question mark; empty for all sessions.
    query: &'static str,
    count: Option<u64>,
    /// `true` if a session here needs a person.
    is_problem: bool,
}

pub(super) fn render_header(page: &SessionPage<'_>) -> Markup {
    let query = page.filter.to_query_string();
    let export = |format: &str, label: &str| MenuItem::Link {
        href: format!("{}/sessions.{format}?{query}", page.base),
        text: html! { (label) },
        is_current: false,
    };
    let menu = Menu {
        id: "export",
        button: html! { (render_icon(Icon::Download)) "Export" (render_icon(Icon::ChevronDown)) },
        button_class: "btn",
        label: "",
        items: vec![export("csv", "CSV"), export("json", "JSON")],
    };
    let headline = describe_list(page);
    let header = PageHeader {
        headline: &headline,
        lead: render_lead(page),
        actions: menu.render(),
        ..PageHeader::default()
    };
    html! {
        (header.render())
        div.stack-s {
            nav.tabs aria-label="Saved filters" {
                @for tab in list_tabs(page.totals) {
                    @let current = is_current(page.filter, &tab).then_some("true");
                    a href={ (page.base) "/sessions" (tab.query) } aria-current=[current] {
                        (tab.label)
                        @if let Some(count) = tab.count {
                            @let class = if tab.is_problem && count > 0 { "count count-bad" } else { "count" };
                            span class=(class) { (format_number(count)) }
                        }
                    }
                }
            }
            (page.filter.render_chips(&page.base))
        }
    }
}

pub(super) fn render_unavailable_header(totals: &SessionTotals) -> Markup {
    let lead = html! {
        @if let (Some(active), Some(at)) = (totals.active, totals.checked_at) {
            "The last check run counted " (format_count(active, "active session", "active sessions")) " at "
            (sessionwatch_clock::format_utc(at)) "."
        }
    };
    PageHeader { headline: "Sessions are unavailable", lead, ..PageHeader::default() }.render()
}

/// Returns the saved filters, all with the counts of the last check run, so that they agree with each other.
fn list_tabs(totals: &SessionTotals) -> Vec<FilterTab> {
    let tab = |label, query, count, is_problem| FilterTab { label, query, count, is_problem };
    // Without a creation column, nothing is counted and nothing could be listed.
    let recent = totals.created_last_hour.map(|count| tab("Last hour", "?created=hour", Some(count), false));
    let all = [tab("All", "", totals.sessions, false), tab("Active", "?status=active", totals.active, false)];
    let problems = [
        tab("Shared tokens", "?problem=shared", totals.shared_tokens, true),
        tab("Orphaned", "?problem=orphaned", totals.orphaned, false),
        tab("Expired", "?status=expired", totals.expired, false),
    ];
    all.into_iter().chain(recent).chain(problems).collect()
}

fn is_current(filter: &SessionFilter, tab: &FilterTab) -> bool {
    let status = if filter.status == "all" { "" } else { &filter.status };
    let set: Vec<String> = [("status", status), ("problem", &filter.problem), ("created", &filter.created)]
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    !filter.is_narrowed() && set.join("&") == tab.query.trim_start_matches('?')
}

/// Number of sessions in a list, on all its pages.
enum ListSize {
    Exact(u64),
    MoreThan(u64),
    /// Of a later page, which was opened without the number of sessions before it.
    Unknown,
}

/// Returns the size of the list. A list that is cut counts with the last check run, where that counted the same, and
/// not less than was listed since.
fn list_size(page: &SessionPage<'_>) -> ListSize {
    let (filter, found, totals) = (page.filter, page.found, page.totals);
    let listed = page.listed_so_far();
    let counted = match (filter.status.as_str(), filter.problem.as_str(), filter.created.as_str()) {
        _ if filter.is_narrowed() => None,
        ("" | "all", "", "") => totals.sessions,
        ("active", "", "") => totals.active,
        ("expired", "", "") => totals.expired,
        ("" | "all", "", "hour") => totals.created_last_hour,
        ("" | "all", "orphaned", "") => totals.orphaned,
        _ => None,
    };
    let least = listed.unwrap_or(found.rows.len() as u64);
    match (listed, counted.filter(|counted| *counted > least)) {
        (Some(listed), _) if !found.has_more => ListSize::Exact(listed),
        (_, Some(counted)) => ListSize::Exact(counted),
        (Some(listed), None) => ListSize::MoreThan(listed),
        (None, None) => ListSize::Unknown,
    }
}

/// Returns what the list shows.
fn describe_list(page: &SessionPage<'_>) -> String {
    let filter = page.filter;
    let adjective = match filter.status.as_str() {
        "active" => "active ",
        "expired" => "expired ",
        _ => "",
    };
    let period = match filter.created.as_str() {
        "hour" => " created in the last hour",
        "day" => " created in the last 24 hours",
        "week" => " created in the last 7 days",
        _ => "",
    };
    let (is, are) = match filter.problem.as_str() {
        _ if filter.is_narrowed() => (" matches", " match"),
        "shared" => (" shares a token", " share a token"),
        "orphaned" => (" is orphaned", " are orphaned"),
        _ if adjective.is_empty() && period.is_empty() => (" is stored", " are stored"),
        _ => ("", ""),
    };
    let (one, many) =
        (format!("{adjective}session{period}{is}"), format!("{adjective}sessions{period}{are}"));
    match list_size(page) {
        ListSize::Exact(0) => format!("No {one}"),
        ListSize::Exact(count) => format_count(count, &one, &many),
        ListSize::MoreThan(count) => format!("More than {} {many}", format_number(count)),
        ListSize::Unknown => format!("More {many}"),
    }
}

/// Renders the counts of the last check run, and when it was. The list itself is newer.
fn render_lead(page: &SessionPage<'_>) -> Markup {
    let (totals, target) = (page.totals, page.target);
    let count = |count: Option<u64>| count.filter(|count| *count > 0);
    html! {
        @if let (Some(sessions), Some(active), Some(at)) = (totals.sessions, totals.active, totals.checked_at) {
            "The last check run, " (render_relative_time(at, page.shell.now))
            ", counted " (format_count(sessions, "session", "sessions")) " on " (target) ", "
            (format_number(active)) " of them active. "
            @if let Some(shared) = count(totals.shared_tokens) {
                (format_count(shared, "token occurred", "tokens occurred")) " more than once. "
            }
            @if let Some(orphaned) = count(totals.orphaned) {
                (format_count(orphaned, "session belonged to a user", "sessions belonged to users"))
                " who no longer exist" @if orphaned == 1 { "s" } ". "
            }
        }
    }
}
