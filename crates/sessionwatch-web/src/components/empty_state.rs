//! Empty states: they say why nothing is shown, and teach the next step.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// A place without contents.
#[derive(Clone, Debug)]
pub(crate) struct EmptyState<'a> {
    pub(crate) icon: Icon,
    pub(crate) title: &'a str,
    /// When something will appear here, or how to make it appear.
    pub(crate) text: Markup,
    /// Button or link; may be empty.
    pub(crate) action: Markup,
}

impl EmptyState<'_> {
    /// Renders the message.
    pub(crate) fn render(&self) -> Markup {
        html! {
            div.empty { (render_icon(self.icon)) b { (self.title) } p { (self.text) } (self.action) }
        }
    }
}
