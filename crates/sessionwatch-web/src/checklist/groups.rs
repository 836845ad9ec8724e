//! The items of a checklist by their source: operator guide, OWASP ASVS, NIST.

use maud::{Markup, html};
use serde_json::Value;
use sessionwatch_app::app::{checklists::USER_REPORTS_ITEM, cleanup::CleanupKind};
use sessionwatch_core::checks::{
    creation_rate::CREATION_RATE_CHECK, duplicate_tokens::DUPLICATE_TOKENS_CHECK,
    expired_backlog::EXPIRED_BACKLOG_CHECK, orphaned_sessions::ORPHANED_SESSIONS_CHECK,
    reappeared_sessions::REAPPEARED_SESSIONS_CHECK, session_lifetime::SESSION_LIFETIME_CHECK,
    sessions_per_user::SESSIONS_PER_USER_CHECK, token_reassigned::TOKEN_REASSIGNED_CHECK,
    user_session_excess::USER_SESSION_EXCESS_CHECK,
};

use super::ReportView;
use crate::{
    components::{Card, Column, DataTable, render_state_pill},
    format::{capitalize_first, percent_encode, render_sentence, sanitize_text},
};

/// Checks behind the items, by item id.
const ITEM_CHECKS: [(&str, &str); 13] = [
    ("duplicate-tokens", DUPLICATE_TOKENS_CHECK.id),
    ("orphaned-sessions", ORPHANED_SESSIONS_CHECK.id),
    ("sessions-per-user", SESSIONS_PER_USER_CHECK.id),
    ("expired-sessions", EXPIRED_BACKLOG_CHECK.id),
    ("creation-rate", CREATION_RATE_CHECK.id),
    ("unique-tokens", DUPLICATE_TOKENS_CHECK.id),
    ("new-token-at-login", TOKEN_REASSIGNED_CHECK.id),
    ("absolute-lifetime", SESSION_LIFETIME_CHECK.id),
    ("ended-stays-ended", REAPPEARED_SESSIONS_CHECK.id),
    ("deleted-users", ORPHANED_SESSIONS_CHECK.id),
    ("expired-rows-deleted", EXPIRED_BACKLOG_CHECK.id),
    ("concurrent-sessions", USER_SESSION_EXCESS_CHECK.id),
    ("session-termination", SESSION_LIFETIME_CHECK.id),
];

/// A group of items with the same source.
struct ItemGroup<'a> {
    id: &'a str,
    title: &'a str,
    /// The items, those that need attention first.
    items: Vec<&'a Value>,
}

/// Renders a card for each source.
pub(super) fn render_groups(view: &ReportView<'_>) -> Markup {
    let list = |key: &str| view.document[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_source = |prefix: &str| {
        let is_first =
            |item: &&Value| item["source"].as_str().is_some_and(|source| source.starts_with(prefix));
        list("requirements").iter().filter(is_first).collect::<Vec<_>>()
    };
    let mut groups = [
        ItemGroup { id: "guide", title: "Operator guide", items: list("items").iter().collect() },
        ItemGroup { id: "asvs", title: "OWASP ASVS 5.0.0", items: of_source("OWASP") },
        ItemGroup { id: "nist", title: "NIST SP 800-63B-4 and 800-53 r5", items: of_source("NIST") },
    ];
    for group in &mut groups {
        group.items.sort_by_key(|item| attention_rank(item));
    }
    html! { @for group in &groups { (render_group(view, group)) } }
}

/// Returns the rank of an item by its result; failing items come first.
fn attention_rank(item: &Value) -> u8 {
    match item_state(item) {
        "failing" => 0,
        "unknown" => 1,
        _ => 2,
    }
}

fn item_state(item: &Value) -> &'static str {
    match item["result"].as_str() {
        Some("passing") => "passing",
        Some("failing") => "failing",
        _ => "unknown",
    }
}

fn render_group(view: &ReportView<'_>, group: &ItemGroup<'_>) -> Markup {
    const ITEM_COLUMNS: [Column<'_>; 5] = [
        Column { title: "Status", class: "c-state" },
        Column { title: "Requirement", class: "c-req" },
        Column::text("Evidence"),
        Column { title: "Source", class: "c-src" },
        Column { title: "Action", class: "end c-act" },
    ];
    let passing = group.items.iter().filter(|item| item_state(item) == "passing").count();
    let note = format!("{passing} of {} pass", group.items.len());
    let rows = html! { @for item in &group.items { (render_item(view, item)) } };
    let class = "table-cards table-report";
    let body = DataTable { label: group.title, class, columns: &ITEM_COLUMNS, rows }.render();
    Card { id: group.id, title: group.title, note: &note, end: html! {}, body }.render()
}

