//! What ending sessions does besides: rows of other tables that are deleted or changed with them, and triggers and rules that
//! run. Read from the catalog; how they follow from each other is decided here, without the database.

mod dependents;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::mapping::{RevokeMethod, TableName};

pub use self::dependents::CascadingTable;

/// Foreign keys that are followed behind each other.
const MAX_CASCADE_DEPTH: usize = 6;
/// Side effects that are listed.
const MAX_SIDE_EFFECTS: usize = 100;

/// How something else is affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SideEffectKind {
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
    pub kind: SideEffectKind,
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
pub enum RowEvent {
    /// It deletes it.
    Delete,
    /// It changes it.
    Update,
}

/// A foreign key to rows that may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKeyEdge {
    kind: SideEffectKind,
    name: String,
    /// The table that refers, and its columns.
    pub(super) referencing: (String, Vec<String>),
    /// The name of that table.
    pub(super) child_table: TableName,
    /// The table referred to, and its columns.
    pub(super) referenced: (String, Vec<String>),
    /// For each column, the operator by which the database compares the one referred to with it.
    pub(super) equality_operators: Vec<String>,
    /// Whether the role may read the columns that refer.
    readable: bool,
}

impl ForeignKeyEdge {
    /// The table that refers, and its columns.
    #[must_use]
    pub fn referencing_columns(&self) -> (&str, &[String]) {
        (&self.referencing.0, &self.referencing.1)
    }

    /// The table referred to, and its columns.
    #[must_use]
    pub fn referenced_columns(&self) -> (&str, &[String]) {
        (&self.referenced.0, &self.referenced.1)
    }

    /// The name of the table that refers.
    #[must_use]
    pub fn child_table(&self) -> &TableName {
        &self.child_table
    }
}

/// A column of a foreign key, as a catalog of a database lists it.
pub(crate) struct ForeignKeyColumn {
    pub(crate) kind: SideEffectKind,
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
pub(crate) struct TriggerOrRule {
    pub(crate) kind: SideEffectKind,
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) event: RowEvent,
}

/// The foreign keys, triggers and rules of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideEffectCatalog {
    references: Vec<ForeignKeyEdge>,
    triggers: Vec<TriggerOrRule>,
    /// Tables that inherit from others, or are parts of them: child, parent.
    inherits: Vec<(String, String)>,
    /// Those of the parents that are partitioned.
    partitioned: BTreeSet<String>,
}

/// A side effect, and the foreign keys that lead to it from the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedSideEffect {
    /// The side effect.
    pub effect: SideEffect,
    /// Empty for a trigger or a rule.
    pub path: Vec<ForeignKeyEdge>,
}

impl SideEffectKind {
    /// What a foreign key does with the rows that refer to a deleted one, by its action: in words, or as PostgreSQL's letter.
    pub(crate) fn from_action(action: &str) -> Self {
        match action.to_lowercase().as_str() {
            "c" | "cascade" => Self::Cascade,
            "n" | "set null" => Self::SetNull,
            "d" | "set default" => Self::SetDefault,
            _ => Self::Restrict,
        }
    }
}

