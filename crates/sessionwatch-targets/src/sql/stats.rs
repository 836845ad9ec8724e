//! The SQL of what is counted or sampled of all sessions.

use sessionwatch_core::instant::MICROS_PER_HOUR;

use super::{Among, Sql, timestamps::InstantSql};
use crate::sql::tables::ColumnKind;

impl Sql<'_> {
    /// One row: sessions, active, expired, never expiring, undecodable, anonymous, active with user, oldest expired,
    /// furthest expiry, beyond policy, created in the last hour; and, unless it is pasted elsewhere, the latest creation and
    /// the latest end that has passed.
    #[must_use]
    pub fn counts(&self) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let now = self.now;
        let finite = format!("{} AND NOT {}", expiry.active(now), expiry.never());
        let beyond = self
            .max_lifetime_us
            .map_or("0".into(), |policy| self.count_where(&expiry.beyond(now.plus_micros(policy))));
        let recent = self.created_lately();
        let recent = recent.map_or("0".into(), |recent| self.count_where(&recent));
        let counts = format!(
            "SELECT COUNT(*),\n  {active},\n  {expired},\n  {never},\n  {undecodable},\n  {anonymous},\n  {known},\n  \
             {oldest},\n  {furthest},\n  {beyond},\n  {recent}{newest}\nFROM {sessions}",
            newest =
                if self.pasted { String::new() } else { format!(",\n  {}", self.newest().join(",\n  ")) },
            active = self.count_where(&expiry.active(now)),
            expired = self.count_where(&expiry.expired(now)),
            never = self.count_where(&expiry.never()),
            undecodable = self.count_where(&expiry.undecodable()),
            anonymous = self.count_where(&format!("{} IS NULL", self.user())),
            known = self.count_where(&format!("{} AND {} IS NOT NULL", expiry.active(now), self.user())),
            oldest = expiry.micros(&self.dialect().filtered("MIN", &expiry.value, &expiry.expired(now))),
            furthest = expiry.micros(&self.dialect().filtered("MAX", &expiry.value, &finite)),
            sessions = self.sessions(),
        );
        self.decoded_once(counts)
    }

    /// A query over the sessions in which instants that have to be worked out, such as texts, are worked out once a row.
    pub(super) fn decoded_once(&self, query: String) -> String {
        let created = self.mapping.created.as_ref().map(|created| self.instant(created));
        let expiry = self.instant(&self.mapping.expires);
        let is_native = expiry.is_native() && created.as_ref().is_none_or(InstantSql::is_native);
        if self.pasted || is_native || self.dialect().decodes_by_function() {
            return query;
        }
        let mut columns: Vec<String> = self.mapping.user.iter().map(|user| self.column(user)).collect();
        columns.extend(self.impersonator());
        let (mut query, sessions) = (query, self.sessions());
        for (instant, name) in
            [Some((&expiry, "sw_ends")), created.as_ref().map(|created| (created, "sw_began"))]
                .into_iter()
                .flatten()
        {
            query = query.replace(&instant.value, &format!("s.{name}"));
            columns.push(format!("{} AS {name}", instant.value));
        }
        let decoded = format!("(SELECT {} FROM {sessions} OFFSET 0) AS s", columns.join(", "));
        query.replace(&format!("FROM {sessions}"), &format!("FROM {decoded}"))
    }

    /// The fingerprints of tokens that may stand on several rows, in their order as signed numbers.
    #[must_use]
    pub fn repeated_fingerprints(&self, limit: usize) -> String {
        // Numbers are sorted quickly, and the groups come in their order.
        let sorted = if self.dialect().sorts_before_grouping() { " ORDER BY 1 OFFSET 0" } else { "" };
        format!(
            "SELECT h\nFROM (SELECT {} AS h FROM {} WHERE {} IS NOT NULL{sorted}) AS hashed\nGROUP BY h HAVING COUNT(*) > 1\nORDER BY h\nLIMIT {limit}",
            self.fingerprint(),
            self.sessions(),
            self.token(),
        )
    }

    /// One row: tokens on several rows, those over several users, and, among suspects, the rows that were found.
    #[must_use]
    pub fn duplicates(&self, among: Among<'_>) -> String {
        let user = self.user_key();
        let having = if let Among::Suspects(..) = among { "" } else { "\n  HAVING COUNT(*) > 1" };
        format!(
            "SELECT COUNT(CASE WHEN d.n > 1 THEN 1 END), COUNT(CASE WHEN d.n > 1 AND d.users > 1 THEN 1 END), CAST(COALESCE(SUM(d.n), 0) AS bigint)\nFROM (\n  \
             SELECT COUNT(*) AS n, COUNT(DISTINCT {user}) + MAX(CASE WHEN {user} IS NULL THEN 1 ELSE 0 END) AS users\n  \
             FROM {sessions}\n  WHERE {token} IS NOT NULL{among}\n  GROUP BY {token}{having}\n) AS d",
            sessions = self.sessions(),
            token = self.token(),
            among = self.and_among(among),
        )
    }

    /// Some values of a column of instants as stored: the type that the value has, and the value as text.
    #[must_use]
    pub fn sample(&self, column: &str, limit: usize) -> String {
        let value = self.column(column);
        let declared = match self.kind(&self.mapping.sessions, column) {
            ColumnKind::Integer => "'integer'",
            _ => "'text'",
        };
        let kind = self.dialect().dynamic_type(&value).unwrap_or_else(|| declared.into());
        format!("SELECT {kind}, {}\nFROM {}\nLIMIT {limit}", self.text(&value), self.sessions())
    }

    /// The lengths of so many tokens.
    #[must_use]
    pub fn token_lengths(&self, limit: usize) -> String {
        let (value, sessions) = (self.token_text(), self.sessions());
        let length = self.dialect().length(&value);
        format!("SELECT {length}\nFROM {sessions}\nWHERE {value} IS NOT NULL\nLIMIT {limit}")
    }

    /// Who acts for users in active sessions that began more than an hour ago: who, how many, and microseconds of the
    /// earliest creation; nothing where no column says so.
    #[must_use]
    pub fn impersonations(&self, limit: usize) -> Option<String> {
        let who = self.text(&self.impersonator()?);
        let expiry = self.instant(&self.mapping.expires);
        let (since, begun) = match &self.mapping.created {
            Some(created) => {
                let created = self.instant(created);
                let since = created.micros(&format!("MIN({})", created.value));
                (since, format!(" AND NOT ({})", created.after(self.now.plus_micros(-MICROS_PER_HOUR))))
            }
            None => ("NULL".into(), String::new()),
        };
        Some(format!(
            "SELECT {who}, COUNT(*), {since}\nFROM {}\nWHERE {who} IS NOT NULL AND {}{begun}\nGROUP BY {who} ORDER BY 2 DESC, 1 LIMIT {limit}",
            self.sessions(),
            expiry.active(self.now)
        ))
    }
}
