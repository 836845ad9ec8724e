//! Containment of an incident: the sessions to revoke, and the record of the plan that revoked them.

use serde_json::{Value, json};
use sessionwatch_core::plural::format_count;
use sessionwatch_store::{
    StoreError,
    incidents::{self, IncidentRecord, IncidentState, TimelineEntry},
};

use super::{NewTimelineEntry, workflow::IncidentWorkflow};
use crate::remediation::{ActionContext, ActionPlan, ApplyReport, Selection};

/// Scope of a containment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ContainmentScope {
    /// All sessions of all users
    #[value(name = "all")]
    Everybody,
    /// All sessions of the users named with --user
    Users,
    /// Sessions that share a token (if one user has them all, the newest stays)
    Duplicates,
    /// Sessions of users who do not exist
    #[value(name = "orphaned")]
    Orphans,
}

impl ContainmentScope {
    /// Parses the name used on the command line.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(name, false).ok()
    }

    /// Returns the sessions to revoke; `None` if the scope is users and none is named.
    #[must_use]
    pub fn selection(self, users: &[String]) -> Option<Selection> {
        match self {
            Self::Everybody => Some(Selection::All),
            Self::Users => (!users.is_empty()).then(|| Selection::Users(users.to_vec())),
            Self::Duplicates => Some(Selection::Duplicates),
            Self::Orphans => Some(Selection::Orphaned),
        }
    }
}

impl IncidentWorkflow {
    /// Records the result of a plan. It contains the incident if it ran to its end, and revoked sessions or found that
    /// all of them are gone. A plan without sessions contains nothing: it may be for the wrong user.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be written.
    pub fn record_plan(
        &self,
        context: ActionContext<'_>,
        plan: &ActionPlan,
        applied: &ApplyReport,
    ) -> Result<(), StoreError> {
        let done = applied.done + applied.done_earlier;
        let rest = [(applied.skipped, "skipped"), (applied.remaining, "remaining")];
        let rest =
            rest.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
        let entry_text = format!(
            "{} of {} revoked by `{}`{}",
            format_count(done, "session", "sessions"),
            format_count(plan.summary.users, "user", "users"),
            plan.selection.command_name(),
            rest.collect::<String>()
        );
        let detail = json!({
            "plan": plan.record.id, "done": done, "users": plan.summary.users,
            "skipped": applied.skipped, "remaining": applied.remaining, "still_matching": applied.still_matching,
        });
        let are_gone = applied.skipped > 0 && applied.still_matching == Some(0);
        if applied.remaining == 0 && (done > 0 || are_gone) {
            return record_containment(context, &self.incident, &entry_text, &detail);
        }
        let entry =
            NewTimelineEntry { kind: "note", step: "contain", text: &entry_text, detail: Some(&detail) }
                .into_entry(context);
        context.store.write(|db| incidents::insert_timeline_entry(db, &self.incident.id, &entry))
    }
}

/// Records that sessions were revoked, and marks the incident as contained. An incident that was closed meanwhile stays
/// closed and gets a note.
///
/// # Errors
///
/// Fails if the store cannot be written.
pub fn record_containment(
    context: ActionContext<'_>,
    incident: &IncidentRecord,
    text: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let entry = NewTimelineEntry { kind: "contained", step: "contain", text, detail: Some(detail) }
        .into_entry(context);
    let contained = |incident| {
        Ok(IncidentRecord { state: IncidentState::Contained, contained_at: Some(entry.at), ..incident })
    };
    let note = TimelineEntry {
        kind: "note".into(),
        message: format!("{text}, after the incident was closed"),
        ..entry.clone()
    };
    context.store.write(|db| {
        // The caller's copy is from before the plan was applied, which may take minutes.
        let current = incidents::find_incident(db, &incident.id)?;
        if current.is_some_and(|current| current.state == IncidentState::Closed) {
            return incidents::insert_timeline_entry(db, &incident.id, &note);
        }
        incidents::update_incident(db, &incident.id, &entry, contained)
    })
}

#[cfg(test)]
mod tests;
