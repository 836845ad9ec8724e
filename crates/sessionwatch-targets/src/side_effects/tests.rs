use super::*;

pub(super) fn reference(kind: Kind, from: &str, to: &str) -> Reference {
    let column = |column: &str| vec![column.to_owned()];
    Reference {
        kind,
        name: format!("{from}_{to}"),
        from: (from.into(), column("parent")),
        child: TableName { schema: None, name: from.into() },
        to: (to.into(), column("id")),
        equals: vec!["=".into()],
        readable: true,
    }
}

fn hook(kind: Kind, table: &str, event: Event) -> Hook {
    Hook { kind, table: table.into(), name: format!("{table}_hook"), event }
}

fn found(catalog: &Catalog, event: Event) -> Vec<(Kind, String, usize)> {
    let reached = catalog.reached("s", event).into_iter();
    reached.map(|reached| (reached.effect.kind, reached.effect.name, reached.path.len())).collect()
}

#[test]
fn deletions_are_followed_from_table_to_table() {
    let catalog = Catalog {
        references: vec![
            reference(Kind::Cascade, "cart", "s"),
            reference(Kind::Cascade, "item", "cart"),
            reference(Kind::SetNull, "order", "s"),
            // What is only changed takes nothing along.
            reference(Kind::Cascade, "line", "order"),
            reference(Kind::Restrict, "note", "item"),
            reference(Kind::Cascade, "s", "s"),
            reference(Kind::Cascade, "cart", "item"),
            reference(Kind::Cascade, "s_2026_log", "s_2026"),
        ],
        hooks: vec![
            hook(Kind::TriggerBefore, "s", Event::Delete),
            hook(Kind::Trigger, "s", Event::Update),
            hook(Kind::Rule, "item", Event::Delete),
            hook(Kind::Trigger, "order", Event::Update),
            hook(Kind::Trigger, "order", Event::Delete),
        ],
        inherits: vec![("s_2026".into(), "s".into())],
        partitioned: BTreeSet::from(["s".into()]),
    };
    let expected = [
        (Kind::TriggerBefore, "s_hook", 0),
        (Kind::Cascade, "cart_s", 1),
        (Kind::SetNull, "order_s", 1),
        (Kind::Cascade, "s_s", 1),
        (Kind::Cascade, "s_2026_log_s_2026", 1),
        (Kind::Cascade, "item_cart", 2),
        (Kind::Trigger, "order_hook", 0),
        (Kind::Rule, "item_hook", 0),
        (Kind::Restrict, "note_item", 3),
        (Kind::Cascade, "cart_item", 3),
    ];
    assert_eq!(
        found(&catalog, Event::Delete),
        expected.map(|(kind, name, length)| (kind, name.to_owned(), length))
    );
    assert_eq!(found(&catalog, Event::Update), [(Kind::Trigger, "s_hook".to_owned(), 0)]);
}
