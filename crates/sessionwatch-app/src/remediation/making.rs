//! Making a plan: its rows are listed in one read-only transaction, with the credentials of the watch, and kept.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use jiff::SignedDuration;
use sessionwatch_core::{
    local_time::{Clock, Doubts, MIN_GRACE},
    row_ref::RowRef,
    safety_limit::Ended,
};
use sessionwatch_store::{StoreError, audit, censuses, plans};
use sessionwatch_targets::{
    connect::ConnectedTarget,
    layout::Known,
    mapping::{Mapping, Revoke, TableName},
    read_session::{PooledConnection, ReadSession},
    scope::Scope,
    selecting::{Selected, SelectedRows, Totals, UserMatch},
    sql::{Chosen, Filter, tables::TableKind},
};

use super::{
    ActError, Context, Line, Plan, Selection, Summary,
    error::A_USER_MAY_EXIST,
    side_effects,
    view::{self, View},
};

/// Rows of a plan that are shown.
const SAMPLE: usize = 10;
/// No session that is still stored ended longer ago.
const LONG_AGO: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);
/// One in so many stored expiries may make no sense.
const ODD: u64 = 20;

/// Makes a plan, and keeps it. Nothing is touched.
///
/// # Errors
///
/// If the target cannot be looked at, what was asked for cannot be decided there, or names nothing certain.
pub async fn make(context: Context<'_>, selection: &Selection) -> Result<Plan, ActError> {
    let view = View::open(context).await?;
    let made = plan(context, selection, &view).await;
    view.opened.session.close().await;
    made
}

async fn plan(context: Context<'_>, selection: &Selection, view: &View) -> Result<Plan, ActError> {
    let scope = view.scope(context);
    let mapping = &view.opened.layout.candidate.mapping;
    refuse(&view.opened)?;
    decidable(selection, mapping)?;
    seen(selection, &scope)?;
    written_alike(selection, view, &scope).await?;
    if !scope.can_name_rows(view.addressing) {
        return Err(ActError::Nameless(mapping.sessions.name.clone()));
    }
    let chosen =
        selection.chosen(scope.now).ok_or(ActError::Unexpected("what is archived is planned elsewhere"))?;
    let revoke = selection.revoke(&mapping.revoke);
    let session = &view.opened.session;
    let meant = Selected { chosen, revoke: &revoke, addressing: view.addressing };
    named(selection, session, &scope, meant).await?;
    let besides = side_effects::Besides::read(view, &revoke).await?;
    let along = if besides.own.is_empty() { chosen } else { Chosen::Along(&chosen, &besides.own) };
    let all = Selected { chosen: along, ..meant };
    let now = context.clock.now();
    let growth = context.store.read(|db| censuses::growth(db, &context.target.name, now))?;
    let totals = totals(session, &scope).await?;
    let known = Known { newest: totals.newest, active: totals.active, growth };
    let doubts = view.opened.doubts(known).await?;
    believed(selection, &revoke, &doubts)?;
    in_time(selection, view, totals.naive)?;
    let mut plan = begun(context, selection, view, totals)?;
    context.store.write(|db| plans::forget(db, now).and_then(|()| plans::put(db, &plan.kept)))?;
    list(context, session.select(&scope, all).await?, &mut plan).await?;
    let meant = match besides.own.as_slice() {
        [] => plan.kept.rows,
        _ => session.count_selected(&scope, meant).await?,
    };
    certain(session, &scope, &plan, meant).await?;
    if plan.kept.rows > 0 {
        let along = plan.kept.rows.saturating_sub(meant);
        plan.summary.side_effects = besides.of(session, &scope, all, along).await?;
    }
    plan.summary.revoke = revoke;
    plan.summary.not_ended = super::notes::not_ended(context, view, &plan);
    plan.summary.notes = super::notes::of(context, view, &plan);
    plan.summary.notes.extend(doubts.expires.map(|doubt| doubt.reason));
    plan.summary.notes.extend(assumes_utc(view, &plan.summary.revoke));
    finish(context, &mut plan)?;
    let now = context.clock.now();
    Ok(context.store.read(|db| plan.counted(db, now))?)
}

