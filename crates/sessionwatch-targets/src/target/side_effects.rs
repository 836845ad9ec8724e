//! What ending sessions does besides: rows of other tables that are deleted or changed with them, and triggers and rules that
//! run. Read from the catalog; how they follow from each other is decided here, without the database.

mod dependents;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{cells, error::TargetError, read_session::TextRow, sql};
use crate::profile::{
    mapping::{Revoke, TableName},
    schema::Dialect,
};

pub use self::dependents::Dependent;

/// Foreign keys that are followed behind each other.
const DEPTH: usize = 6;
/// Side effects that are listed.
const LISTED: usize = 100;

/// How something else is affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Rows that refer to a deleted one are deleted (`ON DELETE CASCADE`).
    Cascade,
    /// A column of rows that refer to a deleted one becomes NULL (`ON DELETE SET NULL`).
    SetNull,
    /// A column of rows that refer to a deleted one becomes its default (`ON DELETE SET DEFAULT`).
    SetDefault,
    /// A row that others refer to cannot be deleted (`ON DELETE RESTRICT`, `NO ACTION`).
    Restrict,
    /// A trigger runs before each row; it can keep the row as it is.
    TriggerBefore,
    /// A trigger runs before or after the statement, or after each row.
    Trigger,
    /// A rule runs besides.
    Rule,
    /// A rule runs instead.
    RuleInstead,
}

/// Something that happens when sessions are ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SideEffect {
    /// How.
    pub kind: Kind,
    /// The table whose rows are deleted or changed, or to which the trigger or rule belongs.
    pub table: String,
    /// The foreign key, trigger or rule.
    pub name: String,
    /// Rows that refer to the sessions of a plan; nothing where they were not counted.
    pub rows: Option<u64>,
    /// Whether those rows are archived, and restored with their sessions.
    #[serde(default)]
    pub archived: bool,
}

/// What a statement does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// It deletes it.
    Delete,
    /// It changes it.
    Update,
}

/// A foreign key to rows that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    kind: Kind,
    name: String,
    /// The table that refers, and its columns.
    pub(super) from: (String, Vec<String>),
    /// The name of that table.
    pub(super) child: TableName,
    /// The table referred to, and its columns.
    pub(super) to: (String, Vec<String>),
    /// For each column, the operator by which the database compares the one referred to with it.
    pub(super) equals: Vec<String>,
    /// Whether the role may read the columns that refer.
    readable: bool,
}

impl Reference {
    /// The table that refers, and its columns.
    #[must_use]
    pub fn from(&self) -> (&str, &[String]) {
        (&self.from.0, &self.from.1)
    }

    /// The table referred to, and its columns.
    #[must_use]
    pub fn to(&self) -> (&str, &[String]) {
        (&self.to.0, &self.to.1)
    }

    /// The name of the table that refers.
    #[must_use]
    pub fn child(&self) -> &TableName {
        &self.child
    }
}

/// A trigger or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hook {
    kind: Kind,
    table: String,
    name: String,
    event: Event,
}

/// The foreign keys, triggers and rules of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    references: Vec<Reference>,
    hooks: Vec<Hook>,
    /// Tables that inherit from others, or are parts of them: child, parent.
    inherits: Vec<(String, String)>,
    /// Those of the parents that are partitioned.
    partitioned: BTreeSet<String>,
}

/// A side effect, and the foreign keys that lead to it from the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The side effect.
    pub effect: SideEffect,
    /// Empty for a trigger or a rule.
    pub path: Vec<Reference>,
}

impl Event {
    /// What ending sessions so does to their rows.
    #[must_use]
    pub fn of(revoke: &Revoke) -> Self {
        if *revoke == Revoke::Delete { Self::Delete } else { Self::Update }
    }

    /// The word of SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
        }
    }
}

impl SideEffect {
    /// Whether it changes anything besides the sessions, or may.
    #[must_use]
    pub fn reaches_further(&self) -> bool {
        self.kind != Kind::Restrict
    }

