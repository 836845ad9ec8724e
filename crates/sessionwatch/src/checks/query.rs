//! The query behind a check.

use sessionwatch_core::settings::Settings;

use super::Proof;
use crate::target::sql::{List, RowKind, Rows, Sql};

/// What shows whether a check finds something, as one query.
#[must_use]
pub fn query(sql: &Sql<'_>, proof: Proof, settings: &Settings) -> String {
    const LIMIT: usize = 100;
    match proof {
        Proof::Duplicates => sql.rows(Rows::all(RowKind::Duplicates), LIMIT),
        // No query sees two looks: this one shows what they are compared by.
        Proof::Rebound | Proof::Revived => sql.list(List::all(LIMIT)),
        Proof::Orphans => sql.rows(Rows::all(RowKind::Orphans), LIMIT),
        Proof::OldestExpired => sql.rows(Rows::all(RowKind::OldestExpired), LIMIT),
        Proof::BeyondPolicy => sql.rows(Rows::all(RowKind::BeyondPolicy), LIMIT),
        Proof::ActiveHolders => sql.top_users('a', settings.user_max, LIMIT),
        Proof::Creators if sql.mapping.created.is_some() => {
            sql.top_users('r', settings.rapid_max_per_hour, LIMIT)
        }
        // Who holds most is the nearest that one query shows.
        Proof::Creators => sql.top_users('n', settings.user_max, LIMIT),
        Proof::Value => sql.counts(),
    }
}
