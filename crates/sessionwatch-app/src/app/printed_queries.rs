//! Queries to paste into the database's own client: those behind the checks, and those of the operator guide.

use sessionwatch_targets::{connect::ConnectedTarget, printed_queries::PrintedQueries};

use crate::{
    checks::{Check, TABLE_CHECKS},
    config::Config,
};

/// Titles of the operator guide's queries, in its order.
const GUIDE_QUERY_TITLES: [&str; 7] = [
    "all sessions, with their users",
    "tokens on more than one row",
    "sessions whose user does not exist",
    "users who create many sessions",
    "active sessions per user",
    "the sessions of one user",
    "sessions by status",
];

/// Selection of queries to print.
#[derive(Clone, Copy, Debug)]
pub struct QuerySelection(SelectedQueries);

#[derive(Clone, Copy, Debug)]
enum SelectedQueries {
    All,
    /// Number of the query, 1 to 7.
    OperatorGuide(u8),
    Check(Check),
}

impl QuerySelection {
    /// Queries of the operator guide and of every check.
    pub const ALL: Self = Self(SelectedQueries::All);

    /// Parses a check id, or `query-1` to `query-7` for the queries of the operator guide.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(number) = name.strip_prefix("query-") {
            let number: u8 = number.parse().ok()?;
            // Bounds the number before it is used as an index.
            let is_known = (1..=GUIDE_QUERY_TITLES.len()).contains(&usize::from(number));
            return is_known.then_some(Self(SelectedQueries::OperatorGuide(number)));
        }
        TABLE_CHECKS
            .into_iter()
            .find(|check| check.id == name)
            .map(|check| Self(SelectedQueries::Check(check)))
    }
}

/// Renders the query behind a check.
pub(super) fn render_check_query(opened: &ConnectedTarget, config: &Config, check: &Check) -> String {
    printed_queries(opened, config).check_query(check.evidence)
}

/// Renders the selected queries as one script. `user` is the user of query 6.
pub(super) fn render_script(
    opened: &ConnectedTarget,
    config: &Config,
    selection: QuerySelection,
    user: &str,
) -> String {
    let printed = printed_queries(opened, config);
    let guide = |number: u8| {
        let title = GUIDE_QUERY_TITLES[usize::from(number) - 1];
        format!("-- query-{number}: {title}\n{};\n", printed.operator_guide_query(number, user))
    };
    let check = |check: Check| format!("-- {}\n{};\n", check.id, printed.check_query(check.evidence));
    let text = match selection.0 {
        SelectedQueries::OperatorGuide(number) => guide(number),
        SelectedQueries::Check(one) => check(one),
        SelectedQueries::All => {
            let queries: Vec<String> =
                (1..=7).map(guide).chain(TABLE_CHECKS.into_iter().map(check)).collect();
            format!(
                "-- For {}. Queries of the operator guide, then the query behind each check.\n\n{}",
                printed.client_name(),
                queries.join("\n")
            )
        }
    };
    // Pasted into a client whose search path is unknown: an object in it could shadow a built-in function.
    printed.safe_script(&text)
}

fn printed_queries<'a>(opened: &'a ConnectedTarget, config: &'a Config) -> PrintedQueries<'a> {
    let thresholds = &config.checks.thresholds;
    PrintedQueries::new(&opened.query_scope(false, thresholds), thresholds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_selected_by_number_or_check_id() {
        let number = |name| match QuerySelection::from_name(name) {
            Some(QuerySelection(SelectedQueries::OperatorGuide(number))) => Some(number),
            _ => None,
        };
        assert_eq!(["query-1", "query-7"].map(number), [Some(1), Some(7)]);
        for unknown in ["query-0", "query-8", "query-", "query-x", "nonsense", ""] {
            assert!(QuerySelection::from_name(unknown).is_none(), "{unknown}");
        }
        for check in TABLE_CHECKS {
            let named = QuerySelection::from_name(check.id);
            assert!(
                matches!(named, Some(QuerySelection(SelectedQueries::Check(found))) if found.id == check.id),
                "{}",
                check.id
            );
        }
    }
}
