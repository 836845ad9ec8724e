//! Alerts: the life of a failing check on a target, advanced by each look. Pure: `now` is a parameter, and what is to be
//! told comes back as a notice.

use jiff::SignedDuration;

use crate::{severity::Severity, timestamp::UtcTimestamp};

/// How an alert behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertPolicy {
    /// Failing looks in a row before it fires, at least one.
    pub failure_threshold: u32,
    /// How long it fails before it fires, however few looks there were.
    pub pending_duration: SignedDuration,
    /// Healthy looks in a row before it is resolved, at least one.
    pub success_threshold: u32,
    /// After how long one that still fires is told again; nothing for never.
    pub repeat_interval: Option<SignedDuration>,
}

/// What a look says of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// Nothing wrong.
    Passing,
    /// Something wrong.
    Failing,
    /// Not to be known.
    Unknown,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum AlertState {
    /// Nothing wrong.
    #[default]
    Resolved,
    /// Failing, not yet often enough.
    Pending {
        /// Failing looks in a row.
        failing_runs: u32,
        /// The first of them.
        since: UtcTimestamp,
    },
    /// Failing often enough to be told.
    Firing {
        /// When it began to fire.
        since: UtcTimestamp,
        /// Healthy looks in a row.
        passing_runs: u32,
        /// When it was last told; nothing while it has been silenced from the start.
        notified_at: Option<UtcTimestamp>,
    },
}

/// An alert: a state, and what lies beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// Where it stands.
    pub state: AlertState,
    /// The last look could not say: the state is that of the look before.
    pub is_stale: bool,
    /// Somebody looks after it: it is not told again until it is resolved.
    pub is_acknowledged: bool,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Notification {
    /// It fires.
    Firing,
    /// It still fires.
    Reminder,
    /// It is over.
    Resolved,
}

impl AlertPolicy {
    /// The policy for a severity: critical fires at once, the others at the second failing look; all clear at the second
    /// healthy one. Critical and high are told again every four hours, the others every day.
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

    /// The policy where looks are so far apart: to wait for a second one would be to tell too late.
    #[must_use]
    pub fn for_run_interval(self, run_interval: SignedDuration) -> Self {
        if run_interval < self.pending_duration {
            self
        } else {
            Self { failure_threshold: 1, success_threshold: 1, ..self }
        }
    }
}

