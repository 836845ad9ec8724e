//! Evaluation: what each check finds in the facts of a run. Nothing is asked of the target any more.

use sessionwatch_core::{
    checks::{CheckInput, CheckOutcome, Verdict},
    local_time::{Doubt, Doubts},
};
use sessionwatch_targets::layout::{
    Layout,
    doubt::{self, Weight},
};

use super::{Request, RunFacts};
use crate::{
    checks::{Check, GoesBy},
    memory,
};

/// What a check found, before the rows that show it are fetched.
pub(super) struct Decision {
    pub(super) check: Check,
    pub(super) finding: CheckOutcome,
}

/// Decides every built-in check that is to run.
pub(super) fn evaluate(request: Request<'_>, layout: &Layout, facts: &RunFacts) -> Vec<Decision> {
    let stats = &facts.observation.stats;
    let watched = request.watched.map(|(memory, _)| memory);
    let snapshot = facts.observation.snapshot.as_ref();
    let compared = memory::compared(watched, snapshot, facts.standing, facts.changes.as_ref());
    let duration = facts.observation.database_time;
    let input = CheckInput { stats, thresholds: &request.rules.thresholds, duration, compared };
    let decide = |check: Check| {
        let mut finding = if check.about_users && layout.candidate.mapping.user.is_none() {
            CheckOutcome::not_made("no column of the user is known")
        } else if let Some(doubt) = doubted(&check, &facts.doubts) {
            CheckOutcome::not_made(&doubt.reason)
        } else {
            (check.decide)(input)
        };
        if let (Some(reason), Verdict::Healthy | Verdict::Failing) = (&facts.caveat, &finding.verdict) {
            distrust(&mut finding, reason, stats.sessions == 0);
        }
        question(&mut finding, layout.doubt.as_ref());
        Decision { check, finding }
    };
    request.builtin().map(decide).collect()
}

/// Why a check cannot be made whose instants are not believed.
fn doubted<'a>(check: &Check, doubts: &'a Doubts) -> Option<&'a Doubt> {
    match check.goes_by {
        GoesBy::Neither => None,
        GoesBy::End => doubts.expires.as_ref(),
        GoesBy::Creation => doubts.created.as_ref(),
    }
}

/// A finding about a table that may be the wrong one says nothing about the right one.
fn question(finding: &mut CheckOutcome, doubt: Option<&doubt::Doubt>) {
    if let (Some(doubt), Verdict::Healthy | Verdict::Failing) = (doubt, &finding.verdict)
        && doubt.weight != Weight::Aside
    {
        let reason = format!("{doubt}: name the table with `sessions` in the configuration");
        distrust(finding, &reason, doubt.weight == Weight::Weak);
    }
}

/// Unknown is not healthy: what was found still stands, unless nothing can be said at all, but nothing else is known.
fn distrust(finding: &mut CheckOutcome, reason: &str, nothing: bool) {
    if nothing || finding.verdict == Verdict::Healthy {
        finding.verdict = Verdict::Unknown(reason.to_owned());
    }
}
