//! The sessions and users that the check found, and the log events about them.

use jiff::SignedDuration;
use maud::{Markup, html};
use serde_json::Value;
use sessionwatch_app::{checks::TABLE_CHECKS, report::truncation_note};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::EvidenceKind, duration::SECOND, plural::format_count, timestamp::UtcTimestamp,
};

use super::CheckView;
use crate::{
    components::{Card, Column, DataTable, render_user},
    device::Device,
    format::{format_length, percent_encode, render_moment, render_relative_time, sanitize_text},
};

/// A row of evidence, with foreign text sanitized.
#[derive(Clone, Debug)]
struct EvidenceRow {
    token_prefix: Option<String>,
    /// Row id of the session, as it is stored.
    id: Option<String>,
    user: Option<EvidenceUser>,
    device: Option<String>,
    ip: Option<String>,
    created_at: Option<UtcTimestamp>,
    expires_at: Option<UtcTimestamp>,
    /// Number of sessions that the row stands for.
    sessions: u64,
}

/// A user in the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EvidenceUser {
    /// The id, as it is stored.
    pub(super) id: String,
    /// The name, or the id without one.
    pub(super) name: String,
    /// Further columns that identify the user, such as the email address.
    detail: String,
}

/// The rows of one token, or one row without a token.
type RowGroup<'a> = &'a [EvidenceRow];

impl EvidenceRow {
    fn parse(row: &Value) -> Self {
        let text = |key: &str| row[key].as_str();
        let columns = row["display"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let columns: Vec<String> =
            columns.map(sanitize_text).filter(|column| !column.trim().is_empty()).collect();
        let user = text("user").map(|id| EvidenceUser {
            id: id.to_owned(),
            name: columns.first().cloned().unwrap_or_else(|| sanitize_text(id)),
            detail: columns.get(1..).unwrap_or_default().join(" · "),
        });
        Self {
            token_prefix: text("token_prefix").map(sanitize_text),
            id: text("id").map(str::to_owned),
            user,
            device: text("user_agent").map(|agent| Device::from_agent(agent).name),
            ip: text("ip").map(sanitize_text),
            created_at: text("created_at").and_then(clock::parse_rfc3339),
            expires_at: text("expires_at").and_then(clock::parse_rfc3339),
            sessions: row["rows"].as_u64().unwrap_or(0),
        }
    }

    fn user_id(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.id.as_str())
    }
}

impl CheckView<'_> {
    fn evidence_rows(&self) -> Vec<EvidenceRow> {
        let rows = self.details.finding["evidence"].as_array();
        rows.into_iter().flatten().map(EvidenceRow::parse).collect()
    }

    /// Returns the users in the evidence, each once.
    pub(super) fn evidence_users(&self) -> Vec<EvidenceUser> {
        let mut users: Vec<EvidenceUser> = vec![];
        for user in self.evidence_rows().into_iter().filter_map(|row| row.user) {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        users
    }

    /// Renders the evidence of the last failing run; nothing if there is none.
    pub(super) fn render_evidence(&self) -> Markup {
        let rows = self.evidence_rows();
        if rows.is_empty() {
            return html! {};
        }
        let is_current = self.failing_since().is_some();
        let has_tokens = rows.iter().any(|row| row.token_prefix.is_some());
        let title = match (has_tokens, is_current) {
            (true, true) => "Affected sessions",
            (false, true) => "Affected users",
            (_, false) => "Evidence of the last failure",
        };
        let total = self.details.finding["evidence_total"].as_u64();
        let note = truncation_note(total, rows.len())
            .unwrap_or_else(|| count_evidence(&rows, self.shows_shared_tokens()));
        let table = EvidenceTable { view: self, rows: &rows, has_tokens };
        let end =
            html! { @if let Some(path) = self.sessions_path() { a href=(path) { "Open in Sessions" } } };
        Card { id: "evidence", title, note: &note, end, body: table.render() }.render()
    }

    /// Returns the path of the sessions page that lists what the check found, where a filter can express that.
    fn sessions_path(&self) -> Option<String> {
        let check = TABLE_CHECKS.iter().find(|check| check.id == self.alert.check)?;
        let query = match check.evidence {
            EvidenceKind::OldestExpired => "status=expired",
            EvidenceKind::BeyondPolicy => "sort=expires",
            EvidenceKind::ActiveUsers => "status=active",
            EvidenceKind::CreatingUsers => "sort=created",
            _ => return None,
        };
        Some(format!("/targets/{}/sessions?{query}", percent_encode(&self.alert.target)))
    }

    /// Returns `true` if the evidence is about tokens that several sessions share.
    fn shows_shared_tokens(&self) -> bool {
        let check = TABLE_CHECKS.iter().find(|check| check.id == self.alert.check);
        check.is_some_and(|check| check.evidence == EvidenceKind::Duplicates)
    }

    /// Renders the log events behind the result; nothing if there are none.
    pub(super) fn render_log_events(&self) -> Markup {
        let Some(events) = self.details.finding["log_events"].as_array().filter(|events| !events.is_empty())
        else {
            return html! {};
        };
        let text = |event: &Value, key: &str| event[key].as_str().map(sanitize_text).unwrap_or_default();
        let body = html! {
            ol.log.log-events { @for event in events {
                @let at = event["at"].as_str().or_else(|| event["recorded_at"].as_str()).and_then(clock::parse_rfc3339);
                li {
                    @match at { Some(at) => (render_moment(at, self.shell.now)), None => span {} }
                    span.muted { (text(event, "source")) }
                    span {
                        (text(event, "text"))
                        @if event["match_kind"].is_string() { " " span.tag { (text(event, "match_kind")) } }
                    }
                }
            } }
        };
        let count = format_count(events.len() as u64, "event", "events");
        let path = format!("/logs?target={}", percent_encode(&self.alert.target));
        let end = html! { a href=(path) { "Open in Logs" } };
        Card { id: "log-events", title: "Log events", note: &count, end, body }.render()
    }
}

