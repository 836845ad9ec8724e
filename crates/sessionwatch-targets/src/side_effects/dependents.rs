//! Dependent tables: those whose rows can be archived and restored together with sessions.

use std::collections::BTreeSet;

use super::{
    ForeignKeyEdge, MAX_CASCADE_DEPTH, MAX_SIDE_EFFECTS, ReachedSideEffect, RowEvent, SideEffectCatalog,
    SideEffectKind,
};
use crate::{
    decrypted_rows::{ColumnDecl, DependentTable},
    mapping::TableName,
};

/// A table whose rows are deleted with sessions (`ON DELETE CASCADE`), archived with them, and restored with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CascadingTable {
    /// Quoted name.
    pub sql_name: String,
    /// Name.
    pub table: TableName,
    /// Number of foreign keys on the longest path to the table.
    depth: usize,
    /// Every path of foreign keys from the sessions to the table.
    pub(crate) paths: Vec<Vec<ForeignKeyEdge>>,
    /// Archived columns; empty until read from the database.
    pub columns: Vec<ColumnDecl>,
}

impl CascadingTable {
    /// Describes the table for the archive. Parents are positions in `dependents`.
    #[must_use]
    pub fn to_dependent_table(&self, dependents: &[Self]) -> DependentTable {
        let refers = |other: &Self| {
            self.paths.iter().filter_map(|path| path.last()).any(|last| last.referenced.0 == other.sql_name)
        };
        DependentTable {
            table: self.table.clone(),
            columns: self.columns.clone(),
            parents: (0..dependents.len()).filter(|at| dependents.get(*at).is_some_and(refers)).collect(),
        }
    }
}

impl SideEffectCatalog {
    /// Lists the tables whose rows are deleted with rows of a table and can be archived with them, parents
    /// first. Leaves out cycles, tables with inheritance other than partitions, and whatever depends on
    /// those.
    #[must_use]
    pub fn archivable_dependents(&self, table: &str) -> Vec<CascadingTable> {
        self.find_dependents(table, &self.follow_side_effects(table, RowEvent::Delete))
    }

    pub(super) fn find_dependents(&self, table: &str, found: &[ReachedSideEffect]) -> Vec<CascadingTable> {
        // At the limit, the search ended early, so some paths may be unknown.
        if found.len() >= MAX_SIDE_EFFECTS || !self.has_only_own_rows(table) {
            return vec![];
        }
        let mut dependents: Vec<CascadingTable> = Vec::new();
        for reached in found.iter().filter(|reached| reached.effect.kind == SideEffectKind::Cascade) {
            let Some(last) = reached.path.last() else { continue };
            let depth = reached.path.len();
            match dependents.iter_mut().find(|dependent| dependent.sql_name == last.referencing.0) {
                Some(dependent) => {
                    dependent.depth = dependent.depth.max(depth);
                    dependent.paths.push(reached.path.clone());
                }
                None => dependents.push(CascadingTable {
                    sql_name: last.referencing.0.clone(),
                    table: last.child_table.clone(),
                    depth,
                    paths: vec![reached.path.clone()],
                    columns: vec![],
                }),
            }
        }
        let mut excluded: BTreeSet<String> = self.tables_in_cycles(table, found);
        for dependent in &dependents {
            let family = self.table_family(&dependent.sql_name, true);
            let overlaps = dependents
                .iter()
                .any(|other| other.sql_name != dependent.sql_name && family.contains(&other.sql_name));
            let is_long = dependent.paths.iter().any(|path| path.len() >= MAX_CASCADE_DEPTH);
            // A key that refers to a single partition is not found by joining the parent table.
            let from_part = dependent
                .paths
                .iter()
                .any(|path| path.first().is_some_and(|first| first.referenced.0 != table));
            if overlaps || is_long || from_part || !self.has_only_own_rows(&dependent.sql_name) {
                excluded.insert(dependent.sql_name.clone());
            }
        }
        let behind =
            |dependent: &CascadingTable| {
                dependent.paths.iter().flatten().any(|step| {
                    excluded.contains(&step.referencing.0) || excluded.contains(&step.referenced.0)
                })
            };
        let family = self.table_family(table, true);
        dependents.retain(|dependent| !behind(dependent) && !family.contains(&dependent.sql_name));
        // By longest path, so that every table comes after all tables that it refers to.
        dependents.sort_by_key(|dependent| dependent.depth);
        dependents
    }

