//! Alerts: the state machine of a failing check on a target, advanced by each check run. Pure functions: `now` is a
//! parameter, and notifications are returned.

use jiff::SignedDuration;

use crate::{severity::Severity, timestamp::UtcTimestamp};

/// Thresholds and intervals of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertPolicy {
    /// Consecutive failing runs before the alert fires, at least 1.
    pub failure_threshold: u32,
    /// Time after which a pending alert fires, however few runs there were.
    pub pending_duration: SignedDuration,
    /// Consecutive passing runs before the alert is resolved, at least 1.
    pub success_threshold: u32,
    /// Interval between reminders while the alert fires; `None` for no reminders.
    pub repeat_interval: Option<SignedDuration>,
}

/// Result of one check in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// No problem found.
    Passing,
    /// A problem was found.
    Failing,
    /// The result is unknown.
    Unknown,
}

/// State of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum AlertState {
    /// No alert.
    #[default]
    Resolved,
    /// Failing, but not yet often or long enough.
    Pending {
        /// Consecutive failing runs.
        failing_runs: u32,
        /// Time of the first of them.
        since: UtcTimestamp,
    },
    /// Failing often or long enough to notify.
    Firing {
        /// Time of the first failing run.
        since: UtcTimestamp,
        /// Consecutive passing runs.
        passing_runs: u32,
        /// Time of the last notification; `None` if the alert has been silenced from the start.
        notified_at: Option<UtcTimestamp>,
    },
}

/// Alert of a check on a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// State.
    pub state: AlertState,
    /// The last result is unknown, and the state is that of an earlier run.
    pub is_stale: bool,
    /// The alert is acknowledged: no reminders are sent until it is resolved.
    pub is_acknowledged: bool,
}

/// Kind of notification to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum NotificationKind {
    /// The alert fires.
    Firing,
    /// Reminder: the alert still fires.
    Reminder,
    /// The alert is resolved.
    Resolved,
}

impl AlertPolicy {
    /// Returns the default policy for a severity. Critical alerts fire on the first failing run, others on the
    /// second. All are resolved by the second passing run. Reminders are sent every 4 hours for critical and high,
    /// else every 24.
    #[must_use]
    pub const fn for_severity(severity: Severity) -> Self {
        let (failure_threshold, hours) = match severity {
            Severity::Critical => (1, 4),
            Severity::High => (2, 4),
            Severity::Medium | Severity::Low => (2, 24),
        };
        Self {
            failure_threshold,
            pending_duration: SignedDuration::from_mins(15),
            success_threshold: 2,
            repeat_interval: Some(SignedDuration::from_hours(hours)),
        }
    }

    /// Adapts the policy to the time between runs: with rare runs, a single result is enough.
    #[must_use]
    pub fn for_run_interval(self, run_interval: SignedDuration) -> Self {
        // Waiting for a second run would exceed the pending duration.
        if run_interval < self.pending_duration {
            self
        } else {
            Self { failure_threshold: 1, success_threshold: 1, ..self }
        }
    }
}

impl NotificationKind {
    /// Returns the name used in messages and in the state store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl AlertState {
    /// Returns the name used in messages and in the state store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Alert {
    /// Returns the alert after a check run, and the notification to send. A silenced alert keeps its state and
    /// notifies when the silence ends.
    #[must_use]
    pub fn advance(
        self,
        check_state: CheckState,
        now: UtcTimestamp,
        silenced: bool,
        policy: AlertPolicy,
    ) -> (Self, Option<NotificationKind>) {
        let state = self.state.clamp_times(now, policy);
        let next = match check_state {
            CheckState::Unknown => Self { is_stale: true, ..self },
            CheckState::Failing => Self { state: state.after_failure(now, policy), is_stale: false, ..self },
            CheckState::Passing => Self { state: state.after_success(policy), is_stale: false, ..self },
        };
        match (state, next.state) {
            // Nobody was notified of an alert that was silenced throughout, so its resolution is not sent either.
            (AlertState::Firing { notified_at, .. }, AlertState::Resolved) => {
                (Self::default(), notified_at.map(|_| NotificationKind::Resolved))
            }
            (_, AlertState::Firing { since, passing_runs, notified_at })
                if check_state == CheckState::Failing && !silenced =>
            {
                match next.due_notification(notified_at, now, policy) {
                    None => (next, None),
                    due => (
                        Self {
                            state: AlertState::Firing { since, passing_runs, notified_at: Some(now) },
                            ..next
                        },
                        due,
                    ),
                }
            }
            _ => (next, None),
        }
    }

    fn due_notification(
        self,
        notified_at: Option<UtcTimestamp>,
        now: UtcTimestamp,
        policy: AlertPolicy,
    ) -> Option<NotificationKind> {
        let Some(notified_at) = notified_at else { return Some(NotificationKind::Firing) };
        let is_due = policy.repeat_interval.is_some_and(|wait| now.duration_since(notified_at) >= wait);
        (is_due && !self.is_acknowledged).then_some(NotificationKind::Reminder)
    }
}

