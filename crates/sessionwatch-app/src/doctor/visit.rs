//! Asking a target what the doctor needs to know.

use sessionwatch_clock as clock;
use sessionwatch_core::{checks::Thresholds, instant::Instant, local_time::Doubts};
use sessionwatch_targets::{
    address::Address,
    capabilities::Capability,
    connect::ConnectedTarget,
    error::TargetError,
    layout::Known,
    read_session::ReadSession,
    side_effects::{Event, SideEffect},
    sql::Change,
    write_session::WriteSession,
};

use super::{Acting, Finding, Patient, examine};
use crate::{
    clock_difference::Difference,
    config::Target,
    incident::drill::leftovers::{self, Leftover},
};

/// Tokens whose lengths are looked at.
const SAMPLE: usize = 1_000;

/// People who act for others that are named.
const NAMED: usize = 5;

/// Examines a target that is open.
///
/// # Errors
///
/// If it does not answer.
pub async fn visit(target: &Target, opened: &ConnectedTarget) -> Result<Vec<Finding>, TargetError> {
    let clocks = Difference::of(opened.now, opened.now_read, clock::now());
    let (session, scope) = (&opened.session, opened.scope(false, &Thresholds::default()));
    let mapping = &opened.layout.candidate.mapping;
    let server = session.server_info(&mapping.sessions).await?;
    let acting = acting(target, opened).await;
    let doubts = doubts(opened).await?;
    let shortest_token = session.shortest_token(&scope, SAMPLE).await?;
    let ends_in_other_unit = session.ends_in_other_unit(&scope).await?;
    let users_in_other_form = session.users_in_other_form(&scope).await?;
    let impersonations = session.impersonations(&scope, NAMED).await?;
    let common_prefix = session.common_token_prefix(&scope, SAMPLE).await?;
    let row_ids = session.row_id_sequence(&scope).await?;
    let drills = drills(session).await?;
    let reached = session.side_effects().await?;
    let reached = reached.reached(&opened.layout.catalog_name(), Event::of(&mapping.revoke));
    let side_effects: Vec<SideEffect> = reached.into_iter().map(|reached| reached.effect).collect();
    Ok(examine(Patient {
        address: &target.address,
        opened,
        audit: &server,
        clocks,
        doubts: &doubts,
        acting: acting.as_ref(),
        side_effects: &side_effects,
        shortest_token,
        ends_in_other_unit,
        users_in_other_form,
        impersonations: &impersonations,
        common_prefix: common_prefix.as_deref(),
        row_ids: row_ids.as_ref(),
        drills: &drills,
    }))
}

/// The databases of drills that are not known to run, on the server of the target.
async fn drills(session: &ReadSession) -> Result<Vec<Leftover>, TargetError> {
    let databases = session.databases(leftovers::PREFIX).await?;
    let left = databases.iter().filter_map(|one| Leftover::of(&one.name, one.comment.as_deref()));
    Ok(left.filter(|left| left.state != leftovers::State::Running).collect())
}

/// The instants that are not believed, by a look at every row.
async fn doubts(opened: &ConnectedTarget) -> Result<Doubts, TargetError> {
    let scope = opened.scope(false, &Thresholds::default());
    let totals = opened.session.totals(&scope, Instant::MIN).await?;
    opened.doubts(Known { newest: totals.newest, active: totals.active, growth: None }).await
}

/// The role that acts, where one is configured; a file has none.
async fn acting(target: &Target, opened: &ConnectedTarget) -> Option<Acting> {
    if let Some(problem) = &target.act_missing {
        return Some(Acting::Unknown(problem.message.clone()));
    }
    let has_roles = |address: &&Address| address.capabilities().supports(Capability::Roles);
    let address = target.act.as_ref().filter(has_roles)?;
    Some(ask(target, address, opened).await.unwrap_or_else(|error| Acting::Unknown(error.to_string())))
}

async fn ask(target: &Target, address: &Address, opened: &ConnectedTarget) -> Result<Acting, TargetError> {
    let mut writing = WriteSession::open(address, target.limits, opened.key).await?;
    let scope = opened.scope(false, &Thresholds::default());
    let mapping = &opened.layout.candidate.mapping;
    let change = Change::of(&mapping.revoke, "");
    let dependents = writing.dependents(&scope, change).await?;
    let lacks = writing.lacks(&scope, change, &dependents).await?;
    let found = writing.hidden(&scope, change, &dependents).await?;
    let users = mapping.users.as_ref().filter(|_| found.users).map(|users| &users.table);
    let sessions = found.sessions.then_some(&mapping.sessions);
    let quoted = sessions.into_iter().chain(users).map(|table| opened.layout.quoted(table));
    let hidden = quoted.chain(found.dependents).collect();
    let role = writing.role().await?.ok_or(TargetError::Unsupported)?;
    Ok(Acting::Asked { name: role.name, superuser: role.superuser, lacks, hidden })
}