    /// Returns the tables on a path that returns to itself, or to the given table.
    fn tables_in_cycles(&self, table: &str, found: &[ReachedSideEffect]) -> BTreeSet<String> {
        let family = self.table_family(table, true);
        let mut circles = BTreeSet::new();
        for reached in found.iter().filter(|reached| reached.effect.kind == SideEffectKind::Cascade) {
            let Some(last) = reached.path.last() else { continue };
            let child = &last.referencing.0;
            let back = reached.path.iter().position(|step| step.referenced.0 == *child);
            let start = if family.contains(child) { Some(0) } else { back };
            if let Some(start) = start {
                let tables = reached.path.iter().skip(start).map(|step| &step.referencing.0);
                circles.extend(tables.filter(|table| !family.contains(*table)).cloned());
            }
        }
        circles
    }

    /// Returns `true` if a table has no rows of inheriting tables other than partitions.
    fn has_only_own_rows(&self, table: &str) -> bool {
        self.table_family(table, false).iter().all(|one| {
            self.partitioned.contains(one) || !self.inherits.iter().any(|(_, parent)| parent == one)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::reference, *};

    #[test]
    fn dependent_rows_are_archived_unless_inheritance_or_cycles_prevent_that() {
        let names = |references: Vec<ForeignKeyEdge>, inherits: &[(&str, &str)], partitioned: &[&str]| {
            let inherits =
                inherits.iter().map(|(child, parent)| ((*child).into(), (*parent).into())).collect();
            let partitioned = partitioned.iter().map(|table| (*table).into()).collect();
            let catalog = SideEffectCatalog { references, triggers: vec![], inherits, partitioned };
            let archived: Vec<String> =
                catalog.archivable_dependents("s").into_iter().map(|dependent| dependent.sql_name).collect();
            let reached = catalog.list_side_effects("s", RowEvent::Delete);
            let is_expected = |name: &String| {
                reached.iter().any(|reached| reached.effect.archived && reached.effect.table == *name)
            };
            assert!(archived.iter().all(is_expected), "{archived:?}");
            archived
        };
        let cascade = |from: &str, to: &str| reference(SideEffectKind::Cascade, from, to);
        // A table comes after everything that it refers to, on every path.
        let all = || vec![cascade("item", "s"), cascade("cart", "s"), cascade("item", "cart")];
        assert_eq!(names(all(), &[], &[]), ["cart", "item"]);
        assert_eq!(names(all(), &[("part", "cart")], &["cart"]), ["cart", "item"]);
        // A foreign key does not find rows of inheriting tables.
        assert_eq!(names(all(), &[("part", "cart")], &[]), Vec::<String>::new());
        assert_eq!(names(all(), &[("part", "s")], &[]), Vec::<String>::new());
        // A cycle, and what depends on it.
        let circle = vec![
            cascade("cart", "s"),
            cascade("item", "cart"),
            cascade("cart", "item"),
            cascade("line", "item"),
            cascade("note", "s"),
        ];
        assert_eq!(names(circle, &[], &[]), ["note"]);
        assert_eq!(names(vec![cascade("s", "s"), cascade("note", "s")], &[], &[]), ["note"]);
        assert_eq!(
            names(vec![cascade("note", "s"), cascade("note", "note")], &[], &[]),
            Vec::<String>::new()
        );
        // Rows that refer to a partition are not found by way of the sessions.
        assert_eq!(names(vec![cascade("log", "part")], &[("part", "s")], &["s"]), Vec::<String>::new());
        assert_eq!(
            names(vec![reference(SideEffectKind::SetNull, "order", "s"), cascade("line", "order")], &[], &[]),
            Vec::<String>::new()
        );
    }
}
