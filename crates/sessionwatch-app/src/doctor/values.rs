//! What the stored values say: tokens, ends, creation, and sessions in which somebody acts for a user.

use sessionwatch_clock as calendar;
use sessionwatch_core::{
    decoder::Decoder,
    local_time::{ColumnZone, TimeZoneDoubt},
    plural::format_count,
};
use sessionwatch_targets::layout;

use super::{Diagnostic, DoctorInput, MIN_TOKEN_LENGTH, diagnostic_fail, diagnostic_pass, diagnostic_warn};
use crate::sanitize::sanitize_text;

/// Says that a token prefix names no session.
pub(super) fn diagnose_token_prefix(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    let prefix = sanitize_text(patient.common_prefix?);
    Some(diagnostic_warn(
        "token-prefix",
        format!(
            "every token in a sample begins with `{prefix}`: what is shown of a token names no session, and logs cannot be joined by it"
        ),
        "if all tokens begin so, write what they begin with as `token_prefix` under [target.mapping]; name rows by their id",
    ))
}

/// Names those who act for users in sessions that were left behind.
pub(super) fn diagnose_impersonation(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    let column = patient.connected.layout.candidate.mapping.impersonator.as_deref()?;
    let count: u64 = patient.impersonations.iter().map(|one| one.sessions).sum();
    if count == 0 {
        return Some(diagnostic_pass(
            "impersonation",
            format!("nobody has acted for a user for more than an hour (`{column}`)"),
        ));
    }
    let who: Vec<String> =
        patient.impersonations.iter().map(|one| format!("`{}`", sanitize_text(&one.impersonator))).collect();
    let since = patient.impersonations.iter().filter_map(|one| one.since).min();
    let oldest = since.map(|since| format!(", the oldest since {}", calendar::format_utc(since)));
    Some(diagnostic_warn(
        "impersonation",
        format!(
            "{} by which {} acts for others (`{column}`) for more than an hour{}: their users do not use them",
            format_count(count, "active session", "active sessions"),
            who.join(", "),
            oldest.unwrap_or_default()
        ),
        "end them: `sessionwatch revoke where --impersonated --created-before INSTANT`; and let the application remove the session when \
         an impersonation stops",
    ))
}

/// Says that an application has stored ends in seconds and in milliseconds.
pub(super) fn diagnose_expiry_units(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    let ends = patient.ends_in_other_unit;
    let expires = &patient.connected.layout.candidate.mapping.expires;
    let (unit, others) = match expires.decoder {
        Decoder::EpochSeconds => ("milliseconds", "seconds"),
        _ => ("seconds", "milliseconds"),
    };
    (ends > 0).then(|| {
        diagnostic_warn(
            "expiry-units",
            format!(
                "{} in {unit} among {others} in `{}`: each is read in its own unit",
                format_count(ends, "end is stored", "ends are stored"),
                expires.column
            ),
            "find out which unit the application reads: to it, rows in the other one ended long ago, or never end",
        )
    })
}

pub(super) fn diagnose_token_length(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    let shortest = patient.shortest_token?;
    if shortest >= MIN_TOKEN_LENGTH {
        return Some(diagnostic_pass(
            "token-length",
            format!("the shortest token in a sample has {shortest} characters"),
        ));
    }
    Some(diagnostic_warn(
        "token-length",
        format!(
            "tokens are too short to be session secrets: the shortest in a sample has {shortest} characters, so that it could be guessed"
        ),
        format!(
            "let the application create tokens from 128 random bits or more ({MIN_TOKEN_LENGTH} characters at least); or name another column as `token` under [target.mapping], if this one is no secret"
        ),
    ))
}

pub(super) fn diagnose_expiry(patient: DoctorInput<'_>) -> Diagnostic {
    let expires = &patient.connected.layout.candidate.mapping.expires;
    if let Some(doubt) = &patient.doubts.expires {
        return diagnose_doubt("expiry", patient, doubt);
    }
    let wall = patient.connected.layout.clocks.expires == ColumnZone::AssumedUtc;
    let read = format!(
        "`{}` is read as {}, and {}",
        expires.column,
        expires.decoder.name(),
        if wall {
            "nothing that is stored says otherwise; it names no time zone, so that cleanups keep 14 hours of grace"
        } else {
            "the stored values make sense so"
        }
    );
    let zone =
        patient.server_info.time_zone.as_deref().filter(|zone| !["UTC", "GMT", "Etc/UTC"].contains(zone));
    match (expires.decoder, zone) {
        (Decoder::TimestampUtc, Some(zone)) => diagnostic_warn(
            "expiry",
            format!(
                "{read}; but the server's time zone is {zone}, so a comparison of this column with NOW() is wrong by hours (sessionwatch does not make it)"
            ),
            "compare with (now() AT TIME ZONE 'UTC') in queries of your own",
        ),
        _ => diagnostic_pass("expiry", read),
    }
}

/// An instant that is not believed: wrong if something contradicts it, and in doubt if nothing confirms it.
fn diagnose_doubt(id: &'static str, patient: DoctorInput<'_>, doubt: &TimeZoneDoubt) -> Diagnostic {
    let fix = layout::clock_fix_hint(patient.doubts, patient.connected.now).unwrap_or_default();
    if doubt.is_contradicted {
        diagnostic_fail(id, doubt.reason.clone(), fix)
    } else {
        diagnostic_warn(id, doubt.reason.clone(), fix)
    }
}

pub(super) fn diagnose_creation(patient: DoctorInput<'_>) -> Diagnostic {
    if let Some(doubt) = &patient.doubts.created {
        return diagnose_doubt("creation", patient, doubt);
    }
    let mapping = &patient.connected.layout.candidate.mapping;
    if mapping.user.is_none() {
        return diagnostic_warn(
            "user",
            "no user column is named: orphaned sessions, sessions of one user and rapid creation are not checked",
            "name it with `user` under [target.mapping]; where the user is inside of JSON, a view can bring it out (docs/profiles.md)",
        );
    }
    match &mapping.created {
        Some(created) => {
            diagnostic_pass("creation", format!("`{}` tells when a session was created", created.column))
        }
        None => diagnostic_warn(
            "creation",
            "creation is not stored: only `serve` sees which sessions are new",
            creation_remedy(patient),
        ),
    }
}

/// How creation can be stored, in the spelling of the other columns.
fn creation_remedy(patient: DoctorInput<'_>) -> String {
    let mapping = &patient.connected.layout.candidate.mapping;
    let snake_case = [&mapping.token, &mapping.expires.column]
        .into_iter()
        .chain(&mapping.user)
        .any(|name| name.contains('_'));
    let column = if snake_case { "created_at" } else { "createdAt" };
    patient.remedies().add_creation_column(column)
}
