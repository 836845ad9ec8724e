//! Creates plans: lists the rows in one read-only transaction as the watch role, and stores them.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use jiff::SignedDuration;
use sessionwatch_core::{
    local_time::{ColumnZone, MIN_GRACE, TimeZoneDoubts},
    row_ref::RowRef,
    safety_limit::RecentImpact,
    snapshot::UserTotal,
};
use sessionwatch_store::{StoreError, audit, plans, samples};
use sessionwatch_targets::{
    connect::ConnectedTarget,
    layout::TableActivity,
    mapping::{Mapping, RevokeMethod, TableName},
    read_session::ReadSession,
    row_selection::{SelectedRowPages, SelectionQuery, TableTotals, UserMatch},
    scope::QueryScope,
    sql::{RowSelection, SelectionFilter, table_info::TableKind},
};

use super::{
    ActionContext, ActionError, ActionPlan, PlanSummary, RowPreview, Selection,
    error::ORPHANS_UNCERTAIN_REASON,
    planning_session::{self, PlanningSession},
    side_effects,
};

/// Sample rows of a plan.
const PLAN_SAMPLE_ROWS: usize = 10;
/// Age above which an expiry is implausible.
const MAX_PLAUSIBLE_AGE: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);
/// Tolerated share of implausible expiry times: one in 20.
const IMPLAUSIBLE_EXPIRY_DIVISOR: u64 = 20;

/// Creates and stores a plan, without changing the target.
///
/// # Errors
///
/// Fails if the target cannot be read, lacks what the selection needs, or the selection is ambiguous.
pub async fn create_plan(
    context: ActionContext<'_>,
    selection: &Selection,
) -> Result<ActionPlan, ActionError> {
    let view = PlanningSession::open(context).await?;
    let made = build_plan(context, selection, &view).await;
    view.connected.session.close().await;
    made
}

async fn build_plan(
    context: ActionContext<'_>,
    selection: &Selection,
    view: &PlanningSession,
) -> Result<ActionPlan, ActionError> {
    let scope = view.scope(context);
    let mapping = &view.connected.layout.candidate.mapping;
    require_ordinary_table(&view.connected)?;
    require_columns(selection, mapping)?;
    require_readable_rows(selection, &scope)?;
    require_uniform_user_ids(selection, view, &scope).await?;
    if !scope.has_row_key(view.addressing) {
        return Err(ActionError::NoRowIdentifier(mapping.sessions.name.clone()));
    }
    let chosen = selection
        .row_selection(scope.now)
        .ok_or(ActionError::Unexpected("restores are not planned from the table"))?;
    let revoke = selection.effective_revoke(&mapping.revoke);
    let session = &view.connected.session;
    let meant = SelectionQuery { selection: chosen, revoke: &revoke, row_key: view.addressing };
    require_session_exists(selection, session, &scope, meant).await?;
    let expected = side_effects::ExpectedSideEffects::load(view, &revoke).await?;
    // Sessions that refer to selected ones are deleted with them, so they are rows of the plan too.
    let along = if expected.self_references.is_empty() {
        chosen
    } else {
        RowSelection::WithReferencing(&chosen, &expected.self_references)
    };
    let all = SelectionQuery { selection: along, ..meant };
    let now = context.clock.now();
    let last_growth = context.store.read(|db| samples::find_session_growth(db, &context.target.name, now))?;
    let totals = load_totals(session, &scope).await?;
    let known = TableActivity { newest: totals.newest, active: totals.active, last_growth };
    let doubts = view.connected.find_clock_doubts(known).await?;
    require_trusted_timestamps(selection, &revoke, &doubts)?;
    require_safe_cutoff(selection, view, totals.naive_expiries)?;
    let mut plan = new_plan(context, selection, view, totals)?;
    // Stored before its rows, which refer to it; the state `Making` hides it until it is complete.
    context
        .store
        .write(|db| plans::prune_plans(db, now).and_then(|()| plans::upsert_plan(db, &plan.record)))?;
    list_rows(context, session.select_rows(&scope, all).await?, &mut plan).await?;
    // Only the selection itself must be unambiguous, without the sessions that refer to it.
    let meant = match expected.self_references.as_slice() {
        [] => plan.record.row_count,
        _ => session.count_selected(&scope, meant).await?,
    };
    require_unambiguous(session, &scope, &plan, meant).await?;
    if plan.record.row_count > 0 {
        let along = plan.record.row_count.saturating_sub(meant);
        plan.summary.side_effects = expected.count_affected(session, &scope, all, along).await?;
    }
    plan.summary.revoke = revoke;
    plan.summary.not_ended = super::plan_notes::surviving_logins(context, view, &plan);
    plan.summary.notes = super::plan_notes::collect_notes(context, view, &plan);
    plan.summary.notes.extend(doubts.expires.map(|doubt| doubt.reason));
    plan.summary.notes.extend(assumed_utc_note(view, &plan.summary.revoke));
    name_sample_users(session, &scope, &mut plan).await;
    save_plan(context, &mut plan)?;
    let now = context.clock.now();
    Ok(context.store.read(|db| plan.with_recent_totals(db, now))?)
}

