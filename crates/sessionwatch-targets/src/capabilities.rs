//! Capabilities of each kind of database. A check that needs a missing one reports `unknown`.

/// A feature that not every kind of database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Runs custom queries.
    CustomQueries,
    /// Aggregates sessions in the database (engine `pushdown`).
    Pushdown,
    /// Has constraints that prove a fact without reading rows.
    ConstraintProofs,
    /// Locks single rows, so that other clients can write meanwhile.
    RowLocks,
    /// Reports the outcome of a transaction after the connection is lost.
    TransactionStatus,
    /// Has roles with privileges.
    Roles,
    /// Has a clock of its own.
    ServerClock,
    /// Supports replicas and reports their lag.
    Replication,
}

/// The capabilities of one kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name of the product.
    pub product: &'static str,
    pub(crate) supported: &'static [Capability],
}

impl Capabilities {
    /// Returns `true` if the database has this capability.
    #[must_use]
    pub fn supports(&self, capability: Capability) -> bool {
        self.supported.contains(&capability)
    }

    /// Returns why a feature is unavailable, or `None` if it is available.
    #[must_use]
    pub fn unsupported_reason(&self, capability: Capability) -> Option<String> {
        (!self.supports(capability)).then(|| format!("not supported on {}", self.product))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_product() {
        let file = Capabilities { product: "SQLite", supported: &[Capability::Pushdown] };
        assert_eq!(file.unsupported_reason(Capability::Pushdown), None);
        assert_eq!(file.unsupported_reason(Capability::Roles).as_deref(), Some("not supported on SQLite"));
    }
}
