//! Weekly checklist and attestations.

use std::sync::Arc;

use sessionwatch_core::{
    duration::{DAY, from_days},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::attestations::Attestation;

use super::{Actor, AppError, AppState, Period};
use crate::{checklist, config::Target};

pub use crate::checklist::{Checklist, ItemCounts, USER_REPORTS_ITEM};

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

/// Weeks of the trend.
pub const TREND_WEEKS: u32 = 8;

/// Result of a week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekScore {
    /// Number of weeks before the current one.
    pub weeks_ago: u32,
    /// The seven days.
    pub period: Period,
    /// Items of the operator guide by result; `None` if no check run succeeded in that week.
    pub counts: Option<ItemCounts>,
}

/// Checklist of a week, and the results of the latest weeks.
#[derive(Clone, Debug)]
pub struct WeeklyReport {
    /// Checklist of the requested week.
    pub checklist: Checklist,
    /// The latest weeks by today's configuration, the oldest first.
    pub trend: Vec<WeekScore>,
}

/// Returns the seven days that ended `weeks_ago` weeks ago.
#[must_use]
pub fn week_period(now: UtcTimestamp, weeks_ago: u32) -> Period {
    let to = now - from_days(7 * i64::from(weeks_ago));
    Period { from: to - 7 * DAY, to }
}

/// Builds the checklist of a target for the seven days that ended `weeks_ago` weeks ago, and the trend. Checklists are
/// not stored: past weeks are evaluated from the history with today's thresholds.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_weekly_report(
    app: &Arc<AppState>,
    target: Target,
    weeks_ago: u32,
) -> Result<WeeklyReport, AppError> {
    let (config, now) = (app.config(), app.clock.now());
    app.read_store(move |db| {
        let build = |weeks| checklist::build_checklist(db, &config, &target, week_period(now, weeks), now);
        let (mut trend, mut requested) = (Vec::new(), None);
        for week in (0..TREND_WEEKS).rev() {
            let checklist = build(week)?;
            let counts = checklist.has_check_runs().then(|| checklist.count_items());
            trend.push(WeekScore { weeks_ago: week, period: checklist.period(), counts });
            // A week costs the most of the page: it is not evaluated twice.
            requested = requested.or((week == weeks_ago).then_some(checklist));
        }
        Ok(WeeklyReport { checklist: requested.map_or_else(|| build(weeks_ago), Ok)?, trend })
    })
    .await
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

#[cfg(test)]
mod tests;
