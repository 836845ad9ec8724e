//! Applies plans of every kind, after one authorization.

use std::time::Instant as Monotonic;

use super::{
    ActionError, ActionPlan, Selection, apply,
    apply_report::ApplyReport,
    authorization::{ApplyCircumstances, authorize_apply},
    executor::PlanExecutor,
    restore,
};

impl PlanExecutor<'_> {
    /// Applies a plan.
    ///
    /// # Errors
    ///
    /// Fails if the plan may not be applied, belongs to another target, or the target or the store fails midway. Every
    /// deleted row is in the archive then, restored rows are recorded, and the same plan can be resumed.
    pub async fn run(&self, mut plan: ActionPlan) -> Result<ApplyReport, ActionError> {
        authorize_apply(&plan, &ApplyCircumstances::from_context(self.context, self.confirmation))?;
        let started = Monotonic::now();
        let mut applied = match plan.selection.clone() {
            Selection::Restore { archive, .. } => restore::apply_restore(self, &mut plan, &archive).await?,
            _ => apply::apply_plan(self, &mut plan).await?,
        };
        applied.duration = started.elapsed();
        self.record_end(&mut plan, &applied)?;
        Ok(applied)
    }
}
