//! Incident response procedure: the steps, the steps required at each severity, the next step, and the conditions for
//! closing an incident.

use jiff::SignedDuration;

use crate::{plural::format_count, timestamp::UtcTimestamp};

/// Severity of an incident.
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
    /// Confirmed leak: revoke all sessions immediately.
    P0,
    /// Possible leak: revoke the sessions of affected users within an hour.
    P1,
    /// Orphaned sessions or alerts: contain within four hours.
    P2,
    /// Routine cleanup: contain within a day.
    P3,
}

impl IncidentSeverity {
    /// Every severity, worst first.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns what the severity means, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::P0 => "confirmed leak",
            Self::P1 => "possible leak",
            Self::P2 => "orphaned sessions or alerts",
            Self::P3 => "routine cleanup",
        }
    }

    /// Returns the time within which the incident must be contained.
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

/// Step of the procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentStep {
    /// Stable id.
    pub id: &'static str,
    /// Title.
    pub title: &'static str,
    /// Instructions for the responder.
    pub instructions: &'static str,
    /// Completion is detected automatically.
    pub is_automatic: bool,
    /// The mildest severity that requires the step.
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
        "Confirm the incident",
        "Runs every check and verifies all rows instead of trusting constraints. If nothing is found, \
         mark the step done with a note on your evidence.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "affected",
        "Identify affected users",
        "Users who share a token are listed. Find others by name, email, handle or ID with `sessionwatch \
         incident find PART`. Mark the step done with a note on who is affected.",
        false,
        IncidentSeverity::P2,
    ),
    incident_step(
        "evidence",
        "Freeze the evidence",
        "Before anything is changed, run `sessionwatch incident evidence` to write an encrypted evidence file.",
        true,
        IncidentSeverity::P2,
    ),
    incident_step(
        "team",
        "Notify the team",
        "Tell everyone who must know that sessions are about to be revoked. Mark the step done with a note \
         on whom you told.",
        false,
        IncidentSeverity::P1,
    ),
    incident_step(
        "rollback",
        "Prepare the rollback",
        "Checks the privileges of the write role, and that there is room for the archive.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "contain",
        "Revoke the sessions",
        "Run `sessionwatch incident contain all`, `contain users --user ID`, `contain duplicates` or \
         `contain orphaned`. Each shows a plan first; review and apply it.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "verify",
        "Verify the containment",
        "Runs every check to confirm that there are no shared tokens or orphans, that active users have 1 to \
         3 active sessions on average, and that no revoked session has come back.",
        true,
        IncidentSeverity::P3,
    ),
    incident_step(
        "sign-in",
        "Test login and logout",
        "Log in to the application and out again yourself, in a private window. Mark the step done if both work.",
        false,
        IncidentSeverity::P2,
    ),
    incident_step(
        "users",
        "Notify the users",
        "`sessionwatch incident message` drafts the message. Mark the step done with a note on whom you wrote to.",
        false,
        IncidentSeverity::P1,
    ),
    incident_step(
        "watch",
        "Monitor for 24 hours",
        "First hour: check results and logins every few minutes. First day: user reports and `sessionwatch \
         alerts list`. First week: `sessionwatch report checklist`. Meanwhile `serve` runs the checks every \
         minute, and reopens the incident if a revoked session reappears.",
        true,
        IncidentSeverity::P1,
    ),
    incident_step(
        "root-cause",
        "Find the root cause",
        "Review critical log lines, the application's address, secret and cookie, the unique constraint on \
         the token (`sessionwatch doctor`) and recent changes. Record the cause with `sessionwatch incident \
         field set root-cause TEXT`.",
        true,
        IncidentSeverity::P2,
    ),
    incident_step(
        "report",
        "Write the report",
        "`sessionwatch incident report` fills in the recorded facts. Complete the rest, and mark the step \
         done with a note on where the report is.",
        false,
        IncidentSeverity::P2,
    ),
];

/// Recorded completion of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// Step id.
    pub step: String,
    /// The step was skipped, with a reason on the timeline.
    pub skipped: bool,
}

/// Returns the step with this id.
#[must_use]
pub fn find_step(id: &str) -> Option<&'static IncidentStep> {
    INCIDENT_STEPS.iter().find(|step| step.id == id)
}

impl IncidentStep {
    /// Returns whether incidents of a severity require the step.
    #[must_use]
    pub fn is_required_for(&self, severity: IncidentSeverity) -> bool {
        // Severities are ordered worst first, so a worse incident requires all steps of milder ones.
        severity <= self.min_severity
    }

    /// Returns whether completion requires a note: the affected users, the people notified, or the place of the
    /// report.
    #[must_use]
    pub fn needs_note(&self) -> bool {
        matches!(self.id, "confirm" | "affected" | "team" | "users" | "report")
    }
}

/// Returns the next required step that is neither done nor skipped.
#[must_use]
pub fn next_step(severity: IncidentSeverity, recorded: &[StepRecord]) -> Option<&'static IncidentStep> {
    INCIDENT_STEPS
        .iter()
        .filter(|step| step.is_required_for(severity))
        .find(|step| recorded.iter().all(|done| done.step != step.id))
}

