//! Value verification: checks that stored values are plausible under the decoders of a profile, and that tokens are
//! not JWTs.

use sessionwatch_core::{
    decoder_plausibility::{find_plausible_decoder, plausible_share},
    local_time::ColumnZone,
    timestamp::UtcTimestamp,
    timestamp_decoder::{Decoder, RawValue},
};

use super::{
    candidates::{CandidateSearch, not_detected_error},
    column_time_zones::{column_clock, parse_raw_value},
};
use crate::{
    cells::{self, TextRow},
    error::TargetError,
    layout::{
        detect::{self, LayoutCandidate, RuledOutTable},
        profile_catalog::Profile,
    },
    mapping::{Mapping, TimestampColumn},
    read_session::ReadSession,
    sql::{self, QueryBuilder, database_schema::DatabaseSchema, table_info::ColumnKind},
};

/// Number of expiry values sampled.
const SAMPLED_ROWS: usize = 1_000;
/// Number of tokens sampled.
const SAMPLED_TOKENS: usize = 100;
/// Minimum share of plausible values for a decoder to be accepted.
const MIN_PLAUSIBLE_SHARE: f64 = 0.5;
/// Minimum share of plausible values for another decoder to replace a rejected one.
const CONVINCING_SHARE: f64 = 0.9;

/// Session, schema and time for sampling values.
#[derive(Clone, Copy)]
pub(super) struct ValueSampler<'a> {
    pub(super) session: &'a ReadSession,
    pub(super) schema: &'a DatabaseSchema,
    pub(super) now: UtcTimestamp,
}

/// A candidate with plausible expiry times.
pub(super) struct VerifiedExpiry {
    pub(super) candidate: LayoutCandidate,
    pub(super) clock: ColumnZone,
    /// `true` if stored values required a different decoder than the profile's.
    pub(super) decoder_replaced: bool,
}

/// The verified creation column; `None` if there is none, or its values are implausible.
pub(super) struct VerifiedCreation {
    pub(super) created: Option<(TimestampColumn, ColumnZone)>,
    pub(super) decoder_replaced: bool,
    /// Note for display.
    pub(super) note: Option<String>,
}

impl<'a> ValueSampler<'a> {
    /// Samples values of a column; none if the column's type leaves no doubt.
    async fn sample_values(&self, mapping: &'a Mapping, column: &str) -> Result<Vec<TextRow>, TargetError> {
        let kind = self.schema.column_kind(&mapping.sessions, column);
        // Native timestamps have one meaning; numbers and text can hold several formats.
        let is_sure = !self.schema.dialect.has_dynamic_types()
            && ![ColumnKind::Integer, ColumnKind::Text].contains(&kind);
        if is_sure {
            return Ok(vec![]);
        }
        self.session
            .fetch_rows(
                &QueryBuilder::for_sampling(mapping, self.schema, self.now)
                    .sample_values_query(column, SAMPLED_ROWS),
            )
            .await
    }

    /// Verifies stored expiry times if their type leaves the decoder open. Among the candidates for the
    /// table, best first, the one with the largest share of plausible values wins. A detected decoder that
    /// does not fit is replaced.
    ///
    /// # Errors
    ///
    /// If the expiry times are implausible under every allowed decoder.
    pub(super) async fn verify_expiry(
        &self,
        mut readings: Vec<LayoutCandidate>,
        catalogue: &[Profile],
        is_detected: bool,
    ) -> Result<VerifiedExpiry, TargetError> {
        let rows = {
            let mapping = &readings.first().ok_or(TargetError::Bug)?.mapping;
            self.sample_values(mapping, &mapping.expires.column).await?
        };
        let values: Vec<RawValue<'_>> = rows.iter().map(|row| parse_raw_value(row)).collect();
        let share = |decoder| plausible_share(decoder, &values, self.now).unwrap_or(1.0);
        let score = |candidate: &LayoutCandidate| {
            let profile = catalogue.iter().find(|profile| profile.name == candidate.mapping.profile);
            let ending = profile.and_then(|profile| profile.iso_ending.as_deref());
            let ends = ending.map_or(1.0, |ending| share_with_ending(&values, ending));
            (share(candidate.mapping.expires.decoder), ends)
        };
        // A profile under which more values are plausible is the better match for the table.
        let (mut best, mut best_score) = (0, score(&readings[0]));
        for (at, reading) in readings.iter().enumerate().skip(1) {
            let candidate_score = score(reading);
            if candidate_score > best_score {
                (best, best_score) = (at, candidate_score);
            }
        }
        let mut candidate = readings.swap_remove(best);
        let expires = &mut candidate.mapping.expires;
        let kind = self.schema.column_kind(&candidate.mapping.sessions, &expires.column);
        let configured_decoder = expires.decoder;
        if best_score.0 >= MIN_PLAUSIBLE_SHARE {
            let clock = column_clock(kind, configured_decoder, &values);
            return Ok(VerifiedExpiry { candidate, clock, decoder_replaced: false });
        }
        // Without a plausible decoder, every check about time would be wrong.
        match find_plausible_decoder(&values, self.now, CONVINCING_SHARE) {
            Some(decoder) if is_detected => {
                expires.decoder = decoder;
                candidate.notes.push(format!(
                    "expiry times are stored as `{}`, unlike `{}`, which is usual for this profile",
                    decoder.name(),
                    configured_decoder.name()
                ));
                let clock = column_clock(kind, decoder, &values);
                Ok(VerifiedExpiry { candidate, clock, decoder_replaced: true })
            }
            better_decoder => {
                let better_decoder = better_decoder.map(Decoder::name);
                Err(TargetError::ImplausibleExpiries { decoder: configured_decoder.name(), better_decoder })
            }
        }
    }

