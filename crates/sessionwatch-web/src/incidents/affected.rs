//! The sessions that an incident is about.

use maud::{Markup, html};
use sessionwatch_app::app::incident_views::AffectedSession;
use sessionwatch_core::plural::format_count;

use super::page::IncidentPage;
use crate::{
    components::{Card, render_user},
    format::{percent_encode, sanitize_text},
};

/// Most sessions shown at once. More would push the timeline out of sight.
const MAX_SHOWN_SESSIONS: usize = 8;

impl IncidentPage<'_> {
    pub(super) fn render_affected_card(&self) -> Markup {
        let sessions = &self.affected.sessions;
        let note = match (sessions.len(), self.affected.is_cut) {
            (0, _) => String::new(),
            (count, true) => format!("{count} listed"),
            (count, false) => count.to_string(),
        };
        let (shown, rest) = sessions.split_at(sessions.len().min(MAX_SHOWN_SESSIONS));
        let body = html! {
            div.stack-s {
                @if sessions.is_empty() {
                    p.muted { "No check run of this incident found shared tokens or orphaned sessions." }
                }
                @for session in shown { (self.render_session(session)) }
                @if !rest.is_empty() {
                    details.stack-s {
                        summary.muted { "Show " (format_count(rest.len() as u64, "more session", "more sessions")) }
                        @for session in rest { (self.render_session(session)) }
                    }
                }
                @if self.affected.is_cut {
                    p.hint { "The check run lists only the first sessions. An evidence export includes all of them." }
                }
            }
        };
        Card { id: "affected", title: "Affected sessions", note: &note, end: html! {}, body }.render_padded()
    }

    fn render_session(&self, session: &AffectedSession) -> Markup {
        let user = session.user.as_deref().unwrap_or_default();
        let name = session.display.first().map_or(user, String::as_str);
        // The other columns, such as the email address, are too long for this card.
        let details: Vec<String> = session.display.iter().skip(1).map(|text| sanitize_text(text)).collect();
        let link =
            format!("/targets/{}/users/{}", percent_encode(&self.case.incident.target), percent_encode(user));
        let link = (!user.is_empty()).then_some(link.as_str());
        let name = if name.is_empty() { "No user" } else { name };
        html! {
            div.row.between title=[(!details.is_empty()).then(|| details.join(", "))] {
                (render_user(name, None, link))
                @if let Some(prefix) = &session.token_prefix {
                    span.mono.muted title="Token prefix" { (sanitize_text(prefix)) }
                }
            }
        }
    }
}