/// Returns a plan without rows.
fn new_plan(
    context: ActionContext<'_>,
    selection: &Selection,
    view: &PlanningSession,
    totals: TableTotals,
) -> Result<ActionPlan, StoreError> {
    let candidate = &view.connected.layout.candidate;
    let now = context.clock.now();
    Ok(ActionPlan {
        record: plans::PlanRecord {
            approved_by: None,
            id: new_plan_id(),
            target: context.target.name.clone(),
            address: context.target.address.to_string(),
            request: serde_json::to_string(selection).map_err(|_| StoreError::NotSerializable("the plan"))?,
            created_at: now,
            created_by: context.actor.to_owned(),
            updated_at: now,
            state: plans::PlanState::Making,
            row_count: 0,
            active_sessions: 0,
            summary: String::new(),
        },
        selection: selection.clone(),
        summary: PlanSummary {
            all_active: totals.active,
            all_rows: totals.rows,
            now: view.connected.now,
            addressing: view.addressing,
            table: candidate.mapping.sessions.to_string(),
            framework: candidate.title.clone(),
            ..PlanSummary::default()
        },
        recently_ended: RecentImpact::default(),
    })
}

/// Stores a plan whose rows are listed.
pub(super) fn save_plan(context: ActionContext<'_>, plan: &mut ActionPlan) -> Result<(), ActionError> {
    plan.record.state = plans::PlanState::Planned;
    plan.record.summary = encode_summary(&plan.summary)?;
    let detail = serde_json::json!({
        "plan": plan.record.id,
        "target": plan.record.target,
        "action": plan.selection.command_name(),
        "selection": plan.selection,
        "table": plan.summary.table,
        "framework": plan.summary.framework,
        "rows": plan.record.row_count,
        "active": plan.record.active_sessions,
        "users": plan.summary.users,
    });
    context.store.write(|db| {
        plans::upsert_plan(db, &plan.record)?;
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry {
                actor: context.actor,
                action: "plan.created",
                detail: &detail.to_string(),
            },
            plan.record.created_at,
        )
    })?;
    Ok(())
}

/// Returns a random plan id, long enough that a typo does not name another plan.
pub(super) fn new_plan_id() -> String {
    // 40 bits: ten hexadecimal digits.
    format!("p-{:010x}", rand::random::<u64>() >> 24)
}

/// Returns `true` for a text of the form of a plan id.
#[must_use]
pub fn is_plan_id(text: &str) -> bool {
    let is_digits =
        |digits: &str| digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    text.strip_prefix("p-").is_some_and(is_digits)
}

