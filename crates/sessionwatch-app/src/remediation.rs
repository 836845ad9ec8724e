//! Acting: plan, then carry out exactly that plan. A plan is made with the credentials of the watch and touches nothing;
//! carrying it out needs credentials of its own, seals each row into the archive before it goes, and checks afterwards.

pub mod affected;
pub mod applying;
pub mod authorization;
pub mod control;
pub mod error;
pub mod executor;
pub mod keys;
pub mod making;
pub mod notes;
pub mod restoring;
pub mod view;

mod outcome;
mod outlook;
mod reconcile;
mod run;
mod side_effects;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sessionwatch_clock::Clock;
use sessionwatch_core::{
    duration::as_micros,
    instant::{self, Instant},
    safety_limit::{self, Ended, LimitExceeded, PlanImpact, SafetyLimit},
};
use sessionwatch_store::{Store, StoreError, audit, db::Db, plans};
use sessionwatch_targets::{
    mapping::Revoke,
    side_effects::SideEffect,
    sql::{Addressing, Chosen, Filter},
};

use crate::config::{Config, Target};

pub use self::{
    affected::{Affected, affected, ready, returned},
    authorization::{ApplyCircumstances, authorize_apply},
    control::Control,
    error::{ActError, Reason},
    executor::{ArchiveKeys, Executor},
    making::make,
    outcome::{Applied, Dependents, Why},
    reconcile::settle,
};

/// What an action is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Rows that ended longer ago than that.
    Expired {
        /// Since their end.
        #[serde(rename = "grace_us", with = "as_micros")]
        grace: SignedDuration,
    },
    /// Rows whose user does not exist.
    Orphaned,
    /// Rows on tokens that occur more than once: all of them where several users share the token, else all but the newest.
    Duplicates,
    /// Active sessions of users with more than so many, beyond that number.
    Excess {
        /// So many of each user's are kept: those that end last.
        keep: u64,
    },
    /// Every row of a user.
    User(String),
    /// Every row of some users.
    Users(Vec<String>),
    /// The row of that id, or on a token that begins so.
    Session(String),
    /// Every row.
    All,
    /// Rows that fit.
    Where(Filter),
    /// Rows of the archive, to be put back.
    Restore {
        /// The plan that removed them.
        archive: String,
        /// Only those of this user.
        user: Option<String>,
    },
}

/// With what an action is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The target.
    pub target: &'a Target,
    /// Where plans and archives are.
    pub store: &'a Store,
    /// The time.
    pub clock: &'a Clock,
    /// Who acts.
    pub actor: &'a str,
}

/// A plan as people see it; its rows are in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is kept of it.
    pub kept: plans::Plan,
    /// What was asked for.
    pub selection: Selection,
    /// The rest.
    pub summary: Summary,
    /// What other plans of the target ended within the last hour.
    pub ended: Ended,
}

/// What is known of a plan besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Summary {
    /// How the rows are ended.
    pub revoke: Revoke,
    /// Users whose sessions it touches.
    pub users: u64,
    /// Active sessions in the whole table.
    pub all_active: u64,
    /// Rows in the whole table.
    pub all_rows: u64,
    /// The instant to which conditions refer.
    #[serde(with = "instant::as_micros")]
    pub now: Instant,
    /// What the locators of its rows are.
    pub addressing: Addressing,
    /// Some of the rows.
    pub sample: Vec<Line>,
    /// What a person should know before it is carried out.
    pub notes: Vec<String>,
    /// Archived rows that a restore leaves in the archive, since something is in the way of them.
    pub left: u64,
    /// Tokens that a restore makes valid again, and that several users had shared.
    pub shared: u64,
    /// What happens besides to other tables, or by triggers and rules.
    pub side_effects: Vec<SideEffect>,
    /// The configuration has it applied, without a person.
    pub by_policy: bool,
    /// Rows that it ended or put back; nothing until it is done.
    pub done: Option<u64>,
    /// The table of sessions, with its schema; empty in plans of older programs.
    pub table: String,
    /// How that table was read: the title of the profile.
    pub framework: String,
    /// What may go on working though its row is gone.
    pub not_ended: Vec<String>,
}

/// A row for a person to recognise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The first characters of the token.
    pub prefix: Option<String>,
    /// The row's id.
    pub id: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The end in microseconds.
    pub expires: Option<i64>,
}

/// What a person gave along with the wish to carry out a plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Consent<'a> {
    /// The name of the target, typed.
    pub name: Option<&'a str>,
    /// The configuration says that it is done, without a person.
    pub by_policy: bool,
}

