//! Verification: whether stored values make sense under the decoders that a profile names, and whether tokens are tokens.

use sessionwatch_core::{
    decoder::{Decoder, RawValue},
    local_time::ColumnZone,
    plausibility::{find_plausible_decoder, plausible_share},
    timestamp::UtcTimestamp,
};

use super::{
    candidates::{CandidateSearch, not_detected_error},
    clocks::{column_clock, parse_raw_value},
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
    sql::{self, QueryBuilder, schema::DatabaseSchema, tables::ColumnKind},
};

/// Rows whose expiry is read before a decoder is believed.
const SAMPLED_ROWS: usize = 1_000;
/// Rows whose token is read before a table is believed to hold sessions.
const SAMPLED_TOKENS: usize = 100;
/// Below that share of plausible values a decoder is not believed.
const MIN_PLAUSIBLE_SHARE: f64 = 0.5;
/// From that share of plausible values on, another decoder may take its place.
const CONVINCING_SHARE: f64 = 0.9;

/// Where values are sampled.
#[derive(Clone, Copy)]
pub(super) struct ValueSampler<'a> {
    pub(super) session: &'a ReadSession,
    pub(super) schema: &'a DatabaseSchema,
    pub(super) now: UtcTimestamp,
}

/// A reading of the sessions' table whose expiries make sense.
pub(super) struct VerifiedExpiry {
    pub(super) candidate: LayoutCandidate,
    pub(super) clock: ColumnZone,
    /// The stored values spoke for another decoder than the profile.
    pub(super) decoder_replaced: bool,
}

/// A reading of the creation that makes sense; nothing where none does, or it is not stored.
pub(super) struct VerifiedCreation {
    pub(super) created: Option<(TimestampColumn, ColumnZone)>,
    pub(super) decoder_replaced: bool,
    /// What a person should know about it.
    pub(super) note: Option<String>,
}

impl<'a> ValueSampler<'a> {
    /// Some values of a column; none where its type says what they are.
    async fn sample_values(&self, mapping: &'a Mapping, column: &str) -> Result<Vec<TextRow>, TargetError> {
        let kind = self.schema.column_kind(&mapping.sessions, column);
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

    /// Reads stored expiries, where their type leaves open what they mean. Of the readings of the table, best first, the one
    /// under which most of them make sense is taken; a decoder that was only guessed is replaced.
    ///
    /// # Errors
    ///
    /// If they make no sense.
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
        let fit = |candidate: &LayoutCandidate| {
            let profile = catalogue.iter().find(|profile| profile.name == candidate.mapping.profile);
            let ending = profile.and_then(|profile| profile.iso_ending.as_deref());
            let ends = ending.map_or(1.0, |ending| share_with_ending(&values, ending));
            (share(candidate.mapping.expires.decoder), ends)
        };
        // Another profile under which more of the values make sense is the better reading of the table.
        let (mut best, mut found) = (0, fit(&readings[0]));
        for (at, reading) in readings.iter().enumerate().skip(1) {
            let other = fit(reading);
            if other > found {
                (best, found) = (at, other);
            }
        }
        let mut candidate = readings.swap_remove(best);
        let expires = &mut candidate.mapping.expires;
        let kind = self.schema.column_kind(&candidate.mapping.sessions, &expires.column);
        let written = expires.decoder;
        if found.0 >= MIN_PLAUSIBLE_SHARE {
            let clock = column_clock(kind, written, &values);
            return Ok(VerifiedExpiry { candidate, clock, decoder_replaced: false });
        }
        match find_plausible_decoder(&values, self.now, CONVINCING_SHARE) {
            Some(decoder) if is_detected => {
                expires.decoder = decoder;
                candidate.notes.push(format!(
                    "expiries are stored as `{}`, not as `{}`, which is usual for this profile",
                    decoder.name(),
                    written.name()
                ));
                let clock = column_clock(kind, decoder, &values);
                Ok(VerifiedExpiry { candidate, clock, decoder_replaced: true })
            }
            better => {
                let better = better.map(Decoder::name);
                Err(TargetError::ImplausibleExpiries { decoder: written.name(), better_decoder: better })
            }
        }
    }

    /// The same for creation, without which checks can do.
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
                let note = format!("`{}` cannot be read as a time, so creation is not known", created.column);
                VerifiedCreation { created: None, decoder_replaced: true, note: Some(note) }
            }
        })
    }

    /// Refuses a column as the end that is called after the last use of a session, where no end lies ahead: every session would
    /// count as expired.
    ///
    /// # Errors
    ///
    /// If it is such a column, or the query fails.
    pub(super) async fn reject_last_use_column(&self, mapping: &'a Mapping) -> Result<(), TargetError> {
        let column = &mapping.expires.column;
        if !detect::is_last_use_column(column) {
            return Ok(());
        }
        let rows = self
            .session
            .fetch_rows(&QueryBuilder::for_sampling(mapping, self.schema, self.now).future_expiries_query())
            .await?;
        let row = rows.first().ok_or(TargetError::ConnectionLost)?;
        let count = |at: usize| cells::parse_number::<u64>(row, at, "a count");
        match (count(0)?, count(1)?) {
            (Some(1..), Some(0)) => Err(TargetError::LastUseColumn(column.clone())),
            _ => Ok(()),
        }
    }
}

/// The candidates without tables whose tokens are JWTs: those are signed, and work without any row. Where the configuration
/// names the table, that is only noted.
pub(super) async fn rule_out_signed_tokens(
    session: &ReadSession,
    schema: &DatabaseSchema,
    catalogue: &[Profile],
    found: CandidateSearch,
) -> Result<Vec<LayoutCandidate>, TargetError> {
    let CandidateSearch { mut candidates, searched_profile: wanted, mut ruled_out } = found;
    while let Some(best) = candidates.first() {
        let table = best.mapping.sessions.clone();
        let rows = session.fetch_rows(&sql::token_shapes_query(&best.mapping, SAMPLED_TOKENS)).await?;
        let row = rows.first().ok_or(TargetError::ConnectionLost)?;
        let count = |at: usize| cells::parse_number::<u64>(row, at, "a count").map(Option::unwrap_or_default);
        let (tokens, jwts) = (count(0)?, count(1)?);
        if jwts == 0 || jwts < tokens.div_ceil(2) {
            break;
        }
        if best.is_named_in_config {
            candidates[0].other_login_hints.push(format!(
                "the tokens of `{table}` are JWTs: whoever holds one stays logged in until it expires, whatever becomes of its row"
            ));
            break;
        }
        candidates.retain(|candidate| candidate.mapping.sessions != table);
        let why = "has the columns of a token, a user and an expiry, but its tokens are JWTs, which are no session tokens";
        ruled_out.insert(0, RuledOutTable { table, reason: why.into() });
    }
    if candidates.is_empty() {
        return Err(not_detected_error(schema, catalogue, wanted, &ruled_out));
    }
    Ok(candidates)
}

/// The share of texts among the values that end so; 1 if there is no text.
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
