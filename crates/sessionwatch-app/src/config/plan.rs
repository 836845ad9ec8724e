//! Schedules as written, and the plan that comes of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use sessionwatch_core::instant::{HOUR, SECOND};

use super::{
    Preset, Target,
    reader::{Node, Reader},
};
use crate::{
    checks::{self, Rules},
    schedule::{Entry, Schedule},
};

/// The guide looks at these every day.
const DAILY: [&str; 3] = ["duplicate-tokens", "orphaned-sessions", "sessions-per-user"];
const EACH_DAY: &str = "0 6 * * *";
const EACH_WEEK: &str = "30 6 * * mon";
const EACH_NIGHT: &str = "0 3 * * *";

/// The time zone of cron expressions.
pub(super) fn zone(reader: &mut Reader<'_>, root: &Node) -> TimeZone {
    let node = root.below("serve").first();
    let Some((node, name)) = node.and_then(|node| Some((node, node.text("timezone")?))) else {
        return TimeZone::UTC;
    };
    TimeZone::get(name).unwrap_or_else(|_| {
        let message = "must be the IANA name of a time zone, such as \"Europe/Berlin\"";
        reader.problem(node.at("timezone"), "serve.timezone", message.into());
        TimeZone::UTC
    })
}

/// What `every` or `cron` of a section says; nothing if neither is written, or what is written is wrong.
pub(super) fn schedule(
    reader: &mut Reader<'_>,
    node: &Node,
    (place, zone): (&str, &TimeZone),
) -> Option<Schedule> {
    match (node.whole("every"), node.text("cron")) {
        (Some(_), Some(_)) => {
            let message = "every and cron are both written: leave one out";
            reader.problem(node.at("cron"), place, message.into());
            None
        }
        (Some(seconds), None) => {
            Some(Schedule::Every(i64::try_from(seconds).unwrap_or(i64::MAX / SECOND) * SECOND))
        }
        (None, Some(_)) => cron(reader, node, (place, zone)),
        (None, None) => None,
    }
}

/// What `cron` of a section says; nothing if it is not written, or wrong.
pub(super) fn cron(
    reader: &mut Reader<'_>,
    node: &Node,
    (place, zone): (&str, &TimeZone),
) -> Option<Schedule> {
    let schedule = Schedule::cron(node.text("cron")?, zone);
    let refused = |error: &crate::schedule::BadCron| {
        reader.problem(node.at("cron"), &format!("{place}.cron"), error.to_string());
    };
    schedule.inspect_err(refused).ok()
}

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
