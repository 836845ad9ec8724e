//! Timelines: what happened, the latest first.

use maud::{Markup, html};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::icon::{Icon, render_icon};
use crate::format::render_relative_time;

/// Color of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimelineTone {
    Bad,
    Ok,
    Neutral,
}

/// An entry.
#[derive(Clone, Debug)]
pub(crate) struct TimelineEntry {
    pub(crate) at: UtcTimestamp,
    pub(crate) icon: Icon,
    pub(crate) tone: TimelineTone,
    /// One sentence without a period.
    pub(crate) text: Markup,
    /// Muted second line; may be empty.
    pub(crate) detail: Markup,
    /// Words of a person; empty if there are none.
    pub(crate) quote: String,
}

/// Renders entries in the order given.
pub(crate) fn render_timeline(entries: &[TimelineEntry], now: UtcTimestamp) -> Markup {
    html! {
        ul.timeline {
            @for entry in entries {
                @let tone = match entry.tone {
                    TimelineTone::Bad => "tl-ico tl-bad",
                    TimelineTone::Ok => "tl-ico tl-ok",
                    TimelineTone::Neutral => "tl-ico",
                };
                li {
                    span class=(tone) { (render_icon(entry.icon)) }
                    div.body {
                        (entry.text)
                        @if !entry.detail.0.is_empty() { p { (entry.detail) } }
                        @if !entry.quote.is_empty() { p.quote { (entry.quote) } }
                    }
                    (render_relative_time(entry.at, now))
                }
            }
        }
    }
}
