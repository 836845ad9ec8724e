//! Code to copy: commands, SQL and messages.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// Renders a text in a fixed-width font, with a button that copies it. `label` names it for screen readers.
pub(crate) fn render_code_block(label: &str, text: &str) -> Markup {
    html! {
        div.code {
            // Reachable by keyboard, because it may scroll.
            pre tabindex="0" aria-label=(label) { (text) }
            // Shown by the script: without it, the button could do nothing.
            @let label = format!("Copy {label}");
            button.btn.btn-ghost.btn-icon.btn-s type="button" data-copy hidden aria-label=(label) title="Copy" {
                (render_icon(Icon::Copy))
            }
        }
    }
}