impl Selection {
    /// The command that asks for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "cleanup expired",
            Self::Orphaned => "cleanup orphaned",
            Self::Duplicates => "cleanup duplicates",
            Self::Excess { .. } => "cleanup excess",
            Self::User(_) => "revoke user",
            Self::Users(_) => "revoke users",
            Self::Session(_) => "revoke session",
            Self::All => "revoke all",
            Self::Where(_) => "revoke where",
            Self::Restore { .. } => "archive restore",
        }
    }

    /// How these rows are ended, where sessions are ended so: what nobody can use any more is always removed.
    #[must_use]
    pub fn revoke(&self, usual: &Revoke) -> Revoke {
        match self {
            Self::Expired { .. } | Self::Orphaned => Revoke::Delete,
            _ => usual.clone(),
        }
    }

    /// The rows that are meant.
    #[must_use]
    pub fn chosen(&self, now: Instant) -> Option<Chosen<'_>> {
        Some(match self {
            Self::Expired { grace } => Chosen::Expired(now - *grace),
            Self::Orphaned => Chosen::Orphaned,
            Self::Duplicates => Chosen::Duplicates,
            Self::Excess { keep } => Chosen::Excess(*keep),
            Self::User(id) => Chosen::User(id),
            Self::Users(ids) => Chosen::Users(ids),
            Self::Session(name) => Chosen::Named(name),
            Self::All => Chosen::All,
            Self::Where(filter) => Chosen::Where(filter),
            Self::Restore { .. } => return None,
        })
    }
}

/// The account behind a name in the audit trail, where that is of a program: `ada (deploys)` acts for `ada`.
#[must_use]
pub fn account(actor: &str) -> &str {
    actor.split_once(" (").map_or(actor, |(account, _)| account)
}

/// Agrees to a plan as the second person: whether it can still be carried out.
///
/// # Errors
///
/// If it cannot be written.
pub fn agree(db: Db<'_>, id: &str, actor: &str, now: Instant) -> Result<bool, StoreError> {
    let open = |plan: &plans::Plan| matches!(plan.state, plans::State::Planned | plans::State::Begun);
    let Some(mut plan) = plans::get(db, id)?.filter(open) else { return Ok(false) };
    let detail = serde_json::json!({ "plan": id, "target": plan.target, "rows": plan.rows }).to_string();
    plan.approved_by = Some(account(actor).to_owned());
    plans::put(db, &plan)?;
    audit::add(db, audit::NewEntry { actor, action: "plan-approved", detail: &detail }, now)?;
    Ok(true)
}

impl Context<'_> {
    /// Who would have to agree to a plan besides whoever carries it out, and has not: why it reaches far.
    #[must_use]
    pub fn lacks_agreement(&self, plan: &Plan) -> Option<Reason> {
        let agreed = plan.kept.approved_by.as_deref().is_some_and(|second| second != account(self.actor));
        plan.braked(self.brake()).filter(|_| self.config.actions.second_person && !agreed)
    }

    /// How far a plan may reach without being confirmed.
    #[must_use]
    pub fn brake(&self) -> SafetyLimit {
        self.config.actions.brake()
    }

    /// A plan that was made before.
    ///
    /// # Errors
    ///
    /// If there is none of that id, or it is of another target.
    pub fn plan(&self, id: &str) -> Result<Plan, ActError> {
        let now = self.clock.now();
        let plan = self.store.read(|db| Plan::get(db, id, now))?;
        let plan = plan.ok_or_else(|| ActError::NoPlan(id.to_owned()))?;
        let here = (&self.target.name, self.target.address.to_string());
        if (&plan.kept.target, &plan.kept.address) != (here.0, &here.1) {
            let (plan, named) = (plan.kept.target, here.0.clone());
            return Err(ActError::OtherTarget { plan, named });
        }
        Ok(plan)
    }
}

impl Plan {
    /// Reads a plan as it is kept. Returns `None` while its rows are being listed.
    ///
    /// # Errors
    ///
    /// If it was written by another version, or is damaged.
    pub fn read(kept: plans::Plan) -> Result<Option<Self>, StoreError> {
        if kept.state == plans::State::Making {
            return Ok(None);
        }
        let unreadable =
            |column: &str| StoreError::Undecodable { table: "plans".into(), column: column.into() };
        let selection = serde_json::from_str(&kept.about).map_err(|_| unreadable("about"))?;
        let summary = serde_json::from_str(&kept.summary).map_err(|_| unreadable("summary"))?;
        Ok(Some(Self { kept, selection, summary, ended: Ended::default() }))
    }

