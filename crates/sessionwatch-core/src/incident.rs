//! The emergency procedure: which steps there are, which of them an emergency of each severity needs, what comes next,
//! and when it may be closed.

use jiff::SignedDuration;

use crate::timestamp::UtcTimestamp;

/// How bad an emergency is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[strum(ascii_case_insensitive)]
pub enum IncidentSeverity {
    /// Active leakage is confirmed: everybody's sessions are ended at once.
    P0,
    /// Shared tokens, or a possible leak: the affected users' sessions are ended within the hour.
    P1,
    /// Orphans or alerts: within four hours.
    P2,
    /// Routine cleanup: within a day.
    P3,
}

impl IncidentSeverity {
    /// Every severity, worst first.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Within what time the sessions are to be ended.
    #[must_use]
    pub fn containment_deadline(self) -> SignedDuration {
        match self {
            Self::P0 => SignedDuration::from_mins(15),
            Self::P1 => SignedDuration::from_hours(1),
            Self::P2 => SignedDuration::from_hours(4),
            Self::P3 => SignedDuration::from_hours(24),
        }
    }
}

/// A step of the procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentStep {
    /// Its id.
    pub id: &'static str,
    /// What it is.
    pub title: &'static str,
    /// What a person does.
    pub instructions: &'static str,
    /// Whether the program finds out by itself that it is done.
    pub is_automatic: bool,
    /// The mildest severity that needs it.
    pub min_severity: IncidentSeverity,
}

const fn incident_step(
    id: &'static str,
    title: &'static str,
    instructions: &'static str,
    is_automatic: bool,
    min_severity: IncidentSeverity,
) -> IncidentStep {
    IncidentStep { id, title, instructions, is_automatic, min_severity }
}

/// Every step, in order.
pub const INCIDENT_STEPS: [IncidentStep; 12] = [
    incident_step(
        "confirm",
        "Make sure that it is real",
        "A look is taken, without trust in indexes. If it finds nothing, say with --done what else makes you sure.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "affected",
        "Find out who is affected",
        "Users who share a token are listed; `sessionwatch incident find PART` finds others by id, name or handle. Say with --done who it is.",
        false,
        IncidentSeverity::P2,
    ),
    incident_step(
        "evidence",
        "Freeze the evidence",
        "`sessionwatch incident evidence` writes it, sealed, before anything is changed.",
        true,
        IncidentSeverity::P2,
    ),
    incident_step(
        "team",
        "Tell the team",
        "Tell whoever has to know that sessions are about to be ended. Say with --done whom you told.",
        false,
        IncidentSeverity::P1,
    ),
    incident_step(
        "way-back",
        "Have the way back ready",
        "The acting role is asked for its privileges, and the archive for its recipient.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "contain",
        "End the sessions",
        "`sessionwatch incident contain all`, `contain users --user ID`, `contain duplicates` or `contain orphaned` prints a plan, and the command that applies it.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "verify",
        "Verify",
        "A look is taken: no shared tokens, no orphans, 1 to 3 active sessions a user, and no session that was ended is back.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "sign-in",
        "Sign in and sign out",
        "Do both in the application yourself, in a private window. Say with --done that they work.",
        false,
        IncidentSeverity::P2,
    ),
    incident_step(
        "users",
        "Tell the users",
        "`sessionwatch incident message` drafts it. Say with --done whom you wrote to.",
        false,
        IncidentSeverity::P1,
    ),
    incident_step(
        "watch",
        "Watch for 24 hours",
        "First hour: checks and sign-ins every few minutes. First day: reports of users, `sessionwatch alerts list`. First week: `sessionwatch report checklist`. `serve` looks every minute meanwhile, and reopens the incident if an ended session comes back.",
        true,
        IncidentSeverity::P1,
    ),
    incident_step(
        "root-cause",
        "Find the root cause",
        "Critical log lines, the application's address, secret and cookie, the unique constraint on the token (`sessionwatch doctor`), recent changes. `sessionwatch incident field set root-cause TEXT` keeps what it was.",
        true,
        IncidentSeverity::P2,
    ),
    incident_step(
        "report",
        "Write the report",
        "`sessionwatch incident report` fills in what was recorded; complete the rest, and say with --done where it is.",
        false,
        IncidentSeverity::P2,
    ),
];

/// What is recorded of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// The step.
    pub step: String,
    /// It was passed over, for a reason that is on the timeline.
    pub skipped: bool,
}

/// The step of that id.
#[must_use]
pub fn find_step(id: &str) -> Option<&'static IncidentStep> {
    INCIDENT_STEPS.iter().find(|step| step.id == id)
}

impl IncidentStep {
    /// Whether an emergency of that severity needs it.
    #[must_use]
    pub fn is_required_for(&self, severity: IncidentSeverity) -> bool {
        severity <= self.min_severity
    }

