//! Queries for a person to read: lists of sessions, and the guide's counts.

use sessionwatch_core::checks::Thresholds;

use super::{
    RowKind, Rows, Sql,
    list_query::{List, Sort, Status},
    paging::{Paging, all_of},
    timestamps::InstantSql,
};
use crate::sql::tables::{ColumnKind, Equality};

impl Sql<'_> {
    /// Sessions: token prefix, row id, user, expiry in microseconds, creation in microseconds, address, user agent, then
    /// the display columns of the users.
    #[must_use]
    pub fn list(&self, list: List<'_>) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let created = self.mapping.created.as_ref().map(|created| self.instant(created));
        let text = |column: &Option<String>| {
            column
                .as_deref()
                .map_or_else(|| "CAST(NULL AS text)".into(), |name| self.text(&self.column(name)))
        };
        let shown = |column: &Option<String>| {
            column
                .as_deref()
                .map_or_else(|| "CAST(NULL AS text)".into(), |name| self.shown(&self.column(name)))
        };
        let by = created.as_ref().filter(|_| list.sort == Sort::Created).unwrap_or(&expiry);
        let (display, users) = self.display();
        let select = format!(
            "SELECT {prefix} AS token_prefix,\n  {id} AS id,\n  {user} AS user_id,\n  {expires},\n  \
             {began},\n  {ip} AS ip,\n  {agent} AS agent{display}",
            began = created
                .as_ref()
                .map_or_else(|| "CAST(NULL AS bigint)".into(), |created| created.micros(&created.value)),
            prefix = self.prefix(),
            id = text(&self.mapping.id),
            user = self.text(&self.user()),
            expires = self.end(&expiry),
            ip = shown(&self.mapping.ip),
            agent = shown(&self.mapping.agent),
        );
        let mut conditions = self.conditions(list, &expiry, created.as_ref());
        let direction = if list.ascending { "" } else { " DESC" };
        let mut order = match list.sort {
            Sort::User => format!("user_id{direction}, 2"),
            Sort::Id if self.mapping.id.is_some() => format!("2{direction}"),
            _ => format!("{}{direction}, 2", by.value),
        };
        // By user there is no next page.
        if list.paged && list.sort != Sort::User {
            let paging = Paging::new(self, list, by);
            if let Some(id) = self.naming() {
                // Which rows they are is found first, and only of those everything else, with their users.
                conditions = vec![format!("{} IN (\n{}\n)", self.column(id), paging.rows(self, conditions))];
            } else {
                conditions.extend(paging.following());
            }
            order = paging.order();
        }
        format!(
            "{select}\nFROM {sessions}{users}{conditions}\nORDER BY {order}\nLIMIT {limit}",
            sessions = self.sessions(),
            conditions = all_of(&conditions),
            limit = list.limit,
        )
    }

    /// Everything that is asked of the sessions.
    fn conditions(&self, list: List<'_>, expiry: &InstantSql, created: Option<&InstantSql>) -> Vec<String> {
        let mut conditions = match list.status {
            Status::Active => vec![expiry.active(self.now)],
            Status::Expired => vec![expiry.expired(self.now)],
            Status::All => vec![],
        };
        conditions.extend(list.user.map(|id| self.of_user(id)));
        conditions.extend(list.named.map(|name| self.named(name)));
        if let (Some(since), Some(created)) = (list.created_since, created) {
            conditions.push(created.after(since));
        }
        if !list.prefixes.is_empty() {
            let wanted: Vec<String> = list.prefixes.iter().map(|prefix| self.string(prefix)).collect();
            conditions.push(format!("{} IN ({})", self.prefix(), wanted.join(", ")));
        }
        conditions
    }

    /// The order for whoever asks for none: by end, or by row id where a large table would have to be read for that.
    #[must_use]
    pub fn usual_sort(&self) -> Sort {
        const LARGE: u64 = 100_000;
        let read = self.schema.table(&self.mapping.sessions).is_some_and(|table| {
            let large = table.estimated_rows.is_some_and(|rows| rows > LARGE);
            large && table.index_led_by(&self.mapping.expires.column).is_none()
        });
        if read && self.naming().is_some() { Sort::Id } else { Sort::Expires }
    }

    /// The order of pages for whoever asks for this one.
    #[must_use]
    pub fn paged_sort(&self, wanted: Sort) -> Sort {
        match wanted {
            Sort::Id if self.naming().is_none() => Sort::Expires,
            Sort::Created if self.mapping.created.is_none() => Sort::Expires,
            wanted => wanted,
        }
    }

    /// The end of a session: in microseconds, or, for a person, as a date, with the status and the hours that are left.
    pub(super) fn end(&self, expiry: &InstantSql) -> String {
        if !self.pasted {
            return expiry.micros(&expiry.value);
        }
        format!(
            "{} AS expires,\n  {} AS status,\n  {} AS hours_until_expiry",
            expiry.readable(),
            self.status(expiry),
            expiry.hours_left(self.now)
        )
    }

    fn status(&self, expiry: &InstantSql) -> String {
        format!(
            "CASE WHEN {} THEN 'active' WHEN {} THEN 'expired' ELSE 'unreadable' END",
            expiry.active(self.now),
            expiry.expired(self.now)
        )
    }

    /// The condition that a row belongs to a user; by index, where the id can be compared as what it is.
    pub(super) fn of_user(&self, id: &str) -> String {
        let wanted = self.string(id);
        let user = self.mapping.user.as_deref();
        let kind = user.map(|user| self.kind(&self.mapping.sessions, user));
        let equality = user.map_or(Equality::Exact, |user| self.equality(&self.mapping.sessions, user));
        match kind {
            _ if [Equality::CaseBlind, Equality::SpaceBlind].contains(&equality) => {
                format!("{} = {}", self.text(&self.user_key()), self.folded(&wanted, equality))
            }
            Some(ColumnKind::Text) if self.dialect().casts_literals() => {
                format!("{} = {wanted}", self.user())
            }
            Some(ColumnKind::Integer) if self.dialect().casts_literals() => match id.parse::<i64>() {
                Ok(id) => format!("{} = {id}", self.user()),
                Err(_) => "1 = 0".into(),
            },
            _ => format!("{} = {wanted}", self.text(&self.user())),
        }
    }

    fn named(&self, name: &str) -> String {
        let wanted = self.string(name);
        let prefix = format!("{} = {wanted}", self.prefix());
        match &self.mapping.id {
            Some(id) => format!("({} = {wanted} OR {prefix})", self.text(&self.column(id))),
            None => prefix,
        }
    }

    /// The guide's fifth query: users with an active session, active sessions, and their ratio.
    #[must_use]
    pub fn ratio(&self) -> String {
        let expiry = self.instant(&self.mapping.expires);
        let user = self.user_key();
        format!(
            "SELECT COUNT(DISTINCT {user}) AS users,\n  COUNT({user}) AS sessions,\n  \
             ROUND(COUNT({user}) * 1.0 / NULLIF(COUNT(DISTINCT {user}), 0), 2) AS sessions_per_user\n\
             FROM {}\nWHERE {}",
            self.sessions(),
            expiry.active(self.now)
        )
    }

    /// The guide's seventh query: sessions by status.
    #[must_use]
    pub fn by_status(&self) -> String {
        let expiry = self.instant(&self.mapping.expires);
        format!(
            "SELECT {} AS status,\n  COUNT(*) AS sessions\nFROM {}\nGROUP BY 1\nORDER BY 1",
            self.status(&expiry),
            self.sessions(),
        )
    }

    /// The guide's queries by number, 1 to 7; the sixth is about `user`.
    #[must_use]
    pub fn of_guide(&self, number: u8, user: &str, thresholds: &Thresholds) -> String {
        const LIMIT: usize = 100;
        /// What the guide asks for where creation is not stored.
        const HELD: u64 = 5;
        match number {
            1 => self.list(List::all(LIMIT)),
            2 => self.rows(Rows::all(RowKind::Duplicates), LIMIT),
            3 => self.rows(Rows::all(RowKind::Orphans), LIMIT),
            4 if self.mapping.created.is_some() => {
                self.top_users('r', thresholds.rapid_creation.max_per_hour, LIMIT)
            }
            4 => self.top_users('n', HELD, LIMIT),
            5 => self.ratio(),
            6 => self.list(List { user: Some(user), ..List::all(20) }),
            _ => self.by_status(),
        }
    }
}