impl RowEvent {
    /// What ending sessions so does to their rows.
    #[must_use]
    pub fn from_revoke(revoke: &RevokeMethod) -> Self {
        if *revoke == RevokeMethod::Delete { Self::Delete } else { Self::Update }
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
    pub fn changes_other_rows(&self) -> bool {
        self.kind != SideEffectKind::Restrict
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
    pub fn describe(&self) -> String {
        let Self { kind, table, name, .. } = self;
        match kind {
            SideEffectKind::Cascade => format!("foreign key `{name}` of {table} (ON DELETE CASCADE)"),
            SideEffectKind::SetNull => format!("foreign key `{name}` of {table} (ON DELETE SET NULL)"),
            SideEffectKind::SetDefault => format!("foreign key `{name}` of {table} (ON DELETE SET DEFAULT)"),
            SideEffectKind::Restrict => format!("foreign key `{name}` of {table}"),
            SideEffectKind::TriggerBefore => format!("trigger `{name}` of {table} (BEFORE each row)"),
            SideEffectKind::Trigger => format!("trigger `{name}` of {table}"),
            SideEffectKind::Rule => format!("rule `{name}` of {table}"),
            SideEffectKind::RuleInstead => format!("rule `{name}` of {table} (DO INSTEAD)"),
        }
    }
}

impl ReachedSideEffect {
    /// Whether the role may read what has to be read to count the rows.
    #[must_use]
    pub fn is_countable(&self) -> bool {
        !self.path.is_empty() && self.path.iter().all(|reference| reference.readable)
    }

    /// The foreign key, if it is one by which rows of that table go with other rows of it.
    #[must_use]
    pub fn self_reference(&self, table: &str) -> Option<&ForeignKeyEdge> {
        match self.path.as_slice() {
            [own]
                if own.kind == SideEffectKind::Cascade
                    && own.referencing.0 == table
                    && own.referenced.0 == table =>
            {
                Some(own)
            }
            _ => None,
        }
    }
}

impl SideEffectCatalog {
    /// Adds a column of a foreign key; those of one foreign key follow each other.
    pub(crate) fn add_reference(&mut self, column: ForeignKeyColumn) {
        let ForeignKeyColumn { kind, name, from, from_column, child, to, to_column, equals, readable } =
            column;
        match self.references.last_mut() {
            Some(last) if (&last.referencing.0, &last.referenced.0, &last.name) == (&from, &to, &name) => {
                last.referencing.1.push(from_column);
                last.referenced.1.push(to_column);
                last.equality_operators.push(equals);
                last.readable &= readable;
            }
            _ => self.references.push(ForeignKeyEdge {
                kind,
                name,
                referencing: (from, vec![from_column]),
                child_table: child,
                referenced: (to, vec![to_column]),
                equality_operators: vec![equals],
                readable,
            }),
        }
    }

    /// Adds triggers and rules.
    pub(crate) fn add_triggers(&mut self, hooks: impl IntoIterator<Item = TriggerOrRule>) {
        self.triggers.extend(hooks);
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
    pub fn list_side_effects(&self, table: &str, event: RowEvent) -> Vec<ReachedSideEffect> {
        let mut found = self.follow_side_effects(table, event);
        if event == RowEvent::Delete {
            let archived: BTreeSet<String> =
                self.find_dependents(table, &found).into_iter().map(|dependent| dependent.sql_name).collect();
            for reached in &mut found {
                let is_own = reached.self_reference(table).is_some_and(|own| own.readable);
                let SideEffect { kind, table, .. } = &reached.effect;
                reached.effect.archived =
                    *kind == SideEffectKind::Cascade && (is_own || archived.contains(table));
            }
        }
        found
    }

    fn follow_side_effects(&self, table: &str, event: RowEvent) -> Vec<ReachedSideEffect> {
        let mut found: Vec<ReachedSideEffect> = Vec::new();
        let mut queue = VecDeque::from([(table.to_owned(), Vec::<ForeignKeyEdge>::new(), event)]);
        while let Some((table, path, event)) = queue.pop_front() {
            let below = self.table_family(&table, false);
            for hook in self.triggers.iter().filter(|hook| hook.event == event && below.contains(&hook.table))
            {
                let effect = SideEffect {
                    kind: hook.kind,
                    // The parts of a table have copies of its triggers.
                    table: table.clone(),
                    name: hook.name.clone(),
                    rows: None,
                    archived: false,
                };
                if !found.iter().any(|reached| reached.effect == effect) {
                    found.push(ReachedSideEffect { effect, path: vec![] });
                }
            }
            if event != RowEvent::Delete {
                continue;
            }
            let family = self.table_family(&table, true);
            for reference in
                self.references.iter().filter(|reference| family.contains(&reference.referenced.0))
            {
                let path: Vec<ForeignKeyEdge> = path.iter().cloned().chain([reference.clone()]).collect();
                let child = &reference.referencing.0;
                let effect = SideEffect {
                    kind: reference.kind,
                    table: child.clone(),
                    name: reference.name.clone(),
                    rows: None,
                    archived: false,
                };
                let next = match reference.kind {
                    SideEffectKind::Cascade => Some(RowEvent::Delete),
                    SideEffectKind::Restrict => None,
                    _ => Some(RowEvent::Update),
                };
                let circular = family.contains(child) || path.iter().any(|step| step.referenced.0 == *child);
                if let (Some(next), false) = (next, circular || path.len() >= MAX_CASCADE_DEPTH) {
                    queue.push_back((child.clone(), path.clone(), next));
                }
                found.push(ReachedSideEffect { effect, path });
            }
            if found.len() >= MAX_SIDE_EFFECTS {
                break;
            }
        }
        found
    }

    /// A table with those below it, and with those above it too where that is asked.
    fn table_family(&self, table: &str, above: bool) -> BTreeSet<String> {
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
