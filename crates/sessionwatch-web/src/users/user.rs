//! The page of one user: sessions, alerts and history, and what can be done.

use std::{collections::BTreeSet, sync::Arc};

use axum::extract::State;
use maud::{Markup, html};
use sessionwatch_app::{
    app::{
        AppError, AppState,
        sessions::{
            self, SessionList, SessionProblem, SessionRow, UserActivity, UserEventSubject, UserSessions,
        },
        silences::{SilenceRecord, list_silences},
        users,
    },
    report,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    incident::IncidentSeverity,
    plural::{ListTotal, format_number},
};

use super::{logins_per_day::LoginsPerDay, timeline::render_user_timeline};
use crate::{
    components::{
        AvatarSize, Callout, Card, Column, Crumb, DataTable, Dialog, EmptyState, Icon, Menu, MenuItem,
        PageHeader, StatProblem, StatTile, Tone, render_avatar, render_icon, render_stat_tiles,
    },
    device::Device,
    format::{percent_encode, render_moment, sanitize_text},
    params::PagePath,
    sessions::{render_expiry, render_status},
    shell::{NavSection, PageHead, Shell, render_csrf_field},
    user_identity::{UserIdentity, user_path},
    web_error::PageResult,
};

/// Networks named in a tile.
const MAX_NAMED: usize = 2;
/// Lengths of a silence, in minutes.
const SILENCE_LENGTHS: [(u32, &str); 3] = [(60, "For 1 hour"), (240, "For 4 hours"), (1_440, "For 1 day")];

/// What the page shows.
struct UserPage<'a> {
    shell: &'a Shell,
    target: &'a str,
    /// User ID.
    id: &'a str,
    identity: UserIdentity,
    activity: UserActivity,
    silences: Vec<SilenceRecord>,
    sessions: Result<UserSessions, AppError>,
}

pub(crate) async fn show_user(
    State(app): State<Arc<AppState>>,
    PagePath((name, user)): PagePath<(String, String)>,
    shell: Shell,
) -> PageResult {
    let target = app.target(&name)?;
    let activity = sessions::load_user_activity(&app, &name, &user).await?;
    let sessions = sessions::list_user_sessions(&app, &target, &user).await;
    let mut display =
        sessions.as_ref().ok().and_then(|found| found.list.rows.first()).map(|row| row.display.clone());
    // A user without sessions still has a name. Without a database, the ID must do.
    if display.is_none() && sessions.is_ok() {
        let described = users::describe_user(&app, &target, &user).await.ok();
        display = described.and_then(|list| list.users.into_iter().next()).map(|user| user.display);
    }
    let silences = list_silences(&app).await?;
    let page = UserPage {
        shell: &shell,
        target: &name,
        id: &user,
        identity: UserIdentity::new(&user, &display.unwrap_or_default()),
        activity,
        silences: silences
            .into_iter()
            .filter(|silence| silence.subject.as_deref() == Some(user.as_str()))
            .collect(),
        sessions,
    };
    let head =
        PageHead { title: &page.identity.name, section: NavSection::Users, target: Some(&name), live: false };
    Ok(shell.render_page(head, &page.render()))
}

