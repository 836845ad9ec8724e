//! Asking a target what the doctor needs to know.

use sessionwatch_rules::settings::Settings;

use super::{Acting, Finding, Patient, examine};
use crate::{
    clock,
    config::Target,
    open::Opened,
    target::{acting::Actor, address::Address, error::TargetError, sql::Change},
};

/// Examines a target that is open.
///
/// # Errors
///
/// If it does not answer.
pub async fn visit(target: &Target, opened: &Opened) -> Result<Vec<Finding>, TargetError> {
    let local_now = clock::now();
    let audit = opened.session.audit(&opened.candidate.mapping.sessions).await?;
    let acting = acting(target, opened).await;
    let (address, acting) = (&target.address, acting.as_ref());
    Ok(examine(Patient { address, opened, audit: &audit, local_now, acting }))
}

/// The role that acts, where one is configured; a file has none.
async fn acting(target: &Target, opened: &Opened) -> Option<Acting> {
    let address = target.act.as_ref().filter(|address| matches!(address, Address::Postgres(_)))?;
    Some(ask(target, address, opened).await.unwrap_or_else(|error| Acting::Unknown(error.to_string())))
}

async fn ask(target: &Target, address: &Address, opened: &Opened) -> Result<Acting, TargetError> {
    let mut actor = Actor::open(address, target.limits, opened.key).await?;
    let sql = opened.sql(false, &Settings::default());
    let change = Change::of(&opened.candidate.mapping.revoke, "");
    let lacks = actor.lacks(&sql, change).await?;
    let query =
        "SELECT current_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";
    let row = actor.fetch(query).await?.into_iter().next().ok_or(TargetError::Lost)?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    Ok(Acting::Asked { name: text(0), superuser: text(1) == "t", lacks })
}
