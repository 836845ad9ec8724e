//! Evaluation: decides each check from the facts of a run. Runs no query.

use sessionwatch_core::{
    checks::{CheckInput, CheckOutcome, CheckVerdict},
    local_time::{TimeZoneDoubt, TimeZoneDoubts},
};
use sessionwatch_targets::layout::{
    Layout,
    uncertainty::{self, UncertaintyLevel},
};

use super::{CheckRunRequest, RunFacts};
use crate::{
    checks::{Check, TimeBasis},
    target_history,
};

/// The outcome of a check, before its evidence is fetched.
pub(super) struct CheckDecision {
    pub(super) check: Check,
    pub(super) outcome: CheckOutcome,
}

/// Evaluates every built-in check of the request.
pub(super) fn evaluate_checks(
    request: CheckRunRequest<'_>,
    layout: &Layout,
    facts: &RunFacts,
) -> Vec<CheckDecision> {
    let stats = &facts.observation.stats;
    let history = request.history.map(|(memory, _)| memory);
    let snapshot = facts.observation.snapshot.as_ref();
    let comparison =
        target_history::comparison_for(history, snapshot, facts.position, facts.changes.as_ref());
    let read_duration = facts.observation.database_time;
    let input = CheckInput { stats, thresholds: &request.settings.thresholds, read_duration, comparison };
    let decide = |check: Check| {
        let mut outcome = if check.is_per_user && layout.candidate.mapping.user.is_none() {
            CheckOutcome::not_run("no user column is known")
        } else if let Some(doubt) = find_timestamp_doubt(&check, &facts.doubts) {
            CheckOutcome::not_run(&doubt.reason)
        } else {
            (check.evaluate)(input)
        };
        if let (Some(caveat), CheckVerdict::Passing | CheckVerdict::Failing) =
            (&facts.caveat, &outcome.verdict)
        {
            downgrade_outcome(&mut outcome, caveat, stats.sessions == 0);
        }
        apply_layout_doubt(&mut outcome, layout.uncertainty.as_ref());
        CheckDecision { check, outcome }
    };
    request.builtin_checks().map(decide).collect()
}

/// Returns the doubt about the timestamps that a check relies on.
fn find_timestamp_doubt<'a>(check: &Check, doubts: &'a TimeZoneDoubts) -> Option<&'a TimeZoneDoubt> {
    match check.time_basis {
        TimeBasis::Neither => None,
        TimeBasis::Expiry => doubts.expires.as_ref(),
        TimeBasis::Creation => doubts.created.as_ref(),
    }
}

fn apply_layout_doubt(outcome: &mut CheckOutcome, doubt: Option<&uncertainty::LayoutUncertainty>) {
    // A finding about the wrong table says nothing about the right one.
    if let (Some(doubt), CheckVerdict::Passing | CheckVerdict::Failing) = (doubt, &outcome.verdict)
        && doubt.level != UncertaintyLevel::OffSearchPath
    {
        let reason = format!("{doubt}: name the table with `sessions` in the configuration");
        downgrade_outcome(outcome, &reason, doubt.level == UncertaintyLevel::Weak);
    }
}

fn downgrade_outcome(outcome: &mut CheckOutcome, reason: &str, is_meaningless: bool) {
    // A failure that was found stands, unless the numbers mean nothing. A pass needs all of them.
    if is_meaningless || outcome.verdict == CheckVerdict::Passing {
        outcome.verdict = CheckVerdict::Unknown(reason.to_owned());
        // The summary described the pass or the meaningless numbers.
        outcome.summary = format!("unknown: {reason}");
    }
}
