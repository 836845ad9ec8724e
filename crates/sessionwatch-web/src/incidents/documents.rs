//! Previews of the documents of an incident: the report and the message to users.

use maud::{Markup, html};
use sessionwatch_app::app::{
    AppError,
    incident_views::BLANK_PLACEHOLDER,
    incidents::{self, REPORT_FIELDS},
};
use sessionwatch_core::plural::format_count;

use super::page::IncidentPage;
use crate::{
    components::{Dialog, Icon, render_icon},
    format::{sanitize_lines, sanitize_text},
    shell::render_csrf_field,
};

impl IncidentPage<'_> {
    /// Renders the report or the message, whichever the query or the current step asks for.
    pub(super) fn render_documents(&self) -> Result<Markup, AppError> {
        let is_users_step = self.progress.step.is_some_and(|step| step.id == "users");
        let is_message = match self.query.document.as_str() {
            "message" => true,
            "report" => false,
            _ => is_users_step && !self.is_closed(),
        };
        let copied = if is_message {
            sanitize_lines(&incidents::render_message_draft(&self.case.incident, None)?)
        } else {
            incidents::render_report_markdown(self.case)?
        };
        let link = |document: &str, title: &str, is_current: bool| {
            html! {
                a href={ (self.base) "?document=" (document) "#documents" }
                    aria-current=[is_current.then_some("true")] { (title) }
            }
        };
        let name = if is_message { "message" } else { "report" };
        Ok(html! {
            section.card id="documents" aria-label="Documents" {
                div.card-head {
                    nav.seg aria-label="Documents" {
                        (link("report", "Report", !is_message)) (link("message", "Message to users", is_message))
                    }
                    div.end {
                        // Shown by the script, which copies this text.
                        pre hidden { (copied) }
                        button.btn.btn-s.btn-ghost type="button" data-copy hidden {
                            (render_icon(Icon::Copy)) "Copy " (name)
                        }
                    }
                }
                @if is_message { (self.render_message(&copied)) } @else { (self.render_report_preview()) }
            }
        })
    }

    fn render_message(&self, draft: &str) -> Markup {
        let users = self.affected.user_ids().len() as u64;
        html! {
            div.card-body.stack-s {
                p.muted {
                    @if users > 0 { "To " (format_count(users, "user", "users")) ". " }
                    "Send it with your own mail system. Replace the parts in brackets first."
                }
                div.doc.message {
                    @for paragraph in draft.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
                        (render_paragraph(paragraph))
                    }
                }
            }
        }
    }

    /// Renders the sections that people write, each with a button that edits it.
    fn render_report_preview(&self) -> Markup {
        html! {
            div.card-body.doc.sections {
                @for name in REPORT_FIELDS {
                    @let text = self.case.incident.report_field(name);
                    div {
                        div.row.between {
                            h3 { (section_title(name)) }
                            @if self.can_work() {
                                button.btn.btn-s.btn-icon.btn-ghost type="button" popovertarget=(dialog_id(name))
                                    aria-label={ "Edit " (section_title(name)) } title="Edit" {
                                    (render_icon(Icon::Pencil))
                                }
                            }
                        }
                        @match text {
                            Some(text) => p { (sanitize_text(&text)) },
                            None => p.muted { (BLANK_PLACEHOLDER) },
                        }
                    }
                }
            }
            div.card-foot {
                p {
                    "The " a href={ (self.base) "/report" } { "full report" }
                    " also lists the timeline, the impact and the open points."
                }
            }
        }
    }

    /// Renders the dialogs that edit the sections of the report.
    pub(super) fn render_section_dialogs(&self) -> Markup {
        html! {
            @for name in REPORT_FIELDS {
                @let title = section_title(name);
                @let text = self.case.incident.report_field(name).unwrap_or_default();
                (Dialog {
                    id: &dialog_id(name),
                    title,
                    action: &format!("{}/fields", self.base),
                    body: html! {
                        (render_csrf_field(&self.shell.user))
                        input type="hidden" name="name" value=(name);
                        label.field { span.label { "Text" }
                            textarea.input name="text" rows="6" required maxlength="2000" { (sanitize_text(&text)) }
                        }
                    },
                    submit: "Save section",
                    is_dangerous: false,
                }.render())
            }
        }
    }
}

/// Renders a paragraph of the message. Parts in brackets are for the sender to replace, and stand out.
fn render_paragraph(paragraph: &str) -> Markup {
    if let Some(subject) = paragraph.strip_prefix("Subject: ") {
        return html! { h3 { (render_placeholders(subject)) } };
    }
    html! { p { (render_placeholders(paragraph)) } }
}

fn render_placeholders(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('[').enumerate() {
            @match part.split_once(']').filter(|_| index > 0) {
                Some((placeholder, rest)) => { mark { "[" (placeholder) "]" } (rest) },
                None => { @if index > 0 { "[" } (part) },
            }
        }
    }
}

fn section_title(name: &str) -> &str {
    match name {
        "summary" => "Summary",
        "root-cause" => "Root cause",
        "data-leaked" => "Data leaked",
        "prevention" => "Prevention",
        "lessons" => "Lessons learned",
        other => other,
    }
}

fn dialog_id(name: &str) -> String {
    format!("section-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_out_and_brackets_are_kept() {
        let text = render_placeholders("Hello [name], see [x").into_string();
        assert_eq!(text, "Hello <mark>[name]</mark>, see [x");
        assert_eq!(render_paragraph("Subject: a <b>").into_string(), "<h3>a &lt;b&gt;</h3>");
    }
}
