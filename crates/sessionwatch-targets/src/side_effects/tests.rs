use super::*;

pub(super) fn reference(kind: SideEffectKind, from: &str, to: &str) -> ForeignKeyEdge {
    let column = |column: &str| vec![column.to_owned()];
    ForeignKeyEdge {
        kind,
        name: format!("{from}_{to}"),
        referencing: (from.into(), column("parent")),
        child_table: TableName { schema: None, name: from.into() },
        referenced: (to.into(), column("id")),
        equality_operators: vec!["=".into()],
        readable: true,
    }
}

fn hook(kind: SideEffectKind, table: &str, event: RowEvent) -> TriggerOrRule {
    TriggerOrRule { kind, table: table.into(), name: format!("{table}_hook"), event }
}

fn found(catalog: &SideEffectCatalog, event: RowEvent) -> Vec<(SideEffectKind, String, usize)> {
    let reached = catalog.list_side_effects("s", event).into_iter();
    reached.map(|reached| (reached.effect.kind, reached.effect.name, reached.path.len())).collect()
}

#[test]
fn deletions_are_followed_from_table_to_table() {
    let catalog = SideEffectCatalog {
        references: vec![
            reference(SideEffectKind::Cascade, "cart", "s"),
            reference(SideEffectKind::Cascade, "item", "cart"),
            reference(SideEffectKind::SetNull, "order", "s"),
            // An update does not cascade.
            reference(SideEffectKind::Cascade, "line", "order"),
            reference(SideEffectKind::Restrict, "note", "item"),
            reference(SideEffectKind::Cascade, "s", "s"),
            reference(SideEffectKind::Cascade, "cart", "item"),
            reference(SideEffectKind::Cascade, "s_2026_log", "s_2026"),
        ],
        triggers: vec![
            hook(SideEffectKind::TriggerBefore, "s", RowEvent::Delete),
            hook(SideEffectKind::Trigger, "s", RowEvent::Update),
            hook(SideEffectKind::Rule, "item", RowEvent::Delete),
            hook(SideEffectKind::Trigger, "order", RowEvent::Update),
            hook(SideEffectKind::Trigger, "order", RowEvent::Delete),
        ],
        inherits: vec![("s_2026".into(), "s".into())],
        partitioned: BTreeSet::from(["s".into()]),
    };
    let expected = [
        (SideEffectKind::TriggerBefore, "s_hook", 0),
        (SideEffectKind::Cascade, "cart_s", 1),
        (SideEffectKind::SetNull, "order_s", 1),
        (SideEffectKind::Cascade, "s_s", 1),
        (SideEffectKind::Cascade, "s_2026_log_s_2026", 1),
        (SideEffectKind::Cascade, "item_cart", 2),
        (SideEffectKind::Trigger, "order_hook", 0),
        (SideEffectKind::Rule, "item_hook", 0),
        (SideEffectKind::Restrict, "note_item", 3),
        (SideEffectKind::Cascade, "cart_item", 3),
    ];
    assert_eq!(
        found(&catalog, RowEvent::Delete),
        expected.map(|(kind, name, length)| (kind, name.to_owned(), length))
    );
    assert_eq!(found(&catalog, RowEvent::Update), [(SideEffectKind::Trigger, "s_hook".to_owned(), 0)]);
}
