//! SQL for pages of sessions, sorted by a timestamp and then by row id.

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    QueryBuilder,
    list_parameters::{ListedStatus, SessionListQuery, SessionSort},
    timestamps::TimestampExpr,
};

/// Order of pages, and the start of the current one.
pub(super) struct Paging<'a> {
    order: PageOrder<'a>,
    /// Row id as text.
    row_id: String,
    ascending: bool,
    limit: usize,
    /// Timestamp and row id of the last row of the previous page.
    after: Option<(Option<UtcTimestamp>, String)>,
}

/// Sort key of the rows.
enum PageOrder<'a> {
    /// A timestamp, then the row id. Rows without a timestamp come last.
    Timestamp {
        at: &'a TimestampExpr,
        /// `true` if an index with this order can serve the conditions too.
        is_indexed: bool,
        /// Equivalent of the conditions for rows with a timestamp, in a form that an index can serve.
        bound: Option<String>,
    },
    /// Row id in the order of its index: the expression, and its value in the last row of the previous page.
    Id(String, Option<String>),
}

impl<'a> Paging<'a> {
    pub(super) fn new(sql: &QueryBuilder<'_>, list: SessionListQuery<'_>, at: &'a TimestampExpr) -> Self {
        let id = sql.mapping.id.as_deref();
        let after = list.after.filter(|_| id.is_some());
        let order = match sql.unique_id_column().filter(|_| list.sort == SessionSort::Id) {
            Some(id) => {
                PageOrder::Id(sql.id_sort_expr(id), after.map(|after| sql.id_sort_value(id, after.id)))
            }
            None => PageOrder::by_timestamp(sql, list, at),
        };
        Self {
            order,
            row_id: sql.cast_to_text(&id.map_or_else(|| "NULL".into(), |id| sql.session_column(id))),
            ascending: list.ascending,
            limit: list.limit,
            after: after.map(|after| (UtcTimestamp::from_micros(after.sort_key), sql.quote_string(after.id))),
        }
    }

    /// Returns the ORDER BY list.
    pub(super) fn order_clause(&self) -> String {
        match &self.order {
            PageOrder::Timestamp { at, .. } => self.order_clause_by(&at.sort_expr()),
            PageOrder::Id(rank, _) => format!("{rank}{}", self.sort_direction()),
        }
    }

    fn order_clause_by(&self, place: &str) -> String {
        format!("{place}{}, {}", self.sort_direction(), self.row_id)
    }

    /// Returns the condition that a row is on this page or a later one.
    pub(super) fn following_condition(&self) -> Option<String> {
        let beyond = self.comparison_operator();
        let at = match &self.order {
            PageOrder::Timestamp { at, .. } => at,
            PageOrder::Id(rank, last) => return last.as_ref().map(|last| format!("{rank} {beyond} {last}")),
        };
        let (last, id) = self.after.as_ref()?;
        let (place, last, row) = (at.sort_expr(), at.sort_value(*last), &self.row_id);
        Some(format!("({place} {beyond} {last} OR ({place} = {last} AND {row} > {id}))"))
    }

    /// Returns the query for the row ids of this page. Index scans may return some more.
    pub(super) fn page_ids_query(&self, sql: &QueryBuilder<'_>, conditions: Vec<String>) -> String {
        let select = |part: PageBranch| {
            let conditions: Vec<String> = part.conditions.into_iter().chain(conditions.clone()).collect();
            format!(
                "  SELECT {id}\n  FROM {sessions}{conditions}\n  ORDER BY {order}\n  LIMIT {limit}",
                id = sql.session_column(sql.mapping.id.as_deref().unwrap_or_default()),
                sessions = sql.sessions_source(),
                conditions = where_clause(&conditions),
                order = part.order,
                limit = self.limit,
            )
        };
        let PageOrder::Timestamp { at, is_indexed: true, bound } = &self.order else {
            return select(self.single_branch());
        };
        // An OR across both kinds of rows would prevent an index scan, so they are fetched separately.
        let Some((known, unknown)) = at.null_split_conditions() else { return select(self.single_branch()) };
        let known = std::iter::once(known).chain(bound.clone()).collect();
        let parts = [self.known_branch(at, known), self.unknown_branch(unknown)];
        let parts: Vec<String> =
            parts.into_iter().flatten().map(|part| format!("({})", select(part))).collect();
        parts.join("\nUNION ALL\n")
    }

