//! Side effects of ending sessions: rows of other tables that are deleted or changed with them, and triggers
//! and rules that run. Backends read the catalog; this module follows the chains without a database.

mod dependents;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::mapping::{RevokeMethod, TableName};

pub use self::dependents::CascadingTable;

/// Longest chain of foreign keys that is followed.
const MAX_CASCADE_DEPTH: usize = 6;
/// Maximum number of side effects listed.
const MAX_SIDE_EFFECTS: usize = 100;

/// The kind of a side effect.
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
    /// A rule runs in addition to the statement.
    Rule,
    /// A rule runs instead of the statement.
    RuleInstead,
}

/// Something that happens when sessions are ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SideEffect {
    /// Kind of the effect.
    pub kind: SideEffectKind,
    /// Table whose rows are deleted or changed, or that has the trigger or rule.
    pub table: String,
    /// Name of the foreign key, trigger or rule.
    pub name: String,
    /// Number of rows that refer to the sessions of a plan; `None` if they were not counted.
    pub rows: Option<u64>,
    /// `true` if those rows are archived, and restored with their sessions.
    #[serde(default)]
    pub archived: bool,
}

/// The effect of a statement on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowEvent {
    /// The row is deleted.
    Delete,
    /// The row is updated.
    Update,
}

/// A foreign key to rows that a cleanup may delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKeyEdge {
    kind: SideEffectKind,
    name: String,
    /// Referencing table and its columns.
    pub(super) referencing: (String, Vec<String>),
    /// Name of the referencing table.
    pub(super) child_table: TableName,
    /// Referenced table and its columns.
    pub(super) referenced: (String, Vec<String>),
    /// Operator that compares the referenced column with the referencing one, for each pair of columns.
    pub(super) equality_operators: Vec<String>,
    /// `true` if the role may read the referencing columns.
    readable: bool,
}

impl ForeignKeyEdge {
    /// Returns the referencing table and its columns.
    #[must_use]
    pub fn referencing_columns(&self) -> (&str, &[String]) {
        (&self.referencing.0, &self.referencing.1)
    }

    /// Returns the referenced table and its columns.
    #[must_use]
    pub fn referenced_columns(&self) -> (&str, &[String]) {
        (&self.referenced.0, &self.referenced.1)
    }

    /// Returns the name of the referencing table.
    #[must_use]
    pub fn child_table(&self) -> &TableName {
        &self.child_table
    }
}

/// One column of a foreign key, as a catalog lists it.
pub(crate) struct ForeignKeyColumn {
    pub(crate) kind: SideEffectKind,
    pub(crate) name: String,
    /// Referencing table, as the catalog names it, and its column.
    pub(crate) from: String,
    pub(crate) from_column: String,
    pub(crate) child: TableName,
    /// Referenced table, as the catalog names it, and its column.
    pub(crate) to: String,
    pub(crate) to_column: String,
    /// Operator that compares the two.
    pub(crate) equals: String,
    /// `true` if the role may read the referencing column.
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
    /// Pairs of child and parent, for inheritance and partitions.
    inherits: Vec<(String, String)>,
    /// Parents that are partitioned tables.
    partitioned: BTreeSet<String>,
}

/// A side effect, and the path of foreign keys from the sessions to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedSideEffect {
    /// The side effect.
    pub effect: SideEffect,
    /// Foreign keys on the way; empty for a trigger or a rule.
    pub path: Vec<ForeignKeyEdge>,
}

impl SideEffectKind {
    /// Parses the action of a foreign key: in words, or as PostgreSQL's letter.
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
    /// Returns the effect of ending sessions in this way.
    #[must_use]
    pub fn from_revoke(revoke: &RevokeMethod) -> Self {
        if *revoke == RevokeMethod::Delete { Self::Delete } else { Self::Update }
    }

    /// Returns the SQL keyword.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
        }
    }
}

impl SideEffect {
    /// Returns `true` if the effect may change anything other than the sessions.
    #[must_use]
    pub fn changes_other_rows(&self) -> bool {
        self.kind != SideEffectKind::Restrict
    }

    /// Returns `true` if a plan that listed the other effect also covers this one, whatever the number of
    /// rows. Rows listed as archived must still be archivable.
    #[must_use]
    pub fn is_announced_by(&self, other: &Self) -> bool {
        (self.kind, &self.table, &self.name) == (other.kind, &other.table, &other.name)
            && (self.archived || !other.archived)
    }

    /// Describes the effect in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { kind, table, name, .. } = self;
        match kind {
            SideEffectKind::Cascade => format!("foreign key `{name}` of {table} (ON DELETE CASCADE)"),
            SideEffectKind::SetNull => format!("foreign key `{name}` of {table} (ON DELETE SET NULL)"),
            SideEffectKind::SetDefault => format!("foreign key `{name}` of {table} (ON DELETE SET DEFAULT)"),
            SideEffectKind::Restrict => format!("foreign key `{name}` of {table}"),
            SideEffectKind::TriggerBefore => format!("trigger `{name}` on {table} (BEFORE each row)"),
            SideEffectKind::Trigger => format!("trigger `{name}` on {table}"),
            SideEffectKind::Rule => format!("rule `{name}` on {table}"),
            SideEffectKind::RuleInstead => format!("rule `{name}` on {table} (DO INSTEAD)"),
        }
    }
}

impl ReachedSideEffect {
    /// Returns `true` if the role may read all columns needed to count the rows.
    #[must_use]
    pub fn is_countable(&self) -> bool {
        !self.path.is_empty() && self.path.iter().all(|reference| reference.readable)
    }

    /// Returns the foreign key, if it deletes rows of this table together with other rows of the same table.
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
    /// Adds a column of a foreign key. The columns of one key must be added in a row.
    pub(crate) fn add_reference(&mut self, column: ForeignKeyColumn) {
        let ForeignKeyColumn { kind, name, from, from_column, child, to, to_column, equals, readable } =
            column;
        // Catalogs list the columns of one key in a row.
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

    /// Adds a table that inherits from another table, or is a partition of it.
    pub(crate) fn add_inheritance(&mut self, child: String, parent: String, is_partitioned: bool) {
        if is_partitioned {
            self.partitioned.insert(parent.clone());
        }
        self.inherits.push((child, parent));
    }

    /// Lists the side effects of deleting or updating rows of a table.
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
                    // Partitions have copies of their table's triggers, which would be listed once for each.
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
            // A foreign key may refer to the table, to one of its partitions, or to a parent.
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
                    // A restricting key stops the statement, so nothing follows from it.
                    SideEffectKind::Restrict => None,
                    _ => Some(RowEvent::Update),
                };
                // Foreign keys can form cycles.
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

    /// Returns a table with its descendants, and also with its ancestors if `above` is set.
    fn table_family(&self, table: &str, above: bool) -> BTreeSet<String> {
        let mut family = BTreeSet::from([table.to_owned()]);
        let mut grow = |up: bool| {
            let mut next = vec![table.to_owned()];
            while let Some(one) = next.pop() {
                // Inheritance is small, so a linear search per step is fast enough.
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
