//! Pills: a state or a severity by icon, word and color.

use maud::{Markup, html};
use sessionwatch_core::severity::Severity;

use super::icon::{Icon, render_icon};
use crate::format::capitalize_first;

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
    let tone = match severity {
        Severity::Critical => PillTone::Critical,
        Severity::High => PillTone::High,
        Severity::Medium => PillTone::Medium,
        Severity::Low => PillTone::Low,
    };
    render_severity(tone, severity)
}

/// Renders the pill of a severity that asks nobody to act: of a passing check, or an acknowledged alert.
pub(crate) fn render_quiet_severity_pill(severity: Severity) -> Markup {
    render_severity(PillTone::Quiet, severity)
}

fn render_severity(tone: PillTone, severity: Severity) -> Markup {
    let icon = match severity {
        Severity::Critical => Icon::OctagonAlert,
        Severity::High => Icon::TriangleAlert,
        Severity::Medium => Icon::Diamond,
        Severity::Low => Icon::Circle,
    };
    render_pill(tone, icon, &capitalize_first(severity.name()))
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
    render_pill(tone, icon, &capitalize_first(state))
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
