use super::*;

fn reason(why: &[LimitExceeded]) -> Reason {
    Reason(why.to_vec())
}

/// One of each error at which the arguments are at fault.
fn usage() -> Vec<ActError> {
    let text = || "x".to_owned();
    vec![
        ActError::OtherTable { plan: text(), now: text() },
        ActError::NotATable { table: text(), kind: "view" },
        ActError::NoColumn { condition: "--ip", about: "addresses" },
        ActError::TooClose { given: "--grace", column: text(), decoder: "timestamp-utc" },
        ActError::NoUser(text(), vec![]),
        ActError::NoUser(text(), vec![Line::default()]),
        ActError::NoSession,
        ActError::Ambiguous(text(), vec![Line::default(), Line::default()]),
        ActError::NoPlan(text()),
        ActError::OtherTarget { plan: text(), named: text() },
        ActError::Done(text()),
        ActError::Stale { id: text(), minutes: 15 },
        ActError::LimitExceeded(reason(&[LimitExceeded::Rows(9)]), text()),
        ActError::NotAgreed(reason(&[LimitExceeded::Rows(9)])),
        ActError::NotConfirmed(text()),
        ActError::NoCredentials(text()),
        ActError::CredentialsMissing { target: text(), problem: text() },
        ActError::NoArchive(text()),
        ActError::NoIdentity(text()),
        ActError::FoundOut("confirm"),
        ActError::Unsaid("team", "whom"),
        ActError::NotPassed(text()),
        ActError::GoneOn("confirm"),
        ActError::StillOpen(text(), "open"),
        ActError::Closed(text()),
        ActError::NotYet { id: text(), points: vec![text()] },
    ]
}

#[test]
fn whoever_gave_wrong_arguments_is_told_what_to_do() {
    for error in usage() {
        assert!(error.is_usage(), "{error:?}");
        let hint = error.hint().unwrap_or_else(|| panic!("nothing to do about {error:?}"));
        assert!(!hint.is_empty() && !hint.ends_with('.'), "{hint}");
    }
}

#[test]
fn what_the_arguments_met_is_not_their_fault_and_has_a_way_out() {
    for error in [
        ActError::Nameless("sessions".into()),
        ActError::Implausible { odd: 9, rows: 10 },
        ActError::Lacks(vec!["DELETE ON sessions".into(), "SELECT ON users".into()]),
        ActError::HookLacks,
        ActError::NotCounted("carts".into()),
        ActError::ChangesOtherRows("sessions".into()),
        ActError::MoreColumns { table: "sessions".into(), child: "old".into() },
        ActError::Doubtful { doubt: "x".into(), consequence: A_USER_MAY_EXIST },
        ActError::UsersInOtherForm(2),
        ActError::Replaced { table: "sessions".into(), rule: "keep".into() },
        ActError::Unannounced(vec!["trigger t".into()]),
        ActError::Hidden { table: "sessions".into(), role: "watch", consequence: "x" },
        ActError::AtWork,
        ActError::NoRoom,
        ActError::NoDrill,
        ActError::Target(TargetError::Locked),
    ] {
        assert!(!error.is_usage(), "{error:?}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error:?}");
    }
}

#[test]
fn a_target_that_names_what_is_not_there_is_a_fault_of_the_arguments() {
    assert!(ActError::Target(TargetError::NoSchema("x".into())).is_usage());
    assert!(!ActError::Target(TargetError::Lost).is_usage());
}

#[test]
fn every_reason_to_confirm_says_how_far_the_plan_reaches() {
    for (why, said) in [
        (LimitExceeded::Share(0.5), "ends 50 % of the active sessions"),
        (LimitExceeded::Rows(1), "names 1 row"),
        (LimitExceeded::Rows(2_000), "names 2000 rows"),
        (LimitExceeded::NoneActive(3), "names 3 rows of a table in which no session seems active"),
        (LimitExceeded::Most(0.624), "takes 62 % of the rows of the table"),
        (
            LimitExceeded::ShareTogether { share: 0.3, plans: 1 },
            "ends, together with 1 other plan of the last hour, 30 % of the active sessions",
        ),
        (
            LimitExceeded::RowsTogether { rows: 5, plans: 2 },
            "ends, together with 2 other plans of the last hour, 5 rows",
        ),
        (LimitExceeded::SideEffects(1), "has 1 side effect beyond the sessions"),
        (LimitExceeded::SharedTokens(2), "makes 2 tokens valid again that several users had shared"),
    ] {
        assert_eq!(reason(&[why]).to_string(), said);
    }
    let both = reason(&[LimitExceeded::Rows(9), LimitExceeded::SideEffects(2)]).to_string();
    assert_eq!(both, "names 9 rows, and has 2 side effects beyond the sessions");
    let error = ActError::LimitExceeded(reason(&[LimitExceeded::Rows(9)]), "app".into());
    assert!(error.to_string().starts_with("the plan names 9 rows: "), "{error}");
    assert_eq!(error.hint().unwrap(), "add --confirm 'app' if that is meant");
}

#[test]
fn privileges_that_are_missing_are_written_as_statements() {
    let error = ActError::lacks(vec!["DELETE ON sessions".into(), "SELECT ON users".into()]);
    let hint = error.hint().unwrap();
    assert_eq!(
        hint,
        "as the owner of the tables, GRANT DELETE ON sessions; GRANT SELECT ON users TO the acting role"
    );
    // Where the role has everything, a function of the table is refused something.
    assert!(matches!(ActError::lacks(vec![]), ActError::HookLacks));
}

#[test]
fn only_where_several_rows_fit_there_are_some_to_choose_among() {
    let lines = vec![Line { id: Some("s1".into()), ..Line::default() }; 2];
    assert_eq!(ActError::Ambiguous("s".into(), lines.clone()).choices(), lines);
    assert_eq!(ActError::NoUser("s".into(), lines.clone()).choices(), lines);
    assert!(ActError::NoSession.choices().is_empty());
    // With others at hand, the hint is to name one of those.
    let [none, some] = [vec![], lines].map(|lines| ActError::NoUser("s".into(), lines).hint().unwrap());
    assert_ne!(none, some);
}

#[test]
fn what_a_drill_meets_keeps_its_meaning() {
    assert!(matches!(ActError::from(ScratchError::Refused), ActError::NoDrill));
    let path = std::path::PathBuf::from("/nowhere");
    assert!(matches!(ActError::from(ScratchError::Unwritable(path)), ActError::Unwritable(_)));
    assert!(matches!(
        ActError::from(ScratchError::Target(TargetError::Lost)),
        ActError::Target(TargetError::Lost)
    ));
}
