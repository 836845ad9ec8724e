use super::*;

fn reason(why: &[LimitExceeded]) -> ConfirmationReasons {
    ConfirmationReasons(why.to_vec())
}

/// One of each error at which the arguments are at fault.
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
fn whoever_gave_wrong_arguments_is_told_what_to_do() {
    for error in usage() {
        assert!(error.is_usage_error(), "{error:?}");
        let hint = error.hint().unwrap_or_else(|| panic!("nothing to do about {error:?}"));
        assert!(!hint.is_empty() && !hint.ends_with('.'), "{hint}");
    }
}

#[test]
fn what_the_arguments_met_is_not_their_fault_and_has_a_way_out() {
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
fn a_target_that_names_what_is_not_there_is_a_fault_of_the_arguments() {
    assert!(ActionError::Target(TargetError::NoSchema("x".into())).is_usage_error());
    assert!(!ActionError::Target(TargetError::ConnectionLost).is_usage_error());
}

#[test]
fn every_reason_to_confirm_says_how_far_the_plan_reaches() {
    for (why, said) in [
        (LimitExceeded::ActiveShare(0.5), "ends 50 % of the active sessions"),
        (LimitExceeded::Rows(1), "names 1 row"),
        (LimitExceeded::Rows(2_000), "names 2,000 rows"),
        (LimitExceeded::NoneActive(3), "names 3 rows of a table in which no session seems active"),
        (LimitExceeded::TableShare(0.624), "takes 62 % of the rows of the table"),
        (
            LimitExceeded::CombinedActiveShare { share: 0.3, plans: 1 },
            "ends, together with 1 other plan of the last hour, 30 % of the active sessions",
        ),
        (
            LimitExceeded::CombinedRows { rows: 5, plans: 2 },
            "ends, together with 2 other plans of the last hour, 5 rows",
        ),
        (LimitExceeded::SideEffects(1), "has 1 side effect beyond the sessions"),
        (LimitExceeded::SharedTokens(2), "makes 2 tokens valid again that several users had shared"),
    ] {
        assert_eq!(reason(&[why]).to_string(), said);
    }
    let both = reason(&[LimitExceeded::Rows(9), LimitExceeded::SideEffects(2)]).to_string();
    assert_eq!(both, "names 9 rows, and has 2 side effects beyond the sessions");
    let error = ActionError::LimitExceeded(reason(&[LimitExceeded::Rows(9)]), "app".into());
    assert!(error.to_string().starts_with("the plan names 9 rows: "), "{error}");
    assert_eq!(error.hint().unwrap(), "add --confirm 'app' if that is meant");
}

#[test]
fn privileges_that_are_missing_are_written_as_statements() {
    let error =
        ActionError::from_missing_privileges(vec!["DELETE ON sessions".into(), "SELECT ON users".into()]);
    let hint = error.hint().unwrap();
    assert_eq!(
        hint,
        "as the owner of the tables, GRANT DELETE ON sessions; GRANT SELECT ON users TO the acting role"
    );
    // Where the role has everything, a function of the table is refused something.
    assert!(matches!(ActionError::from_missing_privileges(vec![]), ActionError::TriggerLacksPrivilege));
}

#[test]
fn only_where_several_rows_fit_there_are_some_to_choose_among() {
    let lines = vec![RowPreview { id: Some("s1".into()), ..RowPreview::default() }; 2];
    assert_eq!(ActionError::Ambiguous("s".into(), lines.clone()).similar_rows(), lines);
    assert_eq!(ActionError::NoUser("s".into(), lines.clone()).similar_rows(), lines);
    assert!(ActionError::NoSession.similar_rows().is_empty());
    // With others at hand, the hint is to name one of those.
    let [none, some] = [vec![], lines].map(|lines| ActionError::NoUser("s".into(), lines).hint().unwrap());
    assert_ne!(none, some);
}

#[test]
fn what_a_drill_meets_keeps_its_meaning() {
    assert!(matches!(ActionError::from(ScratchError::Refused), ActionError::NoDrill));
    let path = std::path::PathBuf::from("/nowhere");
    assert!(matches!(ActionError::from(ScratchError::Unwritable(path)), ActionError::Unwritable(_)));
    assert!(matches!(
        ActionError::from(ScratchError::Target(TargetError::ConnectionLost)),
        ActionError::Target(TargetError::ConnectionLost)
    ));
}
