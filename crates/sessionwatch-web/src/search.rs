//! Search over pages, checks, incidents, plans, users and sessions: a page, and a fragment for the palette.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::{
    app::{
        AppState,
        alerts::AlertRecord,
        incidents::IncidentRecord,
        plans::PlanRecord,
        search::{MIN_SEARCH_CHARS, SearchResults, TargetResults, search_everything},
        sessions::SessionRow,
        users::ListedUser,
    },
    checks::describe_check,
};
use sessionwatch_core::plural::format_count;

use super::{
    components::{Callout, EmptyState, Icon, PageHeader, Tone, render_icon},
    format::{percent_encode, sanitize_text},
    params::PageQuery,
    shell::{NavSection, PageHead, Shell},
    user_identity::{UserIdentity, user_path},
    web_error::PageResult,
};

/// Longest text that is searched for.
const MAX_QUERY_CHARS: usize = 200;

/// The search in the query string.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SearchQuery {
    q: String,
    /// `results` for the fragment of the palette.
    part: String,
}

/// Results of one kind.
struct ResultGroup {
    title: String,
    links: Vec<ResultLink>,
    /// Link to a page with the other results; `None` if these are all.
    more: Option<ResultLink>,
}

/// A result.
struct ResultLink {
    href: String,
    text: String,
    /// Muted text after it; may be empty.
    note: String,
}

pub(super) async fn show_search(
    State(app): State<Arc<AppState>>,
    PageQuery(query): PageQuery<SearchQuery>,
    shell: Shell,
) -> PageResult {
    let text: String = query.q.trim().chars().take(MAX_QUERY_CHARS).collect();
    let found = search_everything(&app, &text).await?;
    let targets: Vec<&str> = shell.status.targets.iter().map(|target| target.name.as_str()).collect();
    let groups: Vec<ResultGroup> = [page_group(&text, &targets, &shell)]
        .into_iter()
        .chain(found_groups(&found, &text, targets.len() > 1))
        .filter(|group| !group.links.is_empty())
        .collect();
    let gaps: Vec<&str> =
        found.targets.iter().map(|target| target.gap.as_str()).filter(|gap| !gap.is_empty()).collect();
    if query.part == "results" {
        return Ok(render_fragment(&groups, &gaps, &text));
    }
    let head = PageHead { title: "Search", section: NavSection::Overview, target: None, live: false };
    Ok(shell.render_page(head, &render_page(&groups, &gaps, &text)))
}

/// Renders the results of the palette.
fn render_fragment(groups: &[ResultGroup], gaps: &[&str], text: &str) -> Markup {
    html! {
        @for group in groups {
            h3 { (group.title) }
            @for link in group.links.iter().chain(&group.more) { (link.render()) }
        }
        @if groups.is_empty() { p { "Nothing found for “" (sanitize_text(text)) "”." } }
        @for gap in gaps { p.muted { (sanitize_text(gap)) } }
    }
}

fn render_page(groups: &[ResultGroup], gaps: &[&str], text: &str) -> Markup {
    let count = groups.iter().map(|group| group.links.len() as u64).sum::<u64>();
    let has_more = groups.iter().any(|group| group.more.is_some());
    let shown = sanitize_text(text);
    let headline = match count {
        _ if text.is_empty() => "Search".to_owned(),
        0 => format!("Nothing found for “{shown}”"),
        _ if has_more => format!("More than {} for “{shown}”", format_count(count, "result", "results")),
        _ => format!("{} for “{shown}”", format_count(count, "result", "results")),
    };
    let lead = html! {
        "Pages, checks, incidents and plans; users by name, email, handle or ID; "
        "sessions by token prefix or row ID."
    };
    html! {
        (PageHeader { headline: &headline, lead, ..PageHeader::default() }.render())
        form.find role="search" action="/search" {
            label.sr for="q" { "Search" }
            input.input.input-s id="q" type="search" name="q" value=(text) maxlength="200"
                placeholder="User, email, token prefix, check, incident…";
            button.btn { (render_icon(Icon::Search)) "Search" }
        }
        @for gap in gaps {
            (Callout {
                tone: Tone::Warn,
                title: "Some results may be missing",
                text: html! { (sanitize_text(gap)) },
                action: html! {},
            }.render())
        }
        @if count == 0 { section.card { (render_empty(text)) } }
        @for (number, group) in groups.iter().enumerate() {
            section.card aria-labelledby={ "group-" (number) } {
                div.card-head { h2.h2 id={ "group-" (number) } { (group.title) } span.muted { (group.links.len()) } }
                ul.results { @for link in group.links.iter().chain(&group.more) { li { (link.render()) } } }
            }
        }
    }
}

fn render_empty(text: &str) -> Markup {
    let text = if text.chars().count() < MIN_SEARCH_CHARS {
        html! { "Enter at least two characters." }
    } else {
        html! { "Try a part of the name, the email address, or the first characters of the token." }
    };
    EmptyState { icon: Icon::Search, title: "No results", text, action: html! {} }.render()
}

impl ResultLink {
    fn render(&self) -> Markup {
        html! {
            a href=(self.href) { (self.text) @if !self.note.is_empty() { " " span.muted { (self.note) } } }
        }
    }
}