impl UserPage<'_> {
    fn render(&self) -> Markup {
        html! {
            (self.render_header())
            (self.render_callouts())
            (self.render_tiles())
            div.cols {
                div.stack { (self.render_sessions()) (self.logins_per_day().render()) }
                (render_user_timeline(self.target, self.listed_rows(), &self.activity, self.shell.now))
            }
            @if self.shell.can_respond() { (self.render_dialogs()) }
        }
    }

    fn listed_rows(&self) -> &[SessionRow] {
        self.sessions.as_ref().map(|found| found.list.rows.as_slice()).unwrap_or_default()
    }

    /// Returns the number of stored sessions, of which the page lists the last to end.
    fn stored_count(&self) -> ListTotal {
        let total = self.sessions.as_ref().ok().and_then(|found| found.list.total);
        total.unwrap_or(ListTotal::Exactly(0))
    }

    fn active_rows(&self) -> Vec<&SessionRow> {
        let Ok(found) = &self.sessions else { return vec![] };
        let is_active =
            |row: &&SessionRow| report::session_status(row.expires_at, found.list.now) != "expired";
        found.list.rows.iter().filter(is_active).collect()
    }

    fn logins_per_day(&self) -> LoginsPerDay {
        let rows = self.listed_rows();
        let is_cut = self.sessions.as_ref().is_ok_and(|found| found.list.has_more);
        let shown = if is_cut { Some(rows.len() as u64) } else { None };
        LoginsPerDay::count(rows.iter().filter_map(|row| row.created_at), self.shell.now).of_cut_list(shown)
    }

    fn render_header(&self) -> Markup {
        let meta = html! {
            @for detail in &self.identity.details { span { (detail) } }
            @if self.identity.name != self.identity.id { span.mono { (self.identity.id) } }
            span { "on " a href={ "/targets/" (percent_encode(self.target)) } { (self.target) } }
        };
        PageHeader {
            crumbs: vec![Crumb {
                href: format!("/targets/{}/users", percent_encode(self.target)),
                text: "Users".into(),
            }],
            picture: render_avatar(&self.identity.name, AvatarSize::Large),
            headline: &self.identity.name,
            meta,
            actions: if self.shell.can_respond() {
                self.render_actions()
            } else {
                html! {}
            },
            ..PageHeader::default()
        }
        .render()
    }

    fn render_actions(&self) -> Markup {
        let silence = |(minutes, label): (u32, &str)| {
            MenuItem::Form(html! {
                form method="post" action="/silences" {
                    (render_csrf_field(&self.shell.user))
                    input type="hidden" name="target" value=(self.target);
                    input type="hidden" name="subject" value=(self.id);
                    input type="hidden" name="back" value=(user_path(self.target, self.id));
                    input type="hidden" name="minutes" value=(minutes);
                    input type="hidden" name="note" value={ "Silenced on the page of " (self.identity.name) };
                    button { (label) }
                }
            })
        };
        let mut items: Vec<MenuItem<'_>> = SILENCE_LENGTHS.into_iter().map(silence).collect();
        items.push(MenuItem::Separator);
        let custom = html! { "Other time or reason…" };
        items.push(MenuItem::OpenDialog { dialog: "silence-user", text: custom, is_dangerous: false });
        let menu = Menu {
            id: "silence",
            button: html! { "Silence" (render_icon(Icon::ChevronDown)) },
            button_class: "btn",
            label: "",
            items,
        };
        let count = self.stored_count();
        html! {
            button.btn type="button" popovertarget="open-incident" { "Open incident" }
            (menu.render())
            @if count.counted() > 0 || self.sessions.is_err() {
                form method="post" action="/cleanup" {
                    (render_csrf_field(&self.shell.user))
                    input type="hidden" name="target" value=(self.target);
                    input type="hidden" name="kind" value="user";
                    input type="hidden" name="user" value=(self.id);
                    button.btn.btn-danger {
                        @match count {
                            ListTotal::Exactly(0) | ListTotal::MoreThan(_) => "Revoke all sessions…",
                            ListTotal::Exactly(1) => "Revoke session…",
                            _ => { "Revoke all " (count) " sessions…" },
                        }
                    }
                }
            }
        }
    }

    fn render_callouts(&self) -> Markup {
        let marked = |problem| self.listed_rows().iter().any(|row| row.problem == Some(problem));
        let checks = format!("/targets/{}/checks", percent_encode(self.target));
        let check = |id: &str| html! { a.btn href={ (checks) "/" (id) } { "View check" } };
        let callout = |title: &str, text: &str, id: &str| {
            Callout { tone: Tone::Bad, title, text: html! { (text) }, action: check(id) }.render()
        };
        html! {
            @if marked(SessionProblem::SharedToken) {
                (callout(
                    "One of this user’s sessions shares its token",
                    "Anyone who holds the token may see the account of the other user.",
                    "duplicate-tokens",
                ))
            }
            @if marked(SessionProblem::Orphaned) {
                (callout(
                    "This user does not exist but still has sessions",
                    "They belong to a deleted account, and should have been deleted with it.",
                    "orphaned-sessions",
                ))
            }
            @for silence in &self.silences {
                @let text = html! {
                    "Until " (clock::format_utc(silence.ends_at)) ", by " (sanitize_text(&silence.created_by)) ": "
                    (sanitize_text(&silence.note))
                };
                @let action = if self.shell.can_respond() { self.render_expire_form(silence.id) } else { html! {} };
                (Callout { tone: Tone::Info, title: "Alerts about this user are silenced", text, action }.render())
            }
        }
    }

    fn render_expire_form(&self, silence: i64) -> Markup {
        html! {
            form method="post" action="/silences/expire" {
                (render_csrf_field(&self.shell.user))
                input type="hidden" name="silence" value=(silence);
                input type="hidden" name="back" value=(user_path(self.target, self.id));
                button.btn { "End silence" }
            }
        }
    }

    fn render_tiles(&self) -> Markup {
        let rows = self.active_rows();
        let devices: BTreeSet<String> = rows
            .iter()
            .filter_map(|row| row.agent.as_deref())
            .map(|agent| Device::from_agent(agent).name)
            .collect();
        let addresses: BTreeSet<String> =
            rows.iter().filter_map(|row| row.ip.as_deref()).map(sanitize_text).collect();
        let is_firing = |subject: &UserEventSubject| match subject {
            UserEventSubject::Check { kind, .. } => kind == "firing",
            UserEventSubject::Plan(_) => false,
        };
        let alerts = self.activity.history.iter().filter(|event| is_firing(&event.subject)).count();
        let firing = self.activity.firing_alerts;
        let known = |count: usize, is_known: bool| {
            if is_known { format_number(count as u64) } else { "–".to_owned() }
        };
        let active = self.sessions.as_ref().map_or_else(|_| "–".to_owned(), |found| found.active.to_string());
        let (shown, stored) = (self.listed_rows().len() as u64, self.stored_count());
        let of_shown = if stored.describe_cut(shown).is_some() {
            format!("Of the {} sessions shown: ", format_number(shown))
        } else {
            String::new()
        };
        let tile = |label, value, note| StatTile { label, value, note, ..StatTile::default() };
        let none = || "Not stored by this table".to_owned();
        let tiles = [
            tile(
                "Active sessions",
                active,
                match stored {
                    ListTotal::Exactly(1) => "1 session stored".to_owned(),
                    _ => format!("{stored} sessions stored"),
                },
            ),
            tile(
                "Devices",
                known(devices.len(), !devices.is_empty()),
                if devices.is_empty() { none() } else { of_shown.clone() + &join_some(&devices) },
            ),
            tile(
                "IP addresses",
                known(addresses.len(), !addresses.is_empty()),
                if addresses.is_empty() { none() } else { of_shown + &join_some(&addresses) },
            ),
            StatTile {
                problem: (firing > 0).then_some(StatProblem::Bad),
                ..tile(
                    "Alerts in 90 days",
                    known(alerts, true),
                    match firing {
                        0 => "None is firing now".into(),
                        1 => "One is firing now".into(),
                        _ => format!("{firing} are firing now"),
                    },
                )
            },
        ];
        render_stat_tiles("Key figures", &tiles)
    }

    fn render_sessions(&self) -> Markup {
        let (found, active_count) = match &self.sessions {
            Ok(found) => (&found.list, found.active),
            Err(error) => {
                let callout = Callout {
                    tone: Tone::Bad,
                    title: "The sessions of this user cannot be listed now",
                    text: html! { (error.to_string()) " What is recorded about the user is in the timeline." },
                    action: html! {},
                };
                return callout.render();
            }
        };
        let active = self.active_rows();
        let ended: Vec<&SessionRow> = found
            .rows
            .iter()
            .filter(|row| report::session_status(row.expires_at, found.now) == "expired")
            .collect();
        let list =
            format!("/targets/{}/sessions?user={}", percent_encode(self.target), percent_encode(self.id));
        let link = html! { a href=(list) { "Open in Sessions" } };
        let body =
            if active.is_empty() { self.render_no_sessions() } else { self.render_table(&active, found) };
        let note = |total: ListTotal, rows: &[&SessionRow]| {
            total.describe_cut(rows.len() as u64).unwrap_or_else(|| rows.len().to_string())
        };
        let ended_count = match (self.stored_count(), active_count) {
            (ListTotal::Exactly(all), ListTotal::Exactly(active)) => {
                ListTotal::Exactly(all.saturating_sub(active))
            }
            (_, _) => ListTotal::MoreThan(ended.len() as u64),
        };
        let shown = note(active_count, &active);
        html! {
            (Card { id: "active", title: "Active sessions", note: &shown, end: link, body }.render())
            @if !ended.is_empty() {
                (Card {
                    id: "expired",
                    title: "Expired sessions",
                    note: &note(ended_count, &ended),
                    end: html! {},
                    body: self.render_table(&ended, found),
                }.render())
            }
        }
    }

    fn render_no_sessions(&self) -> Markup {
        let state = EmptyState {
            icon: Icon::MonitorSmartphone,
            title: "No active session",
            text: html! { "This user is logged out everywhere. The timeline also covers earlier sessions." },
            action: html! {},
        };
        state.render()
    }

    fn render_table(&self, rows: &[&SessionRow], found: &SessionList) -> Markup {
        let has = |test: fn(&SessionRow) -> bool| rows.iter().any(|row| test(row));
        let (device, ip, created) = (
            has(|row| row.agent.is_some()),
            has(|row| row.ip.is_some()),
            has(|row| row.created_at.is_some()),
        );
        let mut columns = vec![Column::fill(if device { "Device" } else { "Row ID" })];
        columns.extend(ip.then_some(Column::text("IP address")));
        columns.extend(created.then_some(Column { title: "Created", class: "end" }));
        columns.extend([
            Column { title: "Expires", class: "end" },
            Column::text("Status"),
            Column::text("Token prefix"),
        ]);
        let base =
            format!("/targets/{}/sessions?user={}", percent_encode(self.target), percent_encode(self.id));
        let link = |row: &SessionRow| row.id.as_ref().map(|id| format!("{base}&open={}", percent_encode(id)));
        let text = |text: &Option<String>| sanitize_text(text.as_deref().unwrap_or_default());
        let name = |row: &SessionRow| {
            let agent = row.agent.as_deref().map(Device::from_agent);
            let icon = agent.as_ref().map_or(Icon::Globe, Device::icon);
            let agent_name = || agent.map_or_else(|| "Unknown device".to_owned(), |agent| agent.name);
            let name = if device { agent_name() } else { text(&row.id) };
            html! {
                span.who {
                    (render_icon(icon))
                    span.truncate {
                        @match link(row) { Some(link) => a href=(link) { (name) }, None => (name) }
                    }
                }
            }
        };
        let rows = html! {
            @for row in rows {
                tr {
                    td.fill { (name(row)) }
                    @if ip { td.mono.hide-s { (text(&row.ip)) } }
                    @if created {
                        td.end.hide-s { @if let Some(at) = row.created_at { (render_moment(at, found.now)) } }
                    }
                    td.end.span.muted data-l="Expires" { (render_expiry(row.expires_at, found.now)) }
                    td.up { (render_status(row, found.now)) }
                    td.mono.muted.hide-s { (text(&row.token_prefix)) }
                }
            }
        };
        DataTable { label: "Sessions of the user", class: "table-cards", columns: &columns, rows }.render()
    }

    fn render_dialogs(&self) -> Markup {
        let fields = html! {
            (render_csrf_field(&self.shell.user))
            input type="hidden" name="target" value=(self.target);
        };
        let incident = html! {
            (fields)
            p.muted { "An incident guides you through containment, and records every step for the report." }
            label.field {
                span.label { "Severity" }
                select.input.select name="severity" {
                    @for severity in IncidentSeverity::ALL {
                        @let is_default = *severity == IncidentSeverity::P2;
                        option value=(severity.name()) selected[is_default] {
                            (severity.name()) ": " (severity.meaning())
                        }
                    }
                }
            }
            label.field {
                span.label { "What happened" }
                textarea.input name="summary" rows="3" required maxlength="2000" {
                    "Sessions of " (self.identity.name) " (user ID " (self.identity.id) "): "
                }
            }
        };
        let silence = html! {
            (fields)
            input type="hidden" name="subject" value=(self.id);
            input type="hidden" name="back" value=(user_path(self.target, self.id));
            p.muted {
                "Alerts that concern only this user send no notifications during this time. Checks keep running."
            }
            label.field {
                span.label { "Minutes" }
                input.input name="minutes" type="number" min="1" max="527040" value="1440" required;
            }
            label.field { span.label { "Reason" } input.input name="note" required maxlength="500"; }
        };
        let dialog = |id, title, action, body, submit| {
            Dialog { id, title, action, body, submit, is_dangerous: false }.render()
        };
        html! {
            (dialog("open-incident", "Open incident", "/incidents", incident, "Open incident"))
            (dialog("silence-user", "Silence this user", "/silences", silence, "Silence"))
        }
    }
}

/// Names the first texts, and counts the others.
fn join_some(texts: &BTreeSet<String>) -> String {
    let named: Vec<&str> = texts.iter().take(MAX_NAMED).map(String::as_str).collect();
    let more = texts.len().saturating_sub(MAX_NAMED);
    let named = named.join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
