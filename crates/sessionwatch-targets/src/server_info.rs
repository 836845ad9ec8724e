//! Queries of `doctor` about the server, the connection and the role.

pub use super::backend::{DatabaseRole, SchemaCreator, ServerInfo};
use super::{
    backend::ReadBackend as _,
    error::TargetError,
    mapping::TableName,
    supported_databases::{ReadSession, each},
};

impl ReadSession {
    /// Returns facts about the server, the connection and the role.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub async fn fetch_server_info(&self, sessions: &TableName) -> Result<ServerInfo, TargetError> {
        each!(self, ReadSession, session => session.fetch_server_info(sessions).await)
    }
}
