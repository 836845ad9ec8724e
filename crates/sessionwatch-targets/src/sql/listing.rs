//! SQL for people to read: lists of sessions, and the queries of the operator guide.

use sessionwatch_core::checks::CheckThresholds;

use super::{
    EvidenceQuery, EvidenceRowKind, QueryBuilder,
    list_parameters::{ListedStatus, ProblemSearch, SessionListQuery, SessionProblem, SessionSort},
    paging::{Paging, where_clause},
    quote_identifier, quote_table,
    timestamps::TimestampExpr,
};
use crate::sql::table_info::{ColumnKind, Equality};

impl QueryBuilder<'_> {
    /// Returns the query for a list of sessions: token prefix, row id, user, expiry and creation in
    /// microseconds, IP address, user agent, the problem unless skipped, then the display columns of the users.
    #[must_use]
    pub fn session_list_query(&self, list: SessionListQuery<'_>) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let created = self.mapping.created.as_ref().map(|created| self.timestamp_expr(created));
        let text = |column: &Option<String>| {
            column.as_deref().map_or_else(
                || "CAST(NULL AS text)".into(),
                |name| self.cast_to_text(&self.session_column(name)),
            )
        };
        let by = created.as_ref().filter(|_| list.sort == SessionSort::Created).unwrap_or(&expiry);
        let (display, users) = self.display_columns_and_join();
        let select = format!(
            "SELECT {prefix} AS token_prefix,\n  {id} AS id,\n  {user} AS user_id,\n  {expires},\n  \
             {client}{problem}{display}",
            prefix = self.token_prefix_expr(),
            id = text(&self.mapping.id),
            user = self.cast_to_text(&self.user_column()),
            expires = self.expiry_columns(&expiry),
            client = self.client_columns(),
            problem = self.problem_column(list.problem_search),
        );
        let mut conditions = self.list_conditions(list, &expiry, created.as_ref());
        let direction = if list.ascending { "" } else { " DESC" };
        let mut order = match list.sort {
            SessionSort::User => format!("user_id{direction}, 2"),
            SessionSort::Id if self.mapping.id.is_some() => format!("2{direction}"),
            _ => format!("{}{direction}, 2", by.value),
        };
        // Lists sorted by user have no further pages.
        if list.is_paged && list.sort != SessionSort::User {
            let paging = Paging::new(self, list, by);
            if let Some(id) = self.unique_id_column() {
                // The IDs of the page are found first, so that users are joined for those rows only.
                conditions = vec![format!(
                    "{} IN (\n{}\n)",
                    self.session_column(id),
                    paging.page_ids_query(self, conditions)
                )];
            } else {
                conditions.extend(paging.following_condition());
            }
            order = paging.order_clause();
        }
        format!(
            "{select}\nFROM {sessions}{users}{conditions}\nORDER BY {order}\nLIMIT {limit}",
            sessions = self.sessions_source(),
            conditions = where_clause(&conditions),
            limit = list.limit,
        )
    }

    /// Returns the column that names the problem of each listed session, or nothing if none is looked for.
    fn problem_column(&self, search: ProblemSearch) -> String {
        if search == ProblemSearch::Skip {
            return String::new();
        }
        let shared = self.shared_token_condition(search);
        // The list joins the users, so a missing one shows in the join. A hidden one is not missing.
        let is_orphaned = match self.users_visibility_caveat() {
            None => self.joined_orphan_condition(),
            Some(_) => "1 = 0".into(),
        };
        format!(
            ",\n  CASE WHEN {shared} THEN '{}' WHEN {is_orphaned} THEN '{}' END AS problem",
            SessionProblem::SharedToken.column_value(),
            SessionProblem::Orphaned.column_value(),
        )
    }

    /// Returns the condition that the token of a listed session occurs more than once.
    fn shared_token_condition(&self, search: ProblemSearch) -> String {
        if self.duplicate_proof_index().is_some() {
            return "1 = 0".into();
        }
        let token = &self.mapping.token;
        let equality = self.column_equality(&self.mapping.sessions, token);
        let table = self.schema.table(&self.mapping.sessions);
        // Not every index finds equal values quickly: BRIN, or another collation, would read the table for each row.
        let index = table.and_then(|table| table.index_starting_with(token)).filter(|index| index.exact);
        if index.is_some() && equality == Equality::Exact {
            // Two rows answer the question, however many there are.
            return format!(
                "(SELECT COUNT(*) FROM (SELECT 1 AS one FROM {table} AS same \
                 WHERE same.{name} = {token}{kept} LIMIT 2) AS matched) > 1",
                table = quote_table(&self.mapping.sessions),
                name = quote_identifier(token),
                token = self.session_column(token),
                kept =
                    self.not_deleted_condition("same").map_or(String::new(), |kept| format!(" AND {kept}")),
            );
        }
        if search == ProblemSearch::Full {
            let expiry = self.timestamp_expr(&self.mapping.expires);
            return self.evidence_condition(EvidenceQuery::all_of_kind(EvidenceRowKind::Duplicates), &expiry);
        }
        "1 = 0".into()
    }

    /// Returns the columns about the client of a session: creation in microseconds, IP address and user agent.
    pub(super) fn client_columns(&self) -> String {
        let text = |column: &Option<String>| {
            column.as_deref().map_or_else(
                || "CAST(NULL AS text)".into(),
                |name| self.display_text(&self.session_column(name)),
            )
        };
        let created = self.mapping.created.as_ref().map_or_else(
            || "CAST(NULL AS bigint)".into(),
            |created| {
                let created = self.timestamp_expr(created);
                created.micros_expr(&created.value)
            },
        );
        let (ip, agent) = (text(&self.mapping.ip), text(&self.mapping.agent));
        format!("{created},\n  {ip} AS ip,\n  {agent} AS agent")
    }

    /// Returns the query for the number of sessions in a list, counted up to `most`. Page and limit of the list do
    /// not matter.
    #[must_use]
    pub fn count_listed_query(&self, list: SessionListQuery<'_>, most: usize) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let created = self.mapping.created.as_ref().map(|created| self.timestamp_expr(created));
        format!(
            "SELECT COUNT(*)\nFROM (SELECT 1 AS one FROM {sessions}{conditions}\nLIMIT {most}) AS counted",
            sessions = self.sessions_source(),
            conditions = where_clause(&self.list_conditions(list, &expiry, created.as_ref())),
        )
    }

    /// Returns the conditions of a list.
    fn list_conditions(
        &self,
        list: SessionListQuery<'_>,
        expiry: &TimestampExpr,
        created: Option<&TimestampExpr>,
    ) -> Vec<String> {
        let mut conditions = match list.status {
            ListedStatus::Active => vec![expiry.active_condition(self.now)],
            ListedStatus::Expired => vec![expiry.expired_condition(self.now)],
            ListedStatus::All => vec![],
        };
        conditions.extend(list.user.map(|id| self.user_condition(id)));
        let has_users = self.mapping.user.is_some();
        conditions.extend(
            list.user_like.map(
                |part| {
                    if has_users { self.user_like_condition(part) } else { "1 = 0".to_owned() }
                },
            ),
        );
        conditions.extend(list.id_or_prefix.map(|name| self.exact_id_or_prefix_condition(name)));
        conditions.extend(list.problem.map(|problem| match problem {
            SessionProblem::SharedToken => {
                self.evidence_condition(EvidenceQuery::all_of_kind(EvidenceRowKind::Duplicates), expiry)
            }
            SessionProblem::Orphaned => self.orphaned_condition(),
        }));
        conditions.extend(list.ip.map(|ip| self.ip_condition(ip)));
        conditions.extend(list.agent_like.map(|part| self.agent_like_condition(part)));
        if let (Some(since), Some(created)) = (list.created_since, created) {
            conditions.push(created.after_condition(since));
        }
        if !list.token_prefixes.is_empty() {
            let wanted: Vec<String> =
                list.token_prefixes.iter().map(|prefix| self.quote_string(prefix)).collect();
            conditions.push(format!("{} IN ({})", self.token_prefix_expr(), wanted.join(", ")));
        }
        conditions
    }

    /// Returns the default order of lists: by expiry, or by row id if sorting by expiry would read a large
    /// table.
    #[must_use]
    pub fn default_sort(&self) -> SessionSort {
        // Sorting more rows than this delays the first page noticeably.
        const LARGE_TABLE_ROWS: u64 = 100_000;
        let read = self.schema.table(&self.mapping.sessions).is_some_and(|table| {
            let large = table.estimated_rows.is_some_and(|rows| rows > LARGE_TABLE_ROWS);
            large && table.index_starting_with(&self.mapping.expires.column).is_none()
        });
        if read && self.unique_id_column().is_some() { SessionSort::Id } else { SessionSort::Expires }
    }

    /// Returns the order in which pages can be read, as close as possible to the requested one.
    #[must_use]
    pub fn paged_sort(&self, requested: SessionSort) -> SessionSort {
        match requested {
            SessionSort::Id if self.unique_id_column().is_none() => SessionSort::Expires,
            SessionSort::Created if self.mapping.created.is_none() => SessionSort::Expires,
            wanted => wanted,
        }
    }

    /// Returns the expiry in microseconds, or for people as a date with status and remaining hours.
    pub(super) fn expiry_columns(&self, expiry: &TimestampExpr) -> String {
        if !self.standalone {
            return expiry.micros_expr(&expiry.value);
        }
        format!(
            "{} AS expires,\n  {} AS status,\n  {} AS hours_until_expiry",
            expiry.readable_expr(),
            self.status_expr(expiry),
            expiry.hours_left_expr(self.now)
        )
    }

    fn status_expr(&self, expiry: &TimestampExpr) -> String {
        format!(
            "CASE WHEN {} THEN 'active' WHEN {} THEN 'expired' ELSE 'unreadable' END",
            expiry.active_condition(self.now),
            expiry.expired_condition(self.now)
        )
    }

    /// Returns the condition that a row belongs to a user. Compares in the type of the column if possible, so
    /// that an index applies.
    pub(super) fn user_condition(&self, id: &str) -> String {
        let wanted = self.quote_string(id);
        let user = self.mapping.user.as_deref();
        let kind = user.map(|user| self.column_kind(&self.mapping.sessions, user));
        let equality =
            user.map_or(Equality::Exact, |user| self.column_equality(&self.mapping.sessions, user));
        match kind {
            _ if [Equality::CaseInsensitive, Equality::TrailingSpaceInsensitive].contains(&equality) => {
                format!("{} = {}", self.cast_to_text(&self.user_key()), self.fold_expr(&wanted, equality))
            }
            Some(ColumnKind::Text) if self.dialect().casts_literals() => {
                format!("{} = {wanted}", self.user_column())
            }
            // An invalid number would fail the whole statement, although no user can have it.
            Some(ColumnKind::Integer) if self.dialect().casts_literals() => match id.parse::<i64>() {
                Ok(id) => format!("{} = {id}", self.user_column()),
                Err(_) => "1 = 0".into(),
            },
            _ => format!("{} = {wanted}", self.cast_to_text(&self.user_column())),
        }
    }

    /// Returns the condition that a row has one of these ids. Compared as text: the ids were typed or sent by
    /// a person, and one that does not fit the type of the column would fail the whole statement.
    pub(super) fn exact_ids_condition(&self, ids: &[String]) -> String {
        // A nullable column will do, such as the primary key of a SQLite table: NULL equals no ID.
        let id = self.mapping.id.as_deref().filter(|id| self.is_unique_column(id) && !ids.is_empty());
        let Some(id) = id else { return "1 = 0".into() };
        let wanted: Vec<String> = ids.iter().map(|id| self.quote_string(id)).collect();
        format!("{} IN ({})", self.cast_to_text(&self.session_column(id)), wanted.join(", "))
    }

    fn exact_id_or_prefix_condition(&self, name: &str) -> String {
        let wanted = self.quote_string(name);
        let prefix = format!("{} = {wanted}", self.token_prefix_expr());
        match &self.mapping.id {
            Some(id) => format!("({} = {wanted} OR {prefix})", self.cast_to_text(&self.session_column(id))),
            None => prefix,
        }
    }

    /// Returns the fifth query of the operator guide: users with an active session, active sessions, and
    /// their ratio.
    #[must_use]
    pub fn sessions_per_user_query(&self) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let user = self.user_key();
        format!(
            "SELECT COUNT(DISTINCT {user}) AS users,\n  COUNT({user}) AS sessions,\n  \
             ROUND(COUNT({user}) * 1.0 / NULLIF(COUNT(DISTINCT {user}), 0), 2) AS sessions_per_user\n\
             FROM {}\nWHERE {}",
            self.sessions_source(),
            expiry.active_condition(self.now)
        )
    }

    /// Returns the seventh query of the operator guide: sessions by status.
    #[must_use]
    pub fn count_by_status_query(&self) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        format!(
            "SELECT {} AS status,\n  COUNT(*) AS sessions\nFROM {}\nGROUP BY 1\nORDER BY 1",
            self.status_expr(&expiry),
            self.sessions_source(),
        )
    }

    /// Returns a query of the operator guide by number, 1 to 7; the sixth is about `user`.
    #[must_use]
    pub fn operator_guide_query(&self, number: u8, user: &str, thresholds: &CheckThresholds) -> String {
        const MAX_GUIDE_ROWS: usize = 100;
        /// The operator guide's limit for targets without a creation column.
        const MAX_SESSIONS_PER_USER: u64 = 5;
        match number {
            1 => self.session_list_query(SessionListQuery::all(MAX_GUIDE_ROWS)),
            2 => self.evidence_query(EvidenceQuery::all_of_kind(EvidenceRowKind::Duplicates), MAX_GUIDE_ROWS),
            3 => self.evidence_query(EvidenceQuery::all_of_kind(EvidenceRowKind::Orphans), MAX_GUIDE_ROWS),
            4 if self.mapping.created.is_some() => {
                self.top_users_query('r', thresholds.rapid_creation.max_per_hour, MAX_GUIDE_ROWS)
            }
            4 => self.top_users_query('n', MAX_SESSIONS_PER_USER, MAX_GUIDE_ROWS),
            5 => self.sessions_per_user_query(),
            6 => self.session_list_query(SessionListQuery { user: Some(user), ..SessionListQuery::all(20) }),
            _ => self.count_by_status_query(),
        }
    }
}
