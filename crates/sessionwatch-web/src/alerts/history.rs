//! Past notifications.

use maud::{Markup, html};
use sessionwatch_app::{app::alerts::EventRecord, checks::describe_check};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::EVENT_PAGE_SIZE;
use crate::{
    alert_parts::check_path,
    components::{Card, Column, DataTable, EmptyState, Icon, PillTone, render_pill, render_state_pill},
    format::{
        capitalize_first, format_length, percent_encode, render_moment, render_relative_time,
        render_sentence, sanitize_text,
    },
};

/// Most resolved alerts listed.
const MAX_RESOLVED: usize = 5;
/// Periods that the filter offers, in days.
const FILTER_DAYS: [i64; 5] = [1, 7, 30, 90, 365];

/// What the notifications are filtered by.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryFilter<'a> {
    pub(super) text: &'a str,
    pub(super) days: i64,
}

/// Renders the alerts that were resolved lately, the latest first; nothing if there are none. `events` has the oldest
/// first.
pub(super) fn render_recently_resolved(events: &[EventRecord], now: UtcTimestamp) -> Markup {
    const RESOLVED_COLUMNS: [Column<'_>; 4] =
        [Column::text("Check"), Column::text("Target"), Column::fill("Problem"), Column::number("Resolved")];
    let resolved = events.iter().enumerate().rev().filter(|(_, event)| event.kind == "resolved");
    let resolved: Vec<_> = resolved.take(MAX_RESOLVED).collect();
    if resolved.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for (index, event) in &resolved {
            @let start = find_start(&events[..*index], event);
            tr {
                td.first { a href=(check_path(&event.target, &event.check)) { (describe_check(&event.check).title) } }
                td.up {
                    a.plain href={ "/targets/" (percent_encode(&event.target)) } { (sanitize_text(&event.target)) }
                }
                td.fill.muted.result {
                    @if let Some(start) = start { (render_sentence(&capitalize_first(&start.summary))) } @else {
                        (render_sentence(&capitalize_first(&event.summary)))
                    }
                }
                td.num.end.span {
                    (render_relative_time(event.at, now))
                    @if let Some(start) = start {
                        span.muted { ", after " (format_length(event.at.duration_since(start.at))) }
                    }
                }
            }
        }
    };
    let body = DataTable {
        label: "Recently resolved alerts",
        class: "table-cards",
        columns: &RESOLVED_COLUMNS,
        rows,
    };
    let card = Card {
        id: "resolved",
        title: "Recently resolved",
        note: "last 7 days",
        end: html! {},
        body: body.render(),
    };
    card.render()
}

/// Returns the notification that began what `end` resolved.
fn find_start<'a>(earlier: &'a [EventRecord], end: &EventRecord) -> Option<&'a EventRecord> {
    let of_alert = earlier.iter().rev().filter(|one| one.target == end.target && one.check == end.check);
    of_alert.take_while(|one| one.kind != "resolved").filter(|one| one.kind == "firing").last()
}

/// Renders the notifications that the filter selects, the latest first.
pub(super) fn render_history(filter: HistoryFilter<'_>, events: &[EventRecord], now: UtcTimestamp) -> Markup {
    const EVENT_COLUMNS: [Column<'_>; 5] = [
        Column::number("Time"),
        Column::text("Type"),
        Column::text("Check"),
        Column::text("Target"),
        Column::fill("Summary"),
    ];
    let rows = html! { @for event in events.iter().rev() { (render_event_row(event, now)) } };
    let class = "table-cards table-dense table-events";
    let body = html! {
        @if events.is_empty() {
            (EmptyState {
                icon: Icon::Send,
                title: "No matching notifications",
                text: html! {
                    "Notifications of firing and resolved alerts are kept here. "
                    "Try another text or a longer period."
                },
                action: html! {},
            }.render())
        } @else {
            (DataTable { label: "Alert history", class, columns: &EVENT_COLUMNS, rows }.render())
        }
    };
    let count = events.len();
    let note = match u32::try_from(count) {
        Ok(count) if count < EVENT_PAGE_SIZE => count.to_string(),
        _ => format!("latest {count}"),
    };
    Card { id: "history", title: "Alert history", note: &note, end: filter.render(), body }.render()
}

fn render_event_row(event: &EventRecord, now: UtcTimestamp) -> Markup {
    html! {
        tr {
            td.num { (render_moment(event.at, now)) }
            td.up {
                @if event.kind == "reminder" { (render_pill(PillTone::Quiet, Icon::Clock, "Reminder")) }
                @else { (render_state_pill(&event.kind)) }
            }
            td.first { a href=(check_path(&event.target, &event.check)) { (describe_check(&event.check).title) } }
            td.hide-s { (sanitize_text(&event.target)) }
            td.fill.muted.result { (render_sentence(&capitalize_first(&event.summary))) }
        }
    }
}

impl HistoryFilter<'_> {
    fn render(self) -> Markup {
        html! {
            form.row.row-wrap.history-filter method="get" action="/alerts" role="search" {
                input.input.input-s type="search" name="text" value=(self.text) maxlength="200"
                    placeholder="Summary contains…" aria-label="Summary contains";
                select.input.input-s name="days" aria-label="Period" {
                    @if !FILTER_DAYS.contains(&self.days) {
                        option value=(self.days) selected { "Last " (self.days) " days" }
                    }
                    @for days in FILTER_DAYS {
                        option value=(days) selected[days == self.days] {
                            @if days == 1 { "Last day" } @else { "Last " (days) " days" }
                        }
                    }
                }
                button.btn { "Filter" }
            }
        }
    }
}
