//! Tests of when a detected session table is not certain enough, since sessions of the wrong table could be ended.

use std::collections::BTreeMap;

use super::*;
use crate::sql::{sample_target::SampleTarget, table_info::TableInfo};

/// A table that may hold the sessions.
#[derive(Clone, Copy)]
struct Rival {
    schema: &'static str,
    table: &'static str,
    kind: TableKind,
    is_on_path: bool,
    lacks_evidence: bool,
}

const SESSIONS: Rival = Rival {
    schema: "public",
    table: "sessions",
    kind: TableKind::Table,
    is_on_path: true,
    lacks_evidence: false,
};

fn table_name(rival: Rival) -> TableName {
    TableName { schema: Some(rival.schema.to_owned()), name: rival.table.to_owned() }
}

fn candidate(rival: Rival, profile: &str) -> LayoutCandidate {
    let mut mapping = SampleTarget::on_server().mapping;
    (mapping.sessions, mapping.profile) = (table_name(rival), profile.to_owned());
    LayoutCandidate {
        mapping,
        title: format!("Title of {profile}"),
        score: 0,
        reasons: vec![],
        notes: vec![],
        missing_evidence: if rival.lacks_evidence { vec!["no user table".into()] } else { vec![] },
        other_login_hints: vec![],
        is_named_in_config: false,
    }
}

fn assess(chosen: Rival, others: &[Rival]) -> Option<LayoutUncertainty> {
    let mut schema = SampleTarget::on_server().schema;
    schema.tables = [chosen]
        .iter()
        .chain(others)
        .map(|rival| TableInfo {
            schema: Some(rival.schema.to_owned()),
            name: rival.table.to_owned(),
            kind: rival.kind,
            search_path_index: rival.is_on_path.then_some(0),
            ..TableInfo::default()
        })
        .collect();
    let others: Vec<LayoutCandidate> = others.iter().map(|rival| candidate(*rival, "rival")).collect();
    LayoutUncertainty::assess(&schema, &candidate(chosen, "chosen"), &others)
}

fn level(chosen: Rival, others: &[Rival]) -> Option<UncertaintyLevel> {
    assess(chosen, others).map(|uncertainty| uncertainty.level)
}

#[test]
fn the_only_table_with_evidence_is_certain() {
    assert_eq!(level(SESSIONS, &[]), None);
    assert_eq!(level(SESSIONS, &[SESSIONS]), None, "another profile for the same table");
    let weak = Rival { table: "tokens", lacks_evidence: true, ..SESSIONS };
    assert_eq!(level(SESSIONS, &[weak]), None, "a table with too little evidence is no rival");
    let view = Rival { table: "all_sessions", kind: TableKind::View, ..SESSIONS };
    let stored_view = Rival { kind: TableKind::MaterializedView, ..view };
    assert_eq!(level(SESSIONS, &[view, stored_view]), None, "a view does not compete with a table");
}

#[test]
fn a_table_named_in_the_configuration_is_always_certain() {
    let schema = SampleTarget::on_server().schema;
    let weak = Rival { lacks_evidence: true, ..SESSIONS };
    let chosen = LayoutCandidate { is_named_in_config: true, ..candidate(weak, "chosen") };
    let other = candidate(Rival { table: "other_sessions", ..SESSIONS }, "rival");
    assert_eq!(LayoutUncertainty::assess(&schema, &chosen, &[other]), None);
}

#[test]
fn two_tables_are_ambiguous_unless_only_the_chosen_one_is_on_the_search_path() {
    let other = Rival { schema: "tenant", ..SESSIONS };
    let off_path = Rival { is_on_path: false, ..other };
    for (chosen, others, expected) in [
        (SESSIONS, vec![other], UncertaintyLevel::Ambiguous),
        (SESSIONS, vec![off_path], UncertaintyLevel::OffSearchPath),
        (SESSIONS, vec![off_path, Rival { table: "session", ..off_path }], UncertaintyLevel::OffSearchPath),
        (SESSIONS, vec![off_path, Rival { table: "session", ..other }], UncertaintyLevel::Ambiguous),
        (Rival { is_on_path: false, ..SESSIONS }, vec![off_path], UncertaintyLevel::Ambiguous),
        (Rival { is_on_path: false, ..SESSIONS }, vec![other], UncertaintyLevel::Ambiguous),
        (Rival { kind: TableKind::View, ..SESSIONS }, vec![other], UncertaintyLevel::Ambiguous),
    ] {
        assert_eq!(level(chosen, &others), Some(expected), "{} rivals", others.len());
    }
}

#[test]
fn too_little_evidence_is_weak_even_without_a_rival() {
    let weak = Rival { table: "tokens", lacks_evidence: true, ..SESSIONS };
    let alone = assess(weak, &[]).unwrap();
    assert_eq!(alone.level, UncertaintyLevel::Weak);
    assert_eq!(
        alone.to_string(),
        "too little evidence that `public.tokens` holds the sessions of Title of chosen: no user table"
    );
    let other = Rival { table: "keys", ..weak };
    for rival in [other, Rival { lacks_evidence: false, ..other }, Rival { is_on_path: false, ..other }] {
        let several = assess(weak, &[rival]).unwrap();
        assert_eq!((several.level, several.tables.len()), (UncertaintyLevel::Weak, 2));
        assert!(several.reason.contains("`public.tokens`") && several.reason.contains("`public.keys`"));
    }
}

#[test]
fn a_weak_table_named_like_sessions_competes_with_one_that_is_not() {
    let tokens = Rival { table: "tokens", ..SESSIONS };
    let named = Rival { table: "user_sessions", lacks_evidence: true, ..SESSIONS };
    assert_eq!(level(tokens, &[named]), Some(UncertaintyLevel::Ambiguous));
    assert_eq!(level(Rival { table: "session", ..SESSIONS }, &[named]), None);
    assert_eq!(level(tokens, &[Rival { table: "password_reset_sessions", ..named }]), None);
}

#[test]
fn every_table_is_offered_once_as_valid_configuration() {
    let hostile = Rival { schema: "My \"app\"", table: "ses\\sions\n[[target]]\t'; --", ..SESSIONS };
    let others = [hostile, Rival { schema: "ünï", table: "se.ssions", ..SESSIONS }, hostile];
    let uncertainty = assess(SESSIONS, &others).unwrap();
    let alternatives = uncertainty.config_alternatives();
    assert_eq!(alternatives.len(), 3);
    let tables = [SESSIONS, others[0], others[1]];
    for ([profile, sessions], rival) in alternatives.iter().zip(tables) {
        assert!(uncertainty.hint().contains(profile) && uncertainty.hint().contains(sessions));
        let lines = format!("{profile}\n{sessions}");
        let parsed: BTreeMap<String, String> = toml::from_str(&lines).unwrap_or_else(|_| panic!("{lines}"));
        assert_eq!(parsed["sessions"], table_name(rival).to_string());
        assert_eq!(parsed.len(), 2, "a name adds no other line: {lines}");
    }
}
