//! SQL for the conditions of a filter.

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{QueryBuilder, SelectionFilter, quote_identifier, quote_table};

impl QueryBuilder<'_> {
    pub(super) fn filter_condition(&self, filter: &SelectionFilter) -> String {
        let mut conditions = Vec::new();
        let at = |micros: i64| UtcTimestamp::from_micros(micros).unwrap_or(UtcTimestamp::MAX);
        let expires = self.timestamp_expr(&self.mapping.expires);
        // A session without an expiry counts as expiring after any time.
        let ends_after =
            |after| format!("({} OR {})", expires.after_condition(at(after)), expires.never_condition());
        conditions.extend(filter.expires_after.map(ends_after));
        conditions.extend(filter.expires_before.map(|before| expires.before_condition(at(before))));
        if let Some(created) = self.mapping.created.as_ref().map(|column| self.timestamp_expr(column)) {
            conditions.extend(filter.created_after.map(|after| created.after_condition(at(after))));
            conditions.extend(filter.created_before.map(|before| created.before_condition(at(before))));
        }
        conditions.extend(filter.user.as_deref().map(|user| self.user_condition(user)));
        conditions.extend(filter.user_like.as_deref().map(|part| self.user_like_condition(part)));
        // Plans with a condition on an unknown column are refused before this.
        let ip = filter.ip.as_deref().filter(|_| self.mapping.ip.is_some());
        conditions.extend(ip.map(|ip| self.ip_condition(ip)));
        let agent = filter.agent_like.as_deref().filter(|_| self.mapping.agent.is_some());
        conditions.extend(agent.map(|part| self.agent_like_condition(part)));
        if filter.impersonated {
            let is_known = |column| format!("{column} IS NOT NULL");
            conditions.push(self.impersonator_column().map_or("1 = 0".into(), is_known));
        }
        // An empty filter must never select every session.
        if conditions.is_empty() { "1 = 0".into() } else { conditions.join("\n  AND ") }
    }

    /// Returns the condition that a session has an IP address. Without that column, no session has it.
    pub(super) fn ip_condition(&self, ip: &str) -> String {
        self.mapping.ip.as_ref().map_or_else(
            || "1 = 0".into(),
            |column| {
                let column = self.cast_to_text(&self.session_column(column));
                format!("{column} = {}", self.quote_string(ip))
            },
        )
    }

    /// Returns the condition that the user agent of a session contains a text, ignoring case. Without that
    /// column, none does.
    pub(super) fn agent_like_condition(&self, part: &str) -> String {
        self.mapping.agent.as_ref().map_or_else(
            || "1 = 0".into(),
            |column| self.contains_condition(&self.cast_to_text(&self.session_column(column)), part),
        )
    }

    /// Returns the condition that a user's id, name or handle contains a text.
    pub(super) fn user_like_condition(&self, part: &str) -> String {
        let own = self.contains_condition(&self.cast_to_text(&self.user_column()), part);
        let Some(users) = self.mapping.users.as_ref().filter(|users| !users.display.is_empty()) else {
            return own;
        };
        let shown = users.display.iter().map(|column| {
            self.contains_condition(&self.cast_to_text(&format!("w.{}", quote_identifier(column))), part)
        });
        let shown = shown.collect::<Vec<_>>().join(" OR ");
        format!(
            "({own} OR EXISTS (SELECT 1 FROM {} AS w WHERE {} AND ({shown})))",
            quote_table(&users.table),
            self.user_join_condition(users)
        )
    }

    /// Returns the condition that a text contains another one, ignoring case.
    #[must_use]
    pub fn contains_condition(&self, expression: &str, part: &str) -> String {
        let escaped: String = part
            .chars()
            .flat_map(|character| {
                let escape = matches!(character, '%' | '_' | '!').then_some('!');
                escape.into_iter().chain([character])
            })
            .collect();
        // The database folds the case of both sides, since the rules depend on its locale.
        let pattern = self.quote_string(&format!("%{escaped}%"));
        format!("lower({expression}) LIKE lower({pattern}) ESCAPE '!'")
    }
}
