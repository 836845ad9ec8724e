//! Who is affected by an incident, in words.

use std::collections::{BTreeMap, BTreeSet};

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::row_selection::LeakRow;

use crate::remediation::{self, ActionContext, ActionError};

/// Who is affected, as far as the table shows it.
pub(super) async fn describe_affected(context: ActionContext<'_>) -> Result<String, ActionError> {
    /// Rows that are asked for.
    const MAX_AFFECTED_ROWS: usize = 1_000;
    let affected = remediation::find_leaked_rows(context, MAX_AFFECTED_ROWS).await?;
    let said = summarize_affected(&affected.rows);
    Ok(match affected.gaps.as_slice() {
        [] => said,
        gaps => format!("{said}; not all of them are known: {}", gaps.join("; ")),
    })
}

/// Users who share a token with others, users who hold one several times, and users of sessions who do not exist: apart, since
/// something else is to be done for each.
fn summarize_affected(rows: &[LeakRow]) -> String {
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
        (
            repeating,
            [
                "user has a token on several rows of their own",
                "users have a token on several rows of their own",
            ],
        ),
        (missing, ["user of sessions does not exist", "users of sessions do not exist"]),
    ];
    let said = all.into_iter().filter(|(users, _)| !users.is_empty());
    let said: Vec<String> = said.map(|(users, [one, many])| format_user_list(users, one, many)).collect();
    if said.is_empty() { "no token is shared, and no user is missing".into() } else { said.join("; ") }
}

/// How many users, and who the first of them are: numbers by what they count, other ids by their letters.
fn format_user_list(users: BTreeSet<String>, one: &str, many: &str) -> String {
    /// Users that are named.
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

    fn row(token: &str, user: &str, orphaned: bool) -> LeakRow {
        LeakRow {
            fingerprint: Some(token.into()),
            token_prefix: None,
            id: None,
            user: Some(user.into()),
            expires_us: None,
            is_orphaned: orphaned,
        }
    }

    #[test]
    fn who_shares_a_token_is_told_from_who_does_not_exist() {
        assert_eq!(summarize_affected(&[]), "no token is shared, and no user is missing");
        // Tokens that one user has twice are shared by nobody.
        let own = [row("1", "7", false), row("1", "7", false), row("2", "10", true), row("3", "9", true)];
        assert_eq!(
            summarize_affected(&own),
            "1 user has a token on several rows of their own: 7; 2 users of sessions do not exist: 9, 10"
        );
        let shared = [row("1", "30", false), row("1", "4", true)];
        assert_eq!(
            summarize_affected(&shared),
            "2 users share tokens with each other: 4, 30; 1 user of sessions does not exist: 4"
        );
    }
}
