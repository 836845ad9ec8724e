//! The layout of a target: a profile resolved against the schema that was found, with decoders under which the stored values
//! make sense. It is complete when it is made.

mod candidates;
mod clocks;
pub mod detect;
pub mod explicit_mapping;
pub mod known_layout;
pub mod near_misses;
pub mod profile_catalog;
pub mod profile_source;
pub mod table_names;
pub mod uncertainty;
mod verify;
pub mod vetting;

pub use self::clocks::{LayoutClocks, TableActivity, clock_fix_hint, find_clock_doubts};

use sessionwatch_core::timestamp::UtcTimestamp;

use self::verify::ValueSampler;
use super::{error::TargetError, read_session::ReadSession, sql};
use crate::{
    layout::{
        detect::LayoutCandidate,
        known_layout::KnownLayout,
        profile_catalog::Profile,
        profile_source::ProfileSource,
        uncertainty::{LayoutUncertainty, UncertaintyLevel},
    },
    mapping::{Mapping, TableName},
    sql::schema::DatabaseSchema,
};

/// How one target stores sessions.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The schema as found.
    pub schema: DatabaseSchema,
    /// The table of sessions, and how its columns are read.
    pub candidate: LayoutCandidate,
    /// Other tables that could be meant, best first.
    pub alternatives: Vec<LayoutCandidate>,
    /// Why the table may be the wrong one.
    pub uncertainty: Option<LayoutUncertainty>,
    /// The stored values spoke for another decoder than the profile.
    pub decoder_replaced: bool,
    /// What zone its instants are in.
    pub clocks: LayoutClocks,
}

/// What is known of a target before its layout is.
#[derive(Clone, Copy, Debug)]
pub struct LayoutRequest<'a> {
    /// The name of the target.
    pub target: &'a str,
    /// What the configuration says of how its sessions are stored.
    pub source: &'a ProfileSource,
    /// Where its sessions are known to be: another table is not believed.
    pub known_layout: Option<&'a KnownLayout>,
    /// Every known profile.
    pub profiles: &'a [Profile],
}

impl Layout {
    /// Recognizes how an open target stores its sessions.
    ///
    /// # Errors
    ///
    /// If no session table is recognized, it is another one than is known, or its expiries cannot be read.
    pub async fn detect(
        session: &ReadSession,
        request: LayoutRequest<'_>,
        now: UtcTimestamp,
    ) -> Result<Self, TargetError> {
        let schema = session.describe_schema().await?;
        let LayoutRequest { target, source, known_layout: known, profiles: catalogue } = request;
        let found = candidates::find_candidates(&schema, request)?;
        let believed = verify::rule_out_signed_tokens(session, &schema, catalogue, found).await;
        let mut candidates = believed.map_err(|error| candidates::mention_known_layout(known, error))?;
        if let Some(known) = known {
            candidates::require_known_layout(target, known, &candidates)?;
        }
        let sessions = candidates.first().map(|best| best.mapping.sessions.clone());
        let is_reading = |candidate: &LayoutCandidate| Some(&candidate.mapping.sessions) == sessions.as_ref();
        let readings: Vec<LayoutCandidate> =
            candidates.extract_if(.., |candidate| is_reading(candidate)).collect();
        let sampling = ValueSampler { session, schema: &schema, now };
        let is_detected = !matches!(source, ProfileSource::Explicit(_));
        let expiry = sampling.verify_expiry(readings, catalogue, is_detected).await?;
        let mut candidate = expiry.candidate;
        let creation = sampling.verify_creation(&candidate.mapping).await?;
        candidate.notes.extend(creation.note);
        let (created, created_clock) = creation.created.unzip();
        candidate.mapping.created = created;
        sampling.reject_last_use_column(&candidate.mapping).await?;
        let doubt = LayoutUncertainty::assess(&schema, &candidate, &candidates);
        Ok(Self {
            candidate,
            alternatives: candidates,
            uncertainty: doubt,
            decoder_replaced: expiry.decoder_replaced || creation.decoder_replaced,
            clocks: LayoutClocks { expires: expiry.clock, created: created_clock },
            schema,
        })
    }

    /// Of a mapping that is not verified.
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
        let (others, doubt, clocks) = (vec![], None, LayoutClocks::default());
        Self { schema, candidate, alternatives: others, uncertainty: doubt, decoder_replaced: false, clocks }
    }

    /// A table as statements name it.
    #[must_use]
    pub fn quote_table(&self, table: &TableName) -> String {
        sql::quote_table(table)
    }

    /// A column, a role or another object as statements name it.
    #[must_use]
    pub fn quote_name(&self, name: &str) -> String {
        sql::quote_identifier(name)
    }

    /// The name under which a catalog of side effects knows the sessions.
    #[must_use]
    pub fn catalog_name(&self) -> String {
        self.schema.dialect.catalog_name(&self.candidate.mapping.sessions)
    }

    /// Whether it is certain enough which table holds the sessions to hold later runs against it.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.uncertainty.as_ref().is_none_or(|doubt| doubt.level == UncertaintyLevel::OffSearchPath)
    }
}
