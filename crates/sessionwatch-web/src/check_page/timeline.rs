//! What happened to the alert: notifications, results, comments, and deploys, incidents and cleanups of the target.

use maud::{Markup, html};
use serde_json::Value;
use sessionwatch_app::app::alerts::EventRecord;

use super::CheckView;
use crate::{
    alert_parts::render_alert_fields,
    components::{
        AvatarSize, Card, EmptyState, Icon, TimelineEntry, TimelineTone, render_avatar, render_timeline,
    },
    format::{capitalize_first, render_sentence, sanitize_text},
    overview::event_look,
};

/// Most entries.
const MAX_ENTRIES: usize = 40;

impl CheckView<'_> {
    /// Renders the timeline, the latest first, and the box for comments.
    pub(super) fn render_timeline(&self) -> Markup {
        let entries = self.timeline_entries();
        let body = html! {
            @if entries.is_empty() {
                (EmptyState {
                    icon: Icon::Activity,
                    title: "Nothing happened yet",
                    text: html! { "Changes of the result, notifications and comments appear here." },
                    action: html! {},
                }.render())
            } @else { div.card-body { (render_timeline(&entries, self.shell.now)) } }
            @if self.shell.can_respond() { (self.render_comment_form()) }
        };
        Card { id: "timeline", title: "Timeline", note: "", end: html! {}, body }.render()
    }

    fn timeline_entries(&self) -> Vec<TimelineEntry> {
        let history = &self.details.history;
        let of_target =
            self.check_history.target_events.iter().filter(|event| event.check != self.alert.check);
        let mut events: Vec<&EventRecord> =
            history.iter().filter(|event| !is_repeated(event, history)).chain(of_target).collect();
        events.sort_by_key(|event| (event.at, event.id));
        events.iter().rev().take(MAX_ENTRIES).map(|event| build_entry(event)).collect()
    }

    fn render_comment_form(&self) -> Markup {
        html! {
            form.composer method="post" action="/alerts/comment" {
                (render_alert_fields(&self.shell.user, self.alert, &self.path()))
                (render_avatar(&self.shell.user.name, AvatarSize::Small))
                input.input.input-s name="note" required maxlength="500" aria-label="Comment"
                    placeholder="Add a comment" autocomplete="off";
                button.btn { "Add comment" }
            }
        }
    }
}

/// Returns `true` if a notification of the same run says what this result says.
fn is_repeated(event: &EventRecord, history: &[EventRecord]) -> bool {
    let says_more =
        |other: &EventRecord| other.at == event.at && matches!(other.kind.as_str(), "firing" | "resolved");
    event.kind == "result" && history.iter().any(says_more)
}

/// Returns a summary without the name of the result that it may begin with.
fn without_result<'a>(summary: &'a str, name: &str) -> &'a str {
    summary.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(summary)
}

fn build_entry(event: &EventRecord) -> TimelineEntry {
    let detail: Value = serde_json::from_str(&event.detail).unwrap_or_default();
    let summary = sanitize_text(&event.summary);
    let result = detail["after"].as_str().filter(|_| event.kind == "result");
    let (icon, tone) = match (event.kind.as_str(), detail["after"].as_str()) {
        ("result", Some("failing")) => (Icon::CircleX, TimelineTone::Bad),
        ("result", Some("passing")) => (Icon::CircleCheck, TimelineTone::Ok),
        ("result", _) => (Icon::CircleQuestionMark, TimelineTone::Neutral),
        ("reminder", _) => (Icon::Send, TimelineTone::Neutral),
        ("acknowledged", _) => (Icon::UserRoundCheck, TimelineTone::Neutral),
        (kind, _) => event_look(kind),
    };
    // The words of a person follow the name, and are also in the details.
    let note = detail["note"].as_str().map(sanitize_text).filter(|note| !note.is_empty());
    let person = note.as_ref().and_then(|note| summary.strip_suffix(&format!(": {note}")));
    let text = match (event.kind.as_str(), person) {
        ("firing", _) => html! { b { "Alert fired" } ": " (render_sentence(&summary)) },
        ("reminder", _) => html! { "Reminder: " (render_sentence(&summary)) },
        ("resolved", _) => html! { b { "Alert resolved" } ": " (render_sentence(&summary)) },
        ("comment", Some(person)) => html! { b { (person) } " commented" },
        ("acknowledged", Some(person)) => html! { (capitalize_first(person)) },
        _ => match result {
            Some(name) => {
                html! { b { (capitalize_first(name)) } ": " (render_sentence(without_result(&summary, name))) }
            }
            None => html! { (render_sentence(&capitalize_first(&summary))) },
        },
    };
    TimelineEntry {
        at: event.at,
        icon,
        tone,
        text,
        detail: html! {},
        quote: note.filter(|_| person.is_some()).unwrap_or_default(),
    }
}
