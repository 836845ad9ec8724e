//! Layout of a target: a profile resolved against the target's schema, with decoders verified against stored
//! values.

mod candidates;
mod column_time_zones;
pub mod detect;
pub mod explicit_mapping;
pub mod known_layout;
pub mod near_misses;
pub mod profile_catalog;
pub mod storage_setting;
pub mod table_classification;
pub mod table_safety;
pub mod uncertainty;
mod value_verification;

pub use self::column_time_zones::{LayoutClocks, TableActivity, clock_fix_hint, find_clock_doubts};

use sessionwatch_core::timestamp::UtcTimestamp;

use self::value_verification::ValueSampler;
use super::{error::TargetError, read_session::ReadSession, sql};
use crate::{
    layout::{
        detect::LayoutCandidate,
        known_layout::KnownLayout,
        profile_catalog::Profile,
        storage_setting::ProfileSource,
        uncertainty::{LayoutUncertainty, UncertaintyLevel},
    },
    mapping::{Mapping, TableName},
    sql::database_schema::DatabaseSchema,
};

/// The tables and columns in which one target stores sessions, verified against its data.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Schema of the database.
    pub schema: DatabaseSchema,
    /// Session table and the mapping of its columns.
    pub candidate: LayoutCandidate,
    /// Other tables that may hold the sessions, best first.
    pub alternatives: Vec<LayoutCandidate>,
    /// Reason why the session table may be the wrong one.
    pub uncertainty: Option<LayoutUncertainty>,
    /// `true` if stored values required a different decoder than the profile's.
    pub decoder_replaced: bool,
    /// Time zones of the expiry and creation columns.
    pub clocks: LayoutClocks,
}

/// Facts known about a target before its layout is detected.
#[derive(Clone, Copy, Debug)]
pub struct LayoutRequest<'a> {
    /// Name of the target.
    pub target: &'a str,
    /// Storage of the sessions, as far as the configuration describes it.
    pub source: &'a ProfileSource,
    /// Layout found by earlier runs. A different one is rejected.
    pub known_layout: Option<&'a KnownLayout>,
    /// All known profiles.
    pub profiles: &'a [Profile],
}

impl Layout {
    /// Detects the layout of an open target.
    ///
    /// # Errors
    ///
    /// If no session table is found, the table differs from the known one, or its expiry times are
    /// implausible.
    pub async fn detect(
        session: &ReadSession,
        request: LayoutRequest<'_>,
        now: UtcTimestamp,
    ) -> Result<Self, TargetError> {
        let schema = session.describe_schema().await?;
        let LayoutRequest { target, source, known_layout, profiles } = request;
        let found = candidates::find_candidates(&schema, request)?;
        let believed = value_verification::rule_out_signed_tokens(session, &schema, profiles, found).await;
        let mut alternatives =
            believed.map_err(|error| candidates::mention_known_layout(known_layout, error))?;
        if let Some(known_layout) = known_layout {
            candidates::require_known_layout(target, known_layout, &alternatives)?;
        }
        // Several profiles may match the same table; its values decide between them.
        let sessions = alternatives.first().map(|best| best.mapping.sessions.clone());
        let is_reading = |candidate: &LayoutCandidate| Some(&candidate.mapping.sessions) == sessions.as_ref();
        let readings: Vec<LayoutCandidate> =
            alternatives.extract_if(.., |candidate| is_reading(candidate)).collect();
        let sampling = ValueSampler { session, schema: &schema, now };
        let is_detected = !matches!(source, ProfileSource::Explicit(_));
        let expiry = sampling.verify_expiry(readings, profiles, is_detected).await?;
        let mut candidate = expiry.candidate;
        let creation = sampling.verify_creation(&candidate.mapping).await?;
        candidate.notes.extend(creation.note);
        let (created, created_clock) = creation.created.unzip();
        candidate.mapping.created = created;
        // Last, since the decoder must be known to compare with the current time.
        sampling.reject_last_use_column(&candidate.mapping).await?;
        let uncertainty = LayoutUncertainty::assess(&schema, &candidate, &alternatives);
        Ok(Self {
            candidate,
            // What is left after the candidates for the chosen table were taken out.
            alternatives,
            uncertainty,
            decoder_replaced: expiry.decoder_replaced || creation.decoder_replaced,
            clocks: LayoutClocks { expires: expiry.clock, created: created_clock },
            schema,
        })
    }

    /// Creates a layout from a mapping without verifying it.
    #[must_use]
    pub fn from_mapping(schema: DatabaseSchema, mapping: Mapping) -> Self {
        let candidate = LayoutCandidate {
            mapping,
            title: String::new(),
            score: 0,
            reasons: vec![],
            notes: vec![],
            missing_evidence: vec![],
            other_login_hints: vec![],
            is_named_in_config: true,
        };
        let (alternatives, uncertainty, clocks) = (vec![], None, LayoutClocks::default());
        Self { schema, candidate, alternatives, uncertainty, decoder_replaced: false, clocks }
    }

    /// Quotes a table name for statements.
    #[must_use]
    pub fn quote_table(&self, table: &TableName) -> String {
        sql::quote_table(table)
    }

    /// Quotes the name of a column, a role or another object for statements.
    #[must_use]
    pub fn quote_name(&self, name: &str) -> String {
        sql::quote_identifier(name)
    }

    /// Returns the name of the session table in a [`crate::side_effects::SideEffectCatalog`].
    #[must_use]
    pub fn catalog_name(&self) -> String {
        self.schema.dialect.catalog_name(&self.candidate.mapping.sessions)
    }

    /// Returns `true` if the session table is certain enough to be required in later runs.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.uncertainty.as_ref().is_none_or(|doubt| doubt.level == UncertaintyLevel::OffSearchPath)
    }
}
