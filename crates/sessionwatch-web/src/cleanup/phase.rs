//! Where a plan is between its creation and its result.

use jiff::SignedDuration;
use maud::{Markup, html};
use sessionwatch_app::app::{
    plan_jobs::PlanJob,
    plans::{ActionPlan, PlanState},
};
use sessionwatch_core::timestamp::UtcTimestamp;

use super::wording::format_time_left;
use crate::components::{Icon, PillTone, render_pill};

/// Where a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlanPhase {
    /// No row matches.
    Empty,
    /// It can be applied until an instant.
    Ready(UtcTimestamp),
    /// It was partly applied, and can be resumed until an instant.
    Interrupted(UtcTimestamp),
    /// It is older than plans may be.
    Expired,
    /// This process is applying it.
    Applying,
    /// It was applied.
    Applied,
}

/// What the phase of a plan depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseInput<'a> {
    pub(super) plan: &'a ActionPlan,
    pub(super) job: Option<&'a PlanJob>,
    /// Validity of a plan after its creation or last change.
    pub(super) plan_ttl: SignedDuration,
    pub(super) now: UtcTimestamp,
}

impl PlanPhase {
    pub(super) fn of_plan(input: PhaseInput<'_>) -> Self {
        let PhaseInput { plan, job, plan_ttl, now } = input;
        let until = plan.record.updated_at + plan_ttl;
        match plan.record.state {
            _ if job.is_some_and(PlanJob::is_running) => Self::Applying,
            PlanState::Done => Self::Applied,
            _ if plan.record.row_count == 0 => Self::Empty,
            _ if plan.is_stale(plan_ttl, now) => Self::Expired,
            PlanState::Begun => Self::Interrupted(until),
            PlanState::Making | PlanState::Planned => Self::Ready(until),
        }
    }

    /// Returns `true` if the plan can be applied, apart from the user's role, limits and approvals.
    pub(super) fn is_applicable(self) -> bool {
        matches!(self, Self::Ready(_) | Self::Interrupted(_))
    }

    /// Renders the phase as a pill.
    pub(super) fn render(self, now: UtcTimestamp) -> Markup {
        let with_time = |tone, icon, word: &str, until| {
            render_pill(tone, icon, &format!("{word}, {} left", format_time_left(until, now)))
        };
        html! {
            @match self {
                Self::Empty => (render_pill(PillTone::Quiet, Icon::Minus, "Nothing to do")),
                Self::Ready(until) => (with_time(PillTone::Info, Icon::Clock, "Ready", until)),
                Self::Interrupted(until) => (with_time(PillTone::Stale, Icon::TriangleAlert, "Interrupted", until)),
                Self::Expired => (render_pill(PillTone::Quiet, Icon::Minus, "Expired")),
                Self::Applying => (render_pill(PillTone::Accent, Icon::Activity, "Applying")),
                Self::Applied => (render_pill(PillTone::Quiet, Icon::Check, "Applied")),
            }
        }
    }
}
