//! What carrying out a plan needs, whatever its kind: one detection of the layout, one connection to read and one to write,
//! and a record of the begin and the end.

use sessionwatch_archive::{Identity, Recipient};
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{audit, plans};
use sessionwatch_targets::{
    read_session::PooledConnection,
    scope::Scope,
    write_session::{Hidden, WriteSession},
};

use super::{
    ActError, Consent, Context, Control, Plan,
    authorization::{ApplyCircumstances, require_confirmation},
    error::A_USER_MAY_EXIST,
    making,
    outcome::Applied,
    view::{Known, address},
};

/// What opens and seals the archive.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArchiveKeys<'a> {
    /// To whom removed rows are sealed.
    pub recipient: Option<&'a Recipient>,
    /// What opens sealed rows.
    pub identity: Option<&'a Identity>,
}

/// Carries plans out.
#[derive(Clone, Copy, Debug)]
pub struct Executor<'a> {
    /// Target, store, clock and actor.
    pub context: Context<'a>,
    /// What opens and seals the archive.
    pub keys: ArchiveKeys<'a>,
    /// What a person gave along with the wish.
    pub consent: Consent<'a>,
    /// How the run is steered from outside.
    pub control: &'a Control,
}

/// A target on which a plan can be carried out.
pub(super) struct Prepared {
    pub(super) known: Known,
    /// The connection with the credentials of the watch, between two transactions.
    pub(super) reading: Option<PooledConnection>,
    pub(super) writing: WriteSession,
}

impl<'a> Executor<'a> {
    /// To whom removed rows are sealed.
    pub(super) fn recipient(&self) -> Result<&'a Recipient, ActError> {
        self.keys.recipient.ok_or(ActError::Unexpected("no recipient of the archive was given"))
    }

    /// What opens sealed rows.
    pub(super) fn identity(&self) -> Result<&'a Identity, ActError> {
        self.keys.identity.ok_or(ActError::Unexpected(
            "that plan puts rows back: `sessionwatch archive restore` carries it out",
        ))
    }

    /// Detects the layout, makes sure that the plan is about it, and connects to write.
    pub(super) async fn prepare(&self, plan: &Plan, now: Option<Instant>) -> Result<Prepared, ActError> {
        let address = address(self.context)?;
        let (known, reading) = Known::keeping_connection(self.context, now).await?;
        plan.is_about(&known.mapping().sessions)?;
        let writing = WriteSession::open(address, self.context.target.limits, known.key).await?;
        Ok(Prepared { known, reading, writing })
    }

    /// Marks a plan as begun, unless others that were begun meanwhile make it one that has to be confirmed.
    pub(super) fn begin(&self, plan: &mut Plan) -> Result<(), ActError> {
        let circumstances = ApplyCircumstances::of(self.context, self.consent);
        let now = circumstances.now;
        plan.summary.by_policy = self.consent.by_policy;
        plan.kept.summary = making::text(&plan.summary)?;
        plan.kept.state = plans::State::Begun;
        plan.kept.touched_at = now;
        let detail =
            serde_json::json!({ "plan": plan.kept.id, "target": plan.kept.target, "rows": plan.kept.rows });
        self.context.store.write(|db| {
            let plan = plan.clone().counted(db, now)?;
            let confirmed = require_confirmation(&plan, &circumstances);
            if confirmed.is_ok() {
                plans::put(db, &plan.kept)?;
                audit::add(
                    db,
                    audit::NewEntry {
                        actor: self.context.actor,
                        action: "plan-begun",
                        detail: &detail.to_string(),
                    },
                    now,
                )?;
            }
            Ok(confirmed)
        })?
    }

    /// Notes what came of a plan.
    pub(super) fn end(&self, plan: &mut Plan, applied: &Applied) -> Result<(), ActError> {
        let now = self.context.clock.now();
        plan.kept.touched_at = now;
        if applied.remaining == 0 {
            plan.kept.state = plans::State::Done;
            plan.summary.done = Some(applied.done + applied.earlier);
            plan.kept.summary = making::text(&plan.summary)?;
        }
        let detail = serde_json::json!({
            "plan": plan.kept.id,
            "target": plan.kept.target,
            "action": plan.selection.name(),
            "done": applied.done,
            "skipped": applied.skipped,
            "remaining": applied.remaining,
            "left": applied.left,
            "dependents": applied.dependents,
        });
        self.context.store.write(|db| {
            plans::put(db, &plan.kept)?;
            audit::add(
                db,
                audit::NewEntry {
                    actor: self.context.actor,
                    action: "plan-carried-out",
                    detail: &detail.to_string(),
                },
                now,
            )
        })?;
        Ok(())
    }
}

/// Refuses to write by a role that does not see every row it has to decide about.
pub(super) fn require_visible(scope: &Scope<'_>, hidden: &Hidden, orphans: bool) -> Result<(), ActError> {
    let mapping = &scope.layout.candidate.mapping;
    let hidden_rows = |table, consequence| Err(ActError::Hidden { table, role: "write", consequence });
    let hides = |name, consequence| hidden_rows(scope.layout.quoted(name), consequence);
    if let Some(table) = hidden.dependents.first() {
        return hidden_rows(table.clone(), "rows that go with sessions could be lost");
    }
    match &mapping.users {
        _ if hidden.sessions => {
            hides(&mapping.sessions, "rows could neither be removed nor put back for certain")
        }
        Some(users) if hidden.users && orphans => hides(&users.table, A_USER_MAY_EXIST),
        _ => Ok(()),
    }
}
