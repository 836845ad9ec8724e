//! One timeline of a user: logins, alerts, log events and plans, also of sessions that no longer exist.

use maud::{Markup, html};
use sessionwatch_app::{
    app::sessions::{SessionRow, UserActivity, UserEvent, UserEventSubject},
    checks::describe_check,
};
use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    components::{Card, EmptyState, Icon, TimelineEntry, TimelineTone, render_timeline},
    device::Device,
    format::{percent_encode, sanitize_text},
    sessions::log_event_entry,
};

/// Most entries of the timeline.
const MAX_ENTRIES: usize = 40;

/// Renders the timeline, the latest day first.
pub(super) fn render_user_timeline(
    target: &str,
    sessions: &[SessionRow],
    activity: &UserActivity,
    now: UtcTimestamp,
) -> Markup {
    let mut entries: Vec<TimelineEntry> = sessions.iter().filter_map(login_entry).collect();
    // Results repeat what the alert beside them says.
    let shown = activity.history.iter().filter(|event| !is_repetition(event));
    entries.extend(shown.map(|event| event_entry(target, event)));
    entries.extend(activity.log_events.iter().map(log_event_entry));
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    let total = entries.len();
    entries.truncate(MAX_ENTRIES);
    let body = if entries.is_empty() {
        let state = EmptyState {
            icon: Icon::History,
            title: "Nothing recorded yet",
            text: html! { "Logins, alerts, log events and plans about this user appear here." },
            action: html! {},
        };
        state.render()
    } else {
        let days = entries.chunk_by(|one, other| clock::format_day(one.at) == clock::format_day(other.at));
        html! {
            div.card-body {
                @for day in days {
                    div.day { (day_name(day[0].at, now)) }
                    (render_timeline(day, now))
                }
            }
            @if total > MAX_ENTRIES { div.card-foot { (MAX_ENTRIES) " of " (total) " shown" } }
        }
    };
    Card { id: "timeline", title: "Timeline", note: "", end: html! {}, body }.render()
}

fn day_name(at: UtcTimestamp, now: UtcTimestamp) -> String {
    let day = clock::format_day(at);
    if day == clock::format_day(now) { "Today".to_owned() } else { day }
}

fn is_repetition(event: &UserEvent) -> bool {
    matches!(&event.subject, UserEventSubject::Check { kind, .. } if kind == "result" || kind == "reminder")
}

fn login_entry(row: &SessionRow) -> Option<TimelineEntry> {
    let device = row.agent.as_deref().map(|agent| Device::from_agent(agent).name);
    Some(TimelineEntry {
        at: row.created_at?,
        icon: Icon::LogIn,
        tone: TimelineTone::Neutral,
        text: html! { "Login" @if let Some(device) = &device { ", " (device) } },
        detail: html! { (sanitize_text(row.ip.as_deref().unwrap_or_default())) },
        quote: String::new(),
    })
}

fn event_entry(target: &str, event: &UserEvent) -> TimelineEntry {
    let mut detail = event.summary.as_str();
    let (icon, tone, text) = match &event.subject {
        UserEventSubject::Check { id, kind } => {
            let (icon, tone) = match kind.as_str() {
                "firing" => (Icon::OctagonAlert, TimelineTone::Bad),
                "resolved" => (Icon::CircleCheck, TimelineTone::Ok),
                _ => (Icon::Activity, TimelineTone::Neutral),
            };
            // The title of the check stands in its place.
            detail = detail.strip_prefix(&format!("{kind} of {id}: ")).unwrap_or(detail);
            let path = format!("/targets/{}/checks/{}", percent_encode(target), percent_encode(id));
            let title = describe_check(id).title;
            (icon, tone, html! { a.plain href=(path) { b { (title) } } " " (sanitize_text(kind)) })
        }
        UserEventSubject::Plan(id) => {
            let text = html! { a.plain href={ "/plans/" (percent_encode(id)) } { b { "Plan" } } };
            (Icon::BrushCleaning, TimelineTone::Neutral, text)
        }
    };
    TimelineEntry {
        at: event.at,
        icon,
        tone,
        text,
        detail: html! { (sanitize_text(detail)) },
        quote: String::new(),
    }
}
