//! One history: plans, writes of the application, kills of the program, and the conditions that must hold.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    task::Poll,
};

use proptest::prelude::*;
use sessionwatch_app::{
    config::{Config, Target},
    remediation::{self, ActionContext, ActionError, Confirmation, JobControl, Selection, restore},
};
use sessionwatch_archive::Identity;
use sessionwatch_clock::Clock;
use sessionwatch_store::{
    Store, StoreLocation,
    archive_batches::{self, ArchivedRowState},
    plans,
};
use sessionwatch_targets::error::TargetError;

use super::{Kind, ROWS, Write, application::App, shapes::Shape};

/// State of one history.
pub(super) struct History {
    pub(super) app: App,
    _folder: tempfile::TempDir,
    config: Config,
    target: Target,
    store: Store,
    identity: Identity,
    /// Runtime of the program. It is dropped with a killed run, so that nothing of it continues.
    runtime: tokio::runtime::Runtime,
    /// Rows at the beginning.
    first: BTreeMap<String, String>,
    first_full: BTreeMap<String, String>,
    shape: Shape,
    /// Dependent rows of each session, as the application left them.
    carts: RefCell<BTreeMap<String, Vec<String>>>,
    /// Tokens of rows that the application removed itself.
    logged_out: RefCell<BTreeSet<String>>,
    /// Tokens of rows that the application changed.
    touched: RefCell<BTreeSet<String>>,
    logged_in: Cell<usize>,
    /// Time of the last change of each row, and of each plan, as a count of events.
    changed: RefCell<BTreeMap<String, usize>>,
    made: BTreeMap<String, usize>,
    happened: Cell<usize>,
    pub(super) plan: Option<String>,
    archive: Option<String>,
    /// Rows that each plan names: IDs and row hashes.
    pub(super) named: BTreeMap<String, BTreeSet<(Option<String>, i64)>>,
}

impl History {
    /// Rows with IDs are found again by ID, others by row hash.
    pub(super) fn new(kind: Kind, shape: Shape, identified: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = kind != Kind::File;
        let app = if server { App::server(shape) } else { App::file(folder.path()) };
        let url = app.url(kind == Kind::Pooled);
        let decoder = if server { "timestamp-utc" } else { "epoch-ms" };
        let id = if identified { "id = \"id\"\n" } else { "" };
        let mapping = format!(
            "[target.mapping]\nsessions = \"sessions\"\ntoken = \"sessionToken\"\nexpires = \"expires\"\n\
             decoder = \"{decoder}\"\n{id}user = \"userId\"\nusers = \"users\"\n"
        );
        let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n{mapping}");
        let config = Config::parse(&folder.path().join("sessionwatch.toml"), &text).unwrap();
        Self {
            target: config.targets[0].clone(),
            store: Store::open(&StoreLocation::File(folder.path().join("store.db"))).unwrap(),
            identity: Identity::create_file(&folder.path().join("key")).unwrap(),
            runtime: runtime(),
            first: app.rows(),
            first_full: app.full_rows(),
            carts: RefCell::new(app.carts(shape)),
            shape,
            touched: RefCell::default(),
            logged_out: RefCell::default(),
            logged_in: Cell::new(0),
            changed: RefCell::default(),
            made: BTreeMap::new(),
            happened: Cell::new(0),
            plan: None,
            archive: None,
            named: BTreeMap::new(),
            app,
            _folder: folder,
            config,
        }
    }