    /// Whether a plan that announced the other one announced this one: the same side effect, however many rows there are by
    /// now. What it said is archived has to be.
    #[must_use]
    pub fn is_announced_by(&self, other: &Self) -> bool {
        (self.kind, &self.table, &self.name) == (other.kind, &other.table, &other.name)
            && (self.archived || !other.archived)
    }

    /// What it is, in words.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { kind, table, name, .. } = self;
        match kind {
            Kind::Cascade => format!("foreign key `{name}` of {table} (ON DELETE CASCADE)"),
            Kind::SetNull => format!("foreign key `{name}` of {table} (ON DELETE SET NULL)"),
            Kind::SetDefault => format!("foreign key `{name}` of {table} (ON DELETE SET DEFAULT)"),
            Kind::Restrict => format!("foreign key `{name}` of {table}"),
            Kind::TriggerBefore => format!("trigger `{name}` of {table} (BEFORE each row)"),
            Kind::Trigger => format!("trigger `{name}` of {table}"),
            Kind::Rule => format!("rule `{name}` of {table}"),
            Kind::RuleInstead => format!("rule `{name}` of {table} (DO INSTEAD)"),
        }
    }
}

impl Reached {
    /// Whether the role may read what has to be read to count the rows.
    #[must_use]
    pub fn is_countable(&self) -> bool {
        !self.path.is_empty() && self.path.iter().all(|reference| reference.readable)
    }

    /// The foreign key, if it is one by which rows of that table go with other rows of it.
    #[must_use]
    pub fn own(&self, table: &str) -> Option<&Reference> {
        match self.path.as_slice() {
            [own] if own.kind == Kind::Cascade && own.from.0 == table && own.to.0 == table => Some(own),
            _ => None,
        }
    }
}

impl Catalog {
    /// Reads the catalog with queries that `fetch` answers.
    ///
    /// # Errors
    ///
    /// If a query fails.
    pub(super) async fn read(
        dialect: Dialect,
        mut fetch: impl AsyncFnMut(&str) -> Result<Vec<TextRow>, TargetError>,
    ) -> Result<Self, TargetError> {
        let mut catalog = Self::default();
        match dialect {
            Dialect::Postgres => {
                let references = fetch(&super::postgres::references()).await?;
                references.iter().for_each(|row| catalog.refers(dialect, row));
                for row in fetch(super::postgres::HOOKS).await? {
                    catalog.hooks.extend(postgres_hooks(&row)?);
                }
                for row in fetch(super::postgres::INHERITS).await? {
                    if let [Some(schema), Some(name), Some(parents), Some(parent), partitioned] =
                        row.as_slice()
                    {
                        let parent = named(parents, parent);
                        if partitioned.as_deref() == Some("t") {
                            catalog.partitioned.insert(parent.clone());
                        }
                        catalog.inherits.push((named(schema, name), parent));
                    }
                }
            }
            Dialect::Sqlite => {
                let references = fetch(super::sqlite::REFERENCES).await?;
                references.iter().for_each(|row| catalog.refers(dialect, row));
                for row in fetch(super::sqlite::TRIGGERS).await? {
                    catalog.hooks.extend(sqlite_hook(&row));
                }
            }
        }
        Ok(catalog)
    }

    /// Adds a row of a foreign key, one column at a time: schema and name of the table that refers, its column, schema and
    /// name of the other, its column, name, action, whether the column may be read, the operator that compares the columns.
    fn refers(&mut self, dialect: Dialect, row: &TextRow) {
        let text = |at: usize| row.get(at).and_then(Option::as_deref);
        let table = |schema: usize| match dialect {
            Dialect::Postgres => Some(named(text(schema)?, text(schema + 1)?)),
            // Names differ in their letters only there.
            Dialect::Sqlite => Some(sql::identifier(&text(schema + 1)?.to_lowercase())),
        };
        let kind = match text(7).map(str::to_lowercase).as_deref() {
            Some("c" | "cascade") => Kind::Cascade,
            Some("n" | "set null") => Kind::SetNull,
            Some("d" | "set default") => Kind::SetDefault,
            _ => Kind::Restrict,
        };
        let (Some(from), Some(column), Some(to), Some(other), Some(name)) =
            (table(0), text(2), table(3), text(5), text(6))
        else {
            return;
        };
        let readable = text(8) == Some("t");
        let equals = text(9).unwrap_or("=").to_owned();
        match self.references.last_mut() {
            Some(last) if (&last.from.0, &last.to.0, last.name.as_str()) == (&from, &to, name) => {
                last.from.1.push(column.to_owned());
                last.to.1.push(other.to_owned());
                last.equals.push(equals);
                last.readable &= readable;
            }
            _ => self.references.push(Reference {
                kind,
                name: name.to_owned(),
                from: (from, vec![column.to_owned()]),
                child: TableName {
                    schema: text(0).filter(|schema| !schema.is_empty()).map(str::to_owned),
                    name: text(1).unwrap_or_default().to_owned(),
                },
                to: (to, vec![other.to_owned()]),
                equals: vec![equals],
                readable,
            }),
        }
    }

