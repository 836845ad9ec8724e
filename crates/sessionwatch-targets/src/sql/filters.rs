//! The SQL of conditions that a person names.

use sessionwatch_core::instant::Instant;

use super::{Filter, Sql, identifier, table};

impl Sql<'_> {
    pub(super) fn fits(&self, filter: &Filter) -> String {
        let mut conditions = Vec::new();
        let at = |micros: i64| Instant::from_micros(micros).unwrap_or(Instant::MAX);
        let expires = self.instant(&self.mapping.expires);
        // What never ends, ends after any instant.
        let ends_after = |after| format!("({} OR {})", expires.after(at(after)), expires.never());
        conditions.extend(filter.expires_after.map(ends_after));
        conditions.extend(filter.expires_before.map(|before| expires.expired(at(before))));
        if let Some(created) = self.mapping.created.as_ref().map(|column| self.instant(column)) {
            conditions.extend(filter.created_after.map(|after| created.after(at(after))));
            conditions.extend(filter.created_before.map(|before| created.expired(at(before))));
        }
        conditions.extend(filter.user.as_deref().map(|user| self.of_user(user)));
        conditions.extend(filter.user_like.as_deref().map(|part| self.user_like(part)));
        if let (Some(ip), Some(column)) = (&filter.ip, &self.mapping.ip) {
            conditions.push(format!("{} = {}", self.text(&self.column(column)), self.string(ip)));
        }
        if let (Some(part), Some(column)) = (&filter.agent_like, &self.mapping.agent) {
            conditions.push(self.contains(&self.text(&self.column(column)), part));
        }
        if filter.impersonated {
            let is_known = |column| format!("{column} IS NOT NULL");
            conditions.push(self.impersonator().map_or("1 = 0".into(), is_known));
        }
        if conditions.is_empty() { "1 = 0".into() } else { conditions.join("\n  AND ") }
    }

    /// The condition that a user's id, name or handle contains a text.
    pub(super) fn user_like(&self, part: &str) -> String {
        let own = self.contains(&self.text(&self.user()), part);
        let Some(users) = self.mapping.users.as_ref().filter(|users| !users.display.is_empty()) else {
            return own;
        };
        let shown = users
            .display
            .iter()
            .map(|column| self.contains(&self.text(&format!("w.{}", identifier(column))), part));
        let shown = shown.collect::<Vec<_>>().join(" OR ");
        format!(
            "({own} OR EXISTS (SELECT 1 FROM {} AS w WHERE {} AND ({shown})))",
            table(&users.table),
            self.is_user(users)
        )
    }

    /// The condition that a text contains another, in upper or lower case.
    #[must_use]
    pub fn contains(&self, expression: &str, part: &str) -> String {
        let escaped: String = part
            .chars()
            .flat_map(|character| {
                let escape = matches!(character, '%' | '_' | '!').then_some('!');
                escape.into_iter().chain([character])
            })
            .collect();
        // Which letters are large and small is up to the database, on both sides.
        let pattern = self.string(&format!("%{escaped}%"));
        format!("lower({expression}) LIKE lower({pattern}) ESCAPE '!'")
    }
}
