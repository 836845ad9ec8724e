//! What a kind of database can do. Whatever needs more says so, and is unknown there.

/// Something that not every kind of database can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Answers queries of the operator's own.
    CustomQueries,
    /// Aggregates sessions by itself (`pushdown`).
    Pushdown,
    /// Has constraints that prove what then need not be looked for.
    ConstraintProofs,
    /// Locks single rows, so that others can write meanwhile.
    RowLocks,
    /// Tells what became of a transaction after the connection is lost.
    TransactionStatus,
    /// Has roles with privileges of their own.
    Roles,
    /// Has a clock of its own.
    ServerClock,
    /// Can be a replica, and say how far it lags.
    Replication,
}

/// What one kind of database can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name.
    pub product: &'static str,
    pub(crate) supported: &'static [Capability],
}

impl Capabilities {
    /// Whether it can do that.
    #[must_use]
    pub fn supports(&self, capability: Capability) -> bool {
        self.supported.contains(&capability)
    }

    /// Why that cannot be done; `None` if it can.
    #[must_use]
    pub fn unsupported_reason(&self, capability: Capability) -> Option<String> {
        (!self.supports(capability)).then(|| format!("not supported on {}", self.product))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_names_the_product() {
        let file = Capabilities { product: "SQLite", supported: &[Capability::Pushdown] };
        assert_eq!(file.unsupported_reason(Capability::Pushdown), None);
        assert_eq!(file.unsupported_reason(Capability::Roles).as_deref(), Some("not supported on SQLite"));
    }
}