    /// The plan of that id, once its rows are listed, with what others of its target ended lately.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn get(db: Db<'_>, id: &str, now: Instant) -> Result<Option<Self>, StoreError> {
        let plan = plans::get(db, id)?.map(Self::read).transpose()?.flatten();
        plan.map(|plan| plan.counted(db, now)).transpose()
    }

    /// The same plan, with what others of its target ended within the last hour.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn counted(mut self, db: Db<'_>, now: Instant) -> Result<Self, StoreError> {
        let others = plans::applied_since(db, &self.kept, now - safety_limit::WINDOW)?;
        let applied: Result<Vec<safety_limit::Applied>, StoreError> =
            others.into_iter().map(Self::applied).filter_map(Result::transpose).collect();
        self.ended = Ended::until(now, self.kept.made_at, &applied?);
        Ok(self)
    }

    /// What a plan counts as for others; `None` for one that ends nothing, or that the configuration limits.
    fn applied(kept: plans::Plan) -> Result<Option<safety_limit::Applied>, StoreError> {
        let Some(Self { kept, selection, summary, .. }) = Self::read(kept)? else { return Ok(None) };
        if matches!(selection, Selection::Restore { .. }) || summary.by_policy {
            return Ok(None);
        }
        let done = kept.state == plans::State::Done;
        let rows = summary.done.filter(|_| done).unwrap_or(kept.rows);
        Ok(Some(safety_limit::Applied { at: kept.touched_at, done, rows, active: kept.active.min(rows) }))
    }

    /// The table and the framework that it is about, in words; `None` for a plan of an older program.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let Summary { table, framework, .. } = &self.summary;
        (!table.is_empty()).then(|| format!("{table} ({framework})"))
    }

    /// Refuses to go on with a plan whose table is not the one that is recognised now.
    ///
    /// # Errors
    ///
    /// If it is another one.
    fn is_about(&self, table: &sessionwatch_targets::mapping::TableName) -> Result<(), ActError> {
        let (plan, now) = (self.summary.table.clone(), table.to_string());
        if plan.is_empty() || plan == now { Ok(()) } else { Err(ActError::OtherTable { plan, now }) }
    }

    /// How far it reaches.
    #[must_use]
    pub fn reach(&self) -> PlanImpact {
        let Summary { all_active, all_rows, .. } = self.summary;
        PlanImpact { rows: self.kept.rows, active: self.kept.active, all_active, all_rows }
    }

    /// What a person types to confirm it: the name of the target. Of a server that only an address names, it is that of the
    /// database, since no option takes an address that may hold a password.
    #[must_use]
    pub fn name_to_confirm(&self) -> &str {
        let name = &self.kept.target;
        let Some((_, address)) = name.split_once("://") else { return name };
        let database = address.split_once('/').map_or("", |(_, database)| database);
        let database = database.split('?').next().unwrap_or_default();
        if database.is_empty() { "target" } else { database }
    }

    /// Why it has to be confirmed, if it has to be.
    #[must_use]
    pub fn braked(&self, brake: SafetyLimit) -> Option<Reason> {
        let reach = match self.selection {
            // Putting back logs in whoever had been logged in, and takes nothing from anybody.
            Selection::Restore { .. } => None,
            _ => brake.holds(self.reach(), self.ended),
        };
        let shared = (self.summary.shared > 0).then_some(LimitExceeded::SharedTokens(self.summary.shared));
        let further = self.summary.side_effects.iter().filter(|effect| effect.reaches_further()).count();
        let further = (further > 0).then_some(LimitExceeded::SideEffects(further as u64));
        let reasons: Vec<LimitExceeded> = reach.into_iter().chain(shared).chain(further).collect();
        (!reasons.is_empty()).then_some(Reason(reasons))
    }

    /// Whether it is too old to be carried out.
    #[must_use]
    pub fn is_stale(&self, stale_after: SignedDuration, now: Instant) -> bool {
        let age = now.duration_since(self.kept.touched_at);
        age > stale_after || age < -stale_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_that_no_version_wrote_are_an_error() {
        let stored = |about: &str, summary: &str| plans::Plan {
            id: "p".into(),
            target: "app".into(),
            address: "a".into(),
            about: about.into(),
            made_at: Instant::MIN,
            made_by: "ada".into(),
            touched_at: Instant::MIN,
            state: plans::State::Planned,
            rows: 0,
            active: 0,
            summary: summary.into(),
            approved_by: None,
        };
        let summary = serde_json::to_string(&Summary::default()).unwrap();
        assert!(Plan::read(stored("\"orphaned\"", &summary)).unwrap().is_some());
        for (about, written, column) in [
            ("", summary.as_str(), "about"),
            ("\"Everything\"", &summary, "about"),
            ("\"orphaned\"", "", "summary"),
        ] {
            let read = Plan::read(stored(about, written));
            assert!(
                matches!(read, Err(StoreError::Undecodable { column: named, .. }) if named == column),
                "{about} {written}"
            );
        }
    }
}
