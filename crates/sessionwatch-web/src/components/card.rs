//! Cards: a titled box of a page.

use maud::{Markup, html};

/// A titled box.
#[derive(Clone, Debug)]
pub(crate) struct Card<'a> {
    /// Id of the heading, unique on the page.
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    /// Muted text after the title; may be empty.
    pub(crate) note: &'a str,
    /// Links or buttons at the right of the title; may be empty.
    pub(crate) end: Markup,
    /// Contents, without padding: a table or a list.
    pub(crate) body: Markup,
}

impl Card<'_> {
    /// Renders the box with its contents as they are.
    pub(crate) fn render(&self) -> Markup {
        html! {
            section.card aria-labelledby=(self.id) {
                div.card-head {
                    h2.h2 id=(self.id) { (self.title) }
                    @if !self.note.is_empty() { span.muted { (self.note) } }
                    @if !self.end.0.is_empty() { span.end { (self.end) } }
                }
                (self.body)
            }
        }
    }

    /// Renders the box with padding around its contents.
    pub(crate) fn render_padded(&self) -> Markup {
        let body = html! { div.card-body { (self.body) } };
        Card { body, end: self.end.clone(), ..*self }.render()
    }
}
