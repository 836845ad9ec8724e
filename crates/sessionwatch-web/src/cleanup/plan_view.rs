//! A plan, with everything that its page depends on.

use sessionwatch_app::{
    app::{
        TargetOps,
        plan_jobs::PlanJob,
        plans::{self as app_plans, ActionPlan, ArchiveSummary},
    },
    config::Target,
};

use super::phase::PlanPhase;
use crate::shell::Shell;

/// A plan, with everything that its page depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanView<'a> {
    pub(super) shell: &'a Shell,
    pub(super) plan: &'a ActionPlan,
    pub(super) target: &'a Target,
    pub(super) phase: PlanPhase,
    pub(super) job: Option<&'a PlanJob>,
    /// The archive of the removed rows.
    pub(super) archive: Option<&'a ArchiveSummary>,
    /// The exceeded safety limits; `None` if the plan needs no confirmation.
    pub(super) limit_text: Option<&'a str>,
    /// The evidence of the incident that is still missing; `None` if there is no incident, or all is complete.
    pub(super) missing_evidence: Option<&'a str>,
    pub(super) approval: Approval,
    /// Id of the incident from which the plan was opened; may be empty.
    pub(super) incident: &'a str,
    /// How long removed rows can be restored.
    pub(super) retention: &'a str,
}

/// Whether a second person must approve the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    /// Not needed, or given.
    Complete,
    /// Nobody has approved the plan yet.
    Missing,
    /// This user has approved the plan, so somebody else must apply it.
    OwnOnly,
}

impl Approval {
    pub(super) fn of_plan(ops: &TargetOps, plan: &ActionPlan) -> Self {
        let own = plan.record.approved_by.as_deref() == Some(app_plans::approver_name(&ops.actor));
        match app_plans::is_approval_missing(ops, plan) {
            false => Self::Complete,
            true if own => Self::OwnOnly,
            true => Self::Missing,
        }
    }
}

impl PlanView<'_> {
    /// Returns `true` if this user can apply or approve the plan now.
    pub(super) fn can_apply(&self) -> bool {
        self.shell.can_respond() && self.phase.is_applicable()
    }
}
