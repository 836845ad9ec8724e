//! Asking a target what the doctor needs to know.

use sessionwatch_core::{
    checks::Thresholds,
    instant::Instant,
    local_time::{Doubts, Newest},
};

use super::{Acting, Finding, Patient, examine, row_ids};
use crate::{
    clock,
    clock_difference::Difference,
    config::Target,
    incident::drill::leftovers::{self, Leftover},
    profile::schema::Dialect,
    target::{
        acting::Actor,
        address::Address,
        cells,
        connect::ConnectedTarget,
        error::TargetError,
        layout::Known,
        side_effects::{Catalog, Event, SideEffect},
        sql::{Change, table},
    },
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
    let audit = opened.session.audit(&opened.layout.candidate.mapping.sessions).await?;
    let acting = acting(target, opened).await;
    let doubts = &doubts(opened).await?;
    let lengths =
        opened.session.fetch(&opened.sql(false, &Thresholds::default()).token_lengths(SAMPLE)).await?;
    let lengths = lengths.iter().map(|row| cells::number(row, 0, "the length of a token"));
    let shortest_token = lengths.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min();
    let ends_in_other_unit = match opened.sql(false, &Thresholds::default()).ends_in_other_unit() {
        Some(query) => opened.session.attempt(&query).await?.ok_or(TargetError::Lost)?,
        None => 0,
    };
    let users_in_other_form = match opened.sql(false, &Thresholds::default()).users_in_other_form() {
        Some(query) => opened.session.attempt(&query).await?.ok_or(TargetError::Lost)?,
        None => 0,
    };
    let (address, acting) = (&target.address, acting.as_ref());
    let impersonations = impersonations(opened).await?;
    let common_prefix = common_prefix(opened).await?;
    let row_ids = row_ids::read(opened).await?;
    let drills = drills(opened).await?;
    let sql = opened.sql(false, &Thresholds::default());
    let catalog = Catalog::read(sql.schema.dialect, async |query| opened.session.fetch(query).await).await?;
    let reached = catalog.reached(&sql.sessions_in_catalog(), Event::of(&sql.mapping.revoke));
    let side_effects: Vec<SideEffect> = reached.into_iter().map(|reached| reached.effect).collect();
    let side_effects = side_effects.as_slice();
    Ok(examine(Patient {
        address,
        opened,
        audit: &audit,
        clocks,
        doubts,
        acting,
        side_effects,
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
async fn drills(opened: &ConnectedTarget) -> Result<Vec<Leftover>, TargetError> {
    if opened.layout.schema.dialect != Dialect::Postgres {
        return Ok(vec![]);
    }
    let rows = opened.session.fetch(leftovers::DATABASES).await?;
    let left = |row: &Vec<Option<String>>| {
        let mut cells = row.iter().map(Option::as_deref);
        Leftover::of(cells.next().flatten()?, cells.next().flatten())
    };
    Ok(rows.iter().filter_map(left).filter(|left| left.state != leftovers::State::Running).collect())
}

/// What every token of a sample begins with.
async fn common_prefix(opened: &ConnectedTarget) -> Result<Option<String>, TargetError> {
    /// Of fewer tokens, it may be chance.
    const FEWEST: u64 = 5;
    let rows = opened.session.fetch(&opened.sql(false, &Thresholds::default()).prefixes(SAMPLE)).await?;
    let row = rows.into_iter().next().ok_or(TargetError::Lost)?;
    let enough = cells::required::<u64>(&row, 2, "a count")? >= FEWEST;
    let [first, last, _] = <[Option<String>; 3]>::try_from(row).map_err(|_| TargetError::Lost)?;
    Ok(first.filter(|first| enough && !first.is_empty() && Some(first) == last.as_ref()))
}

/// Who acts for users in sessions that began more than an hour ago.
async fn impersonations(
    opened: &ConnectedTarget,
) -> Result<Vec<(String, u64, Option<Instant>)>, TargetError> {
    let Some(query) = opened.sql(false, &Thresholds::default()).impersonations(NAMED) else {
        return Ok(vec![]);
    };
    let one = |row: &Vec<Option<String>>| {
        let count = cells::required(row, 1, "a count")?;
        let since = cells::instant(row, 2, "an instant")?;
        Ok(row.first().cloned().flatten().map(|who| (who, count, since)))
    };
    opened.session.fetch(&query).await?.iter().map(one).filter_map(Result::transpose).collect()
}

/// The instants that are not believed, by a look at every row.
async fn doubts(opened: &ConnectedTarget) -> Result<Doubts, TargetError> {
    let sql = opened.sql(false, &Thresholds::default());
    let rows = opened.session.fetch(&sql.totals(Instant::MIN)).await?;
    let row = rows.first().ok_or(TargetError::Lost)?;
    let instant = |at: usize| cells::instant(row, at, "an instant");
    let newest = Newest { created: instant(4)?, ended: instant(5)? };
    let active = cells::required(row, 0, "a count")?;
    opened.doubts(Known { newest, active, growth: None }).await
}

/// The role that acts, where one is configured; a file has none.
async fn acting(target: &Target, opened: &ConnectedTarget) -> Option<Acting> {
    if let Some(problem) = &target.act_missing {
        return Some(Acting::Unknown(problem.message.clone()));
    }
    let address = target.act.as_ref().filter(|address| matches!(address, Address::Postgres(_)))?;
    Some(ask(target, address, opened).await.unwrap_or_else(|error| Acting::Unknown(error.to_string())))
}

async fn ask(target: &Target, address: &Address, opened: &ConnectedTarget) -> Result<Acting, TargetError> {
    let mut actor = Actor::open(address, target.limits, opened.key).await?;
    let sql = opened.sql(false, &Thresholds::default());
    let change = Change::of(&opened.layout.candidate.mapping.revoke, "");
    let dependents = actor.dependents(&sql, change).await?;
    let lacks = actor.lacks(&sql, change, &dependents).await?;
    let found = actor.hidden(&sql, change, &dependents).await?;
    let users = sql.mapping.users.as_ref().filter(|_| found.users).map(|users| &users.table);
    let sessions = found.sessions.then_some(&sql.mapping.sessions);
    let hidden = sessions.into_iter().chain(users).map(table).chain(found.dependents).collect();
    let query =
        "SELECT current_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)";
    let row = actor.fetch(query).await?.into_iter().next().ok_or(TargetError::Lost)?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    Ok(Acting::Asked { name: text(0), superuser: text(1) == "t", lacks, hidden })
}