    fn context(&self) -> ActionContext<'_> {
        let (config, target, store) = (&self.config, &self.target, &self.store);
        ActionContext { config, target, store, clock: &Clock::System, actor: "ada" }
    }

    pub(super) fn write(&self, write: Write) {
        let id = |number: u16| format!("s{}", usize::from(number) % ROWS + 1);
        self.happened.set(self.happened.get() + 1);
        let tokens = |id: &str| -> Vec<String> {
            let rows = self.app.rows().into_iter().filter(|(_, other)| other == id);
            rows.map(|(token, _)| token).collect()
        };
        let update = |set: &str, id: &str| {
            let there = tokens(id);
            if self.app.run(&format!("UPDATE sessions SET {set} WHERE id = '{id}'")) {
                self.touched.borrow_mut().extend(there.iter().cloned());
                let now = self.happened.get();
                self.changed.borrow_mut().extend(there.into_iter().map(|token| (token, now)));
            }
        };
        match write {
            Write::Extend(number) => {
                let more = if matches!(self.app, App::File(_)) { "1000" } else { "interval '1 minute'" };
                update(&format!("expires = expires + {more}"), &id(number));
            }
            Write::Rotate(number) => update("\"sessionToken\" = \"sessionToken\" || 'x'", &id(number)),
            Write::See(number) => {
                self.touched.borrow_mut().extend(tokens(&id(number)));
                self.app.run(&format!("UPDATE sessions SET seen = seen + 1 WHERE id = '{}'", id(number)));
            }
            Write::LogOut(number) => {
                let id = id(number);
                // The effects of triggers and rules are the application's own.
                let before = self.app.rows();
                self.app.run(&format!("DELETE FROM sessions WHERE id = '{id}'"));
                let after = self.app.rows();
                let before_ids: BTreeSet<String> = before.values().cloned().collect();
                self.touched.borrow_mut().extend(tokens(&id));
                let gone = before.into_keys().filter(|token| !after.contains_key(token));
                self.logged_out.borrow_mut().extend(gone);
                if !after.values().any(|there| *there == id) && before_ids.contains(&id) {
                    self.carts.borrow_mut().remove(&id);
                }
            }
            Write::Fill(number) => self.change_cart(
                "INSERT INTO carts (session, note) SELECT id, 'more' FROM sessions WHERE id = '{id}';
                 INSERT INTO items SELECT id, session, 'c' FROM carts WHERE session = '{id}' AND note = 'more'",
                &id(number),
            ),
            Write::ChangeCart(number) => {
                self.change_cart("UPDATE carts SET note = note || 'x' WHERE session = '{id}'", &id(number));
            }
            Write::LogIn => {
                self.logged_in.set(self.logged_in.get() + 1);
                let id = format!("n{}", self.logged_in.get());
                // An empty table has no row to end.
                let sql = format!(
                    "INSERT INTO sessions (id, \"sessionToken\", \"userId\", expires)
                     SELECT '{id}', 'fresh-{id}', 1, MAX(expires) FROM sessions HAVING COUNT(*) > 0"
                );
                self.app.run(&sql);
            }
        }
    }

    pub(super) fn make(&mut self, kind: u8) {
        let selection = match kind {
            0 => Selection::Expired { grace: jiff::SignedDuration::from_hours(24) },
            1 => Selection::All,
            2 => Selection::Excess { keep: 3 },
            _ => Selection::User("7".into()),
        };
        let made = self.runtime.block_on(remediation::create_plan(self.context(), &selection));
        // The user is gone, or the table is empty.
        let Ok(plan) = made else { return };
        let mut named = BTreeSet::new();
        let mut behind = 0;
        while let Some((piece, rows)) =
            self.store.read(|db| plans::find_next_plan_chunk(db, &plan.record.id, behind)).unwrap()
        {
            behind = piece;
            named.extend(rows.into_iter().map(|row| (row.id, row.row_hash)));
        }
        assert_eq!(named.len() as u64, plan.record.row_count);
        self.named.insert(plan.record.id.clone(), named);
        self.made.insert(plan.record.id.clone(), self.happened.get());
        self.plan = Some(plan.record.id);
    }

    /// The application changes dependent rows, which is impossible while the session is in the archive.
    fn change_cart(&self, sql: &str, id: &str) {
        if self.carts.borrow().is_empty() {
            return;
        }
        self.app.run(&sql.replace("{id}", id));
        if self.app.rows().values().any(|there| there == id) {
            let now = self.app.carts(self.shape).remove(id).unwrap_or_default();
            self.carts.borrow_mut().insert(id.to_owned(), now);
        }
    }

    /// Applies the current plan, or restores, as far as the step says.
    pub(super) fn run(&mut self, restore: bool, until: u8, meanwhile: Write, dies: Option<u8>) {
        let id = if restore {
            let Some(archive) = self.archive.clone() else { return };
            match self.runtime.block_on(restore::create_restore_plan(self.context(), &archive, None)) {
                Ok(plan) => plan.record.id,
                Err(_) => return,
            }
        } else {
            let Some(plan) = self.plan.clone() else { return };
            self.archive = Some(plan.clone());
            plan
        };
        let control = JobControl::default();
        let this: &Self = self;
        let recipient = this.identity.recipient();
        let consent = Confirmation { typed_name: Some("app"), ..Confirmation::default() };
        let mut work: Pin<Box<dyn Future<Output = Result<(), ActionError>> + '_>> = if restore {
            Box::pin(async {
                crate::execute::restore(this.context(), &id, &this.identity, consent, &control)
                    .await
                    .map(drop)
            })
        } else {
            Box::pin(async {
                crate::execute::apply(this.context(), &id, &recipient, consent, &control).await.map(drop)
            })
        };
        if let Some(outcome) = this.runtime.block_on(steps(&mut work, until)) {
            drop(work);
            return this.expected(outcome);
        }
        // The run is paused while the application writes.
        this.write(meanwhile);
        match dies {
            Some(after) => {
                if let Some(outcome) = this.runtime.block_on(steps(&mut work, after)) {
                    this.expected(outcome);
                }
            }
            None => this.expected(this.runtime.block_on(&mut work)),
        }
        drop(work);
        // As when a program is killed, a thread in a write finishes it, and connections are closed.
        drop(std::mem::replace(&mut self.runtime, runtime()));
    }

    /// Possible results of an interrupted run.
    fn expected(&self, outcome: Result<(), ActionError>) {
        match outcome {
            Ok(())
            | Err(ActionError::Done(_) | ActionError::TransactionRunning | ActionError::NoArchive(_)) => {}
            // SQLite has one writer, which may be the application.
            Err(ActionError::Target(TargetError::Locked)) => {}
            Err(error) if self.shape.may_refuse(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Restores everything: rows that the application did not change are back unchanged, in their place.
    pub(super) fn restore_all(&self) -> Result<(), TestCaseError> {
        for archive in self.named.keys() {
            let Ok(plan) = self.runtime.block_on(restore::create_restore_plan(self.context(), archive, None))
            else {
                continue;
            };
            let control = JobControl::default();
            let consent = Confirmation { typed_name: Some("app"), ..Confirmation::default() };
            let restored =
                crate::execute::restore(self.context(), &plan.record.id, &self.identity, consent, &control);
            self.runtime.block_on(restored).unwrap();
        }
        let (now, touched) = (self.app.full_rows(), self.touched.borrow());
        let logged_out = self.logged_out.borrow();
        for (token, row) in &self.first_full {
            if !touched.contains(token) && !logged_out.contains(token) {
                prop_assert_eq!(now.get(token), Some(row));
            }
        }
        Ok(())
    }

    /// Checks all conditions after a restart.
    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        // Any new run first settles the outcome of the last batches.
        testkit::wait_until("the end of transactions that died", || {
            let settled = self.runtime.block_on(remediation::recover_interrupted(self.context()));
            assert!(matches!(settled, Ok(()) | Err(ActionError::TransactionRunning)), "{settled:?}");
            settled.is_ok()
        });
        let table = self.app.rows();
        let mut archive = BTreeMap::<String, usize>::new();
        for plan in self.named.keys() {
            let mut behind = 0;
            while let Some(batch) =
                self.store.read(|db| archive_batches::find_next_batch(db, plan, behind)).unwrap()
            {
                behind = batch.id;
                prop_assert_eq!(batch.state, archive_batches::BatchState::Kept);
                for (row, fate) in batch.rows.iter().zip(&batch.row_states) {
                    prop_assert!(
                        self.named[plan].contains(&(row.id.clone(), row.row_hash)),
                        "{:?} was not planned",
                        row
                    );
                    if *fate == ArchivedRowState::Archived {
                        let token = row.token_prefix.clone().unwrap_or_default();
                        let changed = self.changed.borrow().get(&token).copied().unwrap_or(0);
                        prop_assert!(
                            changed <= self.made[plan],
                            "{} was changed since it was planned",
                            token
                        );
                        *archive.entry(token).or_default() += 1;
                    }
                }
            }
        }
        // A session and its dependent rows exist together, or none of them.
        let carts = self.app.carts(self.shape);
        for (id, expected) in self.carts.borrow().iter() {
            let is_there = table.values().any(|there| there == id);
            let found = carts.get(id).cloned().unwrap_or_default();
            prop_assert_eq!(&found, if is_there { expected } else { &vec![] }, "{}", id);
        }
        for (token, id) in &self.first {
            let there = usize::from(table.contains_key(token)) + archive.get(token).copied().unwrap_or(0);
            let expected = usize::from(!self.logged_out.borrow().contains(token));
            prop_assert_eq!(there, expected, "{} is {} times there", id, there);
        }
        Ok(())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls a future this many times. Returns its result if it has finished.
async fn steps<T>(work: &mut Pin<Box<dyn Future<Output = T> + '_>>, limit: u8) -> Option<T> {
    let mut left = limit;
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