/// Rejects views and foreign tables, and a table that may be the wrong one.
fn require_ordinary_table(opened: &ConnectedTarget) -> Result<(), ActionError> {
    planning_session::require_certain_table(opened)?;
    let sessions = &opened.layout.candidate.mapping.sessions;
    let found = opened.layout.schema.table(sessions);
    let kind = match found.map(|table| table.kind) {
        Some(TableKind::View) => "view",
        Some(TableKind::MaterializedView) => "materialized view",
        Some(TableKind::Foreign) => "foreign table",
        _ => return Ok(()),
    };
    Err(ActionError::NotATable { table: sessions.name.clone(), kind })
}

/// Rejects a selection that needs an unknown column.
fn require_columns(selection: &Selection, mapping: &Mapping) -> Result<(), ActionError> {
    let needs = |condition, about, known: bool| {
        if known { Ok(()) } else { Err(ActionError::NoColumn { condition, about }) }
    };
    match selection {
        Selection::Orphaned => needs(
            "cleanup orphaned",
            "a users table that the watch role can read",
            mapping.users.is_some() && mapping.user.is_some(),
        ),
        Selection::Excess { .. } => needs("cleanup excess", "a user column", mapping.user.is_some()),
        Selection::User(_) | Selection::Users(_) => {
            needs("revoke user", "a user column", mapping.user.is_some())
        }
        Selection::Where(filter) => {
            let SelectionFilter {
                user,
                user_like,
                created_after,
                created_before,
                ip,
                agent_like,
                impersonated,
                ..
            } = filter;
            needs("--user", "a user column", user.is_none() || mapping.user.is_some())?;
            needs("--user-like", "a user column", user_like.is_none() || mapping.user.is_some())?;
            let created = created_after.is_none() && created_before.is_none();
            needs("--created-after", "a creation time column", created || mapping.created.is_some())?;
            needs("--ip", "an IP address column", ip.is_none() || mapping.ip.is_some())?;
            needs(
                "--user-agent-like",
                "a user agent column",
                agent_like.is_none() || mapping.agent.is_some(),
            )?;
            let known = !impersonated || mapping.impersonator.is_some();
            needs("--impersonated", "an impersonator column", known)
        }
        _ => Ok(()),
    }
}

/// Rejects a selection that depends on rows hidden from the watch role by row-level security.
fn require_readable_rows(selection: &Selection, scope: &QueryScope<'_>) -> Result<(), ActionError> {
    let hidden = |name: Option<&TableName>, consequence| match name {
        Some(name) => {
            Err(ActionError::Hidden { table: scope.layout.quote_table(name), role: "watch", consequence })
        }
        None => Ok(()),
    };
    hidden(scope.hidden_sessions_table(), "the plan would miss sessions")?;
    let consequence = match selection {
        Selection::Orphaned => ORPHANS_UNCERTAIN_REASON,
        Selection::Where(SelectionFilter { user_like: Some(_), .. }) => "`--user-like` would miss users",
        _ => return Ok(()),
    };
    hidden(scope.hidden_users_table(), consequence)?;
    match scope.users_visibility_caveat() {
        Some(doubt) => Err(ActionError::UsersUncertain { doubt, consequence }),
        None => Ok(()),
    }
}

/// Rejects a cleanup of orphans while some sessions write their user id differently from the users table.
async fn require_uniform_user_ids(
    selection: &Selection,
    view: &PlanningSession,
    scope: &QueryScope<'_>,
) -> Result<(), ActionError> {
    if *selection != Selection::Orphaned {
        return Ok(());
    }
    match view.connected.session.count_users_in_other_form(scope).await? {
        0 => Ok(()),
        sessions => Err(ActionError::UsersInOtherForm(sessions)),
    }
}

