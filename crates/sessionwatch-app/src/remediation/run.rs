//! Carrying out a plan, whatever its kind, after one authorization.

use std::time::Instant as Monotonic;

use super::{
    ActError, Plan, Selection, applying,
    authorization::{ApplyCircumstances, authorize_apply},
    executor::Executor,
    outcome::Applied,
    restoring,
};

impl Executor<'_> {
    /// Carries out a plan, as its kind has it.
    ///
    /// # Errors
    ///
    /// If it may not be applied, is none for this target, or the target or the store fails on the way. Then everything that was
    /// removed is in the archive, the rows that are back are known, and the same plan can be resumed.
    pub async fn run(&self, mut plan: Plan) -> Result<Applied, ActError> {
        authorize_apply(&plan, &ApplyCircumstances::of(self.context, self.consent))?;
        let started = Monotonic::now();
        let mut applied = match plan.selection.clone() {
            Selection::Restore { archive, .. } => restoring::restore(self, &mut plan, &archive).await?,
            _ => applying::apply(self, &mut plan).await?,
        };
        applied.took = started.elapsed();
        self.end(&mut plan, &applied)?;
        Ok(applied)
    }
}