    /// Verifies the creation column, which is optional for checks.
    ///
    /// # Errors
    ///
    /// If the query fails.
    pub(super) async fn verify_creation(
        &self,
        mapping: &'a Mapping,
    ) -> Result<VerifiedCreation, TargetError> {
        let unchanged = |created| VerifiedCreation { created, decoder_replaced: false, note: None };
        let Some(created) = mapping.created.clone() else { return Ok(unchanged(None)) };
        let rows = self.sample_values(mapping, &created.column).await?;
        let values: Vec<RawValue<'_>> = rows.iter().map(|row| parse_raw_value(row)).collect();
        let kind = self.schema.column_kind(&mapping.sessions, &created.column);
        let share = plausible_share(created.decoder, &values, self.now);
        if share.is_none_or(|share| share >= MIN_PLAUSIBLE_SHARE) {
            let clock = column_clock(kind, created.decoder, &values);
            return Ok(unchanged(Some((created, clock))));
        }
        Ok(match find_plausible_decoder(&values, self.now, CONVINCING_SHARE) {
            Some(decoder) => {
                let clock = column_clock(kind, decoder, &values);
                let created = Some((TimestampColumn { decoder, ..created }, clock));
                VerifiedCreation { created, decoder_replaced: true, note: None }
            }
            None => {
                let note = format!(
                    "`{}` does not hold plausible times, so the creation time is unknown",
                    created.column
                );
                VerifiedCreation { created: None, decoder_replaced: true, note: Some(note) }
            }
        })
    }

    /// Rejects an expiry column whose name suggests the last use and in which no time lies in the future:
    /// every session would count as expired.
    ///
    /// # Errors
    ///
    /// If the column is rejected, or the query fails.
    pub(super) async fn reject_last_use_column(&self, mapping: &'a Mapping) -> Result<(), TargetError> {
        let column = &mapping.expires.column;
        if !detect::is_last_use_column(column) {
            return Ok(());
        }
        let rows = self
            .session
            .fetch_rows(&QueryBuilder::for_sampling(mapping, self.schema, self.now).future_expiries_query())
            .await?;
        let row = cells::only_row(&rows, "a count")?;
        let count = |at: usize| cells::parse_required_number::<u64>(row, at, "a count");
        match (count(0)?, count(1)?) {
            // An empty table says nothing about the column.
            (1.., 0) => Err(TargetError::LastUseColumn(column.clone())),
            _ => Ok(()),
        }
    }
}

/// Removes tables whose tokens are JWTs, which are valid without any row. A table named in the configuration
/// only gets a note.
pub(super) async fn rule_out_signed_tokens(
    session: &ReadSession,
    schema: &DatabaseSchema,
    catalogue: &[Profile],
    found: CandidateSearch,
) -> Result<Vec<LayoutCandidate>, TargetError> {
    let CandidateSearch { mut candidates, searched_profile, mut ruled_out } = found;
    while let Some(best) = candidates.first() {
        let table = best.mapping.sessions.clone();
        let rows = session.fetch_rows(&sql::token_shapes_query(&best.mapping, SAMPLED_TOKENS)).await?;
        let row = cells::only_row(&rows, "a count")?;
        let count = |at: usize| cells::parse_required_number::<u64>(row, at, "a count");
        let (tokens, jwts) = (count(0)?, count(1)?);
        // A few JWTs may be left over from a migration, so a majority is required.
        if jwts == 0 || jwts < tokens.div_ceil(2) {
            break;
        }
        if best.is_named_in_config {
            candidates[0].other_login_hints.push(format!(
                "the tokens of `{table}` are JWTs: a user stays logged in until the token expires, even if \
                 its row is deleted"
            ));
            break;
        }
        candidates.retain(|candidate| candidate.mapping.sessions != table);
        let why = "has columns for a token, a user and an expiry, but its tokens are JWTs rather than session tokens";
        ruled_out.insert(0, RuledOutTable { table, reason: why.into() });
    }
    if candidates.is_empty() {
        return Err(not_detected_error(schema, catalogue, searched_profile, &ruled_out));
    }
    Ok(candidates)
}

/// Returns the share of text values with this suffix, or 1 if there is no text.
#[expect(clippy::cast_precision_loss, reason = "a share of a sample")]
fn share_with_ending(values: &[RawValue<'_>], ending: &str) -> f64 {
    let texts = values.iter().filter_map(|value| match value {
        RawValue::Text(text) => Some(text.ends_with(ending.as_bytes())),
        _ => None,
    });
    let (mut all, mut fitting) = (0_usize, 0_usize);
    for fits in texts {
        all += 1;
        fitting += usize::from(fits);
    }
    if all == 0 { 1.0 } else { fitting as f64 / all as f64 }
}