/// Rejects a selection by an expiry or creation time that is not trusted.
fn require_trusted_timestamps(
    selection: &Selection,
    revoke: &RevokeMethod,
    doubts: &TimeZoneDoubts,
) -> Result<(), ActionError> {
    let (by_end, by_creation) = match selection {
        Selection::Expired { .. } | Selection::Excess { .. } => (true, false),
        Selection::Where(filter) => (
            filter.expires_after.is_some() || filter.expires_before.is_some(),
            filter.created_after.is_some() || filter.created_before.is_some(),
        ),
        _ => (false, false),
    };
    // Revoking in place writes the expiry: read wrongly, it would leave sessions active for hours.
    let by_end = by_end || *revoke == RevokeMethod::Expire;
    let doubt = doubts.expires.as_ref().filter(|_| by_end);
    let doubt = doubt.or(doubts.created.as_ref().filter(|_| by_creation));
    doubt.map_or(Ok(()), |doubt| {
        Err(ActionError::UntrustedTimestamp { reason: doubt.reason.clone(), doubts: doubts.clone() })
    })
}

/// Returns a note if the plan writes an expiry whose time zone is only assumed.
fn assumed_utc_note(view: &PlanningSession, revoke: &RevokeMethod) -> Option<String> {
    let assumed =
        view.connected.layout.clocks.expires == ColumnZone::AssumedUtc && *revoke == RevokeMethod::Expire;
    let column = &view.connected.layout.candidate.mapping.expires.column;
    assumed.then(|| {
        format!(
            "`{column}` has no time zone and is set to the current time in UTC: if the application writes \
             local time west of UTC, these sessions stay active for hours; set \
             `decoder = \"timestamp-local:ZONE\"` in that case"
        )
    })
}

/// Rejects a cutoff closer to now than local time can differ from UTC, if the expiry has no time zone.
fn require_safe_cutoff(selection: &Selection, view: &PlanningSession, naive: u64) -> Result<(), ActionError> {
    let assumed = view.connected.layout.clocks.expires == ColumnZone::AssumedUtc
        || naive > 0 && view.connected.layout.clocks.expires == ColumnZone::Explicit;
    if !assumed {
        return Ok(());
    }
    let expires = &view.connected.layout.candidate.mapping.expires;
    let given = match selection {
        Selection::Expired { grace } if *grace < MIN_GRACE => "the cutoff by `grace`",
        Selection::Where(SelectionFilter { expires_before: Some(before), .. })
            if SignedDuration::from_micros(before.saturating_sub(view.connected.now.micros())).abs()
                < MIN_GRACE =>
        {
            "`--expires-before`"
        }
        _ => return Ok(()),
    };
    Err(ActionError::TooCloseToNow { given, column: expires.column.clone(), decoder: expires.decoder.name() })
}

/// Counts the table. Fails if too many expiry times are implausible.
async fn load_totals(session: &ReadSession, scope: &QueryScope<'_>) -> Result<TableTotals, ActionError> {
    // The safety limit compares the plan with these counts.
    let totals = session.count_totals(scope, scope.now - MAX_PLAUSIBLE_AGE).await?;
    if totals.implausible_expiries > totals.rows / IMPLAUSIBLE_EXPIRY_DIVISOR {
        return Err(ActionError::ImplausibleExpiry { odd: totals.implausible_expiries, rows: totals.rows });
    }
    Ok(totals)
}

/// Lists the rows of a plan, and stores them in chunks.
async fn list_rows(
    context: ActionContext<'_>,
    mut selected: SelectedRowPages<'_>,
    plan: &mut ActionPlan,
) -> Result<(), ActionError> {
    // Hashes, since the ids of millions of users would take too much memory.
    let hasher = RandomState::new();
    let mut users = HashSet::new();
    let mut piece = 0;
    while let Some(rows) = selected.next_page().await? {
        for row in &rows {
            users.extend(row.user.as_ref().map(|user| hasher.hash_one(user)));
            if plan.summary.sample.len() < PLAN_SAMPLE_ROWS {
                plan.summary.sample.push(preview_row(row));
            }
        }
        plan.record.row_count += rows.len() as u64;
        plan.record.active_sessions += rows.iter().filter(|row| row.active).count() as u64;
        piece += 1;
        context.store.write(|db| plans::insert_plan_chunk(db, &plan.record.id, piece, &rows))?;
    }
    plan.summary.users = users.len() as u64;
    Ok(())
}

