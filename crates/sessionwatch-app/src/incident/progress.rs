//! Progress of an incident: the current step, and the time left to contain it.

use jiff::SignedDuration;
use sessionwatch_core::{
    incident::{self as rules, IncidentStep},
    timestamp::UtcTimestamp,
};
use sessionwatch_store::incidents::{IncidentRecord, IncidentState, TimelineEntry, collect_step_records};

/// Position of the current step among those that the severity requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepProgress {
    /// The current step; `None` once every step is finished.
    pub step: Option<&'static IncidentStep>,
    /// Its number, from 1; the number of steps once every step is finished.
    pub number: usize,
    /// Number of steps.
    pub count: usize,
}

impl StepProgress {
    /// Finds the current step.
    #[must_use]
    pub fn of_incident(incident: &IncidentRecord, timeline: &[TimelineEntry]) -> Self {
        let step = rules::next_step(incident.severity, &collect_step_records(timeline));
        let required = || rules::INCIDENT_STEPS.iter().filter(|one| one.is_required_for(incident.severity));
        let count = required().count();
        let number = step.and_then(|step| required().position(|one| one.id == step.id));
        Self { step, number: number.map_or(count, |index| index + 1), count }
    }
}

/// Time for containment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainmentClock {
    /// Not contained yet.
    Running {
        /// Time since the incident was opened or last reopened.
        used: SignedDuration,
        /// `true` if the incident was reopened.
        is_reopened: bool,
    },
    /// Sessions were revoked.
    Contained {
        /// Time from opening to containment.
        after: SignedDuration,
    },
    /// Closed without containment.
    NotContained,
}

impl ContainmentClock {
    /// Reads the clock of an incident.
    #[must_use]
    pub fn of_incident(
        incident: &IncidentRecord,
        reopened_at: Option<UtcTimestamp>,
        now: UtcTimestamp,
    ) -> Self {
        match (incident.state, incident.contained_at) {
            (IncidentState::Open, contained_at) => {
                // A containment from before the incident was reopened did not hold.
                let reopened_at = contained_at.and(reopened_at);
                let since = reopened_at.unwrap_or(incident.opened_at);
                Self::Running {
                    used: now.duration_since(since).max(SignedDuration::ZERO),
                    is_reopened: reopened_at.is_some(),
                }
            }
            (_, Some(at)) => {
                Self::Contained { after: at.duration_since(incident.opened_at).max(SignedDuration::ZERO) }
            }
            (_, None) => Self::NotContained,
        }
    }

    /// Returns the time left; negative if it is overdue. Returns `None` unless the clock is running.
    #[must_use]
    pub fn time_left(self, incident: &IncidentRecord) -> Option<SignedDuration> {
        match self {
            Self::Running { used, .. } => Some(incident.severity.containment_deadline() - used),
            Self::Contained { .. } | Self::NotContained => None,
        }
    }
}

/// Returns the time when an incident was last reopened.
#[must_use]
pub fn reopened_at(timeline: &[TimelineEntry]) -> Option<UtcTimestamp> {
    timeline.iter().rev().find(|entry| entry.kind == "reopened").map(|entry| entry.at)
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::incident::IncidentSeverity;

    use super::*;

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    fn incident(state: IncidentState, contained_after: Option<i32>) -> IncidentRecord {
        IncidentRecord {
            id: "INC-1".into(),
            target: "app".into(),
            severity: IncidentSeverity::P1,
            state,
            opened_at: UtcTimestamp::UNIX_EPOCH,
            opened_by: "ada".into(),
            contained_at: contained_after.map(|minutes| UtcTimestamp::UNIX_EPOCH + minutes * MINUTE),
            closed_at: None,
            report_fields: "{}".into(),
        }
    }

    #[test]
    fn the_clock_runs_until_containment_and_again_after_reopening() {
        let at = |minutes: i32| UtcTimestamp::UNIX_EPOCH + minutes * MINUTE;
        let open = incident(IncidentState::Open, None);
        let clock = ContainmentClock::of_incident(&open, None, at(70));
        assert_eq!(clock, ContainmentClock::Running { used: 70 * MINUTE, is_reopened: false });
        assert_eq!(clock.time_left(&open), Some(-10 * MINUTE));
        let contained = incident(IncidentState::Contained, Some(22));
        let clock = ContainmentClock::of_incident(&contained, None, at(70));
        assert_eq!(clock, ContainmentClock::Contained { after: 22 * MINUTE });
        assert_eq!(clock.time_left(&contained), None);
        let reopened = incident(IncidentState::Open, Some(22));
        let clock = ContainmentClock::of_incident(&reopened, Some(at(60)), at(70));
        assert_eq!(clock, ContainmentClock::Running { used: 10 * MINUTE, is_reopened: true });
        let closed = incident(IncidentState::Closed, None);
        assert_eq!(ContainmentClock::of_incident(&closed, None, at(70)), ContainmentClock::NotContained);
    }

    #[test]
    fn steps_are_counted_for_the_severity() {
        let progress = StepProgress::of_incident(&incident(IncidentState::Open, None), &[]);
        assert_eq!(
            (progress.step.map(|step| step.id), progress.number, progress.count),
            (Some("confirm"), 1, 12)
        );
    }
}
