//! Pills: a state or a severity by icon, word and color.

use maud::{Markup, html};
use sessionwatch_core::severity::Severity;

use super::icon::{Icon, render_icon};

/// Color of a pill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum PillTone {
    /// Solid red. Reserved for critical alerts that nobody has acknowledged.
    Critical,
    High,
    Medium,
    Low,
    Passing,
    Failing,
    Unknown,
    Stale,
    Info,
    Accent,
    Quiet,
}

/// Renders a pill.
pub(crate) fn render_pill(tone: PillTone, icon: Icon, text: &str) -> Markup {
    let tone: &str = tone.into();
    html! { span class={ "pill pill-" (tone) } { (render_icon(icon)) (text) } }
}

/// Renders the pill of a severity.
pub(crate) fn render_severity_pill(severity: Severity) -> Markup {
    match severity {
        Severity::Critical => render_pill(PillTone::Critical, Icon::OctagonAlert, "Critical"),
        Severity::High => render_pill(PillTone::High, Icon::TriangleAlert, "High"),
        Severity::Medium => render_pill(PillTone::Medium, Icon::Diamond, "Medium"),
        Severity::Low => render_pill(PillTone::Low, Icon::Circle, "Low"),
    }
}

/// Renders the pill of a state, given the word that the stored data and the API use.
pub(crate) fn render_state_pill(state: &str) -> Markup {
    let (tone, icon) = match state {
        "passing" | "resolved" | "applied" | "done" | "active" | "delivered" | "closed" => {
            (PillTone::Passing, Icon::CircleCheck)
        }
        "failing" | "firing" | "failed" => (PillTone::Failing, Icon::CircleX),
        "pending" => (PillTone::Unknown, Icon::Hourglass),
        "acknowledged" => (PillTone::Quiet, Icon::UserRoundCheck),
        "silenced" => (PillTone::Quiet, Icon::BellOff),
        "stale" | "warn" => (PillTone::Stale, Icon::Clock),
        "ready" | "planned" => (PillTone::Info, Icon::Clock),
        "open" => (PillTone::Accent, Icon::Activity),
        "skipped" | "discarded" | "expired" => (PillTone::Quiet, Icon::Minus),
        _ => (PillTone::Unknown, Icon::CircleQuestionMark),
    };
    render_pill(tone, icon, &capitalize(state))
}

/// Returns the text with an upper-case first letter.
fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_an_icon_and_a_word_besides_the_color() {
        let pill = render_state_pill("failing").into_string();
        assert!(
            pill.contains("pill-failing") && pill.contains("#i-circle-x") && pill.contains("</svg>Failing"),
            "{pill}"
        );
        assert!(render_state_pill("<b>").into_string().contains("&lt;b&gt;"));
        assert!(render_severity_pill(Severity::Critical).into_string().contains("Critical"));
    }
}
