//! Where the sessions of targets are: the tables that were recognized, and those that a person confirmed.

use std::sync::Arc;

use sessionwatch_store::layouts;

use super::{Actor, AppError, AppState};
use crate::{config::Target, target_layouts};

pub use crate::target_layouts::KeptLayout;
pub use sessionwatch_targets::layout::known_layout::KnownLayout;

/// What is known of the tables of sessions, by target.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_layouts(app: &Arc<AppState>) -> Result<Vec<KeptLayout>, AppError> {
    app.read(layouts::list).await
}

/// Confirms the table of sessions of a target: the one that was known before, if there was one.
///
/// # Errors
///
/// If the store does not answer.
pub async fn confirm_layout(
    app: &Arc<AppState>,
    actor: &Actor,
    target: Target,
    layout: KnownLayout,
) -> Result<Option<KnownLayout>, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write(move |db| target_layouts::confirm(db, &target, &by, &layout, now)).await
}
