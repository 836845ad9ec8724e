//! The checks of a target by their schedules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use sessionwatch_core::duration::{HOUR, SECOND};

use super::{Preset, Target};
use crate::{
    checks::{self, Rules},
    schedule::{Entry, Schedule},
};

/// The guide looks at these every day.
const DAILY: [&str; 3] = ["duplicate-tokens", "orphaned-sessions", "sessions-per-user"];
const EACH_DAY: &str = "0 6 * * *";
const EACH_WEEK: &str = "30 6 * * mon";
const EACH_NIGHT: &str = "0 3 * * *";

/// The checks of a target by their schedules.
pub(super) fn entries(target: &Target, rules: &Rules, zone: &TimeZone) -> Vec<Entry> {
    let own = rules
        .custom
        .iter()
        .filter(|custom| custom.targets.is_empty() || custom.targets.contains(&target.name));
    let builtin = checks::TABLE_CHECKS.iter().map(|check| check.id).filter(|id| rules.enabled(id));
    let ids: Vec<&str> = builtin.chain(own.map(|custom| custom.id.as_str())).collect();
    let fixed = |text: &str| Schedule::cron(text, zone).unwrap_or(Schedule::Every(24 * HOUR));
    let rarely = if target.rhythm.preset == Preset::ScaleToZero { 6 * HOUR } else { 60 * SECOND };
    let base = target.rhythm.base.clone().unwrap_or(Schedule::Every(rarely));
    let (mut common, mut apart) = (BTreeMap::<&str, BTreeSet<String>>::new(), Vec::new());
    for id in &ids {
        if let Some(schedule) = rules.schedules.get(*id) {
            apart.push(Entry { schedule: schedule.clone(), checks: [(*id).to_owned()].into(), deep: false });
            continue;
        }
        let group = match target.rhythm.preset {
            Preset::Guide if DAILY.contains(id) => EACH_DAY,
            Preset::Guide => EACH_WEEK,
            Preset::Default | Preset::ScaleToZero => "",
        };
        common.entry(group).or_default().insert((*id).to_owned());
    }
    let together = common.into_iter().map(|(group, checks)| Entry {
        schedule: if group.is_empty() { base.clone() } else { fixed(group) },
        checks,
        deep: false,
    });
    let mut entries: Vec<Entry> = together.chain(apart).collect();
    if target.rhythm.preset == Preset::Default {
        let checks = ids.iter().map(|id| (*id).to_owned()).collect();
        entries.push(Entry { schedule: fixed(EACH_NIGHT), checks, deep: true });
    }
    entries
}
