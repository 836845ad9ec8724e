//! Row-level security: whether the current role sees every row of a table.

/// Commands with policies of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyCommand {
    Select,
    Insert,
    Update,
    Delete,
}

impl PolicyCommand {
    /// Returns the letter in `pg_policy.polcmd`, and the expressions by which such a policy restricts rows.
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

/// Returns the SQL condition that row-level security may hide rows of the relation with this OID from the
/// current role. A permissive policy `USING (true)` for the role shows every row, unless a restrictive policy
/// exists.
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