fn render_item(view: &ReportView<'_>, item: &Value) -> Markup {
    let text = |key: &str| item[key].as_str().map(sanitize_text).unwrap_or_default();
    let (title, requirement) = (text("title"), text("requirement"));
    let is_attestation = item["id"] == USER_REPORTS_ITEM;
    let link = render_action(view, item);
    // The page of an unknown check says what to do; the same advice on every row would hide the others.
    let has_advice = item_state(item) == "failing" || link.0.is_empty();
    let action = if has_advice { text("action") } else { String::new() };
    html! {
        tr {
            td.first { (render_state_pill(item_state(item))) }
            td.wrap.span {
                span.strong { (title) }
                @if !action.is_empty() { p.hint { (render_sentence(&capitalize_first(&action))) } }
            }
            td.muted.wrap.span {
                @let (reason, evidence) = (text("reason"), text("evidence"));
                // An attestation begins with the name of an account, which is never capitalized.
                @if is_attestation && reason.is_empty() { (evidence) }
                @else { (capitalize_first(&describe_evidence(&reason, &evidence))) }
                @if !requirement.is_empty() && !is_attestation { p.hint { "Passes if: " (requirement) } }
            }
            td.muted.wrap.up {
                @for source in shorten_sources(&text("source")) { span.source { (source) } }
            }
            td.end.span { (link) }
        }
    }
}

/// Describes what was found, and why the result is unknown.
fn describe_evidence(reason: &str, evidence: &str) -> String {
    match (reason, evidence) {
        (reason, "") => reason.to_owned(),
        ("", evidence) => evidence.to_owned(),
        (reason, evidence) => format!("{reason} ({evidence})"),
    }
}

/// Returns the sources without the words that the title of their group repeats.
fn shorten_sources(source: &str) -> Vec<String> {
    source
        .split("; ")
        .enumerate()
        .map(|(index, part)| match part.strip_prefix("OWASP ASVS 5.0.0 ") {
            Some(number) if index == 0 => number.to_owned(),
            Some(number) => format!("ASVS {number}"),
            None => {
                let part = part.strip_prefix("operator guide, ").unwrap_or(part);
                capitalize_first(&part.replace("NIST SP 800-", "").replace("53 r5 ", "53 "))
            }
        })
        .collect()
}

/// Renders what to do about an item that does not pass.
fn render_action(view: &ReportView<'_>, item: &Value) -> Markup {
    let id = item["id"].as_str().unwrap_or_default();
    let state = item_state(item);
    let check = ITEM_CHECKS.iter().find(|(item, _)| *item == id).map(|(_, check)| *check);
    let cleanup = CleanupKind::ALL.iter().any(|kind| check == Some(kind.check_id()));
    let target = percent_encode(view.target);
    html! {
        @if id == USER_REPORTS_ITEM {
            @if view.can_attest() && state == "unknown" {
                button.btn.btn-s type="button" popovertarget="attest" { "Attest…" }
            }
        } @else if state == "failing" && cleanup {
            a.link href={ "/cleanup?target=" (target) } { "View cleanup" }
        } @else if state != "passing" {
            @if let Some(check) = check {
                a.link href={ "/targets/" (target) "/checks/" (percent_encode(check)) } { "View check" }
            } @else if id == "critical-log-lines" { a.link href="/logs" { "View logs" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_name_the_standard_only_where_the_group_does_not() {
        for (source, shown) in [
            ("operator guide, query 2", "Query 2"),
            ("OWASP ASVS 5.0.0 7.2.3; NIST SP 800-53 r5 SC-23(3)", "7.2.3, 53 SC-23(3)"),
            ("NIST SP 800-53 r5 AC-10; OWASP ASVS 5.0.0 7.1.2", "53 AC-10, ASVS 7.1.2"),
            ("NIST SP 800-63B-4 2.1.3", "63B-4 2.1.3"),
        ] {
            assert_eq!(shorten_sources(source).join(", "), shown);
        }
    }
}
