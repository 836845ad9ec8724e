//! Dialogs: a form that opens over the page, without a script.

use maud::{Markup, html};

/// A form that opens over the page.
#[derive(Clone, Debug)]
pub(crate) struct Dialog<'a> {
    /// Id, unique on the page; a button with `popovertarget` opens the dialog.
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    /// Path that the form is sent to.
    pub(crate) action: &'a str,
    /// Text and fields, hidden ones included.
    pub(crate) body: Markup,
    /// Label of the button that sends the form.
    pub(crate) submit: &'a str,
    /// `true` if the action cannot be undone, or affects many people.
    pub(crate) is_dangerous: bool,
}

impl Dialog<'_> {
    /// Renders the dialog, closed.
    pub(crate) fn render(&self) -> Markup {
        let title = format!("{}-title", self.id);
        let button = if self.is_dangerous { "btn btn-danger-solid" } else { "btn btn-primary" };
        html! {
            div.dialog id=(self.id) popover role="dialog" aria-labelledby=(title) {
                form method="post" action=(self.action) {
                    div.dialog-body { h2.h2 id=(title) { (self.title) } (self.body) }
                    div.dialog-foot {
                        button.btn type="button" popovertarget=(self.id) popovertargetaction="hide" { "Cancel" }
                        button class=(button) { (self.submit) }
                    }
                }
            }
        }
    }
}
