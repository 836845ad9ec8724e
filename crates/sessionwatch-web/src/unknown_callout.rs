//! Why the state of a target is unknown.

use maud::{Markup, html};
use sessionwatch_app::app::targets::TargetStatus;
use sessionwatch_core::{plural::format_count, text::capitalize_first};

use super::{
    components::{Callout, Tone},
    format::{percent_encode, render_sentence, sanitize_text},
};

/// Most reasons that are listed.
const MAX_REASONS: usize = 3;

/// Returns that the state of targets is unknown. One target is named, more are counted.
pub(super) fn describe_unknown_targets(targets: &[&str]) -> String {
    match targets {
        [name] => format!("The state of {name} is unknown"),
        _ => format!("The state of {} is unknown", format_count(targets.len() as u64, "target", "targets")),
    }
}

/// Renders why the state of a target is unknown, or nothing if it is known.
pub(super) fn render_unknown_callout(target: &str, status: &TargetStatus) -> Markup {
    if !status.is_unknown() {
        return html! {};
    }
    let (problem, text) = match status.report_document() {
        None => (
            format!("{target} has not been checked yet"),
            html! { "The first check run starts within a minute." },
        ),
        Some(report) if report["stats"].is_null() => {
            let has_figures = status.samples.iter().any(|sample| !sample.gauges.is_empty());
            let text = html! {
                @if let Some(error) = report["error"].as_str() { (capitalize_first(&sanitize_text(error))) ". " }
                @if has_figures {
                    "The figures below are those of the last run that succeeded. "
                    "Nothing is known about the sessions since then."
                } @else { "No check run has succeeded yet." }
            };
            (format!("{target} cannot be checked"), text)
        }
        Some(_) => {
            let mut reasons: Vec<&str> = status.unknown_reasons().collect();
            let count = format_count(reasons.len() as u64, "check", "checks");
            reasons.sort_unstable();
            reasons.dedup();
            let text = html! {
                @for reason in reasons.iter().take(MAX_REASONS) {
                    (render_sentence(&capitalize_first(reason))) ". "
                }
            };
            (format!("{count} on {target} could not be evaluated"), text)
        }
    };
    let action = html! { a.btn href={ "/targets/" (percent_encode(target)) "/doctor" } { "Run doctor" } };
    Callout { tone: Tone::Warn, title: &problem, text, action }.render()
}
