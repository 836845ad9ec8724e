//! JSON types shared by the command line and the HTTP API, one per kind of object.

mod accounts;
mod alerts;
mod audit;
mod diagnostics;
mod incidents;
mod logs;
mod plans;
mod sessions;

use serde::Serialize;
use serde_json::Value;
use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::StoreError;
use utoipa::ToSchema;

pub use self::{
    accounts::{AccountDto, TokenDto},
    alerts::{AlertDto, EventDto, SilenceDto},
    audit::AuditEntryDto,
    diagnostics::DoctorFindingDto,
    incidents::{IncidentDto, TimelineEntryDto},
    logs::{LogEventDto, LogSourceDto},
    plans::{ArchiveDto, PlanDto, PlanRowDto},
    sessions::SessionDto,
};

/// UTC timestamp in RFC 3339 format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(pub UtcTimestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&clock::format_rfc3339(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Rfc3339 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        let at = text.parse::<jiff::Timestamp>().ok();
        let at = at.and_then(|at| UtcTimestamp::try_from(at).ok());
        at.map(Self).ok_or_else(|| {
            serde::de::Error::custom("expected an RFC 3339 timestamp such as 2026-01-31T12:00:00Z")
        })
    }
}

impl utoipa::PartialSchema for Rfc3339 {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

impl ToSchema for Rfc3339 {
    fn name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }
}

/// Serializes a document as JSON.
///
/// # Errors
///
/// If the document cannot be represented in JSON.
pub fn to_json_value(document: impl Serialize) -> Result<Value, StoreError> {
    serde_json::to_value(document).map_err(|_| StoreError::NotSerializable("a document"))
}
