//! Layouts of targets: detected and confirmed session tables.

use std::sync::Arc;

use sessionwatch_store::layouts;
use sessionwatch_targets::{
    layout::{Layout, uncertainty::LayoutUncertainty},
    mapping::Mapping,
};

use super::{Actor, AppError, AppState};
use crate::{config::Target, remediation::ActionError, target_layouts};

pub use crate::target_layouts::LayoutRecord;
pub use sessionwatch_targets::layout::known_layout::KnownLayout;

/// Lists the recorded layouts, by target.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_layouts(app: &Arc<AppState>) -> Result<Vec<LayoutRecord>, AppError> {
    app.read_store(layouts::list_layouts).await
}

/// Layout detected in the database of a target.
#[derive(Clone, Debug)]
pub struct DetectedLayout {
    /// Session table and its key columns.
    pub known_layout: KnownLayout,
    /// Title of the matching profile.
    pub title: String,
    /// Reasons for the match.
    pub reasons: Vec<String>,
    /// Notes on the table, such as problems that its schema cannot prevent.
    pub notes: Vec<String>,
    /// Other logins, which stay valid when their session row is deleted.
    pub other_logins: Vec<String>,
    /// Reasons for other candidate tables, the best match first.
    pub alternatives: Vec<String>,
    /// Doubt about the choice of the table; `None` if the choice is certain.
    pub doubt: Option<LayoutUncertainty>,
    pub(super) mapping: Mapping,
    /// `true` if the stored values required a different decoder than that of the profile.
    pub(super) decoder_replaced: bool,
}

impl DetectedLayout {
    pub(super) fn from_layout(layout: &Layout) -> Self {
        let Layout { candidate, alternatives, uncertainty, decoder_replaced, .. } = layout;
        Self {
            known_layout: KnownLayout::from_mapping(&candidate.mapping),
            title: candidate.title.clone(),
            reasons: candidate.reasons.clone(),
            notes: candidate.notes.clone(),
            other_logins: candidate.other_login_hints.clone(),
            alternatives: alternatives.iter().map(|other| other.reasons.join("; ")).collect(),
            doubt: uncertainty.clone(),
            mapping: candidate.mapping.clone(),
            decoder_replaced: *decoder_replaced,
        }
    }
}

/// Confirms the session table of a target. Returns the previously recorded layout if it differs.
///
/// # Errors
///
/// If the detected table is ambiguous, or the state store is unavailable.
pub async fn confirm_layout(
    app: &Arc<AppState>,
    actor: &Actor,
    target: Target,
    detected: DetectedLayout,
) -> Result<Option<KnownLayout>, AppError> {
    let DetectedLayout { known_layout, doubt, .. } = detected;
    // Cleanup deletes from the confirmed table, so a doubtful one must be chosen in the configuration.
    if let Some(doubt) = doubt {
        return Err(ActionError::Uncertain(Box::new(doubt)).into());
    }
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write_store(move |db| {
        // The recorded layout is read in the transaction: a check run may record another one meanwhile.
        let before = target_layouts::confirm_layout(db, &target, &by, &known_layout, now)?;
        Ok(before.filter(|before| *before != known_layout))
    })
    .await
}
