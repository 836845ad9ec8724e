//! Which rows of other tables go with sessions in a way that lets them be archived and restored.

use std::collections::BTreeSet;

use super::{Catalog, DEPTH, Event, Kind, LISTED, Reached, Reference};
use crate::{
    mapping::TableName,
    unsealed_rows::{ColumnDecl, DependentTable},
};

/// A table whose rows are deleted with sessions (`ON DELETE CASCADE`), archived with them, and restored with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependent {
    /// Its name as SQL.
    pub name: String,
    /// Its name.
    pub table: TableName,
    /// How many foreign keys lead to it on the longest path.
    depth: usize,
    /// Each way from the sessions to it.
    pub(crate) paths: Vec<Vec<Reference>>,
    /// The columns that are archived; empty until the database was asked.
    pub columns: Vec<ColumnDecl>,
}

impl Dependent {
    /// How its rows are archived, as one of these tables.
    #[must_use]
    pub fn archived_among(&self, dependents: &[Self]) -> DependentTable {
        let refers = |other: &Self| {
            self.paths.iter().filter_map(|path| path.last()).any(|last| last.to.0 == other.name)
        };
        DependentTable {
            table: self.table.clone(),
            columns: self.columns.clone(),
            parents: (0..dependents.len()).filter(|at| dependents.get(*at).is_some_and(refers)).collect(),
        }
    }
}

impl Catalog {
    /// The tables whose rows are deleted with those of that table, and can be archived with them: parents before what refers to
    /// them. Left out are circles, tables that inherit outside of partitions, and what lies behind those.
    #[must_use]
    pub fn archivable(&self, table: &str) -> Vec<Dependent> {
        self.dependents(table, &self.followed(table, Event::Delete))
    }

    pub(super) fn dependents(&self, table: &str, found: &[Reached]) -> Vec<Dependent> {
        // Not everything was followed to its end.
        if found.len() >= LISTED || !self.is_one_table(table) {
            return vec![];
        }
        let mut dependents: Vec<Dependent> = Vec::new();
        for reached in found.iter().filter(|reached| reached.effect.kind == Kind::Cascade) {
            let Some(last) = reached.path.last() else { continue };
            let depth = reached.path.len();
            match dependents.iter_mut().find(|dependent| dependent.name == last.from.0) {
                Some(dependent) => {
                    dependent.depth = dependent.depth.max(depth);
                    dependent.paths.push(reached.path.clone());
                }
                None => dependents.push(Dependent {
                    name: last.from.0.clone(),
                    table: last.child.clone(),
                    depth,
                    paths: vec![reached.path.clone()],
                    columns: vec![],
                }),
            }
        }
        let mut excluded: BTreeSet<String> = self.in_circles(table, found);
        for dependent in &dependents {
            let family = self.family(&dependent.name, true);
            let overlaps =
                dependents.iter().any(|other| other.name != dependent.name && family.contains(&other.name));
            let is_long = dependent.paths.iter().any(|path| path.len() >= DEPTH);
            let from_part =
                dependent.paths.iter().any(|path| path.first().is_some_and(|first| first.to.0 != table));
            if overlaps || is_long || from_part || !self.is_one_table(&dependent.name) {
                excluded.insert(dependent.name.clone());
            }
        }
        let behind = |dependent: &Dependent| {
            dependent
                .paths
                .iter()
                .flatten()
                .any(|step| excluded.contains(&step.from.0) || excluded.contains(&step.to.0))
        };
        let family = self.family(table, true);
        dependents.retain(|dependent| !behind(dependent) && !family.contains(&dependent.name));
        dependents.sort_by_key(|dependent| dependent.depth);
        dependents
    }

    /// The tables on paths that lead back to where they have been, or to that table.
    fn in_circles(&self, table: &str, found: &[Reached]) -> BTreeSet<String> {
        let family = self.family(table, true);
        let mut circles = BTreeSet::new();
        for reached in found.iter().filter(|reached| reached.effect.kind == Kind::Cascade) {
            let Some(last) = reached.path.last() else { continue };
            let child = &last.from.0;
            let back = reached.path.iter().position(|step| step.to.0 == *child);
            let start = if family.contains(child) { Some(0) } else { back };
            if let Some(start) = start {
                let tables = reached.path.iter().skip(start).map(|step| &step.from.0);
                circles.extend(tables.filter(|table| !family.contains(*table)).cloned());
            }
        }
        circles
    }

    /// Whether all rows of a table are its own, or of its partitions.
    fn is_one_table(&self, table: &str) -> bool {
        self.family(table, false).iter().all(|one| {
            self.partitioned.contains(one) || !self.inherits.iter().any(|(_, parent)| parent == one)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::reference, *};

    #[test]
    fn what_is_deleted_along_is_archived_where_it_is_rows_of_one_table() {
        let names = |references: Vec<Reference>, inherits: &[(&str, &str)], partitioned: &[&str]| {
            let inherits =
                inherits.iter().map(|(child, parent)| ((*child).into(), (*parent).into())).collect();
            let partitioned = partitioned.iter().map(|table| (*table).into()).collect();
            let catalog = Catalog { references, hooks: vec![], inherits, partitioned };
            let archived: Vec<String> =
                catalog.archivable("s").into_iter().map(|dependent| dependent.name).collect();
            let reached = catalog.reached("s", Event::Delete);
            let said = |name: &String| {
                reached.iter().any(|reached| reached.effect.archived && reached.effect.table == *name)
            };
            assert!(archived.iter().all(said), "{archived:?}");
            archived
        };
        let cascade = |from: &str, to: &str| reference(Kind::Cascade, from, to);
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
            names(vec![reference(Kind::SetNull, "order", "s"), cascade("line", "order")], &[], &[]),
            Vec::<String>::new()
        );
    }
}
