//! Callouts: a message of the page itself, such as a failed connection.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// Urgency of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something failed.
    Bad,
    /// Something needs attention soon, or is out of date.
    Warn,
    /// Something succeeded.
    Ok,
    /// Something to know.
    Info,
    /// Reassurance, such as a possible undo.
    Neutral,
    /// Something that happens later by itself.
    Scheduled,
}

/// A message of the page.
#[derive(Clone, Debug)]
pub(crate) struct Callout<'a> {
    pub(crate) tone: Tone,
    /// One short sentence without a period.
    pub(crate) title: &'a str,
    /// What is known, and what to do.
    pub(crate) text: Markup,
    /// Button or link at the right; may be empty.
    pub(crate) action: Markup,
}

impl Callout<'_> {
    /// Renders the message. Failures and successes are announced by screen readers.
    pub(crate) fn render(&self) -> Markup {
        let (class, icon) = match self.tone {
            Tone::Bad => ("callout callout-bad", Icon::OctagonAlert),
            Tone::Warn => ("callout callout-warn", Icon::Clock),
            Tone::Ok => ("callout callout-ok", Icon::CircleCheck),
            Tone::Info => ("callout callout-info", Icon::Info),
            Tone::Neutral => ("callout", Icon::ShieldCheck),
            Tone::Scheduled => ("callout", Icon::Clock),
        };
        let role = matches!(self.tone, Tone::Bad | Tone::Ok).then_some("status");
        html! {
            div class=(class) role=[role] {
                (render_icon(icon))
                div { b { (self.title) } p { (self.text) } }
                (self.action)
            }
        }
    }
}
