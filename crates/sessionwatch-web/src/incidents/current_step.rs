//! The current step of an incident as one card: its finding, its form, and one primary action.

use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError,
    incidents::{self, FoundUser, IncidentState, TimelineEntry, USER_SEARCH_LIMIT},
};
use sessionwatch_core::{incident::IncidentStep, plural::format_count};

use super::{
    page::IncidentPage,
    wording::{format_span, shorten_keys},
};
use crate::{
    components::{Callout, Dialog, Icon, Tone, render_icon, render_user},
    format::{percent_encode, render_relative_time, sanitize_text},
    shell::render_csrf_field,
};

/// Ids of the forms whose buttons are in the foot of the card, and of the dialogs.
const STEP_FORM: &str = "step-form";
pub(super) const CONTAIN_FORM: &str = "contain-form";
const SKIP_DIALOG: &str = "skip-step";
const CONFIRM_DIALOG: &str = "confirm-step";

impl IncidentPage<'_> {
    /// Renders the current step, or how the incident ended.
    pub(super) fn render_current_step(&self) -> Result<Markup, AppError> {
        if self.is_closed() {
            return Ok(self.render_ending());
        }
        let Some(step) = self.progress.step else { return Ok(self.render_last_card()) };
        let note = format!("step {} of {}", self.progress.number, self.progress.count);
        Ok(html! {
            section.card aria-labelledby="next" {
                div.card-head { h2.h2 id="next" { (step.title) } span.muted { (note) } }
                div.card-body.stack-s {
                    p.doc { (step_instructions(step).unwrap_or(step.instructions)) }
                    (self.render_finding(step)?)
                    @if self.can_work() { (self.render_step_body(step)?) }
                }
                @if self.can_work() { (self.render_step_foot(step)?) }
                @else { div.card-foot { "Working on an incident requires the responder role." } }
            }
            @if self.can_work() { (self.render_skip_dialog(step)) }
        })
    }

    /// Renders the latest finding of a step that is not finished.
    fn render_finding(&self, step: &IncidentStep) -> Result<Markup, AppError> {
        let Some(text) = self.case.latest_finding(step) else { return Ok(html! {}) };
        let is_it = |entry: &&TimelineEntry| entry.step == step.id && entry.message == text;
        let at = self.case.timeline.iter().rev().find(is_it).map(|entry| entry.at);
        let (tone, title) = match step.id {
            "evidence" if self.case.missing_evidence()?.is_none() => (Tone::Ok, "Evidence exported"),
            "affected" | "watch" => (Tone::Info, "Latest finding"),
            _ => (Tone::Warn, "Latest finding"),
        };
        let text = html! {
            (shorten_keys(&sanitize_text(text)))
            @if let Some(at) = at { " (" (render_relative_time(at, self.shell.now)) ")" }
        };
        Ok(Callout { tone, title, text, action: html! {} }.render())
    }

    /// Renders the fields of a step. Their buttons are in the foot of the card.
    fn render_step_body(&self, step: &IncidentStep) -> Result<Markup, AppError> {
        let cause = || self.case.incident.report_field("root-cause");
        Ok(match step.id {
            "affected" => html! {
                (self.render_user_search())
                (self.render_note_form(step, "Who is affected", &self.affected_note(step)))
            },
            "team" => self.render_note_form(step, "Whom you notified", ""),
            "contain" => self.render_containment(),
            "sign-in" => self.render_note_form(step, "What you tested (optional)", ""),
            "users" => self.render_note_form(step, "Whom you wrote to", ""),
            "root-cause" => match cause() {
                Some(cause) => Callout {
                    tone: Tone::Ok,
                    title: "Root cause recorded",
                    text: html! { (sanitize_text(&cause)) },
                    action: html! {},
                }
                .render(),
                None => html! {
                    form id=(STEP_FORM) method="post" action={ (self.base) "/fields" } {
                        (render_csrf_field(&self.shell.user))
                        input type="hidden" name="name" value="root-cause";
                        label.field { span.label { "Root cause" }
                            textarea.input name="text" rows="3" required maxlength="2000" {}
                        }
                    }
                },
            },
            "report" => self.render_note_form(step, "Where the report is stored", ""),
            _ => html! {},
        })
    }

    /// Returns the finding as the first version of the note, if it names anybody.
    fn affected_note(&self, step: &IncidentStep) -> String {
        let finding = self.case.latest_finding(step).unwrap_or_default();
        if self.affected.sessions.is_empty() { String::new() } else { sanitize_text(finding) }
    }

    fn render_note_form(&self, step: &IncidentStep, label: &str, note: &str) -> Markup {
        let is_required = step.needs_note();
        html! {
            form id=(STEP_FORM) method="post" action={ (self.base) "/steps" } {
                (self.render_step_fields(step))
                label.field { span.label { (label) }
                    input.input name="note" value=(note) required[is_required] maxlength="2000";
                }
            }
        }
    }

    fn render_step_fields(&self, step: &IncidentStep) -> Markup {
        html! { (render_csrf_field(&self.shell.user)) input type="hidden" name="step" value=(step.id); }
    }

    fn render_user_search(&self) -> Markup {
        let IncidentPage { query, base, found_users, .. } = self;
        html! {
            form.search-users method="get" action=(base) {
                label.field { span.label { "Search for other users" }
                    input.input name="find" value=(query.find) required maxlength="200"
                        placeholder="Part of a name, email, handle or ID";
                }
                button.btn { (render_icon(Icon::Search)) "Search users" }
            }
            @match found_users.as_ref().map(Result::as_deref) {
                // A failure is explained at the top of the page.
                None | Some(Err(_)) => {},
                Some(Ok([])) => p.muted { "No matching users." },
                Some(Ok(users)) => {
                    // Reachable by keyboard, because it may scroll.
                    ul.found tabindex="0" aria-label="Found users" {
                        @for user in users { (self.render_found_user(user)) }
                    }
                    @if users.len() == USER_SEARCH_LIMIT {
                        p.hint { (users.len()) " shown; there may be more. Enter more of the name to find fewer." }
                    }
                },
            }
        }
    }

    fn render_found_user(&self, user: &FoundUser) -> Markup {
        let mut shown = user.display.iter().filter(|text| !text.is_empty());
        let id = shown.next().map(String::as_str).unwrap_or_default();
        let name = shown.next().map_or(id, String::as_str);
        let rest: Vec<&str> = std::iter::once(id).chain(shown.map(String::as_str)).collect();
        let path =
            format!("/targets/{}/users/{}", percent_encode(&self.case.incident.target), percent_encode(id));
        html! {
            li.row.between {
                (render_user(name, Some(&rest.join(", ")), Some(&path)))
                span.muted.nowrap { (format_count(user.sessions, "session", "sessions")) }
            }
        }
    }

    /// Renders the actions of a step, the primary one first.
    fn render_step_foot(&self, step: &IncidentStep) -> Result<Markup, AppError> {
        let check = |class: &str, label: &str| {
            html! {
                form method="post" action={ (self.base) "/steps" } {
                    (self.render_step_fields(step))
                    button class=(class) name="response" value="check" { (label) }
                }
            }
        };
        let (primary, quiet) = ("btn btn-primary", "btn");
        let done = html! {
            button class=(primary) form=(STEP_FORM) name="response" value="done" { "Mark as done" }
        };
        let is_contained = self.case.incident.state == IncidentState::Contained;
        let has_cause = self.case.incident.report_field("root-cause").is_some();
        let actions = match step.id {
            "confirm" => html! {
                (check(primary, "Check now"))
                button.btn type="button" popovertarget=(CONFIRM_DIALOG) { "Confirm without a finding…" }
            },
            "affected" => html! { (done) (check(quiet, "Check now")) },
            "evidence" if self.case.missing_evidence()?.is_none() => html! {
                (check(primary, "Continue")) (self.render_export_form("btn", "Export again"))
            },
            "evidence" => html! {
                (self.render_export_form(primary, "Export evidence")) (check(quiet, "Check now"))
            },
            "contain" if is_contained => check(primary, "Continue"),
            "contain" => html! {
                button class=(primary) form=(CONTAIN_FORM) { "Review plan" } (check(quiet, "Check now"))
            },
            "root-cause" if has_cause => check(primary, "Continue"),
            "root-cause" => html! { button class=(primary) form=(STEP_FORM) { "Save root cause" } },
            _ if incidents::can_confirm_step(step) => done,
            _ => check(primary, "Check now"),
        };
        Ok(html! {
            div.card-foot {
                (actions)
                span.grow {}
                button.btn.btn-ghost type="button" popovertarget=(SKIP_DIALOG) { "Skip step…" }
            }
        })
    }

    fn render_export_form(&self, class: &str, label: &str) -> Markup {
        html! {
            form method="post" action={ (self.base) "/evidence" } {
                (render_csrf_field(&self.shell.user))
                button class=(class) { (render_icon(Icon::Download)) (label) }
            }
        }
    }

    /// Renders the dialogs that finish a step without a finding, or skip it.
    fn render_skip_dialog(&self, step: &IncidentStep) -> Markup {
        let action = format!("{}/steps", self.base);
        let body = |response: &str, label: &str, hint: &str| {
            html! {
                (self.render_step_fields(step))
                input type="hidden" name="response" value=(response);
                label.field { span.label { (label) }
                    input.input name="note" required maxlength="2000";
                    span.hint { (hint) }
                }
            }
        };
        html! {
            (Dialog {
                id: SKIP_DIALOG,
                title: &format!("Skip “{}”?", step.title),
                action: &action,
                body: body(
                    "skip",
                    "Reason",
                    "Skipped steps appear in the report. To close the incident later, you must give a reason.",
                ),
                submit: "Skip step",
                is_dangerous: false,
            }.render())
            @if step.id == "confirm" {
                (Dialog {
                    id: CONFIRM_DIALOG,
                    title: "Confirm without a finding",
                    action: &action,
                    body: body("done", "Your evidence", "What shows that the incident is real?"),
                    submit: "Mark as done",
                    is_dangerous: false,
                }.render())
            }
        }
    }

    /// Renders the card shown when every step is finished but the incident is not closed.
    fn render_last_card(&self) -> Markup {
        html! {
            section.card aria-labelledby="next" {
                div.card-head { h2.h2 id="next" { "All steps completed" } }
                @if self.can_work() {
                    form method="post" action={ (self.base) "/close" } {
                        div.card-body.stack-s {
                            p.doc {
                                "Read the report below once more, and close the incident. "
                                "A closed incident accepts no changes."
                            }
                            (self.render_close_fields())
                        }
                        div.card-foot { button.btn.btn-primary { "Close incident" } }
                    }
                } @else {
                    div.card-foot { "Closing an incident requires the responder role." }
                }
            }
        }
    }

    /// Renders how a closed incident ended.
    fn render_ending(&self) -> Markup {
        let incident = &self.case.incident;
        let closing = self.case.timeline.iter().rev().find(|entry| entry.kind == "closed");
        html! {
            section.card aria-labelledby="next" {
                div.card-head { h2.h2 id="next" { "Closed" } }
                div.card-body.stack-s {
                    @if let Some(at) = incident.closed_at {
                        p.doc {
                            "Closed " (render_relative_time(at, self.shell.now))
                            @if let Some(entry) = closing { " by " (sanitize_text(&entry.actor)) }
                            ", " (format_span(at.duration_since(incident.opened_at))) " after it was opened."
                        }
                    }
                    @if let Some(entry) = closing.filter(|entry| !entry.message.is_empty()) {
                        p.recorded { (sanitize_text(&entry.message)) }
                    }
                }
                div.card-foot {
                    a.btn href={ (self.base) "/report" } { (render_icon(Icon::FileText)) "Read the report" }
                }
            }
        }
    }
}

