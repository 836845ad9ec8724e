//! JSON types of diagnostics.

use serde::Serialize;
use utoipa::ToSchema;

/// Result of a diagnostic.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DoctorFindingDto {
    pub(crate) id: &'static str,
    /// `pass`, `warn` or `fail`.
    pub(crate) level: &'static str,
    pub(crate) summary: String,
    /// Fix, as SQL or as instructions.
    pub(crate) fix: Option<String>,
    /// The same fix for Prisma or Drizzle, where one of them manages the schema.
    pub(crate) schema_fix: Option<String>,
}
