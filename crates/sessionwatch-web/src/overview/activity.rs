//! What happened lately: alerts, plans, incidents and comments.

use maud::{Markup, html};
use sessionwatch_app::{
    app::{Period, alerts::EventRecord},
    checks::describe_check,
};
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    chart::ChartMarker,
    components::{Card, EmptyState, Icon, TimelineEntry, TimelineTone, render_timeline},
    format::{percent_encode, render_sentence, sanitize_text},
};

/// Most entries of the card. More would make it longer than the chart beside it.
const MAX_SHOWN_EVENTS: usize = 6;

/// Renders the latest events, the latest first.
pub(crate) fn render_activity(events: &[EventRecord], now: UtcTimestamp) -> Markup {
    let entries: Vec<TimelineEntry> =
        events.iter().filter(|event| is_shown(event)).take(MAX_SHOWN_EVENTS).map(build_entry).collect();
    let body = if entries.is_empty() {
        let state = EmptyState {
            icon: Icon::Activity,
            title: "Nothing happened yet",
            text: html! { "Alerts, plans, incidents and deploys appear here." },
            action: html! {},
        };
        state.render()
    } else {
        html! { div.card-body { (render_timeline(&entries, now)) } }
    };
    Card { id: "activity", title: "Activity", note: "", end: html! { a href="/alerts" { "View all" } }, body }
        .render()
}

/// Returns `true` unless the event repeats what another one says.
fn is_shown(event: &EventRecord) -> bool {
    !matches!(event.kind.as_str(), "result" | "reminder")
}

/// Returns how an event is shown, by its kind.
pub(crate) fn event_look(kind: &str) -> (Icon, TimelineTone) {
    match kind {
        "firing" => (Icon::OctagonAlert, TimelineTone::Bad),
        "resolved" => (Icon::CircleCheck, TimelineTone::Ok),
        "acknowledged" => (Icon::UserRoundCheck, TimelineTone::Neutral),
        "comment" => (Icon::MessageSquare, TimelineTone::Neutral),
        "report" => (Icon::ClipboardCheck, TimelineTone::Neutral),
        "cleanup" => (Icon::Archive, TimelineTone::Neutral),
        "deploy" => (Icon::Rocket, TimelineTone::Neutral),
        "incident" => (Icon::Siren, TimelineTone::Neutral),
        _ => (Icon::Activity, TimelineTone::Neutral),
    }
}

fn build_entry(event: &EventRecord) -> TimelineEntry {
    let (icon, tone) = event_look(&event.kind);
    let title = describe_check(&event.check).title;
    let path = format!("/targets/{}/checks/{}", percent_encode(&event.target), percent_encode(&event.check));
    let is_alert = matches!(event.kind.as_str(), "firing" | "resolved");
    let is_remark = matches!(event.kind.as_str(), "acknowledged" | "comment");
    TimelineEntry {
        at: event.at,
        icon,
        tone,
        text: html! {
            @if is_alert { a.plain href=(path) { b { (title) } } " " (event.kind) }
            @else if is_remark { a.plain href=(path) { b { (title) } } ": " (render_sentence(&event.summary)) }
            @else if event.kind == "deploy" { "Deploy: " (render_sentence(&event.summary)) }
            @else { (render_sentence(&event.summary)) }
        },
        detail: html! { span.clamp { (event.target) @if is_alert { " · " (render_sentence(&event.summary)) } } },
        quote: String::new(),
    }
}

/// Returns the markers of a chart: firing alerts, deploys, incidents and cleanups of the period.
pub(crate) fn chart_markers(events: &[EventRecord], period: Period) -> Vec<ChartMarker> {
    events
        .iter()
        .filter(|event| event.at >= period.from && event.at <= period.to)
        .filter(|event| matches!(event.kind.as_str(), "firing" | "deploy" | "incident" | "cleanup"))
        .map(|event| ChartMarker {
            at: event.at,
            icon: event_look(&event.kind).0,
            is_problem: event.kind == "firing",
            label: if event.kind == "firing" {
                describe_check(&event.check).title
            } else {
                sanitize_text(&event.summary)
            },
        })
        .collect()
}