/// Says how many sessions, users and shared tokens there are: `7 sessions of 7 users sharing 3 tokens`.
fn count_evidence(rows: &[EvidenceRow], share_tokens: bool) -> String {
    let count = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.dedup();
        keys.len() as u64
    };
    let tokens = count(rows.iter().filter_map(|row| row.token_prefix.as_deref()).collect());
    let users = count(rows.iter().filter_map(EvidenceRow::user_id).collect());
    let shown = rows.len() as u64;
    if tokens == 0 {
        return format_count(users, "user", "users");
    }
    let mut text = format_count(shown, "session", "sessions");
    if users > 0 {
        text.push_str(&format!(" of {}", format_count(users, "user", "users")));
    }
    if share_tokens {
        text.push_str(&format!(" sharing {}", format_count(tokens, "token", "tokens")));
    }
    text
}

/// Says how the sessions of a token began, where that suggests one cause: `created within 3 s, from 2 addresses`.
fn describe_origin(group: RowGroup<'_>) -> Option<String> {
    /// Sessions that began further apart have nothing in common.
    const MAX_SPREAD: SignedDuration = SignedDuration::from_mins(10);
    if group.len() < 2 {
        return None;
    }
    let created: Option<Vec<UtcTimestamp>> = group.iter().map(|row| row.created_at).collect();
    let created = created.and_then(|times| Some(times.iter().max()?.duration_since(*times.iter().min()?)));
    let created = match created {
        Some(spread) if spread < SECOND => Some("created at the same time".to_owned()),
        Some(spread) if spread <= MAX_SPREAD => Some(format!("created within {}", format_length(spread))),
        _ => None,
    };
    let mut addresses: Vec<&str> = group.iter().filter_map(|row| row.ip.as_deref()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let addresses = (addresses.len() > 1).then(|| format!("from {} addresses", addresses.len()));
    let parts: Vec<String> = [created, addresses].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Which columns about the client of a session the evidence has.
#[derive(Clone, Copy, Debug)]
struct ClientColumns {
    device: bool,
    ip: bool,
    created: bool,
}

/// The evidence as a table.
#[derive(Clone, Copy, Debug)]
struct EvidenceTable<'a> {
    view: &'a CheckView<'a>,
    rows: &'a [EvidenceRow],
    has_tokens: bool,
}

impl EvidenceTable<'_> {
    fn render(self) -> Markup {
        let is_grouped = self.is_grouped();
        let mut columns = vec![Column::fill("User")];
        let client = self.client_columns();
        columns.extend(client.device.then_some(Column::text("Device")));
        columns.extend(client.ip.then_some(Column::text("IP address")));
        columns.extend(client.created.then_some(Column::number("Created")));
        if self.has_tokens {
            columns.push(Column::number("Expires"));
        }
        if self.counts_sessions() {
            columns.push(Column::number("Sessions"));
        }
        if self.has_tokens && !is_grouped {
            columns.push(Column::text("Token prefix"));
        }
        let width = columns.len();
        let groups: Vec<RowGroup<'_>> =
            self.rows.chunk_by(|one, next| one.token_prefix == next.token_prefix).collect();
        let rows = html! {
            @for group in groups {
                @if is_grouped { (self.render_group_head(group, width)) }
                @for row in group { (self.render_row(row)) }
            }
        };
        DataTable { label: "Evidence", class: "table-cards table-dense", columns: &columns, rows }.render()
    }

    fn client_columns(self) -> ClientColumns {
        let any = |has: fn(&EvidenceRow) -> bool| self.rows.iter().any(has);
        ClientColumns {
            device: any(|row| row.device.is_some()),
            ip: any(|row| row.ip.is_some()),
            created: any(|row| row.created_at.is_some()),
        }
    }

    /// Returns `true` if tokens are on several rows, which then follow each other. In other evidence, rows with the
    /// same prefix have different tokens.
    fn is_grouped(self) -> bool {
        self.has_tokens && self.view.shows_shared_tokens()
    }

    /// Returns `true` if a row stands for several sessions. Evidence from logs counts none.
    fn counts_sessions(self) -> bool {
        !self.has_tokens && self.rows.iter().any(|row| row.sessions > 0)
            || self.rows.iter().any(|row| row.sessions > 1)
    }

    fn render_group_head(self, group: RowGroup<'_>, width: usize) -> Markup {
        let mut users: Vec<&str> = group.iter().filter_map(EvidenceRow::user_id).collect();
        users.sort_unstable();
        users.dedup();
        let owners = match users.len() {
            0 => format_count(group.len() as u64, "session", "sessions"),
            1 => format!("{} of one user", format_count(group.len() as u64, "session", "sessions")),
            count => format_count(count as u64, "user", "users"),
        };
        let prefix = group.first().and_then(|row| row.token_prefix.as_deref());
        html! {
            tr.group { td.span colspan=(width) { span.row {
                @if let Some(prefix) = prefix { code.mono.strong { (prefix) "…" } } @else { "No token" }
                " " span { (owners) }
                @if let Some(origin) = describe_origin(group) { " " span.muted.hide-s { "· " (origin) } }
            } } }
        }
    }

    fn render_row(self, row: &EvidenceRow) -> Markup {
        let now = self.view.shell.now;
        html! {
            tr {
                td.fill { (self.render_user_cell(row)) }
                (self.render_client_cells(row))
                @if self.has_tokens {
                    td.num.muted.span data-l="Expires" {
                        @match row.expires_at { Some(at) => (render_relative_time(at, now)), None => "never" }
                    }
                }
                @if self.counts_sessions() { td.num.span data-l="Sessions" { (row.sessions) } }
                @if self.has_tokens && !self.is_grouped() {
                    td.span { @if let Some(prefix) = &row.token_prefix { code.mono { (prefix) "…" } } }
                }
            }
        }
    }

    fn render_client_cells(self, row: &EvidenceRow) -> Markup {
        let (shown, now) = (self.client_columns(), self.view.shell.now);
        // The side panel of the sessions page has all that is known about the session.
        let session = row.id.as_ref().map(|id| {
            let target = percent_encode(&self.view.alert.target);
            format!("/targets/{target}/sessions?open={}", percent_encode(id))
        });
        html! {
            @if shown.device {
                td.span { @if let Some(device) = &row.device { a href=[session] { (device) } } }
            }
            @if shown.ip { td.mono.hide-s { @if let Some(ip) = &row.ip { (ip) } } }
            @if shown.created {
                td.num.muted.hide-s { @if let Some(at) = row.created_at { (render_moment(at, now)) } }
            }
        }
    }

    fn render_user_cell(self, row: &EvidenceRow) -> Markup {
        let Some(user) = &row.user else { return html! { span.muted { "No user" } } };
        let target = percent_encode(&self.view.alert.target);
        let link = format!("/targets/{target}/users/{}", percent_encode(&user.id));
        let id = sanitize_text(&user.id);
        let detail = match (user.detail.is_empty(), user.name == id) {
            (false, _) => Some(user.detail.as_str()),
            // A name alone may not be unique.
            (true, false) => Some(id.as_str()),
            (true, true) => None,
        };
        render_user(&user.name, detail, Some(&link))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(token: &str, user: &str) -> EvidenceRow {
        EvidenceRow::parse(&serde_json::json!({ "token_prefix": token, "user": user, "rows": 1 }))
    }

    #[test]
    fn sessions_of_one_token_are_said_to_begin_together() {
        let session = |seconds: i64, ip: Option<&str>| EvidenceRow {
            created_at: Some(UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)),
            ip: ip.map(str::to_owned),
            ..row("a", "1")
        };
        let (here, there) = (Some("192.0.2.1"), Some("192.0.2.2"));
        for (group, text) in [
            ([session(0, here), session(0, here)], Some("created at the same time")),
            ([session(0, here), session(3, there)], Some("created within 3 s, from 2 addresses")),
            ([session(600, None), session(0, None)], Some("created within 10 min")),
            ([session(601, here), session(0, there)], Some("from 2 addresses")),
            ([session(601, here), session(0, None)], None),
            ([session(1, here), row("a", "2")], None),
        ] {
            assert_eq!(describe_origin(&group).as_deref(), text);
        }
        assert_eq!(describe_origin(&[session(0, here)]), None);
    }

    #[test]
    fn evidence_is_counted_in_words() {
        let rows = [row("a", "1"), row("a", "2"), row("b", "2")];
        assert_eq!(count_evidence(&rows, true), "3 sessions of 2 users sharing 2 tokens");
        // Different tokens can have the same prefix.
        assert_eq!(count_evidence(&rows, false), "3 sessions of 2 users");
        let user = EvidenceRow { token_prefix: None, ..row("", "1") };
        assert_eq!(count_evidence(&[user], false), "1 user");
    }
}
