//! The side panel: one session in detail, with its history and its actions.

use std::sync::Arc;

use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError, AppState, Period,
    logs::{LogEventQuery, LogEventRecord, search_log_events},
    sessions::{self, SessionProblem, SessionQuery, SessionRow},
};
use sessionwatch_core::{plural::format_count, text::name_users, timestamp::UtcTimestamp};

use super::{SessionPage, row_key, table::render_lifetime};
use crate::{
    components::{
        AvatarSize, Callout, Icon, TimelineEntry, TimelineTone, Tone, render_avatar, render_icon,
        render_timeline,
    },
    device::Device,
    format::{format_relative_time, render_moment, sanitize_text},
    shell::render_csrf_field,
    user_identity::{UserIdentity, user_path},
};

/// Most other sessions with the same token that are listed.
const MAX_OTHERS: usize = 5;
/// Most log events of the history.
const MAX_LOG_EVENTS: u32 = 8;

/// One session in detail.
pub(super) struct SessionPanel {
    row: SessionRow,
    /// Other sessions with the same token prefix, of a session with a shared token.
    others: Vec<SessionRow>,
    log_events: Vec<LogEventRecord>,
}

impl SessionPanel {
    /// Loads what belongs to a session. A database that fails here leaves the rest of the page as it is.
    pub(super) async fn load(
        app: &Arc<AppState>,
        page: &SessionPage<'_>,
        row: SessionRow,
    ) -> Result<Self, AppError> {
        let Some(prefix) = row.token_prefix.clone() else {
            return Ok(Self { row, others: vec![], log_events: vec![] });
        };
        let others = if row.problem == Some(SessionProblem::SharedToken) {
            let query = SessionQuery {
                row_id_or_prefix: Some(prefix.clone()),
                ..SessionQuery::first(MAX_OTHERS + 1)
            };
            let found = sessions::list_sessions(app, &app.target(page.target)?, query).await;
            found.map(|found| found.rows).unwrap_or_default()
        } else {
            vec![]
        };
        let query = LogEventQuery {
            targets: vec![page.target.to_owned()],
            kind: None,
            token_prefix: Some(prefix),
            user: None,
            source: None,
            only_warnings: false,
            period: Period::ALL_TIME,
            before: None,
            limit: MAX_LOG_EVENTS,
        };
        let log_events = search_log_events(app, query).await?;
        let is_other = |other: &SessionRow| other.id != row.id && other.token_prefix == row.token_prefix;
        let others = others.into_iter().filter(is_other).take(MAX_OTHERS).collect();
        Ok(Self { row, others, log_events })
    }

    pub(super) fn render(&self, page: &SessionPage<'_>) -> Markup {
        let row = &self.row;
        let user = UserIdentity::new(row.user.as_deref().unwrap_or("No user"), &row.display);
        html! {
            aside.panel aria-label={ "Session of " (user.name) } {
                div.panel-head {
                    (render_avatar(&user.name, AvatarSize::Medium))
                    div.grow {
                        h2.h2 { (user.name) }
                        div.muted.truncate { (user.detail().unwrap_or(&user.id)) }
                    }
                    a.btn.btn-ghost.btn-icon.btn-s href=(page.path_with("")) aria-label="Close panel" {
                        (render_icon(Icon::X))
                    }
                }
                (self.render_problem(page))
                (self.render_facts(page))
                div.panel-sec { h3.h3 { "History" } (self.render_history(page.found.now)) }
                (self.render_actions(page))
            }
        }
    }

    fn render_problem(&self, page: &SessionPage<'_>) -> Markup {
        let (title, text, check) = match self.row.problem {
            None => return html! {},
            Some(SessionProblem::SharedToken) => {
                let others = self.others.len() as u64;
                let title = match others {
                    0 => "Its token occurs more than once".to_owned(),
                    _ => format!(
                        "Shares its token with {}",
                        format_count(others, "other session", "other sessions")
                    ),
                };
                (title, self.render_others(), "duplicate-tokens")
            }
            Some(SessionProblem::Orphaned) => (
                "Its user does not exist".to_owned(),
                html! { "Nobody should be able to use this session." },
                "orphaned-sessions",
            ),
        };
        let text = html! { (text) " " a href={ (page.base) "/checks/" (check) } { "View check" } };
        let callout = Callout { tone: Tone::Bad, title: &title, text, action: html! {} };
        html! { div.panel-sec { (callout.render()) } }
    }

