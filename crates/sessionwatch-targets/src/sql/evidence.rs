//! The SQL of evidence: rows that make a verdict.

use super::{RowKind, Rows, Sql, identifier, timestamps::InstantSql};

impl Sql<'_> {
    /// Rows of evidence: token prefix, row id, user, expiry in microseconds, number of rows, then the display columns.
    #[must_use]
    pub fn rows(&self, rows: Rows<'_>, limit: usize) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let user = self.user();
        let (display, users) = self.display();
        let condition = format!("{}{}", self.kind_condition(rows, &expiry), self.and_among(rows.among));
        let by_address = self.address_order();
        let order = match rows.kind {
            RowKind::Any => format!("3, {by_address}"),
            // Rows of one token stand together.
            RowKind::Duplicates if self.pasted => format!("{}, 3, 2", self.token()),
            RowKind::Duplicates => format!("{}, 3, {by_address}", self.fingerprint()),
            RowKind::Orphans if self.pasted => "4, 3, 2".into(),
            RowKind::Orphans => format!("{}, {by_address}", expiry.place()),
            RowKind::OldestExpired => format!("{}, {by_address}", expiry.value),
            RowKind::BeyondPolicy if self.pasted => format!("{} DESC, 2", expiry.value),
            RowKind::BeyondPolicy => format!("{} DESC, {by_address}", expiry.place()),
        };
        format!(
            "SELECT {prefix} AS token_prefix,\n  {id} AS id,\n  {user} AS user_id,\n  {end},\n  1 AS session_rows{display}\nFROM {sessions}{users}\nWHERE {condition}\nORDER BY {order}\nLIMIT {limit}",
            prefix = self.prefix(),
            id = self.id_text(),
            user = self.text(&user),
            end = self.end(&expiry),
            sessions = self.sessions(),
        )
    }

    pub(super) fn kind_condition(&self, rows: Rows<'_>, expiry: &InstantSql) -> String {
        match rows.kind {
            RowKind::Any => "1 = 1".into(),
            RowKind::Duplicates => format!(
                "{token} IN (SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL{among} GROUP BY {token} HAVING COUNT(*) > 1)",
                token = self.token(),
                sessions = self.sessions(),
                among = self.and_among(rows.among),
            ),
            RowKind::Orphans => self.orphan_condition(),
            RowKind::OldestExpired => expiry.expired(self.now),
            RowKind::BeyondPolicy => {
                let late = self
                    .max_lifetime_us
                    .map_or("1 = 0".into(), |policy| expiry.beyond(self.now.plus_micros(policy)));
                format!("({late} OR {})", expiry.never())
            }
        }
    }

    /// The columns that name a user, and the join to them.
    pub(super) fn display(&self) -> (String, String) {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) => {
                let shown = users
                    .display
                    .iter()
                    .map(|column| format!(", {}", self.shown(&format!("w.{}", identifier(column)))));
                let (key, user) = if self.dialect().compares_any_types() && !self.keyed_alike(users) {
                    (self.text(&format!("w.{}", identifier(&users.key))), self.text(&self.column(user)))
                } else {
                    self.user_pair(users)
                };
                (shown.collect(), format!("\nLEFT JOIN {} ON {key} = {user}", self.named_users(users)))
            }
            _ => (String::new(), String::new()),
        }
    }

    pub(super) fn orphan_condition(&self) -> String {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) => {
                format!("{} IS NOT NULL AND w.{} IS NULL", self.column(user), identifier(&users.key))
            }
            _ => "1 = 0".into(),
        }
    }
}
