//! The steps of an incident in their order, and a dialog for each finished one, which shows what was recorded and
//! reopens the step.

use maud::{Markup, html};
use sessionwatch_app::app::incidents::{REPORT_FIELDS, TimelineEntry, collect_step_records};
use sessionwatch_core::incident::{self as rules, IncidentStep};

use super::page::IncidentPage;
use crate::{
    components::{Icon, Step, StepState, render_icon, render_stepper_with_dialogs},
    format::{format_relative_time, render_relative_time, sanitize_text},
    shell::render_csrf_field,
};

/// A required step and how it was finished.
struct StepRow<'a> {
    step: &'static IncidentStep,
    /// Entry that finished the step.
    finished: Option<&'a TimelineEntry>,
}

impl IncidentPage<'_> {
    fn list_steps(&self) -> Vec<StepRow<'_>> {
        let timeline = &self.case.timeline;
        let records = collect_step_records(timeline);
        let finished = |step: &IncidentStep| {
            records.iter().find(|record| record.step == step.id)?;
            let finishes = |entry: &&TimelineEntry| {
                entry.step == step.id && matches!(entry.kind.as_str(), "done" | "skipped")
            };
            timeline.iter().rev().find(finishes)
        };
        let required =
            rules::INCIDENT_STEPS.iter().filter(|step| step.is_required_for(self.case.incident.severity));
        required.map(|step| StepRow { step, finished: finished(step) }).collect()
    }

    pub(super) fn render_steps(&self) -> Markup {
        let current = self.progress.step.filter(|_| !self.is_closed()).map(|step| step.id);
        let steps: Vec<Step> = self
            .list_steps()
            .iter()
            .map(|row| Step {
                state: match row.finished {
                    Some(entry) if entry.kind == "skipped" => StepState::Skipped,
                    Some(_) => StepState::Done,
                    None if current == Some(row.step.id) => StepState::Current,
                    None => StepState::Open,
                },
                title: row.step.title.to_owned(),
                note: self.step_note(row, current == Some(row.step.id)),
                href: row.finished.map_or_else(String::new, |_| dialog_id(row.step)),
            })
            .collect();
        render_stepper_with_dialogs("Steps", &steps)
    }

    fn step_note(&self, row: &StepRow<'_>, is_current: bool) -> String {
        match row.finished {
            Some(entry) => {
                let word = if entry.kind == "skipped" { "skipped by " } else { "" };
                let when = format_relative_time(entry.at, self.shell.now);
                format!("{word}{}, {when}", sanitize_text(&entry.actor))
            }
            None if is_current => "In progress".to_owned(),
            None => self.outlook(row.step),
        }
    }

    /// Returns what is known about a step that has not begun.
    fn outlook(&self, step: &IncidentStep) -> String {
        match step.id {
            "verify" => "All checks".to_owned(),
            "users" => "Draft ready".to_owned(),
            "watch" => "Checks every minute".to_owned(),
            "report" => {
                let is_written = |name: &&&str| self.case.incident.report_field(name).is_some();
                let written = REPORT_FIELDS.iter().filter(is_written).count();
                format!("{written} of {} sections written", REPORT_FIELDS.len())
            }
            _ => String::new(),
        }
    }

    /// Renders the dialogs of the finished steps.
    pub(super) fn render_step_dialogs(&self) -> Markup {
        html! {
            @for row in self.list_steps() {
                @if let Some(entry) = row.finished { (self.render_step_dialog(row.step, entry)) }
            }
        }
    }

    fn render_step_dialog(&self, step: &IncidentStep, entry: &TimelineEntry) -> Markup {
        let id = dialog_id(step);
        let title = format!("{id}-title");
        let fact = html! {
            p.muted {
                @if entry.kind == "skipped" { "Skipped by " } @else { "Completed by " }
                (sanitize_text(&entry.actor)) ", " (render_relative_time(entry.at, self.shell.now))
            }
            @if !entry.message.is_empty() { p.recorded { (sanitize_text(&entry.message)) } }
        };
        let close = html! {
            button.btn type="button" popovertarget=(id) popovertargetaction="hide" { "Close" }
        };
        html! {
            div.dialog id=(id) popover role="dialog" aria-labelledby=(title) {
                @if self.can_work() {
                    form method="post" action={ (self.base) "/steps" } {
                        div.dialog-body {
                            h2.h2 id=(title) { (step.title) }
                            (fact)
                            (render_csrf_field(&self.shell.user))
                            input type="hidden" name="step" value=(step.id);
                            label.field { span.label { "Reason for reopening" }
                                input.input name="note" required maxlength="2000";
                                span.hint { "The step becomes the current one again." }
                            }
                        }
                        div.dialog-foot {
                            (close)
                            button.btn name="response" value="reopen" { (render_icon(Icon::RotateCcw)) "Reopen step" }
                        }
                    }
                } @else {
                    div.dialog-body { h2.h2 id=(title) { (step.title) } (fact) }
                    div.dialog-foot { (close) }
                }
            }
        }
    }
}

fn dialog_id(step: &IncidentStep) -> String {
    format!("step-{}", step.id)
}
