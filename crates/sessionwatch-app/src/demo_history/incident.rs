//! The incident and the cleanup of the demo's past. They go through the same code as those of a user, with a clock that
//! is set back, so that timeline, plans, archive and audit log are real.

use sessionwatch_clock::Clock;
use sessionwatch_core::{
    duration::{DAY, HOUR, MINUTE},
    incident::IncidentSeverity,
};
use sessionwatch_store::Store;

use super::{
    error::DemoHistoryError,
    milestones::{Milestones, OPERATOR_NAME, SHOP_TARGET},
};
use crate::{
    config::Config,
    incident::{
        self,
        workflow::{IncidentWorkflow, StepAnswer},
    },
    remediation::{
        self, ActionContext, ActionPlan, ApplyReport, ArchiveKeys, Confirmation, JobControl, PlanExecutor,
        Selection, archive_keys,
    },
};

/// Where the past happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastScene<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a Store,
    pub(super) milestones: &'a Milestones,
}

/// Texts of the report.
const REPORT_TEXTS: [[&str; 2]; 4] = [
    [
        "root-cause",
        "Deploy 2.14.1 cached the response of the login page at the edge, with its Set-Cookie header. Customers who \
         logged in within the same minute got the same cookie.",
    ],
    [
        "data-leaked",
        "Order history and delivery address of six customers, each to one other customer. No payment data.",
    ],
    [
        "prevention",
        "Cache-Control: no-store on every response that sets a cookie, and a test in CI that checks it.",
    ],
    ["lessons", "The alert came four minutes after the deploy. The runbook named the right step first."],
];

impl PastScene<'_> {
    /// Runs `work` as the operator at a time of the past.
    fn context<'a>(&'a self, clock: &'a Clock) -> Result<ActionContext<'a>, DemoHistoryError> {
        let target = self.config.targets.iter().find(|target| target.name == SHOP_TARGET);
        let target = target.ok_or(DemoHistoryError::NoTarget)?;
        Ok(ActionContext { config: self.config, target, store: self.store, clock, actor: OPERATOR_NAME })
    }

    fn load(&self, id: &str) -> Result<IncidentWorkflow, DemoHistoryError> {
        self.store.read(|db| IncidentWorkflow::load(db, id))?.ok_or(DemoHistoryError::NoIncident)
    }

    /// Opens, contains and closes the incident. Returns its id.
    pub(super) async fn resolve_incident(&self) -> Result<String, DemoHistoryError> {
        let (clock, _) = Clock::manual(self.milestones.opened);
        let context = self.context(&clock)?;
        let summary = "Customers see other customers' accounts";
        let (incident, _) = incident::open_incident(context, IncidentSeverity::P1, summary).await?;
        let mut case = self.load(&incident.id)?;
        clock.adjust(MINUTE * 2);
        case.advance(context, StepAnswer::Unanswered).await?;
        let affected = "Six customers in three pairs, who logged in between 14:01 and 14:04 UTC";
        case.advance(context, StepAnswer::Done(affected)).await?;
        clock.adjust(MINUTE * 3);
        self.write_evidence(context, &mut case).await?;
        case.advance(context, StepAnswer::Unanswered).await?;
        case.advance(context, StepAnswer::Done("Notified the on-call channel and customer support")).await?;
        clock.adjust(MINUTE * 4);
        let (plan, applied) = apply_at(context, &Selection::Duplicates).await?;
        case.record_plan(context, &plan, &applied)?;
        let mut case = self.load(&incident.id)?;
        clock.adjust(MINUTE * 3);
        case.advance(context, StepAnswer::Unanswered).await?;
        case.advance(context, StepAnswer::Done("Logged in and out in a private window")).await?;
        clock.adjust(HOUR);
        case.advance(context, StepAnswer::Done("Support wrote to all six customers")).await?;
        clock.adjust(DAY);
        self.finish_report(context, &incident.id).await?;
        Ok(incident.id)
    }

    async fn write_evidence(
        &self,
        context: ActionContext<'_>,
        case: &mut IncidentWorkflow,
    ) -> Result<(), DemoHistoryError> {
        let (recipient, _) = archive_keys::load_or_create_recipient(self.config)?;
        let packed = case.gather_evidence(context).await?;
        let name = case.evidence_file_name(context.clock.now(), &packed);
        let path = archive_keys::identity_path(self.config).with_file_name(&name);
        std::fs::write(path, recipient.seal(&packed.bytes)?).map_err(|_| DemoHistoryError::Unwritable)?;
        let entry_text = format!("wrote {name}, encrypted for {recipient}");
        Ok(case.record_evidence(context, &entry_text, &name, &packed)?)
    }

    async fn finish_report(&self, context: ActionContext<'_>, id: &str) -> Result<(), DemoHistoryError> {
        for [name, text] in REPORT_TEXTS {
            self.load(id)?.set_report_field(context, name, text)?;
        }
        let mut case = self.load(id)?;
        case.advance(context, StepAnswer::Unanswered).await?;
        let report = "Reviewed in the team meeting and filed with the other postmortems";
        case.advance(context, StepAnswer::Done(report)).await?;
        Ok(case.close(context, None)?)
    }

    /// Removes the expired rows. Returns how many.
    pub(super) async fn clean_up_backlog(&self) -> Result<u64, DemoHistoryError> {
        let (clock, _) = Clock::manual(self.milestones.cleanup);
        let context = self.context(&clock)?;
        let grace = self.milestones.now.duration_since(self.milestones.kept_since);
        let (_, applied) = apply_at(context, &Selection::Expired { grace }).await?;
        Ok(applied.done)
    }
}

/// Creates and applies a plan at the time of the context. The selection counts from the time of the database, which has
/// no past.
async fn apply_at(
    context: ActionContext<'_>,
    selection: &Selection,
) -> Result<(ActionPlan, ApplyReport), DemoHistoryError> {
    let mut plan = remediation::create_plan(context, selection).await?;
    plan.summary.now = context.clock.now();
    let (recipient, _) = archive_keys::load_or_create_recipient(context.config)?;
    let executor = PlanExecutor {
        context,
        keys: ArchiveKeys { recipient: Some(&recipient), identity: None },
        confirmation: Confirmation { typed_name: Some(SHOP_TARGET), by_policy: false },
        control: &JobControl::default(),
    };
    let applied = executor.run(plan.clone()).await?;
    let plan = context.load_plan(&plan.record.id)?;
    Ok((plan, applied))
}
