//! Row-level security: whether the current role sees every row of a table.

/// What a role does with rows, each under policies of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyCommand {
    Select,
    Insert,
    Update,
    Delete,
}

impl PolicyCommand {
    /// The letter in `pg_policy.polcmd`, and the expressions that a policy for it restricts rows by.
    fn policy_parts(self) -> (char, &'static [&'static str]) {
        const CHECK_EXPRESSION: &str = "COALESCE(p.polwithcheck, p.polqual)";
        match self {
            Self::Select => ('r', &["p.polqual"]),
            Self::Insert => ('a', &[CHECK_EXPRESSION]),
            Self::Update => ('w', &["p.polqual", CHECK_EXPRESSION]),
            Self::Delete => ('d', &["p.polqual"]),
        }
    }
}

/// The SQL condition that row-level security keeps the current role from some rows of the relation with that OID, or may.
/// A permissive policy `USING (true)` for the role, and no restrictive one, shows every row.
pub(super) fn hides_rows_condition(oid: &str, command: PolicyCommand) -> String {
    let (letter, expressions) = command.policy_parts();
    let is_true = |expression: &&str| {
        format!("COALESCE(pg_catalog.pg_get_expr({expression}, p.polrelid) = 'true', false)")
    };
    let shows_all = expressions.iter().map(is_true).collect::<Vec<_>>().join(" AND ");
    let policies = format!(
        "SELECT 1 FROM pg_catalog.pg_policy AS p WHERE p.polrelid = {oid} AND p.polcmd IN ('*', '{letter}')\n    \
         AND (0 = ANY(p.polroles) OR EXISTS (SELECT 1 FROM pg_catalog.unnest(p.polroles) AS role(oid)\n      \
         WHERE pg_catalog.pg_has_role(role.oid, 'USAGE')))"
    );
    format!(
        "(pg_catalog.row_security_active({oid}) AND (NOT EXISTS ({policies} AND p.polpermissive AND {shows_all})\n  \
         OR EXISTS ({policies} AND NOT p.polpermissive AND NOT ({shows_all}))))"
    )
}
