//! The forms that create plans.

use std::sync::Arc;

use axum::{extract::State, response::Redirect};
use jiff::SignedDuration;
use sessionwatch_app::app::{
    AppError, AppState, TargetOps, cleanup,
    plans::{self as app_plans, PlanWithTarget, RestoreRequest, RowFilter, Selection},
};

use crate::{
    auth::LoggedIn,
    csrf::{CsrfForm, FormFields},
    params::PagePath,
    sessions,
    web_error::WebError,
};

/// Hours since expiry after which a plan deletes expired sessions.
pub(super) const DEFAULT_GRACE_HOURS: u32 = 24;
/// Most sessions that a plan keeps per user.
const MAX_KEPT_SESSIONS: u64 = 1_000;

/// Parses the selection of a plan from a form. A button that sends no number plans what the checks tolerate:
/// `user_limit` sessions per user.
fn parse_selection(fields: &FormFields, user_limit: u64) -> Result<Selection, AppError> {
    let number = |name: &str, label: &str, most: i64| {
        let number = fields.text(name).parse::<i64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| AppError::Invalid(format!("“{label}” must be a number from 1 to {most}.")))
    };
    let text = |name: &str, what: &str| {
        let text = fields.text(name);
        if text.is_empty() || text.len() > 400 {
            return Err(AppError::Invalid(format!("Enter a {what}.")));
        }
        Ok(text.to_owned())
    };
    Ok(match fields.text("kind") {
        "expired" if fields.text("hours").is_empty() => {
            Selection::Expired { grace: SignedDuration::from_hours(DEFAULT_GRACE_HOURS.into()) }
        }
        "expired" => Selection::Expired {
            grace: SignedDuration::from_hours(number("hours", "Minimum hours since expiry", 8_760)?),
        },
        "duplicates" => Selection::Duplicates,
        "orphaned" => Selection::Orphaned,
        "excess" if fields.text("keep").is_empty() => {
            Selection::Excess { keep: user_limit.clamp(1, MAX_KEPT_SESSIONS) }
        }
        "excess" => Selection::Excess {
            keep: number("keep", "Sessions to keep per user", MAX_KEPT_SESSIONS.cast_signed())?
                .unsigned_abs(),
        },
        "user" => Selection::User(text("user", "user ID")?),
        "session" => Selection::Session(text("session", "row ID or token prefix")?),
        "sessions" => sessions::parse_selected_sessions(fields)?,
        "all" => parse_all_sessions(fields)?,
        "where" => Selection::Where(parse_row_filter(fields)?),
        other => return Err(AppError::Invalid(format!("Unknown kind of plan: “{other}”."))),
    })
}

/// Accepts a plan for every session only with the typed name of the target.
fn parse_all_sessions(fields: &FormFields) -> Result<Selection, AppError> {
    let target = fields.text("target");
    if fields.text("confirm") == target {
        return Ok(Selection::All);
    }
    Err(AppError::Invalid(format!("Type the target name ({target}) to revoke every session.")))
}

/// Parses the conditions of a form, and rejects a form without any.
fn parse_row_filter(fields: &FormFields) -> Result<RowFilter, AppError> {
    let text = |name: &str| {
        let text: String = fields.text(name).chars().take(200).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    let instant = |name: &str, label: &str| {
        let Some(text) = text(name) else { return Ok(None) };
        // The format of `datetime-local` inputs: without a time zone, and without seconds if they are zero.
        let at = text.parse::<jiff::civil::DateTime>().ok();
        let at = at.and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let at = at.map(|at| at.timestamp().as_microsecond());
        at.map(Some)
            .ok_or_else(|| AppError::Invalid(format!("“{label}” must be a valid date and time (UTC).")))
    };
    let filter = RowFilter {
        user_like: text("user_like"),
        created_after: instant("created_after", "Created after")?,
        created_before: instant("created_before", "Created before")?,
        expires_before: instant("expires_before", "Expires before")?,
        ip: text("ip"),
        agent_like: text("user_agent_like"),
        ..RowFilter::default()
    };
    if filter == RowFilter::default() {
        return Err(AppError::Invalid(
            "Enter at least one condition. Without any, the plan would cover all sessions.".into(),
        ));
    }
    Ok(filter)
}

pub(crate) async fn create_plan(
    State(app): State<Arc<AppState>>,
    LoggedIn(person): LoggedIn,
    form: CsrfForm,
) -> Result<Redirect, WebError> {
    let user_limit = cleanup::find_user_limit(&app, form.text("target")).await?;
    let selection = parse_selection(&form, user_limit)?;
    let ops = TargetOps::new(&app, app.target(form.text("target"))?, &person.actor());
    let plan = app_plans::create_plan(ops, selection).await?;
    Ok(Redirect::to(&format!("/plans/{}", plan.record.id)))
}

pub(crate) async fn create_restore_plan(
    State(app): State<Arc<AppState>>,
    PagePath(plan_id): PagePath<String>,
    LoggedIn(person): LoggedIn,
    _form: CsrfForm,
) -> Result<Redirect, WebError> {
    let PlanWithTarget { target, .. } = app_plans::load_plan(&app, &plan_id).await?;
    let ops = TargetOps::new(&app, target, &person.actor());
    let wanted = RestoreRequest { plan_id, user: None };
    let plan = app_plans::create_restore_plan(ops, wanted).await?;
    Ok(Redirect::to(&format!("/plans/{}", plan.record.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_without_numbers_plans_what_the_checks_tolerate() {
        let parse = |form: &str, user_limit: u64| {
            parse_selection(&FormFields::parse(form.as_bytes()), user_limit).unwrap()
        };
        assert_eq!(parse("kind=excess", 12), Selection::Excess { keep: 12 });
        assert_eq!(parse("kind=excess", 0), Selection::Excess { keep: 1 });
        assert_eq!(parse("kind=excess&keep=3", 12), Selection::Excess { keep: 3 });
        let grace = |hours| Selection::Expired { grace: SignedDuration::from_hours(hours) };
        assert_eq!(parse("kind=expired", 12), grace(24));
        assert_eq!(parse("kind=expired&hours=48", 12), grace(48));
    }
}