    /// Whether it asks a person for something that has to be said: who it is, whom they told, where the report is.
    #[must_use]
    pub fn needs_note(&self) -> bool {
        matches!(self.id, "confirm" | "affected" | "team" | "users" | "report")
    }
}

/// The next step that an emergency needs and that is neither done nor passed over.
#[must_use]
pub fn next_step(severity: IncidentSeverity, recorded: &[StepRecord]) -> Option<&'static IncidentStep> {
    INCIDENT_STEPS
        .iter()
        .filter(|step| step.is_required_for(severity))
        .find(|step| recorded.iter().all(|done| done.step != step.id))
}

/// What speaks against closing.
#[must_use]
pub fn unfinished_steps(severity: IncidentSeverity, recorded: &[StepRecord]) -> Vec<String> {
    let needed = INCIDENT_STEPS.iter().filter(|step| step.is_required_for(severity));
    needed
        .filter_map(|step| match recorded.iter().find(|done| done.step == step.id) {
            None => Some(format!("`{}` is not done: {}", step.id, step.title)),
            Some(StepRecord { skipped: true, .. }) => {
                Some(format!("`{}` was passed over: {}", step.id, step.title))
            }
            Some(_) => None,
        })
        .collect()
}

/// How long after containment a target is watched more closely.
pub const CLOSE_MONITORING_DURATION: SignedDuration = SignedDuration::from_hours(24);

/// Whether a target is still to be watched more closely.
#[must_use]
pub fn is_closely_monitored(contained_at: Option<UtcTimestamp>, now: UtcTimestamp) -> bool {
    contained_at
        .is_some_and(|at| (SignedDuration::ZERO..CLOSE_MONITORING_DURATION).contains(&now.duration_since(at)))
}

/// The id of the next incident of a day: `INC-YYYYMMDD-NNN`.
#[must_use]
pub fn format_incident_id(day: &str, taken: usize) -> String {
    format!("INC-{day}-{:03}", taken + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(step: &str) -> StepRecord {
        StepRecord { step: step.into(), skipped: false }
    }

    #[test]
    fn the_worst_needs_every_step_and_the_mildest_few() {
        let needed = |grade| INCIDENT_STEPS.iter().filter(|step| step.is_required_for(grade)).count();
        assert_eq!(IncidentSeverity::ALL.iter().copied().map(needed).collect::<Vec<_>>(), [12, 12, 9, 4]);
    }

    #[test]
    fn one_step_comes_after_another_until_none_is_left() {
        let mut recorded = Vec::new();
        let mut order = Vec::new();
        while let Some(step) = next_step(IncidentSeverity::P3, &recorded) {
            order.push(step.id);
            recorded.push(done(step.id));
        }
        assert_eq!(order, ["confirm", "way-back", "contain", "verify"]);
        assert!(unfinished_steps(IncidentSeverity::P3, &recorded).is_empty());
        // What was passed over does not come again, and still speaks against closing.
        recorded[2].skipped = true;
        assert_eq!(next_step(IncidentSeverity::P3, &recorded), None);
        assert_eq!(
            unfinished_steps(IncidentSeverity::P3, &recorded),
            ["`contain` was passed over: End the sessions"]
        );
        assert_eq!(unfinished_steps(IncidentSeverity::P3, &recorded[..3]).len(), 2);
        assert_eq!(find_step("verify").map(|step| step.title), Some("Verify"));
        // A step that asks for something cannot be done without an answer.
        let asked = INCIDENT_STEPS.iter().filter(|step| step.needs_note()).map(|step| step.id);
        assert_eq!(asked.collect::<Vec<_>>(), ["confirm", "affected", "team", "users", "report"]);
    }

    #[test]
    fn a_target_is_watched_for_a_day() {
        let at = |micros| UtcTimestamp::from_micros(micros).unwrap();
        assert!(!is_closely_monitored(None, at(5)));
        assert!(
            is_closely_monitored(Some(at(5)), at(5))
                && is_closely_monitored(Some(at(5)), at(4) + CLOSE_MONITORING_DURATION)
        );
        assert!(
            !is_closely_monitored(Some(at(5)), at(5) + CLOSE_MONITORING_DURATION)
                && !is_closely_monitored(Some(at(5)), at(4))
        );
        assert_eq!(format_incident_id("20260131", 11), "INC-20260131-012");
        assert_eq!(
            ("p1".parse(), "P4".parse::<IncidentSeverity>().is_err()),
            (Ok(IncidentSeverity::P1), true)
        );
        assert!(IncidentSeverity::P0.containment_deadline() < IncidentSeverity::P1.containment_deadline());
    }
}