/// A plan without rows, for a table with so many active sessions and so many rows.
fn begun(
    context: Context<'_>,
    selection: &Selection,
    view: &View,
    totals: Totals,
) -> Result<Plan, StoreError> {
    let candidate = &view.opened.layout.candidate;
    let now = context.clock.now();
    Ok(Plan {
        kept: plans::Plan {
            approved_by: None,
            id: new_id(),
            target: context.target.name.clone(),
            address: context.target.address.to_string(),
            about: serde_json::to_string(selection).map_err(|_| StoreError::Unwritable("the plan"))?,
            made_at: now,
            made_by: context.actor.to_owned(),
            touched_at: now,
            state: plans::State::Making,
            rows: 0,
            active: 0,
            summary: String::new(),
        },
        selection: selection.clone(),
        summary: Summary {
            all_active: totals.active,
            all_rows: totals.rows,
            now: view.opened.now,
            addressing: view.addressing,
            table: candidate.mapping.sessions.to_string(),
            framework: candidate.title.clone(),
            ..Summary::default()
        },
        ended: Ended::default(),
    })
}

/// Keeps a plan whose rows are listed.
pub(super) fn finish(context: Context<'_>, plan: &mut Plan) -> Result<(), ActError> {
    plan.kept.state = plans::State::Planned;
    plan.kept.summary = text(&plan.summary)?;
    let detail = serde_json::json!({
        "plan": plan.kept.id,
        "target": plan.kept.target,
        "action": plan.selection.name(),
        "about": plan.selection,
        "table": plan.summary.table,
        "framework": plan.summary.framework,
        "rows": plan.kept.rows,
        "active": plan.kept.active,
        "users": plan.summary.users,
    });
    context.store.write(|db| {
        plans::put(db, &plan.kept)?;
        audit::add(
            db,
            audit::NewEntry { actor: context.actor, action: "plan-made", detail: &detail.to_string() },
            plan.kept.made_at,
        )
    })?;
    Ok(())
}

/// An id that nobody has to guess, and nobody mistypes into another one.
pub(super) fn new_id() -> String {
    format!("p-{:010x}", rand::random::<u64>() >> 24)
}

/// Refuses what is no table, and one that may be the wrong one.
fn refuse(opened: &ConnectedTarget) -> Result<(), ActError> {
    view::certain_table(opened)?;
    let sessions = &opened.layout.candidate.mapping.sessions;
    let found = opened.layout.schema.table(sessions);
    let kind = match found.map(|table| table.kind) {
        Some(TableKind::View) => "view",
        Some(TableKind::MaterializedView) => "materialized view",
        Some(TableKind::Foreign) => "foreign table",
        _ => return Ok(()),
    };
    Err(ActError::NotATable { table: sessions.name.clone(), kind })
}

/// Refuses what needs a column that is not known.
fn decidable(selection: &Selection, mapping: &Mapping) -> Result<(), ActError> {
    let needs = |condition, about, known: bool| {
        if known { Ok(()) } else { Err(ActError::NoColumn { condition, about }) }
    };
    match selection {
        Selection::Orphaned => needs(
            "cleanup orphaned",
            "users that the watch role may read",
            mapping.users.is_some() && mapping.user.is_some(),
        ),
        Selection::Excess { .. } => needs("cleanup excess", "the user", mapping.user.is_some()),
        Selection::User(_) | Selection::Users(_) => needs("revoke user", "the user", mapping.user.is_some()),
        Selection::Where(filter) => {
            let Filter {
                user, user_like, created_after, created_before, ip, agent_like, impersonated, ..
            } = filter;
            needs("--user", "the user", user.is_none() || mapping.user.is_some())?;
            needs("--user-like", "the user", user_like.is_none() || mapping.user.is_some())?;
            let created = created_after.is_none() && created_before.is_none();
            needs("--created-after", "the creation", created || mapping.created.is_some())?;
            needs("--ip", "the address", ip.is_none() || mapping.ip.is_some())?;
            needs("--agent-like", "the user agent", agent_like.is_none() || mapping.agent.is_some())?;
            let known = !impersonated || mapping.impersonator.is_some();
            needs("--impersonated", "whoever acts for a user", known)
        }
        _ => Ok(()),
    }
}

