//! An entry of the audit log in words: the action, its object, and where it came from.

use maud::{Markup, html};
use serde_json::{Map, Value};
use sessionwatch_app::{app::audit::AuditEntry, checks::describe_check};

use crate::{
    components::render_user,
    format::{percent_encode, render_moment, sanitize_text},
    shell::Shell,
};

/// Returns an action in words; `None` for one of a newer version.
pub(super) fn describe_action(action: &str) -> Option<&'static str> {
    Some(match action {
        "account.created" => "Created an account",
        "account.deleted" => "Deleted an account",
        "account.password_changed" => "Changed their password",
        "alert.acknowledged" => "Acknowledged an alert",
        "alert.commented" => "Commented on an alert",
        "alert.resolved" => "Resolved an alert",
        "archive.purged" => "Deleted archived rows for good",
        "channel.tested" => "Tested a channel",
        "checklist.attested" => "Attested a checklist item",
        "incident.checks_run" => "Ran the checks of an incident",
        "incident.closed" => "Closed an incident",
        "incident.contained" => "Contained an incident",
        "incident.evidence_exported" => "Exported evidence",
        "incident.field_set" => "Filled in an incident report",
        "incident.log_event_added" => "Added a log event to an incident",
        "incident.note_added" => "Added a note to an incident",
        "incident.opened" => "Opened an incident",
        "incident.reopened" => "Reopened an incident",
        "incident.step_detected" => "Recorded a finding for an incident step",
        "incident.step_done" => "Completed an incident step",
        "incident.step_reopened" => "Reopened an incident step",
        "incident.step_skipped" => "Skipped an incident step",
        "login.ended" => "Logged out",
        "login.failed" => "Failed to log in",
        "login.revoked" => "Ended a login session",
        "login.succeeded" => "Logged in",
        "notification.retried" => "Retried failed messages",
        "marker.created" => "Added a deploy marker",
        "plan.applied" => "Applied a plan",
        "plan.approved" => "Approved a plan",
        "plan.created" => "Created a plan",
        "plan.restored" => "Restored archived rows",
        "plan.started" => "Started a plan",
        "silence.created" => "Silenced notifications",
        "silence.expired" => "Ended a silence",
        "target.layout_confirmed" => "Confirmed a table layout",
        "token.created" => "Created an API token",
        "token.revoked" => "Revoked an API token",
        _ => return None,
    })
}

/// Renders an entry as a row.
pub(super) fn render_entry(entry: &AuditEntry, shell: &Shell) -> Markup {
    let mut detail = match serde_json::from_str(&entry.detail) {
        Ok(Value::Object(fields)) => fields,
        // Shown as it is: an entry must not look empty because it cannot be parsed.
        _ => Map::from_iter([("detail".to_owned(), Value::from(entry.detail.as_str()))]),
    };
    let from = take_text(&mut detail, "ip").unwrap_or_default();
    let object = render_object(&mut detail);
    let rest = format_fields(&detail);
    html! {
        tr {
            td.up { (render_moment(entry.at, shell.now)) }
            td { (render_user(&entry.actor, None, None)) }
            td.first {
                @match describe_action(&entry.action) {
                    Some(words) => { span.strong { (words) } " " span.mono.muted { (sanitize_text(&entry.action)) } }
                    None => span.strong { (sanitize_text(&entry.action)) },
                }
            }
            td.object { (object) }
            td.from { @if !from.is_empty() { span.mono { (from) } } }
            td.detail.span.muted title=(rest) { (rest) }
        }
    }
}

/// Removes a field and returns its text, sanitized; `None` if it is missing or empty.
fn take_text(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    let text = fields.remove(name).filter(|value| !value.is_null())?;
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    Some(sanitize_text(&text)).filter(|text| !text.is_empty())
}

/// Renders the object of an action, and removes the fields that it shows.
fn render_object(fields: &mut Map<String, Value>) -> Markup {
    let target = take_text(fields, "target");
    let on_target = html! { @if let Some(target) = &target { " " span.muted { "on " (target) } } };
    if let Some(plan) = take_text(fields, "plan") {
        return html! { a href={ "/plans/" (percent_encode(&plan)) } { span.mono { (plan) } } (on_target) };
    }
    if let Some(incident) = take_text(fields, "incident") {
        let step = take_text(fields, "step");
        return html! {
            a href={ "/incidents/" (percent_encode(&incident)) } { span.mono { (incident) } }
            @if let Some(step) = step { " " span.muted { "step " (step) } }
        };
    }
    if let Some(check) = take_text(fields, "check") {
        let title = describe_check(&check).title;
        return html! {
            @match &target {
                Some(target) => {
                    a href={ "/targets/" (percent_encode(target)) "/checks/" (percent_encode(&check)) } { (title) }
                }
                None => (title),
            }
            (on_target)
        };
    }
    if let Some(label) = take_text(fields, "label") {
        fields.remove("token");
        return html! { "Token “" (label) "”" };
    }
    for (name, noun) in [
        ("channel", "Channel"),
        ("account", "Account"),
        ("token", "Token"),
        ("silence", "Silence"),
        ("item", "Item"),
    ] {
        if let Some(value) = take_text(fields, name) {
            return html! { (noun) " " (value) (on_target) };
        }
    }
    html! { @if let Some(target) = &target { a href={ "/targets/" (percent_encode(target)) } { (target) } } }
}

/// Formats the remaining fields.
fn format_fields(fields: &Map<String, Value>) -> String {
    let field = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) if text.is_empty() => return None,
            Value::String(text) => text.clone(),
            // What these say is also in the words of the other fields.
            Value::Object(parts) if parts.values().any(|part| part.is_object() || part.is_array()) => {
                return None;
            }
            Value::Object(parts) if parts.is_empty() => return None,
            Value::Object(parts) => {
                let part = |(name, value): (&String, &Value)| format!("{name} {value}");
                parts.iter().map(part).collect::<Vec<_>>().join(", ")
            }
            Value::Array(items) if items.is_empty() => return None,
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        Some(format!("{}: {text}", name.replace('_', " ")))
    };
    sanitize_text(&fields.iter().filter_map(field).collect::<Vec<_>>().join(" · "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_written_in_words() {
        let fields = json!({
            "action": "cleanup expired", "rows": 581, "dependents": { "carts": 3, "items": 1 }, "still_matching": {},
            "selection": { "expired": { "grace_us": 1 } }, "scopes": ["read", "alerts"], "skipped": [], "note": ""
        });
        let fields = fields.as_object().unwrap();
        assert_eq!(
            format_fields(fields),
            "action: cleanup expired · rows: 581 · dependents: carts 3, items 1 · scopes: read, alerts"
        );
    }
}
