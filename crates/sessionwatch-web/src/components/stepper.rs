//! Steps of a guided procedure.

use maud::{Markup, html};

use super::icon::{Icon, render_icon};

/// State of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepState {
    Done,
    Skipped,
    Current,
    Open,
}

/// A step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) state: StepState,
    pub(crate) title: String,
    /// Who has done it and when, or what is left.
    pub(crate) note: String,
    /// Link to the step, or the id of its dialog; empty if it cannot be opened.
    pub(crate) href: String,
}

/// What a step's title opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepLink {
    Page,
    Dialog,
}

/// Renders the steps in their order.
pub(crate) fn render_stepper(label: &str, steps: &[Step]) -> Markup {
    render_steps(label, steps, StepLink::Page)
}

/// Renders steps whose `href` is the id of a dialog on the page.
pub(crate) fn render_stepper_with_dialogs(label: &str, steps: &[Step]) -> Markup {
    render_steps(label, steps, StepLink::Dialog)
}

fn render_steps(label: &str, steps: &[Step], link: StepLink) -> Markup {
    html! {
        ol.stepper aria-label=(label) {
            @for (index, step) in steps.iter().enumerate() {
                @let class = match step.state {
                    StepState::Done => "done",
                    StepState::Skipped => "skipped",
                    StepState::Current => "now",
                    StepState::Open => "",
                };
                li class=(class) aria-current=[(step.state == StepState::Current).then_some("step")] {
                    span.step-dot {
                        @match step.state {
                            StepState::Done => { (render_icon(Icon::Check)) span.sr { "Done: " } }
                            StepState::Skipped => { (render_icon(Icon::Minus)) span.sr { "Skipped: " } }
                            StepState::Current | StepState::Open => (index + 1),
                        }
                    }
                    div {
                        @if step.href.is_empty() { span.step-name { (step.title) } }
                        @else if link == StepLink::Dialog {
                            button.step-name type="button" popovertarget=(step.href) { (step.title) }
                        }
                        @else { a.step-name href=(step.href) { (step.title) } }
                        @if !step.note.is_empty() { p.step-note { (step.note) } }
                    }
                }
            }
        }
    }
}