impl Notification {
    /// The word for it in messages and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl AlertState {
    /// The word for it in messages and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Alert {
    /// The alert after a look, and what is to be told of it. A silenced alert lives on, and is told when the silence ends.
    #[must_use]
    pub fn advance(
        self,
        check_state: CheckState,
        now: UtcTimestamp,
        silenced: bool,
        policy: AlertPolicy,
    ) -> (Self, Option<Notification>) {
        let state = self.state.clamp_times(now, policy);
        let next = match check_state {
            CheckState::Unknown => Self { is_stale: true, ..self },
            CheckState::Failing => Self { state: state.after_failure(now, policy), is_stale: false, ..self },
            CheckState::Passing => Self { state: state.after_success(policy), is_stale: false, ..self },
        };
        match (state, next.state) {
            (AlertState::Firing { notified_at: told, .. }, AlertState::Resolved) => {
                (Self::default(), told.map(|_| Notification::Resolved))
            }
            (_, AlertState::Firing { since, passing_runs: clear, notified_at: told })
                if check_state == CheckState::Failing && !silenced =>
            {
                match next.due_notification(told, now, policy) {
                    None => (next, None),
                    due => (
                        Self {
                            state: AlertState::Firing { since, passing_runs: clear, notified_at: Some(now) },
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
    ) -> Option<Notification> {
        let Some(told) = notified_at else { return Some(Notification::Firing) };
        let waited = policy.repeat_interval.is_some_and(|wait| now.duration_since(told) >= wait);
        (waited && !self.is_acknowledged).then_some(Notification::Reminder)
    }
}

impl AlertState {
    fn after_failure(self, now: UtcTimestamp, policy: AlertPolicy) -> Self {
        let (looks, since) = match self {
            Self::Firing { since, notified_at: told, .. } => {
                return Self::Firing { since, passing_runs: 0, notified_at: told };
            }
            Self::Pending { failing_runs: looks, since } => (looks.saturating_add(1), since),
            Self::Resolved => (1, now),
        };
        if looks >= policy.failure_threshold || now.duration_since(since) >= policy.pending_duration {
            Self::Firing { since, passing_runs: 0, notified_at: None }
        } else {
            Self::Pending { failing_runs: looks, since }
        }
    }

    /// The clock was set back. What has happened keeps its instant, since the clock may be put right again. Only where
    /// the next repeat would be waited for longer than twice its distance, the last one was just now.
    fn clamp_times(self, now: UtcTimestamp, policy: AlertPolicy) -> Self {
        let is_far =
            |told: &UtcTimestamp| policy.repeat_interval.is_some_and(|wait| told.duration_since(now) > wait);
        match self {
            Self::Firing { since, passing_runs: clear, notified_at: told } => Self::Firing {
                since,
                passing_runs: clear,
                notified_at: told.map(|told| if is_far(&told) { now } else { told }),
            },
            Self::Resolved | Self::Pending { .. } => self,
        }
    }

    fn after_success(self, policy: AlertPolicy) -> Self {
        match self {
            Self::Firing { since, passing_runs: clear, notified_at: told }
                if clear + 1 < policy.success_threshold =>
            {
                Self::Firing { since, passing_runs: clear + 1, notified_at: told }
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

    /// The notices of a sequence of looks, an hour apart.
    fn notices(signs: &str, policy: AlertPolicy) -> String {
        let mut alert = Alert::default();
        let look = |(hour, sign): (i64, char)| {
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
                Some(Notification::Firing) => '!',
                Some(Notification::Reminder) => 'r',
                Some(Notification::Resolved) => 'o',
            }
        };
        (0i64..).zip(signs.chars()).map(look).collect()
    }

    /// What people hear, by counting runs of known looks, and the hours since the first failing one.
    fn model(signs: &str, pending: u32, clear: u32, repeat: i64) -> String {
        let (mut bad, mut good, mut firing, mut told) = (0, 0, false, None);
        let (mut failing_since, pending_hours) = (0, POLICY.pending_duration.as_hours());
        let hear = |(hour, sign): (i64, char)| {
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
                let heard = firing && told.take().is_some();
                firing = false;
                return if heard { 'o' } else { '.' };
            }
            firing |= bad >= pending || bad > 0 && hour - failing_since >= pending_hours;
            if !firing || bad == 0 || silent {
                return '.';
            }
            match told {
                None => {
                    told = Some(hour);
                    '!'
                }
                Some(last) if hour - last >= repeat => {
                    told = Some(hour);
                    'r'
                }
                Some(_) => '.',
            }
        };
        (0i64..).zip(signs.chars()).map(hear).collect()
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
            // Capitals: silenced. It is told when the silence ends, and never resolved if nobody heard of it.
            ("FFFf", "...!"),
            ("FFhh", "...."),
            ("ffHH", ".!.o"),
        ] {
            assert_eq!(notices(signs, POLICY), expected, "{signs}");
        }
        assert_eq!(notices("f", AlertPolicy::for_severity(Severity::Critical)), "!");
    }

    #[test]
    fn nobody_is_told_again_of_what_somebody_looks_after() {
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
            Some(Notification::Reminder)
        );
    }

    #[test]
    fn where_looks_are_rare_one_is_enough_and_time_counts_too() {
        let daily = POLICY.for_run_interval(24 * HOUR);
        assert_eq!(notices("fh", daily), "!o");
        assert_eq!(POLICY.for_run_interval(HOUR), POLICY);
        let patient = AlertPolicy { failure_threshold: 100, pending_duration: 3 * HOUR, ..POLICY };
        assert_eq!(notices("ffffh", patient), "...!.");
    }

    #[test]
    fn a_clock_that_goes_back_keeps_nobody_waiting_for_longer_than_twice_the_repeat() {
        let at = |hour: i64| UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(100 + hour);
        let (alert, told) = Alert::default().advance(
            CheckState::Failing,
            at(0),
            false,
            AlertPolicy::for_severity(Severity::Critical),
        );
        assert_eq!(told, Some(Notification::Firing));
        let (alert, told) = alert.advance(CheckState::Failing, at(-10), false, POLICY);
        assert_eq!(told, None);
        let (alert, told) = alert.advance(CheckState::Failing, at(-7), false, POLICY);
        assert_eq!(told, Some(Notification::Reminder));
        assert_eq!(alert.advance(CheckState::Failing, at(3), false, POLICY).1, Some(Notification::Reminder));
    }

    #[test]
    fn what_has_happened_keeps_its_instant_when_the_clock_goes_back_for_a_while() {
        let at = |minute: i64| UtcTimestamp::UNIX_EPOCH + 100 * HOUR + SignedDuration::from_mins(minute);
        let (pending, _) = Alert::default().advance(CheckState::Failing, at(0), false, POLICY);
        let (firing, _) = pending.advance(CheckState::Failing, at(-170), false, POLICY);
        assert_eq!(
            firing.state,
            AlertState::Firing { since: at(0), passing_runs: 0, notified_at: Some(at(-170)) }
        );
        let (fired, _) = pending.advance(CheckState::Failing, at(1), false, POLICY);
        for sign in [CheckState::Failing, CheckState::Unknown, CheckState::Passing] {
            let (back, told) = fired.advance(sign, at(-150), false, POLICY);
            let (right, again) = back.advance(CheckState::Failing, at(2), false, POLICY);
            assert_eq!((right.state, told, again), (fired.state, None, None), "{sign:?}");
        }
    }

    proptest! {
        /// The model: a plain account of the rules, from the whole story each time, says the same.
        #[test]
        fn agrees_with_a_model(signs in "[fhuFHU]{0,40}", pending in 1u32..4, clear in 1u32..4, repeat in 1i64..5) {
            let policy = AlertPolicy {
                failure_threshold: pending, success_threshold: clear, repeat_interval: Some(SignedDuration::from_hours(repeat)), ..POLICY
            };
            prop_assert_eq!(notices(&signs, policy), model(&signs, pending, clear, repeat));
        }

        /// However looks go, firing and resolved alternate, and nothing is repeated of what does not fire.
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

        /// Enough failing looks fire, and enough healthy ones resolve, from wherever.
        #[test]
        fn nothing_is_missed(signs in "[fhuFHU]{0,30}") {
            let told = notices(&format!("{signs}hhfff"), POLICY);
            prop_assert!(told[told.len() - 3..].contains('!'), "{told}");
            let over = notices(&format!("{signs}hhfffhh"), POLICY);
            prop_assert!(over.ends_with('o'), "{over}");
        }
    }
}