    fn single_branch(&self) -> PageBranch {
        PageBranch {
            conditions: self.following_condition().into_iter().collect(),
            order: self.order_clause(),
        }
    }

    /// Returns the rows of this page that have a timestamp.
    fn known_branch(&self, at: &TimestampExpr, mut conditions: Vec<String>) -> Option<PageBranch> {
        let (value, row, beyond) = (&at.value, &self.row_id, self.comparison_operator());
        match &self.after {
            // In ascending order, rows without a timestamp come last, so this branch is finished.
            Some((None, _)) if self.ascending => return None,
            Some((Some(last), id)) => {
                let last = at.sort_value(Some(*last));
                conditions.push(format!("{value} {beyond}= {last}"));
                conditions.push(format!("({value} {beyond} {last} OR {row} > {id})"));
            }
            _ => {}
        }
        Some(PageBranch { conditions, order: self.order_clause_by(value) })
    }

    /// Returns the rows of this page without a timestamp.
    fn unknown_branch(&self, unknown: String) -> Option<PageBranch> {
        let mut conditions = vec![unknown];
        match &self.after {
            // In descending order, rows without a timestamp come first and are finished.
            Some((Some(_), _)) if !self.ascending => return None,
            Some((None, id)) => conditions.push(format!("{} > {id}", self.row_id)),
            _ => {}
        }
        Some(PageBranch { conditions, order: self.row_id.clone() })
    }

    fn comparison_operator(&self) -> &'static str {
        if self.ascending { ">" } else { "<" }
    }

    fn sort_direction(&self) -> &'static str {
        if self.ascending { "" } else { " DESC" }
    }
}

impl<'a> PageOrder<'a> {
    fn by_timestamp(sql: &QueryBuilder<'_>, list: SessionListQuery<'_>, at: &'a TimestampExpr) -> Self {
        let created = sql.mapping.created.as_ref().filter(|_| list.sort == SessionSort::Created);
        let column = created.unwrap_or(&sql.mapping.expires);
        let table = sql.schema.table(&sql.mapping.sessions);
        let led = table.and_then(|table| table.index_starting_with(&column.column));
        // Walking an index past many filtered rows can take longer than reading the whole table.
        let others = match created {
            Some(_) => list.status != ListedStatus::All || list.ip.is_some() || list.agent_like.is_some(),
            None => list.created_since.is_some() || list.ip.is_some() || list.agent_like.is_some(),
        };
        let narrow = list.user.is_some()
            || list.id_or_prefix.is_some()
            || list.problem.is_some()
            || !list.token_prefixes.is_empty();
        let active = list.status == ListedStatus::Active && created.is_none();
        Self::Timestamp {
            at,
            is_indexed: led.is_some() && !others && !narrow,
            bound: active.then(|| at.after_condition(sql.now)),
        }
    }
}

impl QueryBuilder<'_> {
    /// Returns the sort expression for row ids: the column if its index has that order, otherwise its text.
    fn id_sort_expr(&self, id: &str) -> String {
        self.dialect().id_sort_expr(&self.session_column(id), self.column_kind(&self.mapping.sessions, id))
    }

    /// Returns the sort value of an id, or NULL if no row can have the id.
    fn id_sort_value(&self, id: &str, value: &str) -> String {
        self.dialect().id_sort_value(value, self.column_kind(&self.mapping.sessions, id))
    }
}

/// Rows that share one order.
struct PageBranch {
    conditions: Vec<String>,
    order: String,
}

/// Returns a `WHERE` clause with all of these conditions; empty if there are none.
pub(super) fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!("\nWHERE {}", conditions.join("\n  AND ")) }
}