fn result_link(href: impl Into<String>, text: impl Into<String>, note: impl Into<String>) -> ResultLink {
    ResultLink { href: href.into(), text: text.into(), note: note.into() }
}

/// Returns the pages, targets and actions whose name contains the text; the most used ones for no text.
fn page_group(text: &str, targets: &[&str], shell: &Shell) -> ResultGroup {
    let mut pages: Vec<ResultLink> = [
        ("/", "Overview"),
        ("/alerts", "Alerts"),
        ("/incidents", "Incidents"),
        ("/logs", "Logs"),
        ("/cleanup", "Cleanup"),
        ("/report", "Reports"),
        ("/audit", "Audit"),
        ("/settings", "Settings"),
        ("/settings#password", "Change password"),
        ("/settings#tokens", "API tokens"),
        ("/settings#login-sessions", "My login sessions"),
    ]
    .into_iter()
    .map(|(path, title)| result_link(path, title, ""))
    .collect();
    if shell.can_respond() {
        pages.push(result_link("/incidents", "Open an incident", ""));
        pages.push(result_link("/cleanup", "Revoke sessions", ""));
    }
    for name in targets {
        let base = format!("/targets/{}", percent_encode(name));
        let of_target = [
            ("", "Target"),
            ("/sessions", "Sessions"),
            ("/sessions?problem=shared", "Sessions with a shared token"),
            ("/users", "Users"),
            ("/doctor", "Doctor"),
            ("/report", "Weekly checklist"),
        ];
        pages.extend(of_target.map(|(path, title)| result_link(format!("{base}{path}"), title, *name)));
    }
    let wanted = text.to_lowercase();
    let contains = |page: &ResultLink| {
        page.text.to_lowercase().contains(&wanted)
            || !wanted.is_empty() && page.note.to_lowercase().contains(&wanted)
    };
    let most = if text.is_empty() { 8 } else { 6 };
    let links = pages.into_iter().filter(contains).take(most).collect();
    ResultGroup { title: "Pages and actions".into(), links, more: None }
}

/// Returns what the search found. Names of targets are shown if there are several.
fn found_groups(found: &SearchResults, text: &str, has_several: bool) -> Vec<ResultGroup> {
    let group = |title: &str, links| ResultGroup { title: title.to_owned(), links, more: None };
    let mut groups = vec![];
    for results in &found.targets {
        let on = if has_several { format!(" on {}", results.target) } else { String::new() };
        let users = group(&format!("Users{on}"), user_links(results));
        groups.push(ResultGroup { more: more_users_link(results, text), ..users });
        let sessions = results.sessions.iter().map(|row| session_link(&results.target, row)).collect();
        groups.push(group(&format!("Sessions{on}"), sessions));
    }
    let checks = found.checks.iter().map(|alert| check_link(alert, has_several));
    groups.push(group("Checks", checks.collect()));
    groups.push(group("Incidents", found.incidents.iter().map(incident_link).collect()));
    groups.push(group("Plans", found.plans.iter().map(plan_link).collect()));
    groups
}

fn user_links(results: &TargetResults) -> Vec<ResultLink> {
    let user_link = |user: &ListedUser| {
        let identity = UserIdentity::new(&user.id, &user.display);
        let note = identity.details.iter().chain([&identity.id]).cloned().collect::<Vec<_>>().join(" · ");
        result_link(user_path(&results.target, &user.id), identity.name, note)
    };
    results.users.users.iter().map(user_link).collect()
}

fn more_users_link(results: &TargetResults, text: &str) -> Option<ResultLink> {
    let path = format!("/targets/{}/users?find={}", percent_encode(&results.target), percent_encode(text));
    results.users.has_more.then(|| result_link(path, "More users match", "show them"))
}

fn session_link(target: &str, row: &SessionRow) -> ResultLink {
    let key = percent_encode(row.id.as_deref().or(row.token_prefix.as_deref()).unwrap_or_default());
    let identity = UserIdentity::new(row.user.as_deref().unwrap_or("No user"), &row.display);
    let shown = [row.token_prefix.as_deref(), row.id.as_deref()];
    let note = shown.into_iter().flatten().map(sanitize_text).collect::<Vec<_>>().join(" · ");
    let path = format!("/targets/{}/sessions?token={key}&open={key}", percent_encode(target));
    result_link(path, format!("Session of {}", identity.name), note)
}

fn check_link(alert: &AlertRecord, has_several: bool) -> ResultLink {
    let path = format!("/targets/{}/checks/{}", percent_encode(&alert.target), percent_encode(&alert.check));
    let on = if has_several { format!(" on {}", alert.target) } else { String::new() };
    result_link(path, describe_check(&alert.check).title, sanitize_text(&format!("{}{on}", alert.check)))
}

fn incident_link(incident: &IncidentRecord) -> ResultLink {
    let summary = sanitize_text(&incident.report_field("summary").unwrap_or_default());
    result_link(format!("/incidents/{}", percent_encode(&incident.id)), &incident.id, summary)
}

fn plan_link(plan: &PlanRecord) -> ResultLink {
    result_link(format!("/plans/{}", percent_encode(&plan.id)), format!("Plan {}", plan.id), &plan.target)
}

#[cfg(test)]
mod tests;
