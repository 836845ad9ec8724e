//! Gauges of two past weeks, so that the charts of the demo are full from the start: busy days, quiet nights and
//! weekends, a deploy that logged everyone out, an incident and a cleanup. They end at the numbers of the live
//! database.

use std::f64::consts::TAU;

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::{DAY, HOUR, MINUTE},
    timestamp::{MICROS_PER_DAY, MICROS_PER_HOUR, UtcTimestamp},
};
use sessionwatch_store::samples::GaugeSample;

use super::milestones::{HISTORY_LENGTH, Milestones};
use crate::demo::{
    random::mix_bits,
    shop_database::{self, ShopTotals},
};

/// Time before the end for which there is a sample a minute, as of a running daemon. Before, one in five minutes.
const FINE_PERIOD: SignedDuration = SignedDuration::from_hours(6);
/// Time in which customers log in again after everyone was logged out.
const RECOVERY_TIME: SignedDuration = SignedDuration::from_hours(16);

/// Past of the shop's gauges.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastGauges<'a> {
    pub(super) milestones: &'a Milestones,
    pub(super) totals: ShopTotals,
}

/// Returns the times of past check runs, oldest first. The last one is before `end`.
pub(super) fn run_times(end: UtcTimestamp) -> Vec<UtcTimestamp> {
    let (mut at, mut times) = (end - HISTORY_LENGTH, vec![]);
    while at < end {
        times.push(at);
        at += if end.duration_since(at) > FINE_PERIOD { MINUTE * 5 } else { MINUTE };
    }
    times
}

impl PastGauges<'_> {
    /// Returns the samples of the shop.
    pub(super) fn shop_samples(&self) -> Vec<GaugeSample> {
        run_times(self.milestones.end).into_iter().map(|at| self.sample_at(at)).collect()
    }

    fn sample_at(&self, at: UtcTimestamp) -> GaugeSample {
        let Milestones { end, deploy, leak, contained, cleanup, test_account, .. } = *self.milestones;
        let is_shared = at >= leak && at < contained;
        let active = self.active_at(at);
        let expired = f64::from(i32::try_from(self.expired_at(at)).unwrap_or(0));
        let ratio = f64::from(self.totals.active) / f64::from(self.totals.users.max(1));
        let logins = self.logins_at(at);
        let most = if at >= test_account { self.totals.max_per_user } else { 5 };
        let interval = if end.duration_since(at) > FINE_PERIOD { 12.0 } else { 60.0 };
        let created = (logins / interval * jitter_at(at, 3, 0.35)).round();
        let everyone =
            if at >= deploy && at.duration_since(deploy) < MINUTE * 5 { active * 40.0 } else { 0.0 };
        let removed = if at >= cleanup && at.duration_since(cleanup) < MINUTE * 5 { 560.0 } else { 0.0 };
        GaugeSample::from_run(
            at,
            Some(&[
                ("stored", active + expired),
                ("active", active),
                ("expired", expired),
                ("never_expiring", 0.0),
                ("undecodable", 0.0),
                ("anonymous", 0.0),
                ("users_active", (active / ratio).round()),
                ("max_per_user", f64::from(most)),
                ("duplicate_tokens", if is_shared { 3.0 } else { 0.0 }),
                ("orphaned", 0.0),
                ("created_last_hour", logins.round()),
                ("created", created),
                ("extended", 0.0),
                ("ended", (created * jitter_at(at, 4, 0.3)).round() + everyone.round() + removed),
                ("reassigned", 0.0),
                ("reappeared", 0.0),
                ("per_user", ratio * jitter_at(at, 5, 0.002)),
            ]),
        )
    }

    /// Returns the number of active sessions: it follows the logins by some hours, and is all but gone after the
    /// deploy.
    fn active_at(&self, at: UtcTimestamp) -> f64 {
        let Milestones { end, deploy, .. } = *self.milestones;
        let follows = |at| 1.0 + 0.16 * (activity_at(at - HOUR * 2) - 1.0);
        let since_deploy = at.duration_since(deploy);
        let logged_in = if at < deploy {
            1.04
        } else {
            1.0 - 0.97 * (-since_deploy.as_secs_f64() / RECOVERY_TIME.as_secs_f64()).exp()
        };
        (f64::from(self.totals.active) * follows(at) / follows(end) * logged_in * jitter_at(at, 1, 0.004))
            .round()
    }

    /// Returns the number of sessions created in the hour before.
    fn logins_at(&self, at: UtcTimestamp) -> f64 {
        let Milestones { end, deploy, .. } = *self.milestones;
        let usual = f64::from(self.totals.created_last_hour) * activity_at(at) / activity_at(end);
        let since = at.duration_since(deploy).as_secs_f64() / 3_600.0;
        // Everyone who was logged out logs in again, the most in the first hours.
        let surge = if since < 0.0 { 0.0 } else { 1_150.0 * since.min(1.0) * (-since / 4.0).exp() };
        (usual + surge) * jitter_at(at, 2, 0.05)
    }

    fn expired_at(&self, at: UtcTimestamp) -> i64 {
        let Milestones { now, cleanup, kept_since, .. } = *self.milestones;
        shop_database::count_expired_at(at, now, (at >= cleanup).then_some(kept_since))
    }
}

