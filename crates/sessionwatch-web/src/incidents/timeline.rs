//! The timeline of an incident, and the form for notes.

use maud::{Markup, html};
use sessionwatch_app::app::incidents::TimelineEntry as StoredEntry;
use sessionwatch_core::{incident as rules, plural::format_count};

use super::{page::IncidentPage, wording::shorten_keys};
use crate::{
    components::{AvatarSize, Card, Icon, TimelineEntry, TimelineTone, render_avatar, render_timeline},
    format::sanitize_text,
    shell::render_csrf_field,
};

/// Most entries shown at once.
const MAX_SHOWN_ENTRIES: usize = 8;

impl IncidentPage<'_> {
    pub(super) fn render_timeline_card(&self) -> Markup {
        let entries = list_entries(&self.case.timeline);
        let (shown, rest) = entries.split_at(entries.len().min(MAX_SHOWN_ENTRIES));
        let body = html! {
            div.card-body {
                (render_timeline(shown, self.shell.now))
                @if !rest.is_empty() {
                    details.more {
                        summary.muted { "Show " (format_count(rest.len() as u64, "earlier entry", "earlier entries")) }
                        (render_timeline(rest, self.shell.now))
                    }
                }
            }
            @if self.can_work() {
                form.composer method="post" action={ (self.base) "/notes" } {
                    (render_csrf_field(&self.shell.user))
                    (render_avatar(&self.shell.user.name, AvatarSize::Small))
                    input.input.input-s name="note" required maxlength="2000"
                        placeholder="Add a note" aria-label="Note";
                    button.btn { "Add note" }
                }
            }
        };
        let note = entries.len().to_string();
        Card { id: "timeline", title: "Timeline", note: &note, end: html! {}, body }.render()
    }
}

/// Returns the entries, the latest first. What a later entry of the same step says again is left out.
fn list_entries(timeline: &[StoredEntry]) -> Vec<TimelineEntry> {
    let mut shown: Vec<(&str, &str)> = vec![];
    let mut entries = vec![];
    for entry in timeline.iter().rev() {
        let key = (entry.step.as_str(), entry.message.as_str());
        let is_repeated = !entry.step.is_empty() && shown.contains(&key);
        shown.push(key);
        if is_repeated && entry.kind == "detected" {
            continue;
        }
        entries.push(timeline_entry(entry, if is_repeated { "" } else { &entry.message }));
    }
    entries
}

/// Returns how an entry is shown. Words of people are quotes, findings are details.
fn timeline_entry(entry: &StoredEntry, message: &str) -> TimelineEntry {
    let (icon, tone) = entry_look(&entry.kind);
    let message = shorten_keys(&sanitize_text(message));
    let is_quote = is_quote(entry) && !message.is_empty();
    TimelineEntry {
        at: entry.at,
        icon,
        tone,
        text: describe_entry(entry),
        detail: html! { @if !is_quote { (message) } },
        quote: if is_quote { message } else { String::new() },
    }
}

fn is_quote(entry: &StoredEntry) -> bool {
    let step = rules::find_step(&entry.step);
    match entry.kind.as_str() {
        "note" => entry.step.is_empty(),
        "skipped" | "step-reopened" => true,
        "done" => step.is_some_and(|step| !step.is_automatic),
        _ => false,
    }
}

fn describe_entry(entry: &StoredEntry) -> Markup {
    let actor = sanitize_text(&entry.actor);
    let title = rules::find_step(&entry.step).map_or("", |step| step.title);
    html! {
        @match entry.kind.as_str() {
            "opened" => { b { (actor) } " opened the incident" },
            "reopened" => { b { (actor) } " reopened the incident" },
            "closed" => { b { (actor) } " closed the incident" },
            "done" => { b { (actor) } " completed “" (title) "”" },
            "skipped" => { b { (actor) } " skipped “" (title) "”" },
            "step-reopened" => { b { (actor) } " reopened “" (title) "”" },
            "note" => b { (actor) },
            "set" => { b { (actor) } " edited the report" },
            "evidence" => { b { (actor) } " exported the evidence" },
            "contained" => { b { (actor) } " revoked sessions" },
            "check-run" => "Check run",
            "detected" => { "Finding for “" (title) "”" },
            "log-event" => "Log event",
            other => { b { (actor) } " · " (sanitize_text(other)) },
        }
    }
}

/// Returns the icon and the color of an entry, by its kind.
fn entry_look(kind: &str) -> (Icon, TimelineTone) {
    match kind {
        "opened" => (Icon::Siren, TimelineTone::Neutral),
        "reopened" => (Icon::Siren, TimelineTone::Bad),
        "closed" => (Icon::CircleCheck, TimelineTone::Ok),
        "done" => (Icon::Check, TimelineTone::Ok),
        "skipped" => (Icon::Minus, TimelineTone::Neutral),
        "step-reopened" => (Icon::RotateCcw, TimelineTone::Neutral),
        "note" => (Icon::MessageSquare, TimelineTone::Neutral),
        "set" => (Icon::Pencil, TimelineTone::Neutral),
        "evidence" => (Icon::Lock, TimelineTone::Neutral),
        "contained" => (Icon::ShieldCheck, TimelineTone::Ok),
        "log-event" => (Icon::ScrollText, TimelineTone::Bad),
        "check-run" | "detected" => (Icon::Eye, TimelineTone::Neutral),
        _ => (Icon::Activity, TimelineTone::Neutral),
    }
}
