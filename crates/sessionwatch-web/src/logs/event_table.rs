//! Table of log events: what happened, to whom, and what the session table says about it.

use maud::{Markup, html};
use serde_json::Value;
use sessionwatch_app::app::logs::LogEventRecord;
use sessionwatch_core::severity::Severity;

use super::EventList;
use crate::{
    components::{
        Card, Column, DataTable, EmptyState, Icon, PillTone, render_icon, render_pill, render_severity_pill,
        render_user,
    },
    filter_fields::ListPager,
    format::{percent_encode, render_moment, sanitize_text},
};

const LOG_EVENT_COLUMNS: [Column<'_>; 7] = [
    Column::text("Time"),
    Column::text("Level"),
    Column::text("Event"),
    Column::text("User"),
    Column::text("Session"),
    Column::fill("Reason"),
    Column::text("Source"),
];
/// The kinds of events that are recognized without configuration.
pub(super) const EVENT_KINDS: [&str; 11] = [
    "duplicate-token",
    "user-mismatch",
    "token-in-log",
    "user-not-found",
    "invalid-user",
    "adapter-error",
    "session-error",
    "sign-in-error",
    "created",
    "refreshed",
    "destroyed",
];

/// Returns a kind of event in words; `None` for a custom log check.
pub(super) fn describe_kind(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "created" => "Session created",
        "duplicate-token" => "Duplicate token",
        "user-mismatch" => "Users mixed up",
        "user-not-found" => "Unknown user",
        "invalid-user" => "Invalid user",
        "refreshed" => "Session extended",
        "destroyed" => "Session ended",
        "adapter-error" => "Session store failed",
        "sign-in-error" => "Login failed",
        "session-error" => "Session not readable",
        "token-in-log" => "Token in the log",
        _ => return None,
    })
}

fn kind_icon(kind: &str) -> Icon {
    match kind {
        "created" | "sign-in-error" => Icon::LogIn,
        "destroyed" => Icon::LogOut,
        "refreshed" => Icon::RotateCcw,
        "duplicate-token" => Icon::Copy,
        "user-mismatch" => Icon::Users,
        "user-not-found" | "invalid-user" => Icon::User,
        "adapter-error" => Icon::Database,
        "token-in-log" => Icon::KeyRound,
        _ => Icon::ScrollText,
    }
}

/// Renders the log events, and how many of them are shown.
pub(super) fn render_events(list: &EventList<'_>) -> Markup {
    let events = &list.page.events;
    let body = if events.is_empty() {
        render_empty(list)
    } else {
        let last = events.last().filter(|_| list.page.has_more).map(|event| event.id.to_string());
        let pager = ListPager {
            shown: events.len() as u64,
            matching: list.page.matching,
            newest: list.filter.before.map(|_| list.filter.page_link("")).unwrap_or_default(),
            older: last.map(|id| list.filter.page_link(&id)).unwrap_or_default(),
        };
        let rows = html! { @for event in events { (render_event(event, list)) } };
        let table = DataTable {
            label: "Log events",
            class: "table-cards table-logs",
            columns: &LOG_EVENT_COLUMNS,
            rows,
        };
        html! { (table.render()) (pager.render()) }
    };
    Card { id: "log-events", title: "Events", note: "Last 30 days, latest first", end: html! {}, body }
        .render()
}

fn render_empty(list: &EventList<'_>) -> Markup {
    let (title, text, action) = if list.filter.is_empty() {
        let text = "Logins, logouts and session errors appear here as soon as the application logs them.";
        ("No events in the last 30 days", text, html! {})
    } else {
        let action = html! { a.btn href="/logs" { "Clear filters" } };
        ("No matching events", "No event of the last 30 days fits these filters.", action)
    };
    EmptyState { icon: Icon::ScrollText, title, text: html! { (text) }, action }.render()
}

fn render_event(event: &LogEventRecord, list: &EventList<'_>) -> Markup {
    let source = list.config.logs.sources.iter().find(|source| source.name == event.source);
    // A source that is not configured any more belongs to no target.
    let base = source.map(|source| format!("/targets/{}", percent_encode(&source.target)));
    let name = describe_kind(&event.kind).unwrap_or(&event.kind);
    html! {
        tr {
            td.up { (render_moment(event.at.unwrap_or(event.read_at), list.now)) }
            td.level.hide-s[event.severity.is_none()] { (render_level(event.severity.as_deref())) }
            td.first title=(event.kind) { (render_pill(PillTone::Quiet, kind_icon(&event.kind), name)) }
            td.users { (render_users(event, base.as_deref())) }
            td.session.span[event.severity.is_some()] { (render_session(event, base.as_deref())) }
            td.reason.span.muted title=[event.reason.as_deref().map(sanitize_text)] {
                @if let Some(reason) = &event.reason { (sanitize_text(reason)) }
                @if let Some(request) = &event.request { " " span.mono { "request " (sanitize_text(request)) } }
            }
            td.muted.hide-s { (sanitize_text(&event.source)) }
        }
    }
}

/// Renders the severity of an event. Solid red is reserved for alerts.
fn render_level(severity: Option<&str>) -> Markup {
    match severity.map(str::parse::<Severity>) {
        Some(Ok(Severity::Critical)) => render_pill(PillTone::High, Icon::OctagonAlert, "Critical"),
        Some(Ok(severity)) => render_severity_pill(severity),
        _ => html! { span.muted { "Info" } },
    }
}

/// Renders the users that an event names, by name where the session table knows it.
fn render_users(event: &LogEventRecord, base: Option<&str>) -> Markup {
    let users: Vec<&String> = event.user.iter().chain(&event.other_user).collect();
    html! {
        @for (index, user) in users.iter().enumerate() {
            @if index > 0 { " " span.then { (render_icon(Icon::ArrowRight)) span.sr { "then" } } " " }
            @let link = base.map(|base| format!("{base}/users/{}", percent_encode(user)));
            @let known = known_name(event, user);
            (render_user(known.as_deref().unwrap_or(user), None, link.as_deref()))
        }
    }
}

/// Returns the name of a user, from the sessions that match the event.
fn known_name(event: &LogEventRecord, user: &str) -> Option<String> {
    let sessions = event.correlation.as_ref()?["sessions"].as_array()?;
    let session = sessions.iter().find(|session| session["user"].as_str() == Some(user))?;
    let names = session["display"].as_array()?.iter().filter_map(Value::as_str);
    names.map(str::to_owned).find(|name| !name.is_empty())
}

/// Renders the token prefix, and what the session table says about it.
fn render_session(event: &LogEventRecord, base: Option<&str>) -> Markup {
    let Some(prefix) = &event.token_prefix else { return html! {} };
    let shown = html! { code { (sanitize_text(prefix)) "…" } };
    html! {
        @match base {
            Some(base) => a.plain href={ (base) "/sessions?token=" (percent_encode(prefix)) } { (shown) },
            None => (shown),
        }
        @match event.match_kind.as_deref() {
            Some("exact") => { " " span.muted { "in the table" } }
            Some("contradicting") => { " " (render_pill(PillTone::Failing, Icon::CircleX, "Other user")) }
            Some("ambiguous") => { " " span.muted { "several match" } }
            Some("gone") => { " " span.muted { "ended" } }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_words() {
        for kind in EVENT_KINDS {
            assert!(describe_kind(kind).is_some(), "{kind}");
        }
    }
}
