//! Tests of the guards that refuse a plan before any row is listed.

use std::path::Path;

use sessionwatch_core::local_time::TimeZoneDoubt;
use sessionwatch_targets::{layout::storage_setting::ProfileSource, mapping::UsersMapping};

use super::*;
use crate::config::Config;

/// Returns a mapping that knows only the columns that every table needs.
fn bare_mapping() -> Mapping {
    let text = "[[target]]\nname = \"main\"\nurl = \"app.db\"\n[target.mapping]\nsessions = \"auth.sessions\"\n\
                token = \"t\"\nexpires = \"e\"\ndecoder = \"epoch-ms\"\n";
    let config = Config::parse(Path::new("sessionwatch.toml"), text).unwrap();
    let ProfileSource::Explicit(mapping) = config.targets[0].profile_source.clone() else {
        panic!("{config:?}")
    };
    *mapping
}

/// Returns a mapping that knows every column.
fn full_mapping() -> Mapping {
    let bare = bare_mapping();
    Mapping {
        user: Some("user_id".into()),
        created: Some(bare.expires.clone()),
        ip: Some("ip".into()),
        agent: Some("agent".into()),
        impersonator: Some("by".into()),
        users: Some(UsersMapping { table: bare.sessions.clone(), key: "id".into(), display: vec![] }),
        ..bare
    }
}

fn matching(change: impl FnOnce(&mut SelectionFilter)) -> Selection {
    let mut filter = SelectionFilter::default();
    change(&mut filter);
    Selection::Where(filter)
}

#[test]
fn a_selection_by_an_unknown_column_is_refused_and_names_its_option() {
    for (selection, condition) in [
        (Selection::Orphaned, "cleanup orphaned"),
        (Selection::Excess { keep: 1 }, "cleanup excess"),
        (Selection::User("7".into()), "revoke user"),
        (Selection::Users(vec!["7".into()]), "revoke user"),
        (matching(|filter| filter.user = Some("7".into())), "--user"),
        (matching(|filter| filter.user_like = Some("ad".into())), "--user-like"),
        (matching(|filter| filter.created_after = Some(0)), "--created-after"),
        (matching(|filter| filter.created_before = Some(0)), "--created-after"),
        (matching(|filter| filter.ip = Some("192.0.2.1".into())), "--ip"),
        (matching(|filter| filter.agent_like = Some("curl".into())), "--user-agent-like"),
        (matching(|filter| filter.impersonated = true), "--impersonated"),
    ] {
        let refused = require_columns(&selection, &bare_mapping());
        assert!(
            matches!(&refused, Err(ActionError::NoColumn { condition: named, .. }) if *named == condition),
            "{selection:?}: {refused:?}"
        );
        assert!(require_columns(&selection, &full_mapping()).is_ok(), "{selection:?}");
    }
}

#[test]
fn a_selection_by_columns_of_every_table_is_accepted() {
    for selection in [
        Selection::Expired { grace: SignedDuration::ZERO },
        Selection::Duplicates,
        Selection::Session("0a1b".into()),
        Selection::Sessions(vec!["1".into()]),
        Selection::All,
        matching(|filter| filter.expires_after = Some(0)),
        matching(|filter| filter.expires_before = Some(0)),
    ] {
        assert!(require_columns(&selection, &bare_mapping()).is_ok(), "{selection:?}");
    }
}

#[test]
fn orphans_need_both_a_users_table_and_a_user_column() {
    let (bare, full) = (bare_mapping(), full_mapping());
    for (mapping, is_known) in [
        (Mapping { user: full.user.clone(), ..bare.clone() }, false),
        (Mapping { users: full.users.clone(), ..bare }, false),
        (full, true),
    ] {
        assert_eq!(require_columns(&Selection::Orphaned, &mapping).is_ok(), is_known, "{mapping:?}");
    }
}

fn doubt(reason: &str) -> Option<TimeZoneDoubt> {
    Some(TimeZoneDoubt { offset_us: None, reason: reason.into(), is_contradicted: true })
}

/// Returns which doubt refuses the plan, if any.
fn refusing_doubt(selection: &Selection, revoke: &RevokeMethod) -> Option<String> {
    let doubts = TimeZoneDoubts { expires: doubt("expires is local"), created: doubt("created is local") };
    match require_trusted_timestamps(selection, revoke, &doubts) {
        Ok(()) => None,
        Err(ActionError::UntrustedTimestamp { reason, doubts: reported }) => {
            assert_eq!(reported, doubts);
            Some(reason)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_untrusted_time_refuses_only_selections_that_depend_on_it() {
    let (expires, created) = (Some("expires is local"), Some("created is local"));
    for (selection, reason) in [
        (Selection::Expired { grace: MIN_GRACE }, expires),
        (Selection::Excess { keep: 3 }, expires),
        (matching(|filter| filter.expires_after = Some(0)), expires),
        (matching(|filter| filter.expires_before = Some(0)), expires),
        (matching(|filter| filter.created_after = Some(0)), created),
        (matching(|filter| filter.created_before = Some(0)), created),
        (matching(|filter| filter.user = Some("7".into())), None),
        (Selection::Orphaned, None),
        (Selection::Duplicates, None),
        (Selection::User("7".into()), None),
        (Selection::All, None),
    ] {
        assert_eq!(refusing_doubt(&selection, &RevokeMethod::Delete).as_deref(), reason, "{selection:?}");
    }
}

#[test]
fn revoking_in_place_needs_a_trusted_expiry_for_any_selection() {
    let flag = RevokeMethod::Flag { column: "revoked".into(), value: "1".into() };
    for selection in [Selection::All, Selection::User("7".into()), Selection::Duplicates] {
        let reason = refusing_doubt(&selection, &RevokeMethod::Expire);
        assert_eq!(reason.as_deref(), Some("expires is local"), "{selection:?}");
        assert_eq!(refusing_doubt(&selection, &flag), None, "{selection:?}");
    }
}

#[test]
fn trusted_times_refuse_nothing() {
    let selection = Selection::Expired { grace: SignedDuration::ZERO };
    let trusted = TimeZoneDoubts::default();
    assert!(require_trusted_timestamps(&selection, &RevokeMethod::Expire, &trusted).is_ok());
    let other = TimeZoneDoubts { created: doubt("created is local"), ..trusted };
    assert!(require_trusted_timestamps(&selection, &RevokeMethod::Delete, &other).is_ok());
}

#[test]
fn plan_ids_have_one_form_and_do_not_repeat() {
    let ids: BTreeSet<String> = (0..1_000).map(|_| new_plan_id()).collect();
    assert_eq!(ids.len(), 1_000);
    for id in ids {
        assert!(is_plan_id(&id), "{id}");
    }
    for other in ["", "p-", "p-123456789", "p-12345678901", "p-123456789x", "1234567890", "p-öööööabcde"]
    {
        assert!(!is_plan_id(other), "{other}");
    }
}