impl AlertState {
    fn after_failure(self, now: UtcTimestamp, policy: AlertPolicy) -> Self {
        let (failing_runs, since) = match self {
            Self::Firing { since, notified_at, .. } => {
                return Self::Firing { since, passing_runs: 0, notified_at };
            }
            Self::Pending { failing_runs, since } => (failing_runs.saturating_add(1), since),
            Self::Resolved => (1, now),
        };
        if failing_runs >= policy.failure_threshold || now.duration_since(since) >= policy.pending_duration {
            Self::Firing { since, passing_runs: 0, notified_at: None }
        } else {
            Self::Pending { failing_runs, since }
        }
    }

    /// Limits the delay of the next reminder to twice the repeat interval if the clock was set back.
    fn clamp_times(self, now: UtcTimestamp, policy: AlertPolicy) -> Self {
        // Other times in the future are kept, because the clock may be corrected again.
        let is_far = |notified_at: &UtcTimestamp| {
            policy.repeat_interval.is_some_and(|wait| notified_at.duration_since(now) > wait)
        };
        match self {
            Self::Firing { since, passing_runs, notified_at } => Self::Firing {
                since,
                passing_runs,
                notified_at: notified_at.map(|at| if is_far(&at) { now } else { at }),
            },
            Self::Resolved | Self::Pending { .. } => self,
        }
    }

