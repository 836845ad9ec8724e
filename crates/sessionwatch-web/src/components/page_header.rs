//! The head of a page: the answer in one line, and the actions.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// A link to a page above this one.
#[derive(Clone, Debug)]
pub(crate) struct Crumb {
    pub(crate) href: String,
    pub(crate) text: String,
}

/// The head of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageHeader<'a> {
    /// Pages above this one, the topmost first; empty for the pages of the navigation.
    pub(crate) crumbs: Vec<Crumb>,
    /// Picture before the headline, such as the initials of a user; may be empty.
    pub(crate) picture: Markup,
    /// Pills above the headline; may be empty.
    pub(crate) pills: Markup,
    /// The answer to the question that the page is opened with.
    pub(crate) headline: &'a str,
    /// Id in a fixed-width font after the headline; empty if there is none.
    pub(crate) id: &'a str,
    /// The details of the answer, in one or two sentences; may be empty.
    pub(crate) lead: Markup,
    /// Facts with icons, such as the owner; may be empty.
    pub(crate) meta: Markup,
    /// Buttons at the right of the headline; may be empty.
    pub(crate) actions: Markup,
}

impl PageHeader<'_> {
    /// Renders the head.
    pub(crate) fn render(&self) -> Markup {
        html! {
            @if !self.crumbs.is_empty() {
                nav.crumbs aria-label="Breadcrumbs" {
                    @for crumb in &self.crumbs {
                        a href=(crumb.href) { (crumb.text) }
                        (render_icon(Icon::ChevronRight))
                    }
                    span aria-current="page" { @if self.id.is_empty() { (self.headline) } @else { (self.id) } }
                }
            }
            div.row.row-wrap.between {
                (self.picture)
                div.grow {
                    @if !self.pills.0.is_empty() { div.row.row-wrap.pills { (self.pills) } }
                    div.title-row {
                        h1.headline { (self.headline) }
                        @if !self.id.is_empty() { span.mono.muted { (self.id) } }
                    }
                    @if !self.lead.0.is_empty() { p.lead { (self.lead) } }
                    @if !self.meta.0.is_empty() { div.meta { (self.meta) } }
                }
                @if !self.actions.0.is_empty() { div.actions { (self.actions) } }
            }
        }
    }
}
