//! The layout of a target: a profile resolved against the schema that was found, with decoders under which the stored values
//! make sense. It is complete when it is made.

pub mod background;
mod candidates;
pub mod catalogue;
mod clocks;
pub mod detect;
pub mod doubt;
pub mod explicit;
pub mod known_layout;
pub mod names;
pub mod near;
pub mod source;
mod verify;

pub use self::clocks::{Clocks, Known, doubts, remedy};

use sessionwatch_core::instant::Instant;

use self::verify::Sampling;
use super::{error::TargetError, read_session::ReadSession, sql};
use crate::{
    layout::{
        catalogue::Profile,
        detect::Candidate,
        doubt::{Doubt, Weight},
        known_layout::KnownLayout,
        source::ProfileSource,
    },
    mapping::{Mapping, TableName},
    sql::schema::Schema,
};

/// How one target stores sessions.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The schema as found.
    pub schema: Schema,
    /// The table of sessions, and how its columns are read.
    pub candidate: Candidate,
    /// Other tables that could be meant, best first.
    pub others: Vec<Candidate>,
    /// Why the table may be the wrong one.
    pub doubt: Option<Doubt>,
    /// The stored values spoke for another decoder than the profile.
    pub decoder_replaced: bool,
    /// What zone its instants are in.
    pub clocks: Clocks,
}

/// What is known of a target before its layout is.
#[derive(Clone, Copy, Debug)]
pub struct LayoutRequest<'a> {
    /// The name of the target.
    pub target: &'a str,
    /// What the configuration says of how its sessions are stored.
    pub source: &'a ProfileSource,
    /// Where its sessions are known to be: another table is not believed.
    pub known: Option<&'a KnownLayout>,
    /// Every known profile.
    pub catalogue: &'a [Profile],
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
        now: Instant,
    ) -> Result<Self, TargetError> {
        let schema = session.describe().await?;
        let LayoutRequest { target, source, known, catalogue } = request;
        let found = candidates::find(&schema, request)?;
        let believed = verify::rule_out_signed_tokens(session, &schema, catalogue, found).await;
        let mut candidates = believed.map_err(|error| candidates::lost(known, error))?;
        if let Some(known) = known {
            candidates::require_known(target, known, &candidates)?;
        }
        let sessions = candidates.first().map(|best| best.mapping.sessions.clone());
        let is_reading = |candidate: &Candidate| Some(&candidate.mapping.sessions) == sessions.as_ref();
        let readings: Vec<Candidate> = candidates.extract_if(.., |candidate| is_reading(candidate)).collect();
        let sampling = Sampling { session, schema: &schema, now };
        let is_detected = !matches!(source, ProfileSource::Explicit(_));
        let expiry = sampling.verify_expiry(readings, catalogue, is_detected).await?;
        let mut candidate = expiry.candidate;
        let creation = sampling.verify_creation(&candidate.mapping).await?;
        candidate.notes.extend(creation.note);
        let (created, created_clock) = creation.created.unzip();
        candidate.mapping.created = created;
        sampling.refuse_last_use(&candidate.mapping).await?;
        let doubt = Doubt::of(&schema, &candidate, &candidates);
        Ok(Self {
            candidate,
            others: candidates,
            doubt,
            decoder_replaced: expiry.decoder_replaced || creation.decoder_replaced,
            clocks: Clocks { expires: expiry.clock, created: created_clock },
            schema,
        })
    }

    /// Of a mapping that is not verified.
    #[must_use]
    pub fn of_mapping(schema: Schema, mapping: Mapping) -> Self {
        let candidate = Candidate {
            mapping,
            title: String::new(),
            score: 0,
            why: vec![],
            notes: vec![],
            lacks: vec![],
            elsewhere: vec![],
            named: true,
        };
        let (others, doubt, clocks) = (vec![], None, Clocks::default());
        Self { schema, candidate, others, doubt, decoder_replaced: false, clocks }
    }

    /// A table as statements name it.
    #[must_use]
    pub fn quoted(&self, table: &TableName) -> String {
        sql::table(table)
    }

    /// A column, a role or another object as statements name it.
    #[must_use]
    pub fn quoted_name(&self, name: &str) -> String {
        sql::identifier(name)
    }

    /// The name under which a catalog of side effects knows the sessions.
    #[must_use]
    pub fn catalog_name(&self) -> String {
        self.schema.dialect.catalog_name(&self.candidate.mapping.sessions)
    }

    /// Whether it is certain enough which table holds the sessions to hold later runs against it.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.doubt.as_ref().is_none_or(|doubt| doubt.weight == Weight::Aside)
    }
}
