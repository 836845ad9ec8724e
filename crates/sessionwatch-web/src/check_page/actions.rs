//! What a responder can do about the alert. One click acknowledges or silences; everything else asks first.

use maud::{Markup, html};
use sessionwatch_app::report::fix::{incident_severity_for_check, plan_for_check};
use sessionwatch_core::{incident::IncidentSeverity, severity::Severity};

use super::{CheckView, evidence::EvidenceUser};
use crate::{
    alert_parts::render_alert_fields,
    components::{Dialog, Icon, Menu, MenuItem, render_icon},
    format::{percent_encode, sanitize_text},
    shell::render_csrf_field,
};

/// Durations of a silence, in minutes.
const SILENCE_DURATIONS: [(u32, &str); 3] = [(60, "1 hour"), (240, "4 hours"), (DAY_MINUTES, "1 day")];
const DAY_MINUTES: u32 = 1_440;
/// Users that the menu lists. The dialog has all of them.
const MAX_SILENCE_USERS: usize = 3;
/// Durations that the dialogs offer in addition.
const LONG_SILENCE_DURATIONS: [(u32, &str); 2] = [(10_080, "1 week"), (43_200, "30 days")];

impl CheckView<'_> {
    /// Renders the buttons; none for viewers.
    pub(super) fn render_actions(&self) -> Markup {
        if !self.shell.can_respond() {
            return html! {};
        }
        let is_open = self.is_firing() && self.alert.acknowledged_by.is_none();
        html! {
            div.actions.action-bar {
                @if is_open {
                    form method="post" action="/alerts/acknowledge" {
                        (self.alert_fields()) button.btn.btn-primary { "Acknowledge" }
                    }
                }
                (self.render_incident_button())
                (self.render_plan_button())
                @if self.is_firing() { span.actions-sep role="presentation" {} }
                (self.render_silence_menu())
                @if self.is_firing() {
                    button.btn.btn-ghost type="button" popovertarget="resolve" { "Resolve…" }
                }
            }
        }
    }

    fn alert_fields(&self) -> Markup {
        render_alert_fields(&self.shell.user, self.alert, &self.path())
    }

    fn needs_incident(&self) -> bool {
        self.is_firing() && self.severity() >= Severity::High
    }

    fn render_incident_button(&self) -> Markup {
        html! {
            @if let Some(incident) = &self.check_history.open_incident {
                a.btn href={ "/incidents/" (percent_encode(&incident.id)) } {
                    (render_icon(Icon::Siren)) "Go to incident " (incident.id)
                }
            } @else if self.needs_incident() {
                button.btn type="button" popovertarget="open-incident" { (render_icon(Icon::Siren)) "Open incident…" }
            }
        }
    }

    fn render_plan_button(&self) -> Markup {
        let kind = plan_for_check(&self.alert.check).filter(|_| self.failing_since().is_some());
        let label = match kind {
            Some("duplicates") => "Review plan: revoke duplicates",
            Some("expired") => "Review plan: delete expired sessions",
            Some("orphaned") => "Review plan: delete orphaned sessions",
            Some("excess") => "Review plan: revoke excess sessions",
            _ => "Review plan",
        };
        html! {
            @if let Some(kind) = kind {
                form method="post" action="/cleanup" {
                    (render_csrf_field(&self.shell.user))
                    input type="hidden" name="target" value=(self.alert.target);
                    input type="hidden" name="kind" value=(kind);
                    button.btn aria-label=(label) { (render_icon(Icon::BrushCleaning)) "Review plan" }
                }
            }
        }
    }

    fn render_silence_menu(&self) -> Markup {
        let quick = |minutes: u32, name: &str| {
            MenuItem::Form(html! {
                form method="post" action="/silences" {
                    (self.alert_fields())
                    input type="hidden" name="minutes" value=(minutes);
                    input type="hidden" name="note" value={ "Silenced for " (name) };
                    button { "For " (name) }
                }
            })
        };
        let dialog =
            |dialog, text: &str| MenuItem::OpenDialog { dialog, text: html! { (text) }, is_dangerous: false };
        let of_user = |user: &EvidenceUser| {
            MenuItem::Form(html! {
                form method="post" action="/silences" {
                    (self.alert_fields())
                    input type="hidden" name="subject" value=(user.id);
                    input type="hidden" name="minutes" value=(DAY_MINUTES);
                    input type="hidden" name="note" value="Silenced for 1 day";
                    button { "Only " (sanitize_text(&user.name)) ", for 1 day" }
                }
            })
        };
        let mut items: Vec<MenuItem<'_>> =
            SILENCE_DURATIONS.into_iter().map(|(minutes, name)| quick(minutes, name)).collect();
        items.push(dialog("silence-until", "Until a date…"));
        items.push(MenuItem::Separator);
        items.extend(self.evidence_users().iter().take(MAX_SILENCE_USERS).map(of_user));
        items.push(dialog("silence-user", "Only one user…"));
        Menu {
            id: "silence",
            button: html! { "Silence" (render_icon(Icon::ChevronDown)) },
            // The only button unless the alert fires.
            button_class: if self.is_firing() { "btn btn-ghost" } else { "btn" },
            label: "",
            items,
        }
        .render()
    }

    /// Renders the forms that the buttons open.
    pub(super) fn render_dialogs(&self) -> Markup {
        if !self.shell.can_respond() {
            return html! {};
        }
        html! {
            (self.render_silence_until_dialog())
            (self.render_silence_user_dialog())
            @if self.is_firing() { (self.render_resolve_dialog()) }
            @if self.needs_incident() && self.check_history.open_incident.is_none() { (self.render_incident_dialog()) }
        }
    }

    fn render_silence_until_dialog(&self) -> Markup {
        let body = html! {
            (self.alert_fields())
            p.muted {
                "No notifications for this check on " (self.alert.target) " until the time below. "
                "The check still runs, and its results are stored."
            }
            div.field {
                label for="silence-end" { "Until (UTC)" }
                input.input id="silence-end" name="until" type="datetime-local" required;
            }
            (render_reason_field("silence-reason"))
        };
        Dialog {
            id: "silence-until",
            title: "Silence this check",
            action: "/silences",
            body,
            submit: "Silence",
            is_dangerous: false,
        }
        .render()
    }

    fn render_silence_user_dialog(&self) -> Markup {
        let users = self.evidence_users();
        let body = html! {
            (self.alert_fields())
            p.muted {
                "No notifications while only this user is affected. "
                "Problems with other users still notify."
            }
            div.field {
                label for="silence-subject" { "User" }
                @if users.is_empty() {
                    input.input id="silence-subject" name="subject" required maxlength="500" placeholder="User ID";
                } @else {
                    select.input id="silence-subject" name="subject" {
                        @for user in &users { option value=(user.id) { (user_label(user)) } }
                    }
                }
            }
            div.field {
                label for="silence-minutes" { "Duration" }
                select.input id="silence-minutes" name="minutes" {
                    @for (minutes, name) in SILENCE_DURATIONS.into_iter().chain(LONG_SILENCE_DURATIONS) {
                        option value=(minutes) selected[minutes == DAY_MINUTES] { (name) }
                    }
                }
            }
            (render_reason_field("silence-user-reason"))
        };
        Dialog {
            id: "silence-user",
            title: "Silence for one user",
            action: "/silences",
            body,
            submit: "Silence",
            is_dangerous: false,
        }
        .render()
    }

    fn render_resolve_dialog(&self) -> Markup {
        let body = html! {
            (self.alert_fields())
            p.muted {
                "Alerts resolve automatically when the check passes. "
                "If you resolve this one now and the check still fails, it fires again."
            }
            div.field {
                label for="resolve-note" { "Reason (optional)" }
                input.input id="resolve-note" name="note" maxlength="500";
            }
        };
        Dialog {
            id: "resolve",
            title: "Resolve this alert",
            action: "/alerts/resolve",
            body,
            submit: "Resolve",
            is_dangerous: false,
        }
        .render()
    }

    fn render_incident_dialog(&self) -> Markup {
        let is_severe = self.severity() >= Severity::High;
        let chosen =
            if is_severe { incident_severity_for_check(&self.alert.check) } else { IncidentSeverity::P2 };
        let body = html! {
            (render_csrf_field(&self.shell.user))
            input type="hidden" name="target" value=(self.alert.target);
            p.muted {
                "An incident guides you step by step: "
                "confirm, freeze the evidence, revoke sessions, verify, notify users."
            }
            div.field {
                label for="incident-severity" { "Severity" }
                select.input id="incident-severity" name="severity" {
                    @for severity in IncidentSeverity::ALL.iter().copied() {
                        option value=(severity.name()) selected[severity == chosen] {
                            (severity.name()) ": " (severity.meaning())
                        }
                    }
                }
            }
            div.field {
                label for="incident-summary" { "What happened" }
                input.input id="incident-summary" name="summary" required maxlength="500"
                    value=(sanitize_text(&self.alert.summary));
            }
        };
        Dialog {
            id: "open-incident",
            title: "Open an incident",
            action: "/incidents",
            body,
            submit: "Open incident",
            is_dangerous: false,
        }
        .render()
    }
}

fn render_reason_field(id: &str) -> Markup {
    html! {
        div.field { label for=(id) { "Reason" } input.input id=(id) name="note" required maxlength="500"; }
    }
}

fn user_label(user: &EvidenceUser) -> String {
    sanitize_text(&if user.name == user.id {
        user.id.clone()
    } else {
        format!("{} ({})", user.name, user.id)
    })
}