/// Refuses what cannot be decided because row-level security hides rows from the watch role.
fn seen(selection: &Selection, scope: &Scope<'_>) -> Result<(), ActError> {
    let hidden = |name: Option<&TableName>, consequence| match name {
        Some(name) => Err(ActError::Hidden { table: scope.layout.quoted(name), role: "watch", consequence }),
        None => Ok(()),
    };
    hidden(scope.hidden_sessions(), "the plan would leave out sessions")?;
    let consequence = match selection {
        Selection::Orphaned => A_USER_MAY_EXIST,
        Selection::Where(Filter { user_like: Some(_), .. }) => "`--user-like` would leave out users",
        _ => return Ok(()),
    };
    hidden(scope.hidden_users(), consequence)?;
    match scope.users_doubt() {
        Some(doubt) => Err(ActError::Doubtful { doubt, consequence }),
        None => Ok(()),
    }
}

/// Refuses to take sessions for orphaned while some write their users in another form than the keys have.
async fn written_alike(selection: &Selection, view: &View, scope: &Scope<'_>) -> Result<(), ActError> {
    if *selection != Selection::Orphaned {
        return Ok(());
    }
    match view.opened.session.users_in_other_form(scope).await? {
        0 => Ok(()),
        sessions => Err(ActError::UsersInOtherForm(sessions)),
    }
}

/// Refuses what goes by an end or a creation that is not believed.
fn believed(selection: &Selection, revoke: &Revoke, doubts: &Doubts) -> Result<(), ActError> {
    let (by_end, by_creation) = match selection {
        Selection::Expired { .. } | Selection::Excess { .. } => (true, false),
        Selection::Where(filter) => (
            filter.expires_after.is_some() || filter.expires_before.is_some(),
            filter.created_after.is_some() || filter.created_before.is_some(),
        ),
        _ => (false, false),
    };
    // What has ended by a wrong reading would not be ended, and what is ended would go on until the wrong instant.
    let by_end = by_end || *revoke == Revoke::Expire;
    let doubt = doubts.expires.as_ref().filter(|_| by_end);
    let doubt = doubt.or(doubts.created.as_ref().filter(|_| by_creation));
    doubt.map_or(Ok(()), |doubt| {
        Err(ActError::LocalTime { reason: doubt.reason.clone(), doubts: doubts.clone() })
    })
}

/// Says that an end is set by a clock which nothing confirms.
fn assumes_utc(view: &View, revoke: &Revoke) -> Option<String> {
    let assumed = view.opened.layout.clocks.expires == Clock::AssumedUtc && *revoke == Revoke::Expire;
    let column = &view.opened.layout.candidate.mapping.expires.column;
    assumed.then(|| {
        format!(
            "`{column}` names no time zone and is set to now in UTC: if the application writes local time west of UTC, these \
             sessions go on for hours; `decoder = \"timestamp-local:ZONE\"` names its zone"
        )
    })
}

/// Refuses to go by an end that names no time zone closer to now than clocks can be apart.
fn in_time(selection: &Selection, view: &View, naive: u64) -> Result<(), ActError> {
    let assumed = view.opened.layout.clocks.expires == Clock::AssumedUtc
        || naive > 0 && view.opened.layout.clocks.expires == Clock::Named;
    if !assumed {
        return Ok(());
    }
    let expires = &view.opened.layout.candidate.mapping.expires;
    let given = match selection {
        Selection::Expired { grace } if *grace < MIN_GRACE => "a grace",
        Selection::Where(Filter { expires_before: Some(before), .. })
            if SignedDuration::from_micros(before.saturating_sub(view.opened.now.micros())).abs()
                < MIN_GRACE =>
        {
            "`--expires-before` with an instant"
        }
        _ => return Ok(()),
    };
    Err(ActError::TooClose { given, column: expires.column.clone(), decoder: expires.decoder.name() })
}

/// Counts the table; an error if too many of its ends make no sense.
async fn totals(session: &ReadSession, scope: &Scope<'_>) -> Result<Totals, ActError> {
    // How far a plan may reach is decided by these.
    let totals = session.totals(scope, scope.now - LONG_AGO).await?;
    if totals.implausible > totals.rows / ODD {
        return Err(ActError::Implausible { odd: totals.implausible, rows: totals.rows });
    }
    Ok(totals)
}

