//! The weekly checklist, and what people vouch for.

use std::sync::Arc;

use sessionwatch_store::attestations::Attestation;

use super::{Actor, AppError, AppState, Period};
use crate::{
    checklist::{self, Checklist},
    config::Target,
};

/// What somebody vouches for.
#[derive(Clone, Debug)]
pub struct NewAttestation {
    /// The target.
    pub target: String,
    /// Whether users reported nothing about logins this week.
    pub holds: bool,
    /// How one knows.
    pub note: String,
}

/// The checklist of a target for this week.
///
/// # Errors
///
/// If the store does not answer.
pub async fn load_weekly_checklist(app: &Arc<AppState>, target: Target) -> Result<Checklist, AppError> {
    let (config, now) = (app.config(), app.clock.now());
    app.read_store(move |db| checklist::build_weekly_checklist(db, &config, &target, now)).await
}

/// The checklists of targets for a period, in their order.
///
/// # Errors
///
/// If the store does not answer.
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

/// Records what somebody vouches for.
///
/// # Errors
///
/// If there is no such target.
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
