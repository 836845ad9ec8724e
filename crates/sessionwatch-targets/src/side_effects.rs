//! What ending sessions does besides: rows of other tables that are deleted or changed with them, and triggers and rules that
//! run. Read from the catalog; how they follow from each other is decided here, without the database.

mod dependents;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::mapping::{Revoke, TableName};

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

/// A column of a foreign key, as a catalog of a database lists it.
pub(crate) struct ReferenceColumn {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The table that refers, by the name that the catalog has for it, and its column.
    pub(crate) from: String,
    pub(crate) from_column: String,
    /// The name of that table.
    pub(crate) child: TableName,
    /// The table referred to, by the name that the catalog has for it, and its column.
    pub(crate) to: String,
    pub(crate) to_column: String,
    /// The operator by which the database compares the two.
    pub(crate) equals: String,
    /// Whether the role may read the column that refers.
    pub(crate) readable: bool,
}

/// A trigger or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) kind: Kind,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) event: Event,
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

impl Kind {
    /// What a foreign key does with the rows that refer to a deleted one, by its action: in words, or as PostgreSQL's letter.
    pub(crate) fn of_action(action: &str) -> Self {
        match action.to_lowercase().as_str() {
            "c" | "cascade" => Self::Cascade,
            "n" | "set null" => Self::SetNull,
            "d" | "set default" => Self::SetDefault,
            _ => Self::Restrict,
        }
    }
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
    /// Adds a column of a foreign key; those of one foreign key follow each other.
    pub(crate) fn add_reference(&mut self, column: ReferenceColumn) {
        let ReferenceColumn { kind, name, from, from_column, child, to, to_column, equals, readable } =
            column;
        match self.references.last_mut() {
            Some(last) if (&last.from.0, &last.to.0, &last.name) == (&from, &to, &name) => {
                last.from.1.push(from_column);
                last.to.1.push(to_column);
                last.equals.push(equals);
                last.readable &= readable;
            }
            _ => self.references.push(Reference {
                kind,
                name,
                from: (from, vec![from_column]),
                child,
                to: (to, vec![to_column]),
                equals: vec![equals],
                readable,
            }),
        }
    }

    /// Adds triggers and rules.
    pub(crate) fn add_hooks(&mut self, hooks: impl IntoIterator<Item = Hook>) {
        self.hooks.extend(hooks);
    }

    /// Adds a table that inherits from another one, or is a part of it.
    pub(crate) fn add_inheritance(&mut self, child: String, parent: String, is_partitioned: bool) {
        if is_partitioned {
            self.partitioned.insert(parent.clone());
        }
        self.inherits.push((child, parent));
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

#[cfg(test)]
mod tests;