    /// What happens besides when rows of that table are deleted or changed.
    #[must_use]
    pub fn reached(&self, table: &str, event: Event) -> Vec<Reached> {
        let mut found = self.followed(table, event);
        if event == Event::Delete {
            let archived: BTreeSet<String> =
                self.dependents(table, &found).into_iter().map(|dependent| dependent.name).collect();
            for reached in &mut found {
                let is_own = reached.own(table).is_some_and(|own| own.readable);
                let SideEffect { kind, table, .. } = &reached.effect;
                reached.effect.archived = *kind == Kind::Cascade && (is_own || archived.contains(table));
            }
        }
        found
    }

    fn followed(&self, table: &str, event: Event) -> Vec<Reached> {
        let mut found: Vec<Reached> = Vec::new();
        let mut queue = VecDeque::from([(table.to_owned(), Vec::<Reference>::new(), event)]);
        while let Some((table, path, event)) = queue.pop_front() {
            let below = self.family(&table, false);
            for hook in self.hooks.iter().filter(|hook| hook.event == event && below.contains(&hook.table)) {
                let effect = SideEffect {
                    kind: hook.kind,
                    // The parts of a table have copies of its triggers.
                    table: table.clone(),
                    name: hook.name.clone(),
                    rows: None,
                    archived: false,
                };
                if !found.iter().any(|reached| reached.effect == effect) {
                    found.push(Reached { effect, path: vec![] });
                }
            }
            if event != Event::Delete {
                continue;
            }
            let family = self.family(&table, true);
            for reference in self.references.iter().filter(|reference| family.contains(&reference.to.0)) {
                let path: Vec<Reference> = path.iter().cloned().chain([reference.clone()]).collect();
                let child = &reference.from.0;
                let effect = SideEffect {
                    kind: reference.kind,
                    table: child.clone(),
                    name: reference.name.clone(),
                    rows: None,
                    archived: false,
                };
                let next = match reference.kind {
                    Kind::Cascade => Some(Event::Delete),
                    Kind::Restrict => None,
                    _ => Some(Event::Update),
                };
                let circular = family.contains(child) || path.iter().any(|step| step.to.0 == *child);
                if let (Some(next), false) = (next, circular || path.len() >= DEPTH) {
                    queue.push_back((child.clone(), path.clone(), next));
                }
                found.push(Reached { effect, path });
            }
            if found.len() >= LISTED {
                break;
            }
        }
        found
    }

    /// A table with those below it, and with those above it too where that is asked.
    fn family(&self, table: &str, above: bool) -> BTreeSet<String> {
        let mut family = BTreeSet::from([table.to_owned()]);
        let mut grow = |up: bool| {
            let mut next = vec![table.to_owned()];
            while let Some(one) = next.pop() {
                for (child, parent) in &self.inherits {
                    let (from, to) = if up { (child, parent) } else { (parent, child) };
                    if *from == one && family.insert(to.clone()) {
                        next.push(to.clone());
                    }
                }
            }
        };
        grow(false);
        if above {
            grow(true);
        }
        family
    }
}

