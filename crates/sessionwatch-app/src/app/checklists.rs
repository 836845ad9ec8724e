//! Weekly checklist and attestations.

use std::sync::Arc;

use sessionwatch_store::attestations::Attestation;

use super::{Actor, AppError, AppState, Period};
use crate::{
    checklist::{self, Checklist},
    config::Target,
};

/// Attestation to record.
#[derive(Clone, Debug)]
pub struct NewAttestation {
    /// Target name.
    pub target: String,
    /// `true` if no user reported a login problem this week.
    pub holds: bool,
    /// Evidence for the attestation.
    pub note: String,
}

/// Builds the checklist of a target for the current week.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_weekly_checklist(app: &Arc<AppState>, target: Target) -> Result<Checklist, AppError> {
    let (config, now) = (app.config(), app.clock.now());
    app.read_store(move |db| checklist::build_weekly_checklist(db, &config, &target, now)).await
}

/// Builds the checklists of several targets for a period, in the order of `targets`.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_checklists(
    app: &Arc<AppState>,
    targets: Vec<Target>,
    period: Period,
) -> Result<Vec<Checklist>, AppError> {
    let (config, now) = (app.config(), app.clock.now());
    app.read_store(move |db| {
        let list = |target: &Target| checklist::build_checklist(db, &config, target, period, now);
        targets.iter().map(list).collect()
    })
    .await
}

/// Records an attestation.
///
/// # Errors
///
/// If the target does not exist.
pub async fn record_attestation(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewAttestation,
) -> Result<(), AppError> {
    let attestation = Attestation {
        at: app.clock.now(),
        target: app.target(&new.target)?.name,
        item: checklist::USER_REPORTS_ITEM.to_owned(),
        holds: new.holds,
        owner: actor.name().to_owned(),
        note: new.note,
    };
    app.write_store(move |db| checklist::insert_attestation(db, &attestation)).await
}
