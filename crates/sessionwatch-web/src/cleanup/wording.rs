//! Titles and sentences of plans.

use jiff::SignedDuration;
use sessionwatch_app::app::plans::{ActionPlan, PlanState, RowFilter, Selection};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::{DAY, HOUR, MINUTE},
    plural::{format_count, format_number},
    timestamp::UtcTimestamp,
};

use crate::format::{capitalize_first, format_relative_time, sanitize_text};

/// Words for a selection.
struct SelectionWords {
    /// Verb of the plan, and of the applied plan.
    verbs: [&'static str; 3],
    /// Noun for one row and for several.
    nouns: [&'static str; 2],
    /// Restriction after the noun; may be empty.
    suffix: String,
}

const DELETE_VERB: [&str; 3] = ["Delete", "Deletes", "Deleted"];
const REVOKE_VERB: [&str; 3] = ["Revoke", "Revokes", "Revoked"];
/// The number of rows follows, as in `Revoke all 3 sessions`.
const REVOKE_ALL_VERB: [&str; 3] = ["Revoke all", "Revokes all", "Revoked all"];
const RESTORE_VERB: [&str; 3] = ["Restore", "Restores", "Restored"];
const SESSION_NOUN: [&str; 2] = ["session", "sessions"];

impl SelectionWords {
    fn of_plan(plan: &ActionPlan) -> Self {
        let words = |verbs, nouns, suffix: &str| Self { verbs, nouns, suffix: suffix.to_owned() };
        match &plan.selection {
            Selection::Expired { .. } => words(DELETE_VERB, ["expired session", "expired sessions"], ""),
            Selection::Orphaned => words(DELETE_VERB, ["orphaned session", "orphaned sessions"], ""),
            Selection::Duplicates => words(REVOKE_VERB, SESSION_NOUN, " with shared tokens"),
            Selection::Excess { .. } => words(REVOKE_VERB, ["excess session", "excess sessions"], ""),
            Selection::User(_) => words(REVOKE_VERB, SESSION_NOUN, &format!(" of {}", user_name(plan))),
            Selection::Users(ids) => words(
                REVOKE_VERB,
                SESSION_NOUN,
                &format!(" of {}", format_count(ids.len() as u64, "user", "users")),
            ),
            Selection::Session(_) | Selection::Sessions(_) => words(REVOKE_VERB, SESSION_NOUN, ""),
            Selection::All => words(REVOKE_ALL_VERB, SESSION_NOUN, ""),
            Selection::Where(_) => words(REVOKE_VERB, ["matching session", "matching sessions"], ""),
            Selection::Restore { archive, user: None } => {
                words(RESTORE_VERB, SESSION_NOUN, &format!(" removed by {archive}"))
            }
            Selection::Restore { archive, user: Some(user) } => words(
                RESTORE_VERB,
                SESSION_NOUN,
                &format!(" of {} removed by {archive}", sanitize_text(user)),
            ),
        }
    }
}

/// Returns the name of the user whose sessions are selected, or the id if the name is unknown.
fn user_name(plan: &ActionPlan) -> String {
    let Selection::User(id) = &plan.selection else { return String::new() };
    let known = plan.summary.sample.iter().find_map(|row| row.display.first());
    known.map_or_else(|| format!("user {}", sanitize_text(id)), |name| sanitize_text(name))
}

/// Returns the title of a plan without its number of rows: `Delete expired sessions`.
pub(super) fn describe_action(plan: &ActionPlan) -> String {
    let SelectionWords { verbs: [verb, ..], nouns: [one, many], suffix } = SelectionWords::of_plan(plan);
    let noun = if matches!(plan.selection, Selection::Session(_)) { one } else { many };
    let keep = match plan.selection {
        Selection::Excess { keep } => format!(", keep {} per user", format_number(keep)),
        _ => String::new(),
    };
    format!("{verb} {noun}{suffix}{keep}")
}

/// Returns the rows that a plan has removed, as a phrase: `expired sessions`.
pub(super) fn describe_contents(plan: &ActionPlan) -> String {
    let SelectionWords { nouns: [_, many], suffix, .. } = SelectionWords::of_plan(plan);
    match plan.selection {
        Selection::All => format!("All {many}"),
        _ => capitalize_first(&format!("{many}{suffix}")),
    }
}

/// Returns the title of a plan with its number of rows: `Delete 160 expired sessions`.
pub(super) fn plan_headline(plan: &ActionPlan) -> String {
    let SelectionWords { verbs: [verb, _, past], nouns: [one, many], suffix } = SelectionWords::of_plan(plan);
    let is_done = plan.record.state == PlanState::Done;
    match if is_done { plan.summary.done.unwrap_or(plan.record.row_count) } else { plan.record.row_count } {
        0 if is_done => format!("{} no {many}{suffix}", past.trim_end_matches(" all")),
        0 => format!("No {many}{suffix} to {}", verb.trim_end_matches(" all").to_lowercase()),
        count => format!("{} {}{suffix}", if is_done { past } else { verb }, format_count(count, one, many)),
    }
}

/// Returns the effect of a plan in two sentences.
pub(super) fn plan_sentence(plan: &ActionPlan) -> String {
    let SelectionWords { verbs: [_, verb, past], .. } = SelectionWords::of_plan(plan);
    let (rows, active) = (plan.record.row_count, plan.record.active_sessions);
    if rows == 0 {
        return "No row matches, so there is nothing to apply.".to_owned();
    }
    if plan.record.state == PlanState::Done {
        let done = plan.summary.done.unwrap_or(rows);
        let skipped = match rows.saturating_sub(done) {
            0 => String::new(),
            left => format!(" {} skipped.", format_count(left, "row was", "rows were")),
        };
        return format!("{past} {} of {}.{skipped}", format_number(done), format_count(rows, "row", "rows"));
    }
    if matches!(plan.selection, Selection::Restore { .. }) {
        let again = match active {
            0 => "None of them would be active, so nobody would be logged in again.".to_owned(),
            1 => "1 of them would be active again.".to_owned(),
            active => format!("{} of them would be active again.", format_number(active)),
        };
        return format!("{verb} {} from the archive. {again}", format_count(rows, "session", "sessions"));
    }
    let share = format_share(rows, plan.summary.all_rows);
    let all = format_count(plan.summary.all_rows, "session", "sessions");
    format!("{verb} {} of {all} ({share}). {}", format_number(rows), impact_sentence(plan))
}

fn impact_sentence(plan: &ActionPlan) -> String {
    let users = format_count(plan.summary.users, "user has", "users have");
    if let (Selection::Excess { keep }, 1..) = (&plan.selection, plan.record.active_sessions) {
        return format!(
            "Each user keeps the {} that expire last.",
            format_count(*keep, "session", "sessions")
        );
    }
    match plan.record.active_sessions {
        0 if plan.summary.side_effects.is_empty() => {
            "No active session is affected, so nobody will notice.".to_owned()
        }
        0 => "No active session is affected, so nobody is logged out.".to_owned(),
        active if plan.selection == Selection::Orphaned => {
            let count = format_count(active, "active session ends", "active sessions end");
            format!("{count}, of users who no longer exist.")
        }
        1 => "1 active session ends, and its user has to log in again.".to_owned(),
        active => format!("{} active sessions end, and {users} to log in again.", format_number(active)),
    }
}

/// Formats how many rows a table shows: `10 of 160 rows shown`, or `3 rows` if it shows all.
pub(super) fn format_shown(shown: usize, all: u64, nouns: [&str; 2]) -> String {
    let [one, many] = nouns;
    let count = format_count(all, one, many);
    if shown as u64 == all { count } else { format!("{} of {count} shown", format_number(shown as u64)) }
}

/// Describes the conditions of a filter, one phrase each.
pub(super) fn describe_filter(filter: &RowFilter) -> Vec<String> {
    let at = |micros: i64| UtcTimestamp::from_micros(micros).map(clock::format_utc).unwrap_or_default();
    let text = |label: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{label} “{}”", sanitize_text(value)))
    };
    let time = |label: &str, value: Option<i64>| value.map(|value| format!("{label} {}", at(value)));
    [
        text("user", &filter.user),
        text("user name, email, handle or ID contains", &filter.user_like),
        time("created after", filter.created_after),
        time("created before", filter.created_before),
        time("expires after", filter.expires_after),
        time("expires before", filter.expires_before),
        text("IP address", &filter.ip),
        text("user agent contains", &filter.agent_like),
        filter.impersonated.then(|| "impersonated".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Formats a share as a percentage: `3.9 %`.
#[expect(clippy::cast_precision_loss, reason = "a percentage")]
pub(super) fn format_share(part: u64, all: u64) -> String {
    let percent = part as f64 * 100.0 / all.max(part).max(1) as f64;
    match percent {
        _ if part > 0 && percent < 0.1 => "under 0.1%".to_owned(),
        _ if part < all && percent > 99.9 => "over 99.9%".to_owned(),
        _ if percent.fract() < 0.05 || percent >= 99.95 => format!("{percent:.0}%"),
        _ => format!("{percent:.1}%"),
    }
}

/// Formats a duration in the largest unit that divides it well: `7 days`, `36 hours`, `15 minutes`.
pub(super) fn format_span(span: SignedDuration) -> String {
    let count = |number: i64, one, many| format_count(number.unsigned_abs(), one, many);
    if span >= 2 * DAY && span.as_hours() % 24 == 0 {
        count(span.as_hours() / 24, "day", "days")
    } else if span >= HOUR && span.as_mins() % 60 == 0 {
        count(span.as_hours(), "hour", "hours")
    } else if span >= MINUTE {
        count(span.as_mins(), "minute", "minutes")
    } else {
        count(span.as_secs(), "second", "seconds")
    }
}

/// Formats the time until an instant: `2 days`.
pub(super) fn format_time_left(until: UtcTimestamp, now: UtcTimestamp) -> String {
    if until <= now {
        return "ends now".to_owned();
    }
    format_relative_time(until, now).trim_start_matches("in ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_none_or_all() {
        let shown = [(160, 4_105), (1, 4_000), (3_999, 4_000), (4, 4), (1, 4), (0, 0), (0, 9)];
        let shown = shown.map(|(part, all)| format_share(part, all));
        assert_eq!(shown, ["3.9%", "under 0.1%", "over 99.9%", "100%", "25%", "0%", "0%"]);
    }

    #[test]
    fn spans_use_the_unit_of_the_configuration() {
        let shown = [7 * DAY, DAY, 36 * HOUR, 15 * MINUTE, SignedDuration::from_secs(90)].map(format_span);
        assert_eq!(shown, ["7 days", "24 hours", "36 hours", "15 minutes", "1 minute"]);
    }
}