/// The name under which a [`Catalog`] knows a table.
#[must_use]
pub fn table_name(dialect: Dialect, table: &TableName) -> String {
    match dialect {
        Dialect::Postgres => sql::table(table),
        Dialect::Sqlite => sql::identifier(&table.name.to_lowercase()),
    }
}

fn named(schema: &str, name: &str) -> String {
    sql::table(&TableName { schema: Some(schema.to_owned()), name: name.to_owned() })
}

/// A row of `HOOKS`: schema and name of the table, name, type of the trigger or event of the rule, whether it is a rule,
/// whether that runs instead.
fn postgres_hooks(row: &TextRow) -> Result<Vec<Hook>, TargetError> {
    const ROW: i64 = 1;
    const BEFORE: i64 = 2;
    const DELETE: i64 = 8;
    const UPDATE: i64 = 16;
    let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
    let number: i64 = cells::required(row, 3, "the type of a trigger or rule")?;
    let (events, kind) = if text(4) == "t" {
        // The numbers of commands in `pg_rewrite`.
        let events = [(number == 4, Event::Delete), (number == 2, Event::Update)];
        (events, if text(5) == "t" { Kind::RuleInstead } else { Kind::Rule })
    } else {
        let events = [(number & DELETE != 0, Event::Delete), (number & UPDATE != 0, Event::Update)];
        let keeps = number & (ROW | BEFORE) == ROW | BEFORE;
        (events, if keeps { Kind::TriggerBefore } else { Kind::Trigger })
    };
    let hook = |event| Hook { kind, table: named(text(0), text(1)), name: text(2).to_owned(), event };
    Ok(events.into_iter().filter(|(is_one, _)| *is_one).map(|(_, event)| hook(event)).collect())
}

/// A trigger of SQLite: its table, its name, and the statement that made it.
fn sqlite_hook(row: &TextRow) -> Option<Hook> {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let (table, name) = (text(0)?.to_lowercase(), text(1)?.to_owned());
    let (before, event) = trigger(text(2)?)?;
    let kind = if before { Kind::TriggerBefore } else { Kind::Trigger };
    Some(Hook { kind, table: sql::identifier(&table), name, event })
}

/// Whether a trigger runs before the row changes, and on what; `None` for one on `INSERT`.
fn trigger(statement: &str) -> Option<(bool, Event)> {
    let words = words(statement);
    let mut words = words.iter().map(String::as_str).skip_while(|word| *word != "TRIGGER").skip(1).peekable();
    if words.peek() == Some(&"IF") {
        // IF NOT EXISTS
        words.nth(2);
    }
    // Its name, with or without a schema.
    words.next()?;
    if words.peek() == Some(&".") {
        words.nth(1);
    }
    let before = match *words.peek()? {
        "AFTER" => words.next().is_none(),
        "BEFORE" => words.next().is_some(),
        // INSTEAD OF: on a view.
        "INSTEAD" => return None,
        _ => true,
    };
    match words.next()? {
        "DELETE" => Some((before, Event::Delete)),
        "UPDATE" => Some((before, Event::Update)),
        _ => None,
    }
}

/// The words at the beginning of a statement of SQLite, in capitals, without comments. What is quoted is one word.
fn words(statement: &str) -> Vec<String> {
    /// No trigger has its event behind so many words.
    const ENOUGH: usize = 16;
    let (mut words, mut rest) = (Vec::new(), statement);
    while words.len() < ENOUGH {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { break };
        let close = match first {
            '"' | '\'' | '`' => Some(first),
            '[' => Some(']'),
            _ => None,
        };
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, behind)| behind);
        } else if let Some(close) = close {
            // Twice, a quote stands for itself.
            let mut inner = rest.get(1..).unwrap_or_default();
            loop {
                let Some((_, behind)) = inner.split_once(close) else { return words };
                inner = behind;
                match behind.strip_prefix(close) {
                    Some(behind) if close != ']' => inner = behind,
                    _ => break,
                }
            }
            words.push("(quoted)".into());
            rest = inner;
        } else {
            let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
            let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, behind) = rest.split_at(length);
            words.push(word.to_uppercase());
            rest = behind;
        }
    }
    words
}

#[cfg(test)]
mod tests;
