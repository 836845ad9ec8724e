//! Whatever an application does meanwhile, and wherever the program is killed: only sessions that the plan names are
//! removed, none is lost without an archive, and table and archive together hold each row exactly once.

use proptest::prelude::*;

use self::{
    history::History,
    shapes::{SHAPES, Shape},
};

mod application;
mod history;
mod shapes;

/// More rows than one batch.
const ROWS: usize = 420;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A plan is created, and becomes the current one.
    Plan(u8),
    /// The current plan is applied, or the latest archive restored. After a number of internal steps the run is paused
    /// while the application writes; then it finishes, or is killed after more steps.
    Run { restore: bool, until: u8, meanwhile: Write, dies: Option<u8> },
    /// The application writes.
    Write(Write),
}

/// A write of the application; the number selects the session.
#[derive(Clone, Copy, Debug)]
enum Write {
    Extend(u16),
    Rotate(u16),
    /// Records that the session was used, which does not exempt it.
    See(u16),
    LogOut(u16),
    LogIn,
    /// Adds an item to the cart of the session.
    Fill(u16),
    /// Changes the cart.
    ChangeCart(u16),
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (0..420u16).prop_map(Write::Extend),
        (0..420u16).prop_map(Write::Rotate),
        (0..420u16).prop_map(Write::See),
        (0..420u16).prop_map(Write::LogOut),
        Just(Write::LogIn),
        (0..420u16).prop_map(Write::Fill),
        (0..420u16).prop_map(Write::ChangeCart),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let run = (any::<bool>(), 0..40u8, write(), prop::option::weighted(0.6, 0..60u8));
    prop_oneof![
        3 => (0..4u8).prop_map(Step::Plan),
        5 => run.prop_map(|(restore, until, meanwhile, dies)| Step::Run { restore, until, meanwhile, dies }),
        4 => write().prop_map(Step::Write),
    ]
}

/// A database, and the way to connect to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    Pooled,
    File,
}

/// Runs one history, then checks everything.
fn unfold(history: &mut History, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        match step {
            Step::Plan(kind) => history.make(*kind),
            Step::Run { restore, until, meanwhile, dies } => {
                history.run(*restore, *until, *meanwhile, *dies);
            }
            Step::Write(write) => history.write(*write),
        }
        history.check()?;
    }
    history.restore_all()?;
    history.check()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn on_a_server_no_row_is_lost_or_duplicated(
        steps in prop::collection::vec(step(), 3..10),
        pooled in any::<bool>(),
        identified in any::<bool>(),
    ) {
        let kind = if pooled { Kind::Pooled } else { Kind::Direct };
        unfold(&mut History::new(kind, Shape::Plain, identified), &steps)?;
    }

    #[test]
    fn in_a_file_no_row_is_lost_or_duplicated(
        steps in prop::collection::vec(step(), 3..10),
        identified in any::<bool>(),
    ) {
        unfold(&mut History::new(Kind::File, Shape::Plain, identified), &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_row_is_lost_or_duplicated_in_any_kind_of_table(
        steps in prop::collection::vec(step(), 2..7),
        shape in prop::sample::select(SHAPES.map(|(shape, _)| shape).to_vec()),
        identified in any::<bool>(),
    ) {
        unfold(&mut History::new(Kind::Direct, shape, identified && shape != Shape::InheritedAlike), &steps)?;
    }
}

/// The application changes a dependent row at every point of a run, also between reading and deleting it.
#[test]
fn dependent_rows_that_change_during_a_run_are_restored_as_the_application_left_them() {
    for until in 0..30 {
        let mut history = History::new(Kind::File, Shape::Plain, true);
        let run = Step::Run { restore: false, until, meanwhile: Write::ChangeCart(92), dies: None };
        unfold(&mut history, &[Step::Plan(0), run]).unwrap();
    }
}

/// Planned rows are deleted, archived and restored, for every action and every shape of table.
#[test]
fn exactly_the_planned_rows_are_deleted_and_restored_in_every_shape_of_table() {
    for (shape, _) in SHAPES {
        for kind in 0..4 {
            let mut history = History::new(Kind::Direct, shape, shape != Shape::InheritedAlike);
            history.make(kind);
            let Some(plan) = history.plan.clone() else {
                assert_eq!(shape, Shape::InsteadRule, "no other shape is refused before anything is done");
                continue;
            };
            let named = history.named[&plan].len();
            let before = history.app.rows();
            history.run(false, u8::MAX, Write::LogIn, None);
            history.check().unwrap_or_else(|error| panic!("{shape:?} {kind}: {error}"));
            let after = history.app.rows();
            let gone = before.keys().filter(|token| !after.contains_key(*token)).count();
            match shape {
                Shape::RedirectTrigger => assert_eq!(gone, 0, "{shape:?} {kind}"),
                // If rows would take others with them, nothing is removed.
                Shape::SweepTrigger | Shape::SelfReference | Shape::AlsoRule | Shape::VetoTrigger => {
                    assert!(gone <= named, "{shape:?} {kind}: {gone} of {named}");
                }
                _ => assert_eq!(gone, named, "{shape:?} {kind}"),
            }
            history.restore_all().unwrap_or_else(|error| panic!("{shape:?} {kind}: {error}"));
        }
    }
}

/// A session and everything in its cart are archived together, whenever items are added.
#[test]
fn items_added_to_a_cart_meanwhile_are_archived_or_keep_their_session() {
    // A file is read at once; only the archive is waited for.
    for (kind, shape, held_up) in
        [(Kind::Direct, Shape::Referenced, 30..56), (Kind::File, Shape::Plain, 0..4)]
    {
        let mut history = History::new(kind, shape, true);
        for (until, write) in
            held_up.flat_map(|until| [(until, Write::Fill(5)), (until, Write::ChangeCart(5))])
        {
            // Session s6 belongs to user 7.
            history.make(3);
            history.run(false, until, write, None);
            history.check().unwrap_or_else(|error| panic!("{kind:?} after {until}: {error}"));
            history.run(true, u8::MAX, Write::LogIn, None);
            history.check().unwrap_or_else(|error| panic!("{kind:?} after {until}, restored: {error}"));
            assert!(history.app.rows().values().any(|id| id == "s6"), "{kind:?} after {until}: not restored");
        }
    }
}
