//! Menus: links and buttons that open below a button, without a script.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// A menu and its button.
#[derive(Clone, Debug)]
pub(crate) struct Menu<'a> {
    /// Id, unique on the page.
    pub(crate) id: &'a str,
    /// Contents of the button.
    pub(crate) button: Markup,
    /// Classes of the button, such as `btn btn-ghost`.
    pub(crate) button_class: &'a str,
    /// Name of the button for screen readers; empty if its contents are words.
    pub(crate) label: &'a str,
    pub(crate) items: Vec<MenuItem<'a>>,
}

/// An entry of a menu.
#[derive(Clone, Debug)]
pub(crate) enum MenuItem<'a> {
    Link {
        href: String,
        text: Markup,
        is_current: bool,
    },
    /// A whole form with one button, or several fields.
    Form(Markup),
    /// A button that opens a dialog.
    OpenDialog {
        dialog: &'a str,
        text: Markup,
        is_dangerous: bool,
    },
    Separator,
}

impl Menu<'_> {
    /// Renders the button and the closed menu.
    pub(crate) fn render(&self) -> Markup {
        let label = (!self.label.is_empty()).then_some(self.label);
        html! {
            button class=(self.button_class) type="button" popovertarget=(self.id) aria-label=[label] {
                (self.button)
            }
            div.menu id=(self.id) popover {
                @for item in &self.items {
                    @match item {
                        MenuItem::Link { href, text, is_current } => {
                            a href=(href) aria-current=[is_current.then_some("true")] {
                                (text) @if *is_current { span.grow {} (render_icon(Icon::Check)) }
                            }
                        }
                        MenuItem::Form(form) => (form),
                        MenuItem::OpenDialog { dialog, text, is_dangerous } => {
                            @let class = is_dangerous.then_some("danger");
                            button type="button" class=[class] popovertarget=(dialog) { (text) }
                        }
                        MenuItem::Separator => hr;,
                    }
                }
            }
        }
    }
}
