//! Collects the facts about a target for the diagnostics.

use sessionwatch_clock as clock;
use sessionwatch_core::{checks::CheckThresholds, local_time::TimeZoneDoubts, timestamp::UtcTimestamp};
use sessionwatch_targets::{
    address::TargetAddress,
    capabilities::Capability,
    connect::ConnectedTarget,
    error::TargetError,
    layout::TableActivity,
    read_session::ReadSession,
    side_effects::{RowEvent, SideEffect},
    sql::RowChange,
    write_session::WriteSession,
};

use super::{Diagnostic, DoctorInput, WriteRoleInfo, diagnose_target};
use crate::{
    clock_difference::ClockDifference,
    config::Target,
    incident::drill::leftovers::{self, LeftoverDatabase},
};

/// Tokens in a sample.
const TOKEN_SAMPLE_SIZE: usize = 1_000;

/// Maximum number of impersonators named.
const MAX_NAMED_IMPERSONATORS: usize = 5;

/// Runs the diagnostics of a connected target.
///
/// # Errors
///
/// Fails if a query fails.
pub async fn examine_target(
    target: &Target,
    connected: &ConnectedTarget,
) -> Result<Vec<Diagnostic>, TargetError> {
    // Against the clock of this machine, because both are compared with expiry times.
    let clocks = ClockDifference::from_reading(connected.now, connected.now_read_at, clock::now());
    let (session, scope) = (&connected.session, connected.query_scope(false, &CheckThresholds::default()));
    let mapping = &connected.layout.candidate.mapping;
    let server = session.fetch_server_info(&mapping.sessions).await?;
    // A broken write role is a finding of its own, and must not end the other diagnostics.
    let write_role = inspect_write_role(target, connected).await;
    let doubts = load_doubts(connected).await?;
    let shortest_token = session.min_token_length(&scope, TOKEN_SAMPLE_SIZE).await?;
    let ends_in_other_unit = session.count_expiries_in_other_unit(&scope).await?;
    let users_in_other_form = session.count_users_in_other_form(&scope).await?;
    let impersonations = session.list_impersonators(&scope, MAX_NAMED_IMPERSONATORS).await?;
    let common_prefix = session.find_common_token_prefix(&scope, TOKEN_SAMPLE_SIZE).await?;
    let row_ids = session.find_row_id_sequence(&scope).await?;
    let drills = list_drill_databases(session).await?;
    let reached = session.read_side_effects().await?;
    // For the configured method of revocation: an update runs other triggers than a delete.
    let reached =
        reached.list_side_effects(&connected.layout.catalog_name(), RowEvent::from_revoke(&mapping.revoke));
    let side_effects: Vec<SideEffect> = reached.into_iter().map(|reached| reached.effect).collect();
    Ok(diagnose_target(DoctorInput {
        address: &target.address,
        connected,
        server_info: &server,
        clocks,
        doubts: &doubts,
        write_role: write_role.as_ref(),
        side_effects: &side_effects,
        shortest_token,
        ends_in_other_unit,
        users_in_other_form,
        impersonations: &impersonations,
        common_prefix: common_prefix.as_deref(),
        row_ids: row_ids.as_ref(),
        drill_databases: &drills,
    }))
}

/// Lists the databases on the server whose drills are not known to run.
async fn list_drill_databases(session: &ReadSession) -> Result<Vec<LeftoverDatabase>, TargetError> {
    let databases = session.list_databases(leftovers::DRILL_NAME_PREFIX).await?;
    let left = databases.iter().filter_map(|one| LeftoverDatabase::parse(&one.name, one.comment.as_deref()));
    Ok(left.filter(|left| left.state != leftovers::DrillState::Running).collect())
}

/// Finds times that are not trusted. Reads every row.
async fn load_doubts(opened: &ConnectedTarget) -> Result<TimeZoneDoubts, TargetError> {
    let scope = opened.query_scope(false, &CheckThresholds::default());
    let totals = opened.session.count_totals(&scope, UtcTimestamp::MIN).await?;
    opened
        .find_clock_doubts(TableActivity { newest: totals.newest, active: totals.active, last_growth: None })
        .await
}

/// Inspects the write role; `None` if none is configured, or the database has no roles.
async fn inspect_write_role(target: &Target, opened: &ConnectedTarget) -> Option<WriteRoleInfo> {
    // The configured address could not be resolved, so connecting would fail with a worse message.
    if let Some(problem) = &target.write_address_problem {
        return Some(WriteRoleInfo::Unknown(problem.message.clone()));
    }
    let has_roles = |address: &&TargetAddress| address.capabilities().supports(Capability::Roles);
    let address = target.write_address.as_ref().filter(has_roles)?;
    Some(
        query_write_role(target, address, opened)
            .await
            .unwrap_or_else(|error| WriteRoleInfo::Unknown(error.to_string())),
    )
}

async fn query_write_role(
    target: &Target,
    address: &TargetAddress,
    opened: &ConnectedTarget,
) -> Result<WriteRoleInfo, TargetError> {
    let mut write_session = WriteSession::open(address, target.limits, opened.fingerprint_key).await?;
    let scope = opened.query_scope(false, &CheckThresholds::default());
    let mapping = &opened.layout.candidate.mapping;
    let change = RowChange::from_revoke(&mapping.revoke, "");
    let dependents = write_session.find_dependents(&scope, change).await?;
    let missing_privileges = write_session.missing_privileges(&scope, change, &dependents).await?;
    let found = write_session.hidden_tables(&scope, change, &dependents).await?;
    let users = mapping.users.as_ref().filter(|_| found.users).map(|users| &users.table);
    let sessions = found.sessions.then_some(&mapping.sessions);
    let quoted = sessions.into_iter().chain(users).map(|table| opened.layout.quote_table(table));
    let hidden_tables = quoted.chain(found.dependents).collect();
    let role = write_session.write_role().await?.ok_or(TargetError::Unsupported)?;
    Ok(WriteRoleInfo::Inspected {
        name: role.name,
        superuser: role.is_superuser,
        missing_privileges,
        hidden_tables,
    })
}
