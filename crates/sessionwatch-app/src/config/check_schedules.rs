//! Grouping of a target's checks by schedule.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use sessionwatch_core::duration::{HOUR, SECOND};

use super::{SchedulePreset, Target};
use crate::{
    checks::{self, CheckSettings},
    schedule::{Schedule, ScheduledChecks},
};

/// Checks that the operator guide runs daily; the others run weekly.
const GUIDE_DAILY_CHECKS: [&str; 3] = ["duplicate-tokens", "orphaned-sessions", "sessions-per-user"];
const GUIDE_DAILY_CRON: &str = "0 6 * * *";
const GUIDE_WEEKLY_CRON: &str = "30 6 * * mon";
const NIGHTLY_FULL_RUN_CRON: &str = "0 3 * * *";

/// Returns the enabled checks of a target, grouped by schedule.
pub(super) fn schedule_checks(
    target: &Target,
    settings: &CheckSettings,
    zone: &TimeZone,
) -> Vec<ScheduledChecks> {
    let own = settings
        .custom_checks
        .iter()
        .filter(|custom| custom.targets.is_empty() || custom.targets.contains(&target.name));
    let builtin = checks::TABLE_CHECKS.iter().map(|check| check.id).filter(|id| settings.is_enabled(id));
    let ids: Vec<&str> = builtin.chain(own.map(|custom| custom.id.as_str())).collect();
    // The constants above are valid, so the fallback is never used.
    let fixed = |text: &str| Schedule::parse_cron(text, zone).unwrap_or(Schedule::Every(24 * HOUR));
    let rarely = if target.schedule.preset == SchedulePreset::ScaleToZero { 6 * HOUR } else { 60 * SECOND };
    let base = target.schedule.base.clone().unwrap_or(Schedule::Every(rarely));
    // Checks that share a schedule also share a check run, and so read the table once.
    let (mut common, mut apart) = (BTreeMap::<&str, BTreeSet<String>>::new(), Vec::new());
    for id in &ids {
        if let Some(schedule) = settings.schedules.get(*id) {
            apart.push(ScheduledChecks {
                schedule: schedule.clone(),
                checks: [(*id).to_owned()].into(),
                ignore_constraints: false,
            });
            continue;
        }
        let group = match target.schedule.preset {
            SchedulePreset::Guide if GUIDE_DAILY_CHECKS.contains(id) => GUIDE_DAILY_CRON,
            SchedulePreset::Guide => GUIDE_WEEKLY_CRON,
            SchedulePreset::Default | SchedulePreset::ScaleToZero => "",
        };
        common.entry(group).or_default().insert((*id).to_owned());
    }
    let together = common.into_iter().map(|(group, checks)| ScheduledChecks {
        schedule: if group.is_empty() { base.clone() } else { fixed(group) },
        checks,
        ignore_constraints: false,
    });
    let mut entries: Vec<ScheduledChecks> = together.chain(apart).collect();
    if target.schedule.preset == SchedulePreset::Default {
        let checks = ids.iter().map(|id| (*id).to_owned()).collect();
        // A corrupt index or a disabled trigger can leave rows that violate a constraint, so one run a night verifies
        // them.
        entries.push(ScheduledChecks {
            schedule: fixed(NIGHTLY_FULL_RUN_CRON),
            checks,
            ignore_constraints: true,
        });
    }
    entries
}
