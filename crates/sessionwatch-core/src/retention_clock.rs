//! Clock for retention. Data removed for its age cannot be recovered, so a clock that is wrong for a while must not
//! remove any.
//!
//! Retention uses the confirmed time: the last time that was confirmed, plus the monotonic time since then. The wall
//! clock confirms the time after it has run steadily for six hours, or for one hour in which a database's clock
//! agreed with it. As long as databases only disagree, the time is not confirmed.

use jiff::SignedDuration;

use crate::timestamp::UtcTimestamp;

/// Smallest difference between the advance of wall time and of monotonic time that counts as a clock jump.
pub const MIN_CLOCK_JUMP: SignedDuration = SignedDuration::from_secs(2);
/// Largest difference between two clocks that agree.
pub const MAX_AGREEING_DIFFERENCE: SignedDuration = SignedDuration::from_mins(1);
/// Time that a clock must run steadily to confirm the time.
pub const STEADY_CONFIRMATION_TIME: SignedDuration = SignedDuration::from_hours(6);
/// Time that a database's clock must agree with a steady clock to confirm the time.
pub const AGREEMENT_CONFIRMATION_TIME: SignedDuration = SignedDuration::from_hours(1);

/// Reading of the wall clock and of a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Wall time.
    pub wall: UtcTimestamp,
    /// Monotonic time since an arbitrary start.
    pub elapsed: SignedDuration,
}

/// Tracks the confirmed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionClock {
    /// The time that was confirmed last.
    confirmed: ClockReading,
    /// The first reading since the last jump.
    steady_since: ClockReading,
    last: ClockReading,
    /// Monotonic time of the first and last agreement of a database since the last jump.
    agreed: Option<(SignedDuration, SignedDuration)>,
    /// Monotonic time of the last disagreement of a database since the last jump.
    disagreed: Option<SignedDuration>,
}

impl RetentionClock {
    /// Creates the clock from a first reading and a time known to have passed.
    #[must_use]
    pub const fn new(wall: UtcTimestamp, now: ClockReading) -> Self {
        let wall = ClockReading { wall, elapsed: now.elapsed };
        Self { confirmed: wall, steady_since: now, last: now, agreed: None, disagreed: None }
    }

    /// Records a reading. Returns the size of a clock jump since the last one, negative for a jump back;
    /// `None` if it did not jump.
    pub fn observe_reading(&mut self, now: ClockReading) -> Option<SignedDuration> {
        let set = now.wall.duration_since(self.last.wall) - (now.elapsed - self.last.elapsed);
        self.last = now;
        if set.abs() > MIN_CLOCK_JUMP {
            // A jump invalidates all evidence about the clock; the confirmed time continues on the monotonic clock.
            (self.steady_since, self.agreed, self.disagreed) = (now, None, None);
            return Some(set);
        }
        if self.is_confirmed() {
            self.confirmed = now;
        }
        None
    }

    /// Records how far a database's clock is ahead of this one.
    pub fn observe_database_clock(&mut self, ahead: SignedDuration) {
        let now = self.last.elapsed;
        if ahead.abs() <= MAX_AGREEING_DIFFERENCE {
            self.agreed = Some((self.agreed.map_or(now, |(first, _)| first), now));
        } else {
            self.disagreed = Some(now);
        }
    }

    /// Accepts a time that another process has confirmed, unless this clock has confirmed the time itself.
    pub fn accept_confirmed(&mut self, confirmed: UtcTimestamp) {
        // An earlier time adds nothing.
        if !self.is_confirmed() && confirmed > self.confirmed_at(self.last.elapsed) {
            self.confirmed = ClockReading { wall: confirmed, elapsed: self.last.elapsed };
        }
    }

    /// Returns the confirmed time at a monotonic time. It may be ahead of a wall clock that is behind.
    #[must_use]
    pub fn confirmed_at(&self, elapsed: SignedDuration) -> UtcTimestamp {
        self.confirmed.wall + (elapsed - self.confirmed.elapsed)
    }

    /// Returns the confirmed time at a reading, at most its wall time.
    #[must_use]
    pub fn confirmed_past(&self, now: ClockReading) -> UtcTimestamp {
        self.confirmed_at(now.elapsed).min(now.wall)
    }