/// Lists the rows of a plan, and keeps them piece by piece.
async fn list(context: Context<'_>, mut selected: SelectedRows<'_>, plan: &mut Plan) -> Result<(), ActError> {
    let hasher = RandomState::new();
    let mut users = HashSet::new();
    let mut piece = 0;
    while let Some(rows) = selected.next().await? {
        for row in &rows {
            users.extend(row.user.as_ref().map(|user| hasher.hash_one(user)));
            if plan.summary.sample.len() < SAMPLE {
                plan.summary.sample.push(line(row));
            }
        }
        plan.kept.rows += rows.len() as u64;
        plan.kept.active += rows.iter().filter(|row| row.active).count() as u64;
        piece += 1;
        context.store.write(|db| plans::put_piece(db, &plan.kept.id, piece, &rows))?;
    }
    plan.summary.users = users.len() as u64;
    Ok(())
}

/// A summary, as it is kept.
pub(super) fn text(summary: &Summary) -> Result<String, StoreError> {
    serde_json::to_string(summary).map_err(|_| StoreError::Unwritable("the plan"))
}

/// A planned row for a person.
pub(super) fn line(row: &RowRef) -> Line {
    Line { prefix: row.prefix.clone(), id: row.id.clone(), user: row.user.clone(), expires: row.expires }
}

/// Refuses a name that names no session before anything is kept: it may be a whole token.
async fn named(
    selection: &Selection,
    session: &ReadSession,
    scope: &Scope<'_>,
    meant: Selected<'_>,
) -> Result<(), ActError> {
    if matches!(selection, Selection::Session(_)) && session.count_selected(scope, meant).await? == 0 {
        return Err(ActError::NoSession);
    }
    Ok(())
}

/// Refuses a name that names nobody, or several. So many rows are `meant` without those that go along.
async fn certain(session: &ReadSession, scope: &Scope<'_>, plan: &Plan, meant: u64) -> Result<(), ActError> {
    match &plan.selection {
        Selection::User(id) if plan.kept.rows == 0 => {
            // Somebody without sessions is somebody.
            if session.user_exists(scope, id).await? {
                return Ok(());
            }
            let similar = session.users(scope, id, SAMPLE).await?;
            let similar =
                similar.into_iter().map(|user| Line { user: Some(joined(&user)), ..Line::default() });
            Err(ActError::NoUser(id.clone(), similar.collect()))
        }
        Selection::Session(_) if plan.kept.rows == 0 => Err(ActError::NoSession),
        Selection::Session(name) if meant > 1 => {
            Err(ActError::Ambiguous(name.clone(), plan.summary.sample.clone()))
        }
        _ => Ok(()),
    }
}

fn joined(user: &UserMatch) -> String {
    let cells = user.id.iter().chain(user.display.iter().flatten());
    cells.filter(|cell| !cell.is_empty()).cloned().collect::<Vec<_>>().join("  ")
}

/// How many rows fit now, in a new transaction over that connection, or over a new one.
pub(super) async fn count_left(
    context: Context<'_>,
    known: &view::Known,
    idle: Option<PooledConnection>,
    plan: &Plan,
) -> Result<u64, ActError> {
    let target = context.target;
    let resumed = match idle {
        Some(idle) => ReadSession::resume(idle, &target.address, target.limits).await,
        None => None,
    };
    let session = match resumed {
        Some(session) => session,
        None => ReadSession::open(&target.address, target.limits, false, known.key).await?,
    };
    let now = session.now().await?;
    let scope = Scope::of_rows(&known.layout, known.key, now);
    let asked = match plan.selection {
        // What ended since is none of this plan's business.
        Selection::Expired { .. } => plan.summary.now,
        _ => now,
    };
    let left = match plan.selection.chosen(asked) {
        Some(chosen) => {
            let (revoke, addressing) = (&plan.summary.revoke, known.addressing);
            session.count_selected(&scope, Selected { chosen, revoke, addressing }).await
        }
        None => Ok(0),
    };
    session.close().await;
    Ok(left?)
}
