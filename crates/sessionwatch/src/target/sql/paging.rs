//! Pages of sessions that follow each other: by an instant, and then by row id.

use sessionwatch_rules::instant::Instant;

use super::{List, Sort, Sql, Status, instant::InstantSql, string};

/// The order of pages, and where one begins. Rows without an instant count as the latest.
pub(super) struct Paging<'a> {
    by: &'a InstantSql,
    /// The row id, as text.
    row: String,
    ascending: bool,
    limit: usize,
    /// The instant and the row id of the last row of the page before.
    after: Option<(Option<Instant>, String)>,
    /// An index that has the rows in this order can serve the conditions, too.
    indexed: bool,
    /// What the conditions mean for rows with an instant, in words that an index can serve.
    bound: Option<String>,
}

impl<'a> Paging<'a> {
    pub(super) fn new(sql: &Sql<'_>, list: List<'_>, by: &'a InstantSql) -> Self {
        let id = sql.mapping.id.as_ref().map(|id| sql.column(id));
        let after = list.after.filter(|_| id.is_some());
        let created = sql.mapping.created.as_ref().filter(|_| list.sort == Sort::Created);
        let column = created.unwrap_or(&sql.mapping.expires);
        // To walk along an index past rows that are not asked for can take longer than to read the whole table.
        let others = match created {
            Some(_) => list.status != Status::All,
            None => list.created_since.is_some(),
        };
        let narrow = list.user.is_some() || list.named.is_some() || !list.prefixes.is_empty();
        let table = sql.schema.table(&sql.mapping.sessions);
        let led = table.and_then(|table| table.index_led_by(&column.column));
        let active = list.status == Status::Active && created.is_none();
        Self {
            by,
            row: sql.text(id.as_deref().unwrap_or("NULL")),
            ascending: list.ascending,
            limit: list.limit,
            after: after.map(|after| (Instant::from_micros(after.key), string(sql.dialect(), after.id))),
            indexed: !others && !narrow && led.is_some(),
            bound: active.then(|| by.after(sql.now)),
        }
    }

    /// How rows are sorted.
    pub(super) fn order(&self) -> String {
        self.order_by(&self.by.place())
    }

    fn order_by(&self, place: &str) -> String {
        format!("{place}{}, {}", if self.ascending { "" } else { " DESC" }, self.row)
    }

    /// The condition that a row is on this page or a later one.
    pub(super) fn following(&self) -> Option<String> {
        let (at, id) = self.after.as_ref()?;
        let (place, last) = (self.by.place(), self.by.place_of(*at));
        let (beyond, row) = (self.beyond(), &self.row);
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
        let Some((known, unknown)) = self.by.split().filter(|_| self.indexed) else {
            let conditions = self.following().into_iter().collect();
            return select(Part { conditions, order: self.order() });
        };
        let parts = [self.among_known(known), self.among_unknown(unknown)];
        let parts: Vec<String> =
            parts.into_iter().flatten().map(|part| format!("({})", select(part))).collect();
        parts.join("\nUNION ALL\n")
    }

    /// The rows of this page that have an instant.
    fn among_known(&self, known: String) -> Option<Part> {
        let (value, row, beyond) = (&self.by.value, &self.row, self.beyond());
        let mut conditions = vec![known];
        conditions.extend(self.bound.clone());
        match &self.after {
            Some((None, _)) if self.ascending => return None,
            Some((Some(at), id)) => {
                let last = self.by.place_of(Some(*at));
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
