//! Pages of sessions that follow each other: by an instant, and then by row id.

use sessionwatch_core::instant::Instant;

use super::{
    Sql,
    list_query::{List, Sort, Status},
    timestamps::InstantSql,
};

/// The order of pages, and where one begins.
pub(super) struct Paging<'a> {
    by: By<'a>,
    /// The row id, as text.
    row: String,
    ascending: bool,
    limit: usize,
    /// The instant and the row id of the last row of the page before.
    after: Option<(Option<Instant>, String)>,
}

/// By what rows are sorted.
enum By<'a> {
    /// By an instant, and then by row id. Rows without an instant count as the latest.
    Instant {
        at: &'a InstantSql,
        /// An index that has the rows in this order can serve the conditions, too.
        indexed: bool,
        /// What the conditions mean for rows with an instant, in words that an index can serve.
        bound: Option<String>,
    },
    /// By row id, in the order of its index: an expression, and its value in the last row of the page before.
    Id(String, Option<String>),
}

impl<'a> Paging<'a> {
    pub(super) fn new(sql: &Sql<'_>, list: List<'_>, at: &'a InstantSql) -> Self {
        let id = sql.mapping.id.as_deref();
        let after = list.after.filter(|_| id.is_some());
        let by = match sql.naming().filter(|_| list.sort == Sort::Id) {
            Some(id) => By::Id(sql.rank(id), after.map(|after| sql.rank_of(id, after.id))),
            None => By::instant(sql, list, at),
        };
        Self {
            by,
            row: sql.text(&id.map_or_else(|| "NULL".into(), |id| sql.column(id))),
            ascending: list.ascending,
            limit: list.limit,
            after: after.map(|after| (Instant::from_micros(after.key), sql.string(after.id))),
        }
    }

    /// How rows are sorted.
    pub(super) fn order(&self) -> String {
        match &self.by {
            By::Instant { at, .. } => self.order_by(&at.place()),
            By::Id(rank, _) => format!("{rank}{}", self.direction()),
        }
    }

    fn order_by(&self, place: &str) -> String {
        format!("{place}{}, {}", self.direction(), self.row)
    }

    /// The condition that a row is on this page or a later one.
    pub(super) fn following(&self) -> Option<String> {
        let beyond = self.beyond();
        let at = match &self.by {
            By::Instant { at, .. } => at,
            By::Id(rank, last) => return last.as_ref().map(|last| format!("{rank} {beyond} {last}")),
        };
        let (last, id) = self.after.as_ref()?;
        let (place, last, row) = (at.place(), at.place_of(*last), &self.row);
        Some(format!("({place} {beyond} {last} OR ({place} = {last} AND {row} > {id}))"))
    }

    /// The query for the ids of the rows of this page; of some more, where they are found by an index.
    pub(super) fn rows(&self, sql: &Sql<'_>, conditions: Vec<String>) -> String {
        let select = |part: Part| {
            let conditions: Vec<String> = part.conditions.into_iter().chain(conditions.clone()).collect();
            format!(
                "  SELECT {id}\n  FROM {sessions}{conditions}\n  ORDER BY {order}\n  LIMIT {limit}",
                id = sql.column(sql.mapping.id.as_deref().unwrap_or_default()),
                sessions = sql.sessions(),
                conditions = all_of(&conditions),
                order = part.order,
                limit = self.limit,
            )
        };
        let By::Instant { at, indexed: true, bound } = &self.by else { return select(self.whole()) };
        let Some((known, unknown)) = at.split() else { return select(self.whole()) };
        let known = std::iter::once(known).chain(bound.clone()).collect();
        let parts = [self.among_known(at, known), self.among_unknown(unknown)];
        let parts: Vec<String> =
            parts.into_iter().flatten().map(|part| format!("({})", select(part))).collect();
        parts.join("\nUNION ALL\n")
    }

    fn whole(&self) -> Part {
        Part { conditions: self.following().into_iter().collect(), order: self.order() }
    }

    /// The rows of this page that have an instant.
    fn among_known(&self, at: &InstantSql, mut conditions: Vec<String>) -> Option<Part> {
        let (value, row, beyond) = (&at.value, &self.row, self.beyond());
        match &self.after {
            Some((None, _)) if self.ascending => return None,
            Some((Some(last), id)) => {
                let last = at.place_of(Some(*last));
                conditions.push(format!("{value} {beyond}= {last}"));
                conditions.push(format!("({value} {beyond} {last} OR {row} > {id})"));
            }
            _ => {}
        }
        Some(Part { conditions, order: self.order_by(value) })
    }

    /// The rows of this page that have none.
    fn among_unknown(&self, unknown: String) -> Option<Part> {
        let mut conditions = vec![unknown];
        match &self.after {
            Some((Some(_), _)) if !self.ascending => return None,
            Some((None, id)) => conditions.push(format!("{} > {id}", self.row)),
            _ => {}
        }
        Some(Part { conditions, order: self.row.clone() })
    }

    fn beyond(&self) -> &'static str {
        if self.ascending { ">" } else { "<" }
    }

    fn direction(&self) -> &'static str {
        if self.ascending { "" } else { " DESC" }
    }
}

impl<'a> By<'a> {
    fn instant(sql: &Sql<'_>, list: List<'_>, at: &'a InstantSql) -> Self {
        let created = sql.mapping.created.as_ref().filter(|_| list.sort == Sort::Created);
        let column = created.unwrap_or(&sql.mapping.expires);
        let table = sql.schema.table(&sql.mapping.sessions);
        let led = table.and_then(|table| table.index_led_by(&column.column));
        // To walk along an index past rows that are not asked for can take longer than to read the whole table.
        let others = match created {
            Some(_) => list.status != Status::All,
            None => list.created_since.is_some(),
        };
        let narrow = list.user.is_some() || list.named.is_some() || !list.prefixes.is_empty();
        let active = list.status == Status::Active && created.is_none();
        Self::Instant {
            at,
            indexed: led.is_some() && !others && !narrow,
            bound: active.then(|| at.after(sql.now)),
        }
    }
}

impl Sql<'_> {
    /// What rows are sorted by to have them by row id: the column where that is the order of its index, else its text.
    fn rank(&self, id: &str) -> String {
        self.dialect().id_rank(&self.column(id), self.kind(&self.mapping.sessions, id))
    }

    /// The rank of the row with that id; NULL if no row can have it.
    fn rank_of(&self, id: &str, value: &str) -> String {
        self.dialect().rank_of_id(value, self.kind(&self.mapping.sessions, id))
    }
}

/// Rows that have one order.
struct Part {
    conditions: Vec<String>,
    order: String,
}

/// `WHERE` with all of these conditions; nothing where there are none.
pub(super) fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!("\nWHERE {}", conditions.join("\n  AND ")) }
}