    fn is_confirmed(&self) -> bool {
        let since = |elapsed: SignedDuration| self.last.elapsed - elapsed;
        let steady = since(self.steady_since.elapsed);
        match (self.agreed, self.disagreed) {
            // Recent agreement of any database outweighs disagreement of others, whose clocks may be wrong.
            (Some((first, last)), _) if since(last) <= STEADY_CONFIRMATION_TIME => {
                since(first) >= AGREEMENT_CONFIRMATION_TIME
            }
            (_, Some(last)) => since(last) > STEADY_CONFIRMATION_TIME,
            _ => steady >= STEADY_CONFIRMATION_TIME,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::duration::{DAY, HOUR, MINUTE, SECOND, from_days};

    const START: SignedDuration = SignedDuration::ZERO;
    const RIGHT: SignedDuration = SignedDuration::ZERO;

    fn at(after: SignedDuration) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + from_days(20_000) + after
    }

    /// Returns a reading of a clock that is off by `off`.
    fn reading(elapsed: SignedDuration, off: SignedDuration) -> ClockReading {
        ClockReading { wall: at(elapsed + off), elapsed }
    }

    /// Records a reading every minute of a clock that is off by `off`.
    fn go_on(
        clock: &mut RetentionClock,
        from: SignedDuration,
        to: SignedDuration,
        off: SignedDuration,
        database: Option<SignedDuration>,
    ) {
        for minute in from.as_mins() + 1..=to.as_mins() {
            assert_eq!(clock.observe_reading(reading(SignedDuration::from_mins(minute), off)), None);
            if let Some(database) = database {
                clock.observe_database_clock(database - off);
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_for_hours_does_not_advance_the_confirmed_time() {
        let mut clock = RetentionClock::new(at(START), reading(START, RIGHT));
        for ahead in [8 * DAY, 500 * DAY, 5 * MINUTE] {
            let passed = |clock: &RetentionClock, off| clock.confirmed_past(reading(clock.last.elapsed, off));
            let now = clock.last.elapsed + MINUTE;
            assert_eq!(clock.observe_reading(reading(now, ahead)), Some(ahead));
            go_on(&mut clock, now, now + 5 * HOUR, ahead, None);
            assert_eq!(passed(&clock, ahead), at(now + 5 * HOUR), "the monotonic time continues");
            assert_eq!(clock.observe_reading(reading(now + 6 * HOUR, RIGHT)), Some(-ahead));
            assert_eq!(passed(&clock, RIGHT), at(now + 6 * HOUR));
        }
    }

    #[test]
    fn a_start_after_a_long_downtime_catches_up_within_hours() {
        let begin = || RetentionClock::new(at(-30 * DAY), reading(START, RIGHT));
        let caught_up_after = |database: Option<SignedDuration>| {
            let mut clock = begin();
            (1..24 * 60).find(|minute| {
                let now = SignedDuration::from_mins(*minute);
                go_on(&mut clock, now - MINUTE, now, RIGHT, database);
                clock.confirmed_past(reading(now, RIGHT)) == at(now)
            })
        };
        assert_eq!(caught_up_after(None), Some(360));
        assert_eq!(caught_up_after(Some(SECOND)), Some(61));
        assert_eq!(caught_up_after(Some(HOUR)), None, "clocks that disagree confirm nothing");
        let mut clock = begin();
        go_on(&mut clock, START, HOUR, RIGHT, Some(DAY));
        go_on(&mut clock, HOUR, 3 * HOUR, RIGHT, Some(RIGHT));
        assert_eq!(
            clock.confirmed_past(reading(3 * HOUR, RIGHT)),
            at(3 * HOUR),
            "the database's clock was corrected"
        );
    }

    #[test]
    fn a_wrongly_confirmed_clock_is_followed_back() {
        let mut clock = RetentionClock::new(at(START), reading(START, DAY));
        go_on(&mut clock, START, 7 * HOUR, DAY, None);
        assert_eq!(clock.confirmed_past(reading(7 * HOUR, DAY)), at(7 * HOUR + DAY));
        clock.observe_reading(reading(8 * HOUR, RIGHT));
        assert_eq!(clock.confirmed_past(reading(8 * HOUR, RIGHT)), at(8 * HOUR));
        go_on(&mut clock, 8 * HOUR, 15 * HOUR, RIGHT, None);
        assert_eq!(clock.confirmed_past(reading(15 * HOUR, DAY)), at(15 * HOUR));
    }

    #[test]
    fn small_steps_are_no_jumps_and_a_later_time_of_another_process_is_accepted() {
        let mut clock = RetentionClock::new(at(-DAY), reading(START, RIGHT));
        assert_eq!(clock.observe_reading(reading(MINUTE, SECOND)), None);
        assert_eq!(clock.observe_reading(reading(2 * MINUTE, -SECOND)), None);
        clock.accept_confirmed(at(-HOUR));
        assert_eq!(clock.confirmed_past(reading(3 * MINUTE, RIGHT)), at(MINUTE - HOUR));
        clock.accept_confirmed(at(-DAY));
        assert_eq!(
            clock.confirmed_past(reading(3 * MINUTE, RIGHT)),
            at(MINUTE - HOUR),
            "an earlier time changes nothing"
        );
    }

    proptest! {
        /// The confirmed time never exceeds the real time, however the clock is set and the program restarted, unless
        /// a wrong clock runs steadily for hours and no database disagrees.
        #[test]
        fn the_confirmed_time_never_exceeds_the_real_time(
            steps in prop::collection::vec(
                (
                    1i64..300,
                    prop_oneof![Just(0), -500 * 24 * 3_600..500 * 24 * 3_600i64],
                    any::<bool>(),
                    any::<bool>(),
                ),
                1..60,
            ),
        ) {
            let mut now = START;
            let mut clock = RetentionClock::new(at(START), reading(START, RIGHT));
            for (minutes, off_seconds, restarts, compares) in steps {
                let off = SignedDuration::from_secs(off_seconds);
                if restarts {
                    // A restart keeps the confirmed time and resets the monotonic clock.
                    let confirmed = clock.confirmed_at(now);
                    now += SignedDuration::from_mins(minutes);
                    clock = RetentionClock::new(confirmed, reading(now, off));
                }
                for _ in 0..minutes {
                    now += MINUTE;
                    clock.observe_reading(reading(now, off));
                    if compares {
                        clock.observe_database_clock(-off);
                    }
                    prop_assert!(clock.confirmed_past(reading(now, off)) <= at(now));
                    prop_assert!(clock.confirmed_past(reading(now, off)) <= at(now + off));
                }
            }
            for _ in 0..7 * 60 {
                now += MINUTE;
                clock.observe_reading(reading(now, RIGHT));
            }
            prop_assert_eq!(clock.confirmed_past(reading(now, RIGHT)), at(now), "in the end, the clock is confirmed");
        }
    }
}