/// Adds the names of users to the rows that a plan shows. A plan without names is as good: a failing query changes
/// nothing.
pub(super) async fn name_sample_users(session: &ReadSession, scope: &QueryScope<'_>, plan: &mut ActionPlan) {
    let ids: BTreeSet<&String> = plan.summary.sample.iter().filter_map(|row| row.user.as_ref()).collect();
    let users: Vec<UserTotal> =
        ids.into_iter().map(|id| UserTotal { user: id.clone(), sessions: 0 }).collect();
    let Ok(named) = session.describe_users(scope, &users).await else { return };
    for row in &mut plan.summary.sample {
        let user = named.iter().find(|named| named.user.is_some() && named.user == row.user);
        let names = user.map(|user| user.display.iter().flatten().cloned().collect());
        row.display = names.unwrap_or_default();
    }
}

pub(super) fn encode_summary(summary: &PlanSummary) -> Result<String, StoreError> {
    serde_json::to_string(summary).map_err(|_| StoreError::NotSerializable("the plan"))
}

/// Returns a planned row as shown to people.
pub(super) fn preview_row(row: &RowRef) -> RowPreview {
    RowPreview {
        prefix: row.token_prefix.clone(),
        id: row.id.clone(),
        user: row.user.clone(),
        expires: row.expires_us,
        display: Vec::new(),
    }
}

/// Rejects a name without a session before the name is stored: it may be a complete token.
async fn require_session_exists(
    selection: &Selection,
    session: &ReadSession,
    scope: &QueryScope<'_>,
    meant: SelectionQuery<'_>,
) -> Result<(), ActionError> {
    match selection {
        Selection::Session(_) if session.count_selected(scope, meant).await? == 0 => {
            Err(ActionError::NoSession)
        }
        Selection::Sessions(_) if !scope.has_unique_id() => {
            let (condition, about) = ("revoke sessions", "a unique row ID column");
            Err(ActionError::NoColumn { condition, about })
        }
        Selection::Sessions(ids) => {
            // By existence alone, whatever the method leaves out: each name must be the ID of a row.
            let existing = SelectionQuery { revoke: &RevokeMethod::Delete, ..meant };
            let (found, wanted) = (session.count_selected(scope, existing).await?, count_distinct(ids));
            if found == wanted && found > 0 {
                Ok(())
            } else {
                Err(ActionError::SessionsMissing { missing: wanted.saturating_sub(found), wanted })
            }
        }
        _ => Ok(()),
    }
}

fn count_distinct(ids: &[String]) -> u64 {
    ids.iter().collect::<BTreeSet<_>>().len() as u64
}

/// Rejects a name that matches nothing, or several sessions. `meant` counts the rows without referring sessions.
async fn require_unambiguous(
    session: &ReadSession,
    scope: &QueryScope<'_>,
    plan: &ActionPlan,
    meant: u64,
) -> Result<(), ActionError> {
    match &plan.selection {
        Selection::User(id) if plan.record.row_count == 0 => {
            // An existing user without sessions is not an error.
            if session.user_exists(scope, id).await? {
                return Ok(());
            }
            let similar = session.search_users(scope, id, PLAN_SAMPLE_ROWS).await?;
            let similar = similar
                .into_iter()
                .map(|user| RowPreview { user: Some(user_label(&user)), ..RowPreview::default() });
            Err(ActionError::NoUser(id.clone(), similar.collect()))
        }
        Selection::Session(_) if plan.record.row_count == 0 => Err(ActionError::NoSession),
        Selection::Session(name) if meant > 1 => {
            Err(ActionError::Ambiguous(name.clone(), plan.summary.sample.clone()))
        }
        _ => Ok(()),
    }
}

fn user_label(user: &UserMatch) -> String {
    let cells = user.id.iter().chain(user.display.iter().flatten());
    cells.filter(|cell| !cell.is_empty()).cloned().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests;
