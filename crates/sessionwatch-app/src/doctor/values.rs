//! Diagnostics of stored values: tokens, expiry and creation times, and impersonated sessions.

use sessionwatch_clock as calendar;
use sessionwatch_core::{
    checks::{TABLE_CHECKS, orphaned_sessions::ORPHANED_SESSIONS_CHECK},
    local_time::{ColumnZone, TimeZoneDoubt},
    plural::format_count,
    timestamp_decoder::Decoder,
};
use sessionwatch_targets::layout;

use super::{Diagnostic, DoctorInput, MIN_TOKEN_LENGTH, diagnostic_fail, diagnostic_pass, diagnostic_warn};
use crate::sanitize::sanitize_text;

/// Reports that token prefixes do not identify sessions.
pub(super) fn diagnose_token_prefix(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let prefix = sanitize_text(input.common_prefix?);
    Some(diagnostic_warn(
        "token-prefix",
        format!(
            "every token in a sample starts with `{prefix}`: token prefixes do not identify sessions, and \
             log events cannot be correlated by them"
        ),
        "if all tokens start like this, set `token_prefix` in [target.mapping] to the common \
         part; until then, use row IDs",
    ))
}

/// Reports impersonated sessions that were not ended.
pub(super) fn diagnose_impersonation(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let column = input.connected.layout.candidate.mapping.impersonator.as_deref()?;
    let count: u64 = input.impersonations.iter().map(|one| one.sessions).sum();
    if count == 0 {
        return Some(diagnostic_pass(
            "impersonation",
            format!("no impersonated session is older than an hour (`{column}`)"),
        ));
    }
    let who: Vec<String> =
        input.impersonations.iter().map(|one| format!("`{}`", sanitize_text(&one.impersonator))).collect();
    let since = input.impersonations.iter().filter_map(|one| one.since).min();
    let oldest = since.map(|since| format!(", the oldest since {}", calendar::format_utc(since)));
    Some(diagnostic_warn(
        "impersonation",
        format!(
            "{} impersonated by {} (`{column}`) for more than an hour{}",
            format_count(count, "active session", "active sessions"),
            who.join(", "),
            oldest.unwrap_or_default()
        ),
        "revoke them with `sessionwatch revoke where --impersonated --created-before TIME`, and let the \
         application delete the session when an impersonation stops",
    ))
}

/// Reports expiry times stored in seconds and in milliseconds.
pub(super) fn diagnose_expiry_units(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let ends = input.ends_in_other_unit;
    let expires = &input.connected.layout.candidate.mapping.expires;
    let (unit, others) = match expires.decoder {
        Decoder::EpochSeconds => ("milliseconds", "seconds"),
        _ => ("seconds", "milliseconds"),
    };
    (ends > 0).then(|| {
        diagnostic_warn(
            "expiry-units",
            format!(
                "{} in {unit} among {others} in `{}`; each is read in its own unit",
                format_count(ends, "expiry time is stored", "expiry times are stored"),
                expires.column
            ),
            "find out which unit the application reads: rows in the other unit have expired long \
             ago for it, or never expire",
        )
    })
}

pub(super) fn diagnose_token_length(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let shortest = input.shortest_token?;
    if shortest >= MIN_TOKEN_LENGTH {
        return Some(diagnostic_pass(
            "token-length",
            format!(
                "the shortest token in a sample has {}",
                format_count(shortest, "character", "characters")
            ),
        ));
    }
    Some(diagnostic_warn(
        "token-length",
        format!(
            "tokens are short enough to be guessed: the shortest in a sample has {}",
            format_count(shortest, "character", "characters")
        ),
        format!(
            "create tokens from at least 128 random bits ({MIN_TOKEN_LENGTH} characters or more), or set \
             `token` in [target.mapping] to another column, if this one is not the secret"
        ),
    ))
}

pub(super) fn diagnose_expiry(input: DoctorInput<'_>) -> Diagnostic {
    let expires = &input.connected.layout.candidate.mapping.expires;
    if let Some(doubt) = &input.doubts.expires {
        return diagnose_doubt("expiry", input, doubt);
    }
    let wall = input.connected.layout.clocks.expires == ColumnZone::AssumedUtc;
    let read = format!(
        "`{}` is read as {}: {}",
        expires.column,
        expires.decoder.name(),
        if wall {
            "no stored value contradicts that, but the column has no time zone, so cleanup \
             requires a grace period of at least 14 hours"
        } else {
            "the stored values are plausible"
        }
    );
    // The session time zone of the server decides what NOW() is compared with.
    let zone =
        input.server_info.time_zone.as_deref().filter(|zone| !["UTC", "GMT", "Etc/UTC"].contains(zone));
    match (expires.decoder, zone) {
        (Decoder::TimestampUtc, Some(zone)) => diagnostic_warn(
            "expiry",
            format!(
                "{read}; but the server's time zone is {zone}, so comparing this column with NOW() is \
                 wrong by hours (sessionwatch does not)"
            ),
            "compare with (now() AT TIME ZONE 'UTC') in your own queries",
        ),
        _ => diagnostic_pass("expiry", read),
    }
}

/// Reports a time that is not trusted: an error if values contradict it, a warning if nothing confirms it.
fn diagnose_doubt(id: &'static str, input: DoctorInput<'_>, doubt: &TimeZoneDoubt) -> Diagnostic {
    let fix = layout::clock_fix_hint(input.doubts, input.connected.now).unwrap_or_default();
    if doubt.is_contradicted {
        diagnostic_fail(id, doubt.reason.clone(), fix)
    } else {
        diagnostic_warn(id, doubt.reason.clone(), fix)
    }
}

pub(super) fn diagnose_creation(input: DoctorInput<'_>) -> Diagnostic {
    if let Some(doubt) = &input.doubts.created {
        return diagnose_doubt("creation", input, doubt);
    }
    let mapping = &input.connected.layout.candidate.mapping;
    if mapping.user.is_none() {
        return diagnostic_warn(
            "user",
            format!("no user column, so these checks cannot run: {}", list_checks_of_users()),
            "set `user` in [target.mapping]; if the user is inside JSON, a view can \
             extract it (docs/profiles.md)",
        );
    }
    match &mapping.created {
        Some(created) => {
            diagnostic_pass("creation", format!("`{}` stores the creation time", created.column))
        }
        None => diagnostic_warn(
            "creation",
            "the creation time is not stored, so only `serve` can detect new sessions",
            creation_remedy(input),
        ),
    }
}

/// Lists the checks that need a user column.
fn list_checks_of_users() -> String {
    let checks = TABLE_CHECKS.into_iter();
    // Orphaned sessions are not counted per user, but need the column too.
    let of_users = checks.filter(|check| check.is_per_user || check.id == ORPHANED_SESSIONS_CHECK.id);
    of_users.map(|check| check.id).collect::<Vec<_>>().join(", ")
}

/// Returns the fix that stores the creation time, in the naming style of the other columns.
fn creation_remedy(input: DoctorInput<'_>) -> String {
    let mapping = &input.connected.layout.candidate.mapping;
    // The proposed column should match the naming style of the others.
    let snake_case = [&mapping.token, &mapping.expires.column]
        .into_iter()
        .chain(&mapping.user)
        .any(|name| name.contains('_'));
    let column = if snake_case { "created_at" } else { "createdAt" };
    input.remedies().add_creation_column(column)
}