/// Returns the instructions for a step on this page; `None` if the page has none of its own.
fn step_instructions(step: &IncidentStep) -> Option<&'static str> {
    let text = match step.id {
        "confirm" => {
            "“Check now” runs all checks and reads every row instead of trusting indexes. \
             If they find nothing, describe your other evidence."
        }
        "affected" => {
            "The checks list users who share a token. Search for others by part of their \
              name, email, handle or ID, and note who is affected."
        }
        "evidence" => {
            "Exports the affected rows, session stats, log events and audit log before anything is changed. \
             The file is encrypted and can be opened only with the archive’s private key."
        }
        "team" => "Notify everyone who needs to know that sessions are about to be revoked.",
        "rollback" => {
            "“Check now” tests the privileges of the write role and the room for the archive, \
             so that revoked sessions can be restored."
        }
        "contain" => {
            "End the sessions that more than one person can use. Choose the smallest scope that stops the leak."
        }
        "verify" => {
            "“Check now” runs all checks: no shared tokens and no orphaned sessions remain, \
             active users have 1 to 3 sessions on average, and no revoked session has come back."
        }
        "sign-in" => "Log in to the application and out again yourself, in a private window.",
        "users" => {
            "Write to the users whose sessions were revoked. The draft is below, under “Message to users”."
        }
        "watch" => {
            "Checks run every minute. \
             The incident reopens if a revoked session reappears or a critical log line arrives."
        }
        "root-cause" => {
            "Review critical log lines, the application’s URL, secret and cookie settings, \
             the unique constraint on the token, and recent changes."
        }
        "report" => {
            "The report below contains everything recorded so far. \
             Complete the other sections, and note where it is stored."
        }
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::incident::INCIDENT_STEPS;

    use super::*;

    #[test]
    fn every_step_has_instructions_for_this_page() {
        let without = INCIDENT_STEPS.iter().filter(|step| step_instructions(step).is_none());
        assert_eq!(without.map(|step| step.id).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
