//! Where the sessions of targets are: the tables that were recognized, and those that a person confirmed.

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

/// What is known of the tables of sessions, by target.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_layouts(app: &Arc<AppState>) -> Result<Vec<LayoutRecord>, AppError> {
    app.read_store(layouts::list_layouts).await
}

/// What was recognized in the database of a target.
#[derive(Clone, Debug)]
pub struct DetectedLayout {
    /// The table of sessions, and its most important columns.
    pub known_layout: KnownLayout,
    /// The title of the profile that it fits.
    pub title: String,
    /// Why it was recognized.
    pub reasons: Vec<String>,
    /// What this schema cannot prevent, and what to know about the table.
    pub notes: Vec<String>,
    /// Log-ins that do not end with their rows.
    pub other_logins: Vec<String>,
    /// Why other tables could be meant, the best first.
    pub alternatives: Vec<String>,
    /// Why it may be the wrong one.
    pub doubt: Option<LayoutUncertainty>,
    /// How its columns are read.
    pub(super) mapping: Mapping,
    /// Whether the stored values spoke for another decoder than the profile.
    pub(super) decoder_replaced: bool,
}

impl DetectedLayout {
    /// What was recognized over a connection.
    pub(super) fn from_layout(layout: &Layout) -> Self {
        let Layout { candidate, alternatives: others, uncertainty: doubt, decoder_replaced, .. } = layout;
        Self {
            known_layout: KnownLayout::from_mapping(&candidate.mapping),
            title: candidate.title.clone(),
            reasons: candidate.reasons.clone(),
            notes: candidate.notes.clone(),
            other_logins: candidate.other_login_hints.clone(),
            alternatives: others.iter().map(|other| other.reasons.join("; ")).collect(),
            doubt: doubt.clone(),
            mapping: candidate.mapping.clone(),
            decoder_replaced: *decoder_replaced,
        }
    }
}

/// Confirms the table of sessions of a target; returns the one that was known before, if that was another one.
///
/// # Errors
///
/// If it is not certain that it is the right one, or the store does not answer.
pub async fn confirm_layout(
    app: &Arc<AppState>,
    actor: &Actor,
    target: Target,
    detected: DetectedLayout,
) -> Result<Option<KnownLayout>, AppError> {
    let DetectedLayout { known_layout: known, doubt, .. } = detected;
    if let Some(doubt) = doubt {
        return Err(ActionError::Uncertain(Box::new(doubt)).into());
    }
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write_store(move |db| {
        let before = target_layouts::confirm_layout(db, &target, &by, &known, now)?;
        Ok(before.filter(|before| *before != known))
    })
    .await
}