    fn after_success(self, policy: AlertPolicy) -> Self {
        match self {
            Self::Firing { since, passing_runs, notified_at }
                if passing_runs + 1 < policy.success_threshold =>
            {
                Self::Firing { since, passing_runs: passing_runs + 1, notified_at }
            }
            _ => Self::Resolved,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::duration::HOUR;

    const POLICY: AlertPolicy = AlertPolicy {
        failure_threshold: 2,
        pending_duration: SignedDuration::from_hours(9),
        success_threshold: 2,
        repeat_interval: Some(SignedDuration::from_hours(3)),
    };

    /// Returns the notifications of a sequence of runs, an hour apart.
    fn notices(signs: &str, policy: AlertPolicy) -> String {
        let mut alert = Alert::default();
        let run = |(hour, sign): (i64, char)| {
            let sign_of = |letter: char| match letter.to_ascii_lowercase() {
                'f' => CheckState::Failing,
                'u' => CheckState::Unknown,
                _ => CheckState::Passing,
            };
            let now = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
            let (next, notice) = alert.advance(sign_of(sign), now, sign.is_uppercase(), policy);
            alert = next;
            match notice {
                None => '.',
                Some(NotificationKind::Firing) => '!',
                Some(NotificationKind::Reminder) => 'r',
                Some(NotificationKind::Resolved) => 'o',
            }
        };
        (0i64..).zip(signs.chars()).map(run).collect()
    }

    /// A simpler model of the same rules: counts streaks of known results, and the hours since the first failing run.
    fn model(signs: &str, pending: u32, clear: u32, repeat: i64) -> String {
        let (mut bad, mut good, mut firing, mut last_notified) = (0, 0, false, None);
        let (mut failing_since, pending_hours) = (0, POLICY.pending_duration.as_hours());
        let advance = |(hour, sign): (i64, char)| {
            let silent = sign.is_uppercase();
            match sign.to_ascii_lowercase() {
                'f' => {
                    failing_since = if bad == 0 { hour } else { failing_since };
                    (bad, good) = (bad + 1, 0);
                }
                'h' => (bad, good) = (0, good + 1),
                _ => return '.',
            }
            if good >= clear && firing || good > 0 && !firing {
                let was_notified = firing && last_notified.take().is_some();
                firing = false;
                return if was_notified { 'o' } else { '.' };
            }
            firing |= bad >= pending || bad > 0 && hour - failing_since >= pending_hours;
            if !firing || bad == 0 || silent {
                return '.';
            }
            match last_notified {
                None => {
                    last_notified = Some(hour);
                    '!'
                }
                Some(last) if hour - last >= repeat => {
                    last_notified = Some(hour);
                    'r'
                }
                Some(_) => '.',
            }
        };
        (0i64..).zip(signs.chars()).map(advance).collect()
    }

    #[test]
    fn fires_once_repeats_and_resolves_once() {
        for (signs, expected) in [
            ("fffhhh", ".!..o."),
            ("fhfhfh", "......"),
            ("fffffff", ".!..r.."),
            ("ffhfhfhh", ".!...r.o"),
            ("ffuuhh", ".!...o"),
            ("fuf", "..!"),
            ("uuuu", "...."),
            ("fuuuuuuuuf", ".........!"),
            // Capitals are silenced runs. The alert notifies when the silence ends; if it never notified, neither is
            // its end.
            ("FFFf", "...!"),
            ("FFhh", "...."),
            ("ffHH", ".!.o"),
        ] {
            assert_eq!(notices(signs, POLICY), expected, "{signs}");
        }
        assert_eq!(notices("f", AlertPolicy::for_severity(Severity::Critical)), "!");
    }

    #[test]
    fn acknowledged_alerts_send_no_reminders() {
        let now = |hour| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let (alert, _) = Alert::default().advance(
            CheckState::Failing,
            now(0),
            false,
            AlertPolicy::for_severity(Severity::Critical),
        );
        let acknowledged = Alert { is_acknowledged: true, ..alert };
        assert_eq!(acknowledged.advance(CheckState::Failing, now(50), false, POLICY).1, None);
        assert_eq!(
            alert.advance(CheckState::Failing, now(50), false, POLICY).1,
            Some(NotificationKind::Reminder)
        );
    }

    #[test]
    fn one_failing_run_is_enough_if_runs_are_rare_and_long_failures_fire() {
        let daily = POLICY.for_run_interval(24 * HOUR);
        assert_eq!(notices("fh", daily), "!o");
        assert_eq!(POLICY.for_run_interval(HOUR), POLICY);
        let patient = AlertPolicy { failure_threshold: 100, pending_duration: 3 * HOUR, ..POLICY };
        assert_eq!(notices("ffffh", patient), "...!.");
    }

    #[test]
    fn a_clock_set_back_delays_reminders_by_at_most_twice_the_interval() {
        let at = |hour: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(100 + hour);
        let (alert, notice) = Alert::default().advance(
            CheckState::Failing,
            at(0),
            false,
            AlertPolicy::for_severity(Severity::Critical),
        );
        assert_eq!(notice, Some(NotificationKind::Firing));
        let (alert, notice) = alert.advance(CheckState::Failing, at(-10), false, POLICY);
        assert_eq!(notice, None);
        let (alert, notice) = alert.advance(CheckState::Failing, at(-7), false, POLICY);
        assert_eq!(notice, Some(NotificationKind::Reminder));
        assert_eq!(
            alert.advance(CheckState::Failing, at(3), false, POLICY).1,
            Some(NotificationKind::Reminder)
        );
    }

    #[test]
    fn a_clock_set_back_for_a_while_does_not_change_past_times() {
        let at = |minute: i64| UtcTimestamp::UNIX_EPOCH + 100 * HOUR + SignedDuration::from_mins(minute);
        let (pending, _) = Alert::default().advance(CheckState::Failing, at(0), false, POLICY);
        let (firing, _) = pending.advance(CheckState::Failing, at(-170), false, POLICY);
        assert_eq!(
            firing.state,
            AlertState::Firing { since: at(0), passing_runs: 0, notified_at: Some(at(-170)) }
        );
        let (fired, _) = pending.advance(CheckState::Failing, at(1), false, POLICY);
        for sign in [CheckState::Failing, CheckState::Unknown, CheckState::Passing] {
            let (back, notice) = fired.advance(sign, at(-150), false, POLICY);
            let (right, again) = back.advance(CheckState::Failing, at(2), false, POLICY);
            assert_eq!((right.state, notice, again), (fired.state, None, None), "{sign:?}");
        }
    }

    proptest! {
        /// The state machine agrees with the model.
        #[test]
        fn agrees_with_a_model(signs in "[fhuFHU]{0,40}", pending in 1u32..4, clear in 1u32..4, repeat in 1i64..5) {
            let policy = AlertPolicy {
                failure_threshold: pending, success_threshold: clear,
                repeat_interval: Some(SignedDuration::from_hours(repeat)), ..POLICY
            };
            prop_assert_eq!(notices(&signs, policy), model(&signs, pending, clear, repeat));
        }

        /// Firing and resolved alternate, and only firing alerts send reminders, whatever the results.
        #[test]
        fn firing_and_resolved_alternate(signs in "[fhuFHU]{0,60}", pending in 1u32..4, clear in 1u32..4) {
            let policy = AlertPolicy { failure_threshold: pending, success_threshold: clear, ..POLICY };
            let mut firing = false;
            for notice in notices(&signs, policy).chars() {
                match notice {
                    '!' => { prop_assert!(!firing); firing = true; }
                    'o' => { prop_assert!(firing); firing = false; }
                    'r' => prop_assert!(firing),
                    _ => {}
                }
            }
        }

        /// Enough failing runs fire and enough passing runs resolve, from any state.
        #[test]
        fn nothing_is_missed(signs in "[fhuFHU]{0,30}") {
            let sent = notices(&format!("{signs}hhfff"), POLICY);
            prop_assert!(sent[sent.len() - 3..].contains('!'), "{sent}");
            let over = notices(&format!("{signs}hhfffhh"), POLICY);
            prop_assert!(over.ends_with('o'), "{over}");
        }
    }
}
