//! The choice of the sessions to revoke.

use maud::{Markup, html};
use sessionwatch_app::app::incidents::IncidentState;
use sessionwatch_core::plural::format_count;

use super::{current_step::CONTAIN_FORM, page::IncidentPage, wording::format_span};
use crate::{
    components::{Callout, Tone},
    format::{render_relative_time, sanitize_text},
    shell::render_csrf_field,
};

/// A scope of containment.
struct ScopeOption {
    /// Value of the form field.
    value: &'static str,
    title: &'static str,
    /// How many sessions are revoked; empty if that is unknown.
    count: String,
    text: &'static str,
    fields: Markup,
}

impl IncidentPage<'_> {
    /// Renders the scopes of a containment. The plan is reviewed on a page of its own before anything changes.
    pub(super) fn render_containment(&self) -> Markup {
        if self.case.incident.state == IncidentState::Contained {
            return html! {
                (self.render_revoked())
                details.stack-s {
                    summary { "Revoke more sessions" }
                    (self.render_scopes())
                    div { button.btn form=(CONTAIN_FORM) { "Review plan" } }
                }
            };
        }
        let undo = html! {
            "Rows are encrypted into the archive before they are deleted. The plan shows every row before you apply it."
        };
        let title = format!("Can be undone for {}", format_span(self.restorable_for));
        html! {
            (self.render_scopes())
            (Callout { tone: Tone::Neutral, title: &title, text: undo, action: html! {} }.render())
        }
    }

    /// Renders which sessions were revoked last.
    fn render_revoked(&self) -> Markup {
        let Some(entry) = self.case.timeline.iter().rev().find(|entry| entry.kind == "contained") else {
            return html! {};
        };
        let text = html! {
            (sanitize_text(&entry.message)) " (" (sanitize_text(&entry.actor)) ", "
            (render_relative_time(entry.at, self.shell.now)) ")"
        };
        Callout { tone: Tone::Ok, title: "Sessions were revoked", text, action: html! {} }.render()
    }

    fn render_scopes(&self) -> Markup {
        let options = self.scope_options();
        // The smallest scope that finds anything.
        let chosen = match (self.counts.shared_tokens, self.counts.orphaned) {
            (Some(0), Some(1..)) => "orphaned",
            _ => "duplicates",
        };
        html! {
            form id=(CONTAIN_FORM) method="post" action={ (self.base) "/contain" } {
                (render_csrf_field(&self.shell.user))
                fieldset.opts {
                    legend.sr { "Scope" }
                    @for option in &options {
                        label.opt {
                            input type="radio" name="scope" value=(option.value) checked[option.value == chosen];
                            b { (option.title) }
                            span.end { (option.count) }
                            span.muted { (option.text) }
                            (option.fields)
                        }
                    }
                }
                @if let Some(at) = self.counts.at {
                    p.hint {
                        "Counted by the check run " (render_relative_time(at, self.shell.now))
                        ". The plan counts again."
                    }
                }
            }
        }
    }

    fn scope_options(&self) -> [ScopeOption; 4] {
        let counts = self.counts;
        let sessions = |count: Option<u64>| {
            count.map_or_else(String::new, |count| format_count(count, "session", "sessions"))
        };
        let tokens = |count: u64| format_count(count, "token", "tokens");
        let shared = counts.shared_sessions.map_or_else(
            || counts.shared_tokens.map_or_else(String::new, tokens),
            |count| sessions(Some(count)),
        );
        let users = self.affected.user_ids();
        let count_users = |count: usize| format_count(count as u64, "user", "users");
        [
            ScopeOption {
                value: "duplicates",
                title: "Shared tokens only",
                count: shared,
                text: "All sessions on tokens that several users share. If one user has them all, the \
                       newest stays. Affected users log in again.",
                fields: html! {},
            },
            ScopeOption {
                value: "users",
                title: "All sessions of affected users",
                count: if users.is_empty() { String::new() } else { count_users(users.len()) },
                text: "Also on their other devices.",
                fields: html! {
                    input.input.input-s name="users" value=(sanitize_text(&users.join(" "))) maxlength="2000"
                        aria-label="User IDs, separated by spaces" placeholder="User IDs, separated by spaces";
                },
            },
            ScopeOption {
                value: "orphaned",
                title: "Orphaned sessions",
                count: sessions(counts.orphaned),
                text: "Sessions of users who do not exist.",
                fields: html! {},
            },
            ScopeOption {
                value: "all",
                title: "Everyone",
                count: sessions(counts.all),
                text: "Only if the leak is confirmed and its extent is unknown. Every user logs in again.",
                fields: html! {},
            },
        ]
    }
}