/// Returns the samples of the dashboard's own logins: the two people of the team, by day.
pub(super) fn dashboard_samples(end: UtcTimestamp) -> Vec<GaugeSample> {
    let sample = |at| {
        let logins = if activity_at(at) > 0.9 { 2.0 } else { 1.0 };
        let gauges = [
            ("stored", logins),
            ("active", logins),
            ("users_active", logins),
            ("max_per_user", 1.0),
            ("per_user", 1.0),
            ("created_last_hour", 0.0),
        ];
        let zero = ["expired", "never_expiring", "undecodable", "anonymous", "duplicate_tokens", "orphaned"];
        let zero = zero.map(|name| (name, 0.0));
        GaugeSample::from_run(at, Some(&[&gauges[..], &zero[..]].concat()))
    };
    // One an hour suffices for charts of more than a day.
    let is_needed = |at: &UtcTimestamp| {
        end.duration_since(*at) <= DAY || at.micros() % MICROS_PER_HOUR < MICROS_PER_HOUR / 12
    };
    run_times(end).into_iter().filter(is_needed).map(sample).collect()
}

/// Returns how busy the shop is, on average 1: most in the afternoon, least at night, less at the weekend.
#[expect(clippy::cast_precision_loss, reason = "hours of a day")]
fn activity_at(at: UtcTimestamp) -> f64 {
    let micros = at.micros();
    let hour = micros.rem_euclid(MICROS_PER_DAY) as f64 / MICROS_PER_HOUR as f64;
    let day =
        1.0 + 0.55 * (TAU * (hour - 15.0) / 24.0).cos() + 0.12 * (2.0 * TAU * (hour - 12.0) / 24.0).cos();
    // From noon to noon, so that the weekend does not begin with a step at midnight.
    let noon = micros - MICROS_PER_DAY / 2;
    let (number, share) =
        (noon.div_euclid(MICROS_PER_DAY), noon.rem_euclid(MICROS_PER_DAY) as f64 / MICROS_PER_DAY as f64);
    let weekday = |number: i64| match (number + 4).rem_euclid(7) {
        0 => 0.62,
        6 => 0.68,
        5 => 1.06,
        _ => 1.1,
    };
    day * (weekday(number) * (1.0 - share) + weekday(number + 1) * share)
}

/// Returns a factor near 1, at most `most` away, the same at every start for the same minute.
fn jitter_at(at: UtcTimestamp, of: u64, most: f64) -> f64 {
    let minute = at.micros().div_euclid(MICROS_PER_HOUR / 60).cast_unsigned();
    let share = u16::try_from(mix_bits(minute * 8 + of) & 0xffff).unwrap_or(0);
    let share = f64::from(share) / f64::from(u16::MAX);
    1.0 + most * (2.0 * share - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nights_and_weekends_are_quiet_and_nothing_jumps() {
        // 1970-01-05 was a Monday.
        let monday = UtcTimestamp::UNIX_EPOCH + DAY * 4;
        assert!(activity_at(monday + HOUR * 3) < 0.7 && activity_at(monday + HOUR * 15) > 1.5);
        assert!(activity_at(monday + DAY * 6 + HOUR * 15) < 0.7 * activity_at(monday + HOUR * 15));
        for minute in 0..7 * 24 * 60 {
            let at = monday + MINUTE * minute;
            assert!((activity_at(at) - activity_at(at + MINUTE)).abs() < 0.02);
        }
    }

    #[test]
    fn the_history_ends_at_the_live_numbers() {
        let now = UtcTimestamp::UNIX_EPOCH + DAY * 20_000 + HOUR * 9;
        let totals = ShopTotals { active: 4_000, users: 2_300, created_last_hour: 280, max_per_user: 37 };
        let milestones = Milestones::new(now);
        let samples = PastGauges { milestones: &milestones, totals }.shop_samples();
        let value = |sample: &GaugeSample, name: &str| sample.gauges[name][0];
        let last = samples.last().unwrap();
        assert!((value(last, "active") - 4_000.0).abs() < 60.0);
        assert!((value(last, "created_last_hour") - 280.0).abs() < 40.0);
        let lowest = samples.iter().map(|sample| value(sample, "active")).fold(f64::MAX, f64::min);
        assert!(lowest < 400.0, "the deploy logged everyone out: {lowest}");
        assert!(samples.iter().any(|sample| value(sample, "duplicate_tokens") > 0.0));
        assert!(now.duration_since(samples[0].at) >= DAY * 14);
    }
}
