//! SQL for evidence: the rows behind a result.

use super::{EvidenceQuery, EvidenceRowKind, QueryBuilder, quote_identifier, timestamps::TimestampExpr};

impl QueryBuilder<'_> {
    /// Returns the query for rows of evidence: token prefix, row id, user, expiry in microseconds, number of rows,
    /// creation in microseconds, IP address, user agent, then the display columns. A query for people lacks what is
    /// known about the client.
    #[must_use]
    pub fn evidence_query(&self, rows: EvidenceQuery<'_>, limit: usize) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let user = self.user_column();
        let (display, users) = self.display_columns_and_join();
        // The subset limits both the rows shown and, for duplicates, the inner search.
        let condition =
            format!("{}{}", self.evidence_condition(rows, &expiry), self.and_subset_condition(rows.subset));
        let by_address = self.address_order_expr();
        let order = match rows.kind {
            EvidenceRowKind::Any => format!("3, {by_address}"),
            // Keeps rows with the same token together.
            EvidenceRowKind::Duplicates if self.standalone => format!("{}, 3, 2", self.token_key()),
            EvidenceRowKind::Duplicates => format!("{}, 3, {by_address}", self.fingerprint_expr()),
            EvidenceRowKind::Orphans if self.standalone => "4, 3, 2".into(),
            EvidenceRowKind::Orphans => format!("{}, {by_address}", expiry.sort_expr()),
            EvidenceRowKind::OldestExpired => format!("{}, {by_address}", expiry.value),
            EvidenceRowKind::BeyondPolicy if self.standalone => format!("{} DESC, 2", expiry.value),
            EvidenceRowKind::BeyondPolicy => format!("{} DESC, {by_address}", expiry.sort_expr()),
        };
        format!(
            "SELECT {prefix} AS token_prefix,\n  {id} AS id,\n  {user} AS user_id,\n  {end},\n  \
             1 AS session_rows{client}{display}\nFROM {sessions}{users}\nWHERE {condition}\n\
             ORDER BY {order}\nLIMIT {limit}",
            prefix = self.token_prefix_expr(),
            id = self.id_text_expr(),
            user = self.cast_to_text(&user),
            end = self.expiry_columns(&expiry),
            client = if self.standalone { String::new() } else { format!(",\n  {}", self.client_columns()) },
            sessions = self.sessions_source(),
        )
    }

    pub(super) fn evidence_condition(&self, rows: EvidenceQuery<'_>, expiry: &TimestampExpr) -> String {
        match rows.kind {
            EvidenceRowKind::Any => "1 = 1".into(),
            EvidenceRowKind::Duplicates => format!(
                "{token} IN (SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL{among} \
                 GROUP BY {token} HAVING COUNT(*) > 1)",
                token = self.token_key(),
                sessions = self.sessions_source(),
                among = self.and_subset_condition(rows.subset),
            ),
            EvidenceRowKind::Orphans => self.joined_orphan_condition(),
            EvidenceRowKind::OldestExpired => expiry.expired_condition(self.now),
            EvidenceRowKind::BeyondPolicy => {
                let late = self.max_lifetime_us.map_or("1 = 0".into(), |policy| {
                    expiry.beyond_condition(self.now.saturating_add_micros(policy))
                });
                format!("({late} OR {})", expiry.never_condition())
            }
        }
    }

    /// Returns the display columns of a user, and the join with the user table.
    pub(super) fn display_columns_and_join(&self) -> (String, String) {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) => {
                let shown = users.display.iter().map(|column| {
                    format!(", {}", self.display_text(&format!("w.{}", quote_identifier(column))))
                });
                let (key, user) =
                    if self.dialect().compares_any_types() && !self.has_matching_key_types(users) {
                        (
                            self.cast_to_text(&format!("w.{}", quote_identifier(&users.key))),
                            self.cast_to_text(&self.session_column(user)),
                        )
                    } else {
                        self.user_join_pair(users)
                    };
                (shown.collect(), format!("\nLEFT JOIN {} ON {key} = {user}", self.users_source(users)))
            }
            _ => (String::new(), String::new()),
        }
    }

    pub(super) fn joined_orphan_condition(&self) -> String {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) => {
                format!(
                    "{} IS NOT NULL AND w.{} IS NULL",
                    self.session_column(user),
                    quote_identifier(&users.key)
                )
            }
            _ => "1 = 0".into(),
        }
    }
}
