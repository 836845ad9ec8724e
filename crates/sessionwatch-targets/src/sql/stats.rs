//! SQL for session stats and samples.

use sessionwatch_core::timestamp::MICROS_PER_HOUR;

use super::{QueryBuilder, RowSubset, timestamps::TimestampExpr};
use crate::sql::table_info::ColumnKind;

impl QueryBuilder<'_> {
    /// Returns the query for one row: sessions, active, expired, never expiring, undecodable, anonymous,
    /// active with user, oldest expired, furthest expiry, beyond policy, created in the last hour; and,
    /// unless standalone, the latest creation and the latest expiry in the past.
    #[must_use]
    pub fn session_stats_query(&self) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let now = self.now;
        // Sessions that never expire would make every furthest expiry infinite.
        let finite = format!("{} AND NOT {}", expiry.active_condition(now), expiry.never_condition());
        let beyond = self.max_lifetime_us.map_or("0".into(), |policy| {
            self.count_where(&expiry.beyond_condition(now.saturating_add_micros(policy)))
        });
        let recent = self.created_last_hour_condition();
        let recent = recent.map_or("0".into(), |recent| self.count_where(&recent));
        let counts = format!(
            "SELECT COUNT(*),\n  {active},\n  {expired},\n  {never},\n  {undecodable},\n  {anonymous},\n  {known},\n  \
             {oldest},\n  {furthest},\n  {beyond},\n  {recent}{newest}\nFROM {sessions}",
            newest = if self.standalone {
                String::new()
            } else {
                format!(",\n  {}", self.newest_timestamp_exprs().join(",\n  "))
            },
            active = self.count_where(&expiry.active_condition(now)),
            expired = self.count_where(&expiry.expired_condition(now)),
            never = self.count_where(&expiry.never_condition()),
            undecodable = self.count_where(&expiry.undecodable_condition()),
            anonymous = self.count_where(&format!("{} IS NULL", self.user_column())),
            known = self.count_where(&format!(
                "{} AND {} IS NOT NULL",
                expiry.active_condition(now),
                self.user_column()
            )),
            oldest = expiry.micros_expr(&self.dialect().filtered_aggregate(
                "MIN",
                &expiry.value,
                &expiry.expired_condition(now)
            )),
            furthest = expiry.micros_expr(&self.dialect().filtered_aggregate("MAX", &expiry.value, &finite)),
            sessions = self.sessions_source(),
        );
        self.decode_timestamps_once(counts)
    }

    /// Rewrites a query so that timestamps which need decoding, such as texts, are decoded once per row.
    pub(super) fn decode_timestamps_once(&self, query: String) -> String {
        let created = self.mapping.created.as_ref().map(|created| self.timestamp_expr(created));
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let is_native = expiry.is_native() && created.as_ref().is_none_or(TimestampExpr::is_native);
        if self.standalone || is_native || self.dialect().decodes_by_function() {
            return query;
        }
        let mut columns: Vec<String> =
            self.mapping.user.iter().map(|user| self.session_column(user)).collect();
        columns.extend(self.impersonator_column());
        let (mut query, sessions) = (query, self.sessions_source());
        for (instant, name) in
            [Some((&expiry, "sw_ends")), created.as_ref().map(|created| (created, "sw_began"))]
                .into_iter()
                .flatten()
        {
            query = query.replace(&instant.value, &format!("s.{name}"));
            columns.push(format!("{} AS {name}", instant.value));
        }
        // OFFSET 0 keeps the planner from merging the subquery, which would decode the timestamps again in
        // every condition.
        let decoded = format!("(SELECT {} FROM {sessions} OFFSET 0) AS s", columns.join(", "));
        query.replace(&format!("FROM {sessions}"), &format!("FROM {decoded}"))
    }

    /// Returns the query for fingerprints that may occur on several rows, in signed order.
    #[must_use]
    pub fn repeated_fingerprints_query(&self, limit: usize) -> String {
        // Sorting integers is fast, and grouping keeps their order.
        let sorted = if self.dialect().sorts_before_grouping() { " ORDER BY 1 OFFSET 0" } else { "" };
        format!(
            "SELECT h\nFROM (SELECT {} AS h FROM {} WHERE {} IS NOT NULL{sorted}) AS hashed\n\
             GROUP BY h HAVING COUNT(*) > 1\nORDER BY h\nLIMIT {limit}",
            self.fingerprint_expr(),
            self.sessions_source(),
            self.token_key(),
        )
    }

    /// Returns the query for one row: tokens on several rows, those of several users, the rows of these
    /// tokens, and the rows found among suspects.
    #[must_use]
    pub fn count_duplicates_query(&self, subset: RowSubset<'_>) -> String {
        let user = self.user_key();
        // Suspects are fetched by address: all groups are kept to verify the number of rows found.
        let having = if let RowSubset::Suspects(..) = subset { "" } else { "\n  HAVING COUNT(*) > 1" };
        format!(
            "SELECT COUNT(CASE WHEN d.n > 1 THEN 1 END), COUNT(CASE WHEN d.n > 1 AND d.users > 1 THEN 1 END), \
             CAST(COALESCE(SUM(CASE WHEN d.n > 1 THEN d.n END), 0) AS bigint), CAST(COALESCE(SUM(d.n), \
             0) AS bigint)\nFROM (\n  \
             SELECT COUNT(*) AS n, COUNT(DISTINCT {user}) + MAX(CASE WHEN {user} IS NULL THEN 1 \
             ELSE 0 END) AS users\n  \
             FROM {sessions}\n  WHERE {token} IS NOT NULL{among}\n  GROUP BY {token}{having}\n) AS d",
            sessions = self.sessions_source(),
            token = self.token_key(),
            among = self.and_subset_condition(subset),
        )
    }

    /// Returns the query for sample values of a timestamp column as stored: type of the value, and the value
    /// as text.
    #[must_use]
    pub fn sample_values_query(&self, column: &str, limit: usize) -> String {
        let value = self.session_column(column);
        let declared = match self.column_kind(&self.mapping.sessions, column) {
            ColumnKind::Integer => "'integer'",
            _ => "'text'",
        };
        let kind = self.dialect().type_of_expr(&value).unwrap_or_else(|| declared.into());
        format!(
            "SELECT {kind}, {}\nFROM {}\nLIMIT {limit}",
            self.cast_to_text(&value),
            self.sessions_source()
        )
    }

    /// Returns the query for the lengths of up to `limit` tokens.
    #[must_use]
    pub fn token_lengths_query(&self, limit: usize) -> String {
        let (value, sessions) = (self.token_text(), self.sessions_source());
        let length = self.dialect().length_expr(&value);
        format!("SELECT {length}\nFROM {sessions}\nWHERE {value} IS NOT NULL\nLIMIT {limit}")
    }

    /// Returns the query for impersonators in active sessions older than an hour: impersonator, number of
    /// sessions, and microseconds of the earliest creation. `None` without an impersonator column.
    #[must_use]
    pub fn impersonators_query(&self, limit: usize) -> Option<String> {
        let who = self.cast_to_text(&self.impersonator_column()?);
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let (since, begun) = match &self.mapping.created {
            Some(created) => {
                let created = self.timestamp_expr(created);
                let since = created.micros_expr(&format!("MIN({})", created.value));
                (
                    since,
                    format!(
                        " AND NOT ({})",
                        created.after_condition(self.now.saturating_add_micros(-MICROS_PER_HOUR))
                    ),
                )
            }
            None => ("NULL".into(), String::new()),
        };
        Some(format!(
            "SELECT {who}, COUNT(*), {since}\nFROM {}\nWHERE {who} IS NOT NULL AND {}{begun}\n\
             GROUP BY {who} ORDER BY 2 DESC, 1 LIMIT {limit}",
            self.sessions_source(),
            expiry.active_condition(self.now)
        ))
    }
}
