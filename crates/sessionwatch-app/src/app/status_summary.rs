//! The state of all targets in a few numbers, as the frame of every page shows it.

use std::sync::Arc;

use sessionwatch_core::{alert::AlertState, timestamp::UtcTimestamp};
use sessionwatch_store::{
    StoreError,
    alerts::{self, AlertCount, AlertRecord},
    incidents, samples, silences,
    transaction::Tx,
};

use super::{AppError, AppState, alerts::is_silenced};

/// State of all targets.
#[derive(Clone, Debug)]
pub struct StatusSummary {
    /// Targets in the order of the configuration.
    pub targets: Vec<TargetSummary>,
    /// Number of firing alerts that nobody has acknowledged or silenced.
    pub unacknowledged: u64,
    /// `true` if one of them is critical.
    pub has_critical: bool,
    /// Number of open incidents.
    pub open_incidents: u64,
}

/// State of a target.
#[derive(Clone, Debug)]
pub struct TargetSummary {
    /// Target name.
    pub name: String,
    /// State in one word, like [`super::targets::TargetStatus::state`].
    pub state: &'static str,
    /// Time of the last check run; `None` before the first one.
    pub last_run_at: Option<UtcTimestamp>,
    /// `true` if that run could not read the session table.
    pub last_run_failed: bool,
}

/// Loads the state of all targets. Cheap: counts instead of rows, and no stored documents.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn load_status_summary(app: &Arc<AppState>) -> Result<StatusSummary, AppError> {
    let (config, now) = (app.config(), app.clock.now());
    app.read_store(move |db| {
        let counts = alerts::count_alerts(db)?;
        let unknown_targets = alerts::list_targets_with_unknown_results(db)?;
        let targets = config.targets.iter().map(|target| {
            let last_run = samples::find_last_run(db, &target.name)?;
            let is_unknown =
                last_run.is_none_or(|run| !run.succeeded) || unknown_targets.contains(&target.name);
            let state = target_state(counts.iter().filter(|count| count.target == target.name), is_unknown);
            Ok::<_, StoreError>(TargetSummary {
                name: target.name.clone(),
                state,
                last_run_at: last_run.map(|run| run.at),
                last_run_failed: last_run.is_some_and(|run| !run.succeeded),
            })
        });
        let open = count_open_alerts(db, &counts, now)?;
        Ok(StatusSummary {
            targets: targets.collect::<Result<_, _>>()?,
            unacknowledged: open.count,
            has_critical: open.has_critical,
            open_incidents: incidents::count_open_incidents(db)?,
        })
    })
    .await
}

/// Firing alerts that need a person.
struct OpenAlerts {
    count: u64,
    has_critical: bool,
}

/// Counts the firing alerts that nobody has acknowledged or silenced.
fn count_open_alerts(db: Tx<'_>, counts: &[AlertCount], now: UtcTimestamp) -> Result<OpenAlerts, StoreError> {
    let silences = silences::list_active_silences(db, now)?;
    let open = counts.iter().filter(|count| count.is_firing && !count.is_acknowledged);
    if silences.iter().all(|silence| silence.subject.is_some()) {
        let has_critical = open.clone().any(|count| count.severity == "critical");
        return Ok(OpenAlerts { count: open.map(|count| count.count).sum(), has_critical });
    }
    // Only silences of whole targets or checks need the alerts themselves.
    let alerts = alerts::list_alerts(db, false)?;
    let is_open = |alert: &&AlertRecord| {
        matches!(alert.alert.state, AlertState::Firing { .. })
            && alert.acknowledged_by.is_none()
            && !is_silenced(alert, &silences)
    };
    let open: Vec<&AlertRecord> = alerts.iter().filter(is_open).collect();
    let has_critical = open.iter().any(|alert| alert.severity == "critical");
    Ok(OpenAlerts { count: open.len() as u64, has_critical })
}

fn target_state<'a>(counts: impl Iterator<Item = &'a AlertCount> + Clone, is_unknown: bool) -> &'static str {
    let has = |wanted: fn(&AlertCount) -> bool| counts.clone().any(wanted);
    if has(|count| count.is_firing && !count.is_acknowledged) {
        "failing"
    } else if has(|count| count.is_firing) {
        "acknowledged"
    } else if is_unknown {
        // Unknown is not passing.
        "unknown"
    } else if has(|count| !count.is_firing) {
        "pending"
    } else {
        "passing"
    }
}

#[cfg(test)]
mod tests;
