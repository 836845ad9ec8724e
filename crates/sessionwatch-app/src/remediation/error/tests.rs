use super::*;

fn reason(why: &[LimitExceeded]) -> ConfirmationReasons {
    ConfirmationReasons(why.to_vec())
}

/// One of each error that the arguments cause.
fn usage() -> Vec<ActionError> {
    let text = || "x".to_owned();
    vec![
        ActionError::OtherTable { plan: text(), now: text() },
        ActionError::NotATable { table: text(), kind: "view" },
        ActionError::NoColumn { condition: "--ip", about: "addresses" },
        ActionError::TooCloseToNow { given: "--grace", column: text(), decoder: "timestamp-utc" },
        ActionError::NoUser(text(), vec![]),
        ActionError::NoUser(text(), vec![RowPreview::default()]),
        ActionError::NoSession,
        ActionError::SessionsMissing { missing: 1, wanted: 3 },
        ActionError::Ambiguous(text(), vec![RowPreview::default(), RowPreview::default()]),
        ActionError::NoPlan(text()),
        ActionError::OtherTarget { plan: text(), named: text() },
        ActionError::Done(text()),
        ActionError::Stale { id: text(), minutes: 15 },
        ActionError::LimitExceeded(reason(&[LimitExceeded::Rows(9)]), text()),
        ActionError::NotApproved(reason(&[LimitExceeded::Rows(9)])),
        ActionError::NotConfirmed(text()),
        ActionError::NoCredentials(text()),
        ActionError::CredentialsMissing { target: text(), problem: text() },
        ActionError::NoArchive(text()),
        ActionError::NoIdentity(text()),
        ActionError::CheckedAutomatically("confirm"),
        ActionError::NoteRequired("team", "whom"),
        ActionError::StepNotDone(text()),
        ActionError::StepAlreadyDone("confirm"),
        ActionError::StillOpen(text(), "open"),
        ActionError::Closed(text()),
        ActionError::NotClosable { id: text(), points: vec![text()] },
    ]
}

#[test]
fn usage_errors_have_a_hint() {
    for error in usage() {
        assert!(error.is_usage_error(), "{error:?}");
        let hint = error.hint().unwrap_or_else(|| panic!("no hint for {error:?}"));
        assert!(!hint.is_empty() && !hint.ends_with('.'), "{hint}");
    }
}

#[test]
fn errors_of_the_target_are_no_usage_errors_and_have_a_hint() {
    for error in [
        ActionError::NoRowIdentifier("sessions".into()),
        ActionError::ImplausibleExpiry { odd: 9, rows: 10 },
        ActionError::MissingPrivileges(vec!["DELETE ON sessions".into(), "SELECT ON users".into()]),
        ActionError::TriggerLacksPrivilege,
        ActionError::NotCounted("carts".into()),
        ActionError::ChangesOtherRows("sessions".into()),
        ActionError::MoreColumns { table: "sessions".into(), child: "old".into() },
        ActionError::UsersUncertain { doubt: "x".into(), consequence: ORPHANS_UNCERTAIN_REASON },
        ActionError::UsersInOtherForm(2),
        ActionError::ReplacedByRule { table: "sessions".into(), rule: "keep".into() },
        ActionError::UnannouncedSideEffects(vec!["trigger t".into()]),
        ActionError::Hidden { table: "sessions".into(), role: "watch", consequence: "x" },
        ActionError::TransactionRunning,
        ActionError::DiskFull,
        ActionError::NoDrill,
        ActionError::Target(TargetError::Locked),
    ] {
        assert!(!error.is_usage_error(), "{error:?}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error:?}");
    }
}

#[test]
fn a_missing_schema_is_a_usage_error() {
    assert!(ActionError::Target(TargetError::NoSchema("x".into())).is_usage_error());
    assert!(!ActionError::Target(TargetError::ConnectionLost).is_usage_error());
}

#[test]
fn every_exceeded_limit_states_the_impact_of_the_plan() {
    for (why, expected) in [
        (LimitExceeded::ActiveShare(0.5), "ends 50% of the active sessions"),
        (LimitExceeded::Rows(1), "affects 1 row"),
        (LimitExceeded::Rows(2_000), "affects 2,000 rows"),
        (LimitExceeded::NoneActive(3), "affects 3 rows of a table in which no session seems active"),
        (LimitExceeded::TableShare(0.624), "affects 62% of the rows in the table"),
        (
            LimitExceeded::CombinedActiveShare { share: 0.3, plans: 1 },
            "ends 30% of the active sessions, counted together with 1 other plan of the last hour",
        ),
        (
            LimitExceeded::CombinedRows { rows: 5, plans: 2 },
            "affects 5 rows, counted together with 2 other plans of the last hour",
        ),
        (LimitExceeded::SideEffects(1), "has 1 side effect beyond the selected sessions"),
        (LimitExceeded::SharedTokens(2), "restores 2 tokens that several users had shared"),
    ] {
        assert_eq!(reason(&[why]).to_string(), expected);
    }
    let both = reason(&[LimitExceeded::Rows(9), LimitExceeded::SideEffects(2)]).to_string();
    assert_eq!(both, "affects 9 rows and has 2 side effects beyond the selected sessions");
    let error = ActionError::LimitExceeded(reason(&[LimitExceeded::Rows(9)]), "app".into());
    assert!(error.to_string().ends_with("the safety limit: it affects 9 rows"), "{error}");
    let effects = ActionError::LimitExceeded(reason(&[LimitExceeded::SideEffects(2)]), "app".into());
    assert!(
        effects.to_string().starts_with("the plan must be confirmed: it has 2 side effects"),
        "{effects}"
    );
    assert_eq!(error.hint().unwrap(), "review the plan, then confirm it with --confirm 'app'");
}

#[test]
fn missing_privileges_are_written_as_statements() {
    let error =
        ActionError::from_missing_privileges(vec!["DELETE ON sessions".into(), "SELECT ON users".into()]);
    let hint = error.hint().unwrap();
    assert_eq!(
        hint,
        "as the owner of the tables, GRANT DELETE ON sessions; GRANT SELECT ON users TO the write role"
    );
    // If the role has every privilege, a function of the table lacks one.
    assert!(matches!(ActionError::from_missing_privileges(vec![]), ActionError::TriggerLacksPrivilege));
}

#[test]
fn similar_rows_are_only_of_errors_that_list_some() {
    let lines = vec![RowPreview { id: Some("s1".into()), ..RowPreview::default() }; 2];
    assert_eq!(ActionError::Ambiguous("s".into(), lines.clone()).similar_rows(), lines);
    assert_eq!(ActionError::NoUser("s".into(), lines.clone()).similar_rows(), lines);
    assert!(ActionError::NoSession.similar_rows().is_empty());
    // With similar rows, the hint is to choose one of them.
    let [none, some] = [vec![], lines].map(|lines| ActionError::NoUser("s".into(), lines).hint().unwrap());
    assert_ne!(none, some);
}

#[test]
fn errors_of_a_scratch_database_keep_their_meaning() {
    assert!(matches!(ActionError::from(ScratchError::Refused), ActionError::NoDrill));
    let path = std::path::PathBuf::from("/nowhere");
    assert!(matches!(ActionError::from(ScratchError::Unwritable(path)), ActionError::Unwritable(_)));
    assert!(matches!(
        ActionError::from(ScratchError::Target(TargetError::ConnectionLost)),
        ActionError::Target(TargetError::ConnectionLost)
    ));
}
