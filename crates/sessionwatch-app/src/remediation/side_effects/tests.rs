use super::*;

fn effect(kind: SideEffectKind, table: &str, rows: Option<u64>) -> SideEffect {
    SideEffect { kind, table: table.into(), name: "fk".into(), rows, archived: false }
}

#[test]
fn each_note_says_whether_a_restore_brings_the_rows_back() {
    use SideEffectKind::{Cascade, Restrict, Rule, RuleInstead, SetDefault, SetNull, Trigger, TriggerBefore};
    let archived = SideEffect { archived: true, ..effect(Cascade, "carts", Some(1)) };
    assert_eq!(
        side_effect_notes(&[archived])[0],
        "also deletes 1 row of carts, by foreign key `fk` of carts (ON DELETE CASCADE): archived, and restored \
         with their sessions"
    );
    for (kind, lost) in [
        (Cascade, "not archived, and cannot be restored"),
        (SetNull, "the old values are not archived and cannot be restored"),
        (SetDefault, "the old values are not archived and cannot be restored"),
        (TriggerBefore, "a restore does not undo that"),
        (Trigger, "a restore does not undo that"),
        (Rule, "a restore does not undo that"),
        (RuleInstead, "a restore does not undo that"),
    ] {
        let note = side_effect_notes(&[effect(kind, "carts", Some(2))]).remove(0);
        assert!(note.ends_with(lost), "{note}");
        // Triggers and rules are on a table, constraints are of one.
        let preposition = if matches!(kind, Cascade | SetNull | SetDefault) { "of" } else { "on" };
        assert!(note.contains(&format!("`fk` {preposition} carts")), "{note}");
    }
    let blocking = side_effect_notes(&[effect(Restrict, "orders", Some(1_500))]).remove(0);
    assert!(blocking.starts_with("1,500 rows of orders refer to these sessions"), "{blocking}");
    assert!(blocking.ends_with("the database will refuse to delete such sessions"), "{blocking}");
}

#[test]
fn rows_that_were_not_counted_are_not_shown_as_none() {
    for (rows, text) in [(None, "an unknown number of rows"), (Some(0), "0 rows"), (Some(1), "1 row")] {
        let note = side_effect_notes(&[effect(SideEffectKind::SetNull, "carts", rows)]).remove(0);
        assert!(note.starts_with(&format!("also changes {text} of carts, by ")), "{note}");
    }
}

#[test]
fn an_instead_rule_refuses_a_plan_only_on_the_session_table() {
    let instead = |table: &str| effect(SideEffectKind::RuleInstead, table, None);
    let refused = require_no_instead_rule(&[instead("logs"), instead("sessions")], "sessions");
    match refused {
        Err(ActionError::ReplacedByRule { table, rule }) => assert_eq!((&*table, &*rule), ("sessions", "fk")),
        other => panic!("{other:?}"),
    }
    assert!(require_no_instead_rule(&[instead("logs")], "sessions").is_ok());
    assert!(
        require_no_instead_rule(&[effect(SideEffectKind::Rule, "sessions", None)], "sessions").is_ok(),
        "a rule that runs in addition replaces nothing"
    );
}