    fn render_others(&self) -> Markup {
        html! {
            @for other in &self.others {
                @let user = UserIdentity::new(other.user.as_deref().unwrap_or("No user"), &other.display);
                (user.name)
                @if let Some(agent) = &other.agent { ", " (Device::from_agent(agent).name) }
                @if let Some(ip) = &other.ip { ", " (sanitize_text(ip)) }
                br;
            }
        }
    }

    fn render_facts(&self, page: &SessionPage<'_>) -> Markup {
        let (row, now) = (&self.row, page.found.now);
        let moment = |at: UtcTimestamp| {
            html! { (render_moment(at, now)) " " span.muted { (format_relative_time(at, now)) } }
        };
        html! {
            div.panel-sec { dl.defs {
                dt { "Status" } dd { (render_lifetime(row.expires_at, now)) }
                @if let Some(agent) = &row.agent {
                    dt { "Device" } dd title=(sanitize_text(agent)) { (Device::from_agent(agent).name) }
                }
                @if let Some(ip) = &row.ip { dt { "IP address" } dd.mono { (sanitize_text(ip)) } }
                @if let Some(at) = row.created_at { dt { "Created" } dd { (moment(at)) } }
                dt { "Expires" } dd { @match row.expires_at { Some(at) => (moment(at)), None => "never" } }
                @if let Some(user) = &row.user { dt { "User ID" } dd.mono { (sanitize_text(user)) } }
                @if let Some(prefix) = &row.token_prefix { dt { "Token prefix" } dd.mono { (sanitize_text(prefix)) } }
                @if let Some(id) = &row.id { dt { "Row ID" } dd.mono { (sanitize_text(id)) } }
            } }
        }
    }

    fn render_history(&self, now: UtcTimestamp) -> Markup {
        let plain = |at, icon, text: &str| TimelineEntry {
            at,
            icon,
            tone: TimelineTone::Neutral,
            text: html! { (text) },
            detail: html! {},
            quote: String::new(),
        };
        let mut entries: Vec<TimelineEntry> = self.log_events.iter().map(log_event_entry).collect();
        entries.extend(self.row.created_at.map(|at| plain(at, Icon::LogIn, "Session created")));
        let ended = self.row.expires_at.filter(|at| *at <= now);
        entries.extend(ended.map(|at| plain(at, Icon::Hourglass, "Session expired")));
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
        html! {
            @if entries.is_empty() {
                p.muted {
                    "Nothing is known about this session’s past. "
                    "Log events with its token prefix appear here."
                }
            } @else { (render_timeline(&entries, now)) }
        }
    }

    fn render_actions(&self, page: &SessionPage<'_>) -> Markup {
        let user = self.row.user.as_deref().map(|user| user_path(page.target, user));
        if user.is_none() && !page.shell.can_respond() {
            return html! {};
        }
        html! {
            div.panel-foot {
                @if let Some(path) = user { a.btn.grow href=(path) { "Open user" } }
                @if let (true, Some(key)) = (page.shell.can_respond(), row_key(&self.row)) {
                    form.grow method="post" action="/cleanup" {
                        (render_csrf_field(&page.shell.user))
                        input type="hidden" name="target" value=(page.target);
                        input type="hidden" name="kind" value="session";
                        input type="hidden" name="session" value=(key);
                        button.btn.btn-danger.btn-block { "Revoke session…" }
                    }
                }
            }
        }
    }
}

/// Returns a log event as an entry of a timeline.
pub(crate) fn log_event_entry(event: &LogEventRecord) -> TimelineEntry {
    let is_bad = event.severity.is_some();
    let users: Vec<&str> =
        [&event.user, &event.other_user].into_iter().flatten().map(String::as_str).collect();
    let prefix = event.token_prefix.as_ref().map(|prefix| format!("token {prefix}…"));
    let facts: Vec<String> =
        [name_users(&users), prefix, event.reason.clone()].into_iter().flatten().collect();
    TimelineEntry {
        at: event.at.unwrap_or(event.read_at),
        icon: Icon::ScrollText,
        tone: if is_bad { TimelineTone::Bad } else { TimelineTone::Neutral },
        text: html! { "Log event: " b { (sanitize_text(&event.kind)) } },
        detail: html! { (sanitize_text(&facts.join(", "))) },
        quote: String::new(),
    }
}
