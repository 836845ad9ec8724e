//! Summary of the users affected by an incident.

use std::collections::{BTreeMap, BTreeSet};

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::row_selection::LeakRow;

use super::evidence_bundle::MAX_EVIDENCE_ROWS;
use crate::remediation::{self, ActionContext, ActionError};

/// Describes the affected users, as far as the session table shows them.
pub(super) async fn describe_affected(context: ActionContext<'_>) -> Result<String, ActionError> {
    let affected = remediation::find_leaked_rows(context, MAX_EVIDENCE_ROWS).await?;
    let summary = summarize_affected(&affected.rows, affected.is_cut);
    Ok(match affected.gaps.as_slice() {
        [] => summary,
        gaps => format!("{summary}; the list may be incomplete: {}", gaps.join("; ")),
    })
}

/// Groups users by what must be done for them: users who share a token, users with several rows of one token, and ids
/// of users who do not exist. If the rows are cut, the counts are lower bounds.
fn summarize_affected(rows: &[LeakRow], is_cut: bool) -> String {
    let mut tokens: BTreeMap<&str, Vec<&LeakRow>> = BTreeMap::new();
    for row in rows {
        if let Some(token) = row.fingerprint.as_deref() {
            tokens.entry(token).or_default().push(row);
        }
    }
    let users =
        |rows: &[&LeakRow]| -> BTreeSet<String> { rows.iter().filter_map(|row| row.user.clone()).collect() };
    let (mut sharing, mut repeating) = (BTreeSet::new(), BTreeSet::new());
    for rows in tokens.values().filter(|rows| rows.len() > 1) {
        let users = users(rows);
        if users.len() > 1 { sharing.extend(users) } else { repeating.extend(users) }
    }
    repeating.retain(|user| !sharing.contains(user));
    let missing = users(&rows.iter().filter(|row| row.is_orphaned).collect::<Vec<_>>());
    let all = [
        (sharing, ["user shares a token with others", "users share tokens with each other"]),
        (repeating, ["user has several rows with one token", "users have several rows with one token"]),
        (missing, ["user ID that does not exist", "user IDs that do not exist"]),
    ];
    let phrases = all.into_iter().filter(|(users, _)| !users.is_empty());
    let phrases: Vec<String> =
        phrases.map(|(users, [one, many])| format_user_list(users, one, many)).collect();
    match phrases.as_slice() {
        [] => "no shared tokens and no orphaned sessions".into(),
        phrases if is_cut => format!("at least {}", phrases.join("; at least ")),
        phrases => phrases.join("; "),
    }
}

/// Formats the number of users and the first ids, numeric ids first and in numeric order.
fn format_user_list(users: BTreeSet<String>, one: &str, many: &str) -> String {
    /// Maximum number of ids listed.
    const MAX_NAMED_USERS: usize = 20;
    let count = users.len();
    let mut users: Vec<String> = users.into_iter().collect();
    users.sort_by_cached_key(|user| (user.parse::<u64>().map_or(u64::MAX, |number| number), user.clone()));
    users.truncate(MAX_NAMED_USERS);
    let more = if count > MAX_NAMED_USERS { ", …" } else { "" };
    format!("{}: {}{more}", format_count(count as u64, one, many), users.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(token: &str, user: &str, is_orphaned: bool) -> LeakRow {
        LeakRow {
            fingerprint: Some(token.into()),
            token_prefix: None,
            id: None,
            user: Some(user.into()),
            expires_us: None,
            is_orphaned,
        }
    }

    #[test]
    fn sharing_repeating_and_missing_users_are_listed_apart() {
        assert_eq!(summarize_affected(&[], false), "no shared tokens and no orphaned sessions");
        // A token that one user has twice is not shared.
        let own = [row("1", "7", false), row("1", "7", false), row("2", "10", true), row("3", "9", true)];
        assert_eq!(
            summarize_affected(&own, false),
            "1 user has several rows with one token: 7; 2 user IDs that do not exist: 9, 10"
        );
        let shared = [row("1", "30", false), row("1", "4", true)];
        assert_eq!(
            summarize_affected(&shared, false),
            "2 users share tokens with each other: 4, 30; 1 user ID that does not exist: 4"
        );
        assert_eq!(
            summarize_affected(&shared, true),
            "at least 2 users share tokens with each other: 4, 30; at least 1 user ID that does not exist: 4"
        );
    }
}
