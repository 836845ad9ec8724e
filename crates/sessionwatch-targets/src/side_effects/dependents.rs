//! Which rows of other tables go with sessions in a way that lets them be archived and restored.

use std::collections::BTreeSet;

use super::{
    ForeignKeyEdge, MAX_CASCADE_DEPTH, MAX_SIDE_EFFECTS, ReachedSideEffect, RowEvent, SideEffectCatalog,
    SideEffectKind,
};
use crate::{
    mapping::TableName,
    unsealed_rows::{ColumnDecl, DependentTable},
};

/// A table whose rows are deleted with sessions (`ON DELETE CASCADE`), archived with them, and restored with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CascadingTable {
    /// Its name as SQL.
    pub sql_name: String,
    /// Its name.
    pub table: TableName,
    /// How many foreign keys lead to it on the longest path.
    depth: usize,
    /// Each way from the sessions to it.
    pub(crate) paths: Vec<Vec<ForeignKeyEdge>>,
    /// The columns that are archived; empty until the database was asked.
    pub columns: Vec<ColumnDecl>,
}

impl CascadingTable {
    /// How its rows are archived, as one of these tables.
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
    /// The tables whose rows are deleted with those of that table, and can be archived with them: parents before what refers to
    /// them. Left out are circles, tables that inherit outside of partitions, and what lies behind those.
    #[must_use]
    pub fn archivable_dependents(&self, table: &str) -> Vec<CascadingTable> {
        self.find_dependents(table, &self.follow_side_effects(table, RowEvent::Delete))
    }

    pub(super) fn find_dependents(&self, table: &str, found: &[ReachedSideEffect]) -> Vec<CascadingTable> {
        // Not everything was followed to its end.
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
        dependents.sort_by_key(|dependent| dependent.depth);
        dependents
    }

    /// The tables on paths that lead back to where they have been, or to that table.
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

    /// Whether all rows of a table are its own, or of its partitions.
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
    fn what_is_deleted_along_is_archived_where_it_is_rows_of_one_table() {
        let names = |references: Vec<ForeignKeyEdge>, inherits: &[(&str, &str)], partitioned: &[&str]| {
            let inherits =
                inherits.iter().map(|(child, parent)| ((*child).into(), (*parent).into())).collect();
            let partitioned = partitioned.iter().map(|table| (*table).into()).collect();
            let catalog = SideEffectCatalog { references, triggers: vec![], inherits, partitioned };
            let archived: Vec<String> =
                catalog.archivable_dependents("s").into_iter().map(|dependent| dependent.sql_name).collect();
            let reached = catalog.list_side_effects("s", RowEvent::Delete);
            let said = |name: &String| {
                reached.iter().any(|reached| reached.effect.archived && reached.effect.table == *name)
            };
            assert!(archived.iter().all(said), "{archived:?}");
            archived
        };
        let cascade = |from: &str, to: &str| reference(SideEffectKind::Cascade, from, to);
        // A table comes after all that it refers to, on whatever way.
        let all = || vec![cascade("item", "s"), cascade("cart", "s"), cascade("item", "cart")];
        assert_eq!(names(all(), &[], &[]), ["cart", "item"]);
        assert_eq!(names(all(), &[("part", "cart")], &["cart"]), ["cart", "item"]);
        // Rows of tables that inherit are not found by the foreign key.
        assert_eq!(names(all(), &[("part", "cart")], &[]), Vec::<String>::new());
        assert_eq!(names(all(), &[("part", "s")], &[]), Vec::<String>::new());
        // A circle, and what lies behind it.
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
        // What refers to a part of the sessions is not found by them.
        assert_eq!(names(vec![cascade("log", "part")], &[("part", "s")], &["s"]), Vec::<String>::new());
        assert_eq!(
            names(vec![reference(SideEffectKind::SetNull, "order", "s"), cascade("line", "order")], &[], &[]),
            Vec::<String>::new()
        );
    }
}