/// Returns the reasons why an incident cannot be closed, each with all its steps.
#[must_use]
pub fn summarize_unfinished_steps(severity: IncidentSeverity, recorded: &[StepRecord]) -> Vec<String> {
    let needed = INCIDENT_STEPS.iter().filter(|step| step.is_required_for(severity));
    let (mut missing, mut skipped) = (Vec::new(), Vec::new());
    for step in needed {
        let name = format!("{} ({})", step.title, step.id);
        match recorded.iter().find(|done| done.step == step.id) {
            None => missing.push(name),
            Some(StepRecord { skipped: true, .. }) => skipped.push(name),
            Some(_) => {}
        }
    }
    let describe = |names: &[String], one: &str, many: &str| {
        let count = format_count(names.len() as u64, one, many);
        (!names.is_empty()).then(|| format!("{count}: {}", names.join(", ")))
    };
    let missing = describe(&missing, "step is not done", "steps are not done");
    let skipped = describe(&skipped, "step was skipped", "steps were skipped");
    missing.into_iter().chain(skipped).collect()
}

/// Returns the steps that keep an incident from being closed, each with the reason.
#[must_use]
pub fn unfinished_steps(severity: IncidentSeverity, recorded: &[StepRecord]) -> Vec<String> {
    let needed = INCIDENT_STEPS.iter().filter(|step| step.is_required_for(severity));
    needed
        .filter_map(|step| match recorded.iter().find(|done| done.step == step.id) {
            None => Some(format!("{} (`{}`) is not marked as done", step.title, step.id)),
            Some(StepRecord { skipped: true, .. }) => {
                Some(format!("{} (`{}`) was skipped", step.title, step.id))
            }
            Some(_) => None,
        })
        .collect()
}

/// Time after containment during which a target is closely monitored.
pub const CLOSE_MONITORING_DURATION: SignedDuration = SignedDuration::from_hours(24);

/// Returns whether a target is still closely monitored.
#[must_use]
pub fn is_closely_monitored(contained_at: Option<UtcTimestamp>, now: UtcTimestamp) -> bool {
    // A containment in the future means that the clock was set back: rather monitor for longer than miss a relapse.
    contained_at.is_some_and(|at| now.duration_since(at) < CLOSE_MONITORING_DURATION)
}

/// Returns the id of the next incident of a day, `INC-YYYYMMDD-NNN`, after `taken` earlier ones.
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
    fn severe_incidents_require_more_steps() {
        let needed = |grade| INCIDENT_STEPS.iter().filter(|step| step.is_required_for(grade)).count();
        assert_eq!(IncidentSeverity::ALL.iter().copied().map(needed).collect::<Vec<_>>(), [12, 12, 9, 4]);
    }

    #[test]
    fn steps_follow_in_order_until_none_is_left() {
        let mut recorded = Vec::new();
        let mut order = Vec::new();
        while let Some(step) = next_step(IncidentSeverity::P3, &recorded) {
            order.push(step.id);
            recorded.push(done(step.id));
        }
        assert_eq!(order, ["confirm", "rollback", "contain", "verify"]);
        assert!(unfinished_steps(IncidentSeverity::P3, &recorded).is_empty());
        // A skipped step is not offered again, but still prevents closing.
        recorded[2].skipped = true;
        assert_eq!(next_step(IncidentSeverity::P3, &recorded), None);
        assert_eq!(
            unfinished_steps(IncidentSeverity::P3, &recorded),
            ["Revoke the sessions (`contain`) was skipped"]
        );
        assert_eq!(unfinished_steps(IncidentSeverity::P3, &recorded[..3]).len(), 2);
        assert_eq!(
            summarize_unfinished_steps(IncidentSeverity::P3, &recorded[..3]),
            [
                "1 step is not done: Verify the containment (verify)",
                "1 step was skipped: Revoke the sessions (contain)"
            ]
        );
        assert_eq!(find_step("verify").map(|step| step.title), Some("Verify the containment"));
        // These steps cannot be completed without a note.
        let asked = INCIDENT_STEPS.iter().filter(|step| step.needs_note()).map(|step| step.id);
        assert_eq!(asked.collect::<Vec<_>>(), ["confirm", "affected", "team", "users", "report"]);
    }

    #[test]
    fn a_target_is_closely_monitored_for_a_day() {
        let at = |micros| UtcTimestamp::from_micros(micros).unwrap();
        assert!(!is_closely_monitored(None, at(5)));
        assert!(
            is_closely_monitored(Some(at(5)), at(5))
                && is_closely_monitored(Some(at(5)), at(4) + CLOSE_MONITORING_DURATION)
        );
        assert!(
            !is_closely_monitored(Some(at(5)), at(5) + CLOSE_MONITORING_DURATION)
                // The clock was set back.
                && is_closely_monitored(Some(at(5)), at(4))
        );
        assert_eq!(format_incident_id("20260131", 11), "INC-20260131-012");
        assert_eq!(
            ("p1".parse(), "P4".parse::<IncidentSeverity>().is_err()),
            (Ok(IncidentSeverity::P1), true)
        );
        assert!(IncidentSeverity::P0.containment_deadline() < IncidentSeverity::P1.containment_deadline());
    }
}
