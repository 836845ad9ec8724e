//! The page of an incident: its steps, the current one with its actions, the clock, and what is known.

use std::sync::Arc;

use axum::extract::State;
use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppError, AppState,
    incident_views::{
        self, AffectedSessions, ContainmentClock, ContainmentCounts, IncidentSituation, StepProgress,
    },
    incidents::{self, FoundUser, IncidentOps, IncidentState, IncidentWorkflow, USER_SEARCH_LIMIT},
};

use super::incident_path;
use crate::{
    components::{Callout, Tone},
    format::{percent_encode, sanitize_text},
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

/// Parameters of the page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IncidentQuery {
    /// Part of the name, email, handle or ID of a user to search for; may be empty.
    pub(super) find: String,
    /// The document to show: `message` for the message to users, otherwise the report.
    pub(super) document: String,
}

/// Everything that the page shows.
pub(super) struct IncidentPage<'a> {
    pub(super) shell: &'a Shell,
    pub(super) case: &'a IncidentWorkflow,
    /// Path of the page.
    pub(super) base: String,
    pub(super) progress: StepProgress,
    pub(super) clock: ContainmentClock,
    pub(super) affected: AffectedSessions,
    pub(super) counts: ContainmentCounts,
    /// Time for which revoked sessions can be restored.
    pub(super) restorable_for: SignedDuration,
    pub(super) query: IncidentQuery,
    /// Users that the search found, or why it failed; `None` without a search.
    pub(super) found_users: Option<Result<Vec<FoundUser>, AppError>>,
}

pub(crate) async fn show_incident(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    PageQuery(query): PageQuery<IncidentQuery>,
    shell: Shell,
) -> PageResult {
    let IncidentOps { case, ops } = incidents::load_incident(&app, &shell.user.actor(), &id).await?;
    let found_users = if query.find.is_empty() {
        None
    } else {
        // A person is waiting, so the search uses the short timeout.
        let searched = ops.with_short_timeout();
        // The rest of the page is needed most while the database is down.
        Some(incidents::search_users(searched, query.find.clone(), USER_SEARCH_LIMIT).await)
    };
    let reopened_at = incident_views::reopened_at(&case.timeline);
    let IncidentSituation { affected, counts } = incident_views::load_situation(&app, &case).await?;
    let page = IncidentPage {
        base: incident_path(&case.incident.id),
        progress: StepProgress::of_incident(&case.incident, &case.timeline),
        clock: ContainmentClock::of_incident(&case.incident, reopened_at, shell.now),
        affected,
        counts,
        restorable_for: app.config().actions.archive_retention,
        found_users,
        query,
        shell: &shell,
        case: &case,
    };
    let head = PageHead {
        title: &case.incident.id,
        section: NavSection::Incidents,
        target: Some(&case.incident.target),
        // A search result must not vanish with a refresh.
        live: page.query.find.is_empty(),
    };
    Ok(shell.render_page(head, &page.render()?))
}

impl IncidentPage<'_> {
    /// Returns `true` if the user may change the incident.
    pub(super) fn can_work(&self) -> bool {
        self.shell.can_respond() && !self.is_closed()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.case.incident.state == IncidentState::Closed
    }

    /// Renders why users could not be searched; nothing if they were, or if nobody searched.
    fn render_failed_search(&self) -> Markup {
        let Some(Err(error)) = &self.found_users else { return html! {} };
        let doctor = format!("/targets/{}/doctor", percent_encode(&self.case.incident.target));
        Callout {
            tone: Tone::Bad,
            title: "Users cannot be searched now",
            text: html! { (sanitize_text(&error.to_string())) " " (error.hint()) },
            action: html! { a.btn href=(doctor) { "Run doctor" } },
        }
        .render()
    }

    fn render(&self) -> Result<Markup, crate::web_error::WebError> {
        Ok(html! {
            (self.render_header())
            (self.render_failed_search())
            div.incident {
                section aria-label="Steps" { (self.render_steps()) }
                div.stack {
                    (self.render_current_step()?)
                    (self.render_documents()?)
                }
                aside.stack aria-label="Facts" {
                    (self.render_clock_card())
                    (self.render_affected_card())
                    (self.render_timeline_card())
                }
            }
            (self.render_step_dialogs())
            @if self.can_work() { (self.render_close_dialog()) (self.render_section_dialogs()) }
        })
    }
}
