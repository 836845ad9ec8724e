//! Whatever an application does meanwhile, and wherever the program dies: no session goes that its plan did not name, none
//! is lost without an archive, and table and archive together hold each row exactly once.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    pin::Pin,
    task::Poll,
};

use proptest::prelude::*;
use sessionwatch::{
    actions::{self, ActError, Consent, Context, Control, Selection, restoring},
    archive::sealing::Identity,
    clock::Clock,
    config::{Config, Target},
    store::{
        Place, Store,
        archived::{self, Fate},
        plans,
    },
    target::error::TargetError,
};
use testkit::Database;

/// More than one batch.
const ROWS: usize = 420;

/// What happens, one after another.
#[derive(Clone, Debug)]
enum Step {
    /// A plan is made, and becomes the present one.
    Plan(u8),
    /// The present plan is carried out, or what was archived last is put back: it is held up after so many steps of its
    /// own while the application does something, and then goes on to its end, or dies after so many more.
    Run { restore: bool, until: u8, meanwhile: Write, dies: Option<u8> },
    /// The application does something.
    Write(Write),
}

/// What an application does to its sessions; the number says to which.
#[derive(Clone, Copy, Debug)]
enum Write {
    Extend(u16),
    Rotate(u16),
    /// It notes that the session was used, which is no reason to spare it.
    See(u16),
    LogOut(u16),
    LogIn,
    /// It puts something into the cart that goes with the session.
    Fill(u16),
    /// It changes that cart.
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

/// Which database, and how it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    Pooled,
    File,
}

/// What a table of sessions on a server is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    /// The same places and transactions in several heaps, with a key that is unique over all of them.
    HashPartitioned,
    /// The same, and no column that is unique over all of them.
    RangePartitioned,
    /// The same; neither unique index nor foreign key reach the children.
    Inherited,
    /// Ids that are alike in both children.
    InheritedAlike,
    /// A trigger keeps the sessions of one user.
    VetoTrigger,
    /// A trigger changes a row instead of removing it.
    RedirectTrigger,
    /// A trigger removes the other sessions of the user as well.
    SweepTrigger,
    /// A session belongs to another one, and goes with it.
    SelfReference,
    /// Other tables refer to sessions, and to each other.
    Referenced,
    /// The same, with partitions on both sides.
    ReferencedPartitions,
    AlsoRule,
    InsteadRule,
    Generated,
    Identity,
    /// Nothing is unique but the token.
    WithoutId,
    /// Half of the partitions are on another heap through a default partition below a partition.
    Nested,
}

/// Each shape, and what makes the table out of a plain one: `old`, which has the rows and is dropped then.
const SHAPES: [(Shape, &str); 17] = [
    (Shape::Plain, ""),
    (Shape::HashPartitioned, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES WITH (MODULUS 3, REMAINDER 0);
                 CREATE TABLE p1 PARTITION OF sessions FOR VALUES WITH (MODULUS 3, REMAINDER 1);
                 CREATE TABLE p2 PARTITION OF sessions FOR VALUES WITH (MODULUS 3, REMAINDER 2);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::RangePartitioned, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS) PARTITION BY RANGE (\"userId\");
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES FROM (0) TO (10);
                 CREATE TABLE p1 PARTITION OF sessions FOR VALUES FROM (10) TO (20);
                 CREATE TABLE p2 PARTITION OF sessions DEFAULT;
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::Nested, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS) PARTITION BY LIST (\"userId\");
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES IN (1, 2, 3, 4, 5, 6, 7);
                 CREATE TABLE p1 PARTITION OF sessions DEFAULT PARTITION BY HASH (id);
                 CREATE TABLE p2 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE p3 PARTITION OF p1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::Inherited, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id));
                 CREATE TABLE dead () INHERITS (sessions);
                 CREATE TABLE live () INHERITS (sessions);
                 INSERT INTO dead SELECT * FROM old WHERE expires < now();
                 INSERT INTO live SELECT * FROM old WHERE expires >= now()"),
    (Shape::InheritedAlike, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id));
                 CREATE TABLE dead () INHERITS (sessions);
                 CREATE TABLE live () INHERITS (sessions);
                 INSERT INTO dead SELECT * FROM old WHERE expires < now();
                 INSERT INTO live SELECT * FROM old WHERE expires >= now()"),
    (Shape::VetoTrigger, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.\"userId\" = 7 THEN RETURN NULL; END IF; RETURN OLD; END $$;
                 CREATE TRIGGER hook BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION hook()"),
    (Shape::RedirectTrigger, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.sessions SET seen = -1 WHERE id = OLD.id; RETURN NULL; END $$;
                 CREATE TRIGGER hook BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION hook()"),
    (Shape::SweepTrigger, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.sessions WHERE \"userId\" = OLD.\"userId\"; RETURN NULL; END $$;
                 CREATE TRIGGER hook AFTER DELETE ON sessions FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION hook()"),
    (Shape::SelfReference, "CREATE TABLE sessions (LIKE old INCLUDING ALL, parent text REFERENCES sessions (id) ON DELETE CASCADE);
                 INSERT INTO sessions SELECT *, NULL FROM old;
                 UPDATE sessions SET parent = 's' || (substr(id, 2)::int - 1) WHERE substr(id, 2)::int % 50 = 0"),
    (Shape::Referenced, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE TABLE carts (id serial PRIMARY KEY, session text REFERENCES sessions (id) ON DELETE CASCADE, note text NOT NULL DEFAULT '');
                 CREATE TABLE items (cart integer REFERENCES carts (id) ON DELETE CASCADE, session text REFERENCES sessions (id) ON DELETE CASCADE, name text);
                 CREATE TABLE orders (id serial PRIMARY KEY, session text REFERENCES sessions (id) ON DELETE SET NULL);
                 INSERT INTO carts (session) SELECT id FROM old; INSERT INTO orders (session) SELECT id FROM old;
                 INSERT INTO items SELECT id, session, 'a' FROM carts; INSERT INTO items SELECT id, NULL, 'b' FROM carts;
                 INSERT INTO items SELECT * FROM items WHERE cart % 5 = 0"),
    (Shape::ReferencedPartitions, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (id)) PARTITION BY HASH (id);
                 CREATE TABLE p0 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE p1 PARTITION OF sessions FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE TABLE carts (id serial PRIMARY KEY, session text REFERENCES sessions (id) ON DELETE CASCADE, note text NOT NULL DEFAULT '') PARTITION BY HASH (id);
                 CREATE TABLE c0 PARTITION OF carts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE c1 PARTITION OF carts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 CREATE TABLE items (cart integer REFERENCES carts (id) ON DELETE CASCADE, session text, name text);
                 INSERT INTO carts (session) SELECT id FROM old; INSERT INTO items SELECT id, session, 'a' FROM carts"),
    (Shape::AlsoRule, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE TABLE gone (id text);
                 CREATE RULE hook AS ON DELETE TO sessions DO ALSO INSERT INTO gone VALUES (OLD.id)"),
    (Shape::InsteadRule, "CREATE TABLE sessions (LIKE old INCLUDING ALL);
                 INSERT INTO sessions SELECT * FROM old;
                 CREATE RULE hook AS ON DELETE TO sessions DO INSTEAD NOTHING"),
    (Shape::Generated, "CREATE TABLE sessions (LIKE old INCLUDING ALL, shown text GENERATED ALWAYS AS (upper(id)) STORED);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::Identity, "CREATE TABLE sessions (LIKE old INCLUDING ALL, number bigint GENERATED ALWAYS AS IDENTITY);
                 INSERT INTO sessions SELECT * FROM old"),
    (Shape::WithoutId, "CREATE TABLE sessions (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (\"sessionToken\"));
                 INSERT INTO sessions SELECT * FROM old"),
];

impl Shape {
    /// Whether a plan may end with that error there, and nothing changed.
    fn may_refuse(self, error: &ActError) -> bool {
        match error {
            ActError::ChangesOtherRows(_) => {
                matches!(self, Self::RedirectTrigger | Self::SweepTrigger | Self::SelfReference)
            }
            ActError::HiddenByRule(_) => matches!(self, Self::AlsoRule | Self::InsteadRule),
            _ => false,
        }
    }
}

/// The application's database.
enum App {
    Server(Database<'static>),
    File(PathBuf),
}

impl App {
    fn server(shape: Shape) -> Self {
        let database = testkit::empty();
        database
            .psql(&schema("timestamp(3)", "now() + interval '1 day'", "now() - interval '3 days'"))
            .unwrap();
        if shape != Shape::Plain {
            // Everything in one transaction: rows of several heaps share places and transactions.
            let (_, script) = SHAPES.iter().find(|(named, _)| *named == shape).unwrap();
            database
                .psql(&format!("BEGIN; ALTER TABLE sessions RENAME TO old; {script}; DROP TABLE old; COMMIT"))
                .unwrap();
        }
        if shape == Shape::InheritedAlike {
            database.psql("UPDATE dead SET id = 's' || (substr(id, 2)::int + 1)").unwrap();
        }
        Self::Server(database)
    }

    /// Every row with its table, by the beginning of its token.
    fn full_rows(&self) -> BTreeMap<String, String> {
        let Self::Server(database) = self else { return BTreeMap::new() };
        let rows = database
            .psql(
                "SELECT left(\"sessionToken\", 8), s.tableoid::regclass::text || s::text FROM sessions AS s",
            )
            .unwrap();
        let pair = |line: &str| line.split_once('|').map(|(token, row)| (token.to_owned(), row.to_owned()));
        rows.lines().filter_map(pair).collect()
    }

    /// The rows of other tables that go with sessions, by the session.
    fn carts(&self, shape: Shape) -> BTreeMap<String, Vec<String>> {
        const CARTS: &str = "SELECT session, 'cart ' || id || ' ' || note FROM carts UNION ALL
            SELECT c.session, 'item ' || i.cart || ' ' || i.name FROM items AS i JOIN carts AS c ON c.id = i.cart ORDER BY 1, 2";
        let rows: Vec<(String, String)> = match self {
            Self::Server(_) if !matches!(shape, Shape::Referenced | Shape::ReferencedPartitions) => vec![],
            Self::Server(database) => {
                let rows = database.psql(CARTS).unwrap();
                let pair =
                    |line: &str| line.split_once('|').map(|(id, rest)| (id.to_owned(), rest.to_owned()));
                rows.lines().filter_map(pair).collect()
            }
            Self::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(CARTS).unwrap();
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
        };
        let mut carts = BTreeMap::<String, Vec<String>>::new();
        rows.into_iter().for_each(|(session, row)| carts.entry(session).or_default().push(row));
        carts
    }

    fn file(folder: &Path) -> Self {
        let path = folder.join("app.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let now = "CAST(strftime('%s', 'now') AS integer) * 1000";
        let (live, dead) = (format!("{now} + 86400000"), format!("{now} - 259200000"));
        let sql = schema("INTEGER", &live, &dead);
        let numbers = "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 420) SELECT n FROM n) AS n";
        let sql = sql
            .replace("generate_series(1, 420) AS n", numbers)
            .replace("generate_series(1, 30) AS n", &numbers.replace("420", "30"))
            .replace("md5(n::text)", "hex(randomblob(16))");
        connection.execute_batch(&sql).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE carts (id integer PRIMARY KEY AUTOINCREMENT, session text REFERENCES sessions (id) ON DELETE CASCADE, note text NOT NULL DEFAULT '');
                 CREATE TABLE items (cart integer REFERENCES carts (id) ON DELETE CASCADE, session text REFERENCES sessions (id) ON DELETE CASCADE, name text);
                 INSERT INTO carts (session) SELECT id FROM sessions;
                 INSERT INTO items SELECT id, session, 'a' FROM carts; INSERT INTO items SELECT id, NULL, 'b' FROM carts;
                 INSERT INTO items SELECT * FROM items WHERE cart % 5 = 0",
            )
            .unwrap();
        Self::File(path)
    }

    /// Whether it could be done; a lock that is held is not waited for.
    fn run(&self, sql: &str) -> bool {
        match self {
            Self::Server(database) => database.psql(&format!("SET lock_timeout = '20ms';\n{sql}")).is_ok(),
            Self::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
                connection.execute_batch(sql).is_ok()
            }
        }
    }

    /// The rows: how each token begins, and its id.
    fn rows(&self) -> BTreeMap<String, String> {
        match self {
            Self::Server(database) => {
                let rows = database.psql("SELECT left(\"sessionToken\", 8), id FROM sessions").unwrap();
                let pair =
                    |line: &str| line.split_once('|').map(|(id, rest)| (id.to_owned(), rest.to_owned()));
                rows.lines().filter_map(pair).collect()
            }
            Self::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let query = "SELECT substr(\"sessionToken\", 1, 8), id FROM sessions";
                let mut statement = connection.prepare(query).unwrap();
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
        }
    }

    fn url(&self, pooled: bool) -> String {
        match self {
            Self::Server(database) => database.urls("postgres")[usize::from(pooled)].clone(),
            Self::File(path) => format!("sqlite:{}", path.display()),
        }
    }
}

/// Half the rows have ended; the users are few.
fn schema(instant: &str, live: &str, dead: &str) -> String {
    format!(
        "CREATE TABLE users (id integer PRIMARY KEY, name text);
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL UNIQUE, \"userId\" integer NOT NULL, expires {instant} NOT NULL, seen integer DEFAULT 0);
         INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, 30) AS n;
         INSERT INTO sessions (id, \"sessionToken\", \"userId\", expires) SELECT 's' || n, md5(n::text), 1 + n % 30, CASE n % 2 WHEN 0 THEN {live} ELSE {dead} END FROM generate_series(1, 420) AS n;"
    )
}

/// Everything that one history is about.
struct History {
    app: App,
    _folder: tempfile::TempDir,
    config: Config,
    target: Target,
    store: Store,
    identity: Identity,
    /// What runs now; ended with what dies, so that nothing of that goes on.
    runtime: tokio::runtime::Runtime,
    /// The rows at the beginning.
    first: BTreeMap<String, String>,
    first_full: BTreeMap<String, String>,
    shape: Shape,
    /// What goes with each session, as the application left it.
    carts: RefCell<BTreeMap<String, Vec<String>>>,
    /// Tokens of rows that the application itself removed.
    logged_out: RefCell<BTreeSet<String>>,
    /// Tokens of rows of which the application changed anything.
    touched: RefCell<BTreeSet<String>>,
    logged_in: Cell<usize>,
    /// When each row was changed last, and each plan made, by the number of things that had happened.
    changed: RefCell<BTreeMap<String, usize>>,
    made: BTreeMap<String, usize>,
    happened: Cell<usize>,
    plan: Option<String>,
    archive: Option<String>,
    /// The rows that each plan names: ids and marks.
    named: BTreeMap<String, BTreeSet<(Option<String>, i64)>>,
}

impl History {
    /// With ids, rows are found again by them; without, by their marks.
    fn new(kind: Kind, shape: Shape, identified: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = kind != Kind::File;
        let app = if server { App::server(shape) } else { App::file(folder.path()) };
        let url = app.url(kind == Kind::Pooled);
        let decoder = if server { "timestamp-utc" } else { "epoch-ms" };
        let id = if identified { "id = \"id\"\n" } else { "" };
        let mapping = format!(
            "[target.mapping]\nsessions = \"sessions\"\ntoken = \"sessionToken\"\nexpires = \"expires\"\ndecoder = \"{decoder}\"\n{id}user = \"userId\"\nusers = \"users\"\n"
        );
        let text = format!("[[target]]\nname = \"app\"\nurl = \"{url}\"\nact_url = \"{url}\"\n{mapping}");
        let config = Config::parse(&folder.path().join("sessionwatch.toml"), &text).unwrap();
        Self {
            target: config.targets[0].clone(),
            store: Store::open(&Place::File(folder.path().join("store.db"))).unwrap(),
            identity: Identity::create(&folder.path().join("key")).unwrap(),
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

    fn context(&self) -> Context<'_> {
        let (config, target, store) = (&self.config, &self.target, &self.store);
        Context { config, target, store, clock: &Clock::System, actor: "ada" }
    }

    fn write(&self, write: Write) {
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
                // What triggers and rules make of it is the application's own business.
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
                // Without any row there is no end to take.
                let sql = format!(
                    "INSERT INTO sessions (id, \"sessionToken\", \"userId\", expires)
                     SELECT '{id}', 'fresh-{id}', 1, MAX(expires) FROM sessions HAVING COUNT(*) > 0"
                );
                self.app.run(&sql);
            }
        }
    }

    fn make(&mut self, kind: u8) {
        let selection = match kind {
            0 => Selection::Expired { grace_us: 86_400_000_000 },
            1 => Selection::All,
            2 => Selection::Excess { keep: 3 },
            _ => Selection::User("7".into()),
        };
        let made = self.runtime.block_on(actions::make(self.context(), &selection));
        // Nobody is there any more, or the table is empty.
        let Ok(plan) = made else { return };
        let mut named = BTreeSet::new();
        let mut behind = 0;
        while let Some((piece, rows)) = self.store.read(|db| plans::piece(db, &plan.kept.id, behind)).unwrap()
        {
            behind = piece;
            named.extend(rows.into_iter().map(|row| (row.id, row.mark)));
        }
        assert_eq!(named.len() as u64, plan.kept.rows);
        self.named.insert(plan.kept.id.clone(), named);
        self.made.insert(plan.kept.id.clone(), self.happened.get());
        self.plan = Some(plan.kept.id);
    }

    /// The application changes what goes with a session; nobody can while the session is in the archive.
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

    /// Runs the present plan, or puts back, as far as the step says.
    fn run(&mut self, restore: bool, until: u8, meanwhile: Write, dies: Option<u8>) {
        let id = if restore {
            let Some(archive) = self.archive.clone() else { return };
            match self.runtime.block_on(restoring::plan(self.context(), &archive, None)) {
                Ok(plan) => plan.kept.id,
                Err(_) => return,
            }
        } else {
            let Some(plan) = self.plan.clone() else { return };
            self.archive = Some(plan.clone());
            plan
        };
        let control = Control::default();
        let this: &Self = self;
        let recipient = this.identity.recipient();
        let consent = Consent { name: Some("app"), ..Consent::default() };
        let mut work: Pin<Box<dyn Future<Output = Result<(), ActError>> + '_>> = if restore {
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
        // The work is held up while the application does something.
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
        // A thread that had begun to write ends its work, and connections are closed, as when a program is killed.
        drop(std::mem::replace(&mut self.runtime, runtime()));
    }

    /// What may come of a run in the middle of all that.
    fn expected(&self, outcome: Result<(), ActError>) {
        match outcome {
            Ok(()) | Err(ActError::Done(_) | ActError::AtWork | ActError::NoArchive(_)) => {}
            // SQLite has one writer, and the application may be it.
            Err(ActError::Target(TargetError::Locked)) => {}
            Err(error) if self.shape.may_refuse(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything goes back: what the application left alone is as it was, and where it was.
    fn restore_all(&self) -> Result<(), TestCaseError> {
        for archive in self.named.keys() {
            let Ok(plan) = self.runtime.block_on(restoring::plan(self.context(), archive, None)) else {
                continue;
            };
            let control = Control::default();
            let consent = Consent { name: Some("app"), ..Consent::default() };
            let restored =
                crate::execute::restore(self.context(), &plan.kept.id, &self.identity, consent, &control);
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

    /// After a restart, everything is as it should be.
    fn check(&self) -> Result<(), TestCaseError> {
        // Whatever is begun next first finds out what became of the last batches.
        testkit::wait_until("the end of transactions that died", || {
            let settled = self.runtime.block_on(actions::settle(self.context()));
            assert!(matches!(settled, Ok(()) | Err(ActError::AtWork)), "{settled:?}");
            settled.is_ok()
        });
        let table = self.app.rows();
        let mut archive = BTreeMap::<String, usize>::new();
        for plan in self.named.keys() {
            let mut behind = 0;
            while let Some(batch) = self.store.read(|db| archived::next(db, plan, behind)).unwrap() {
                behind = batch.id;
                prop_assert_eq!(batch.state, archived::State::Kept);
                for (row, fate) in batch.rows.iter().zip(&batch.fates) {
                    prop_assert!(
                        self.named[plan].contains(&(row.id.clone(), row.mark)),
                        "{:?} was not planned",
                        row
                    );
                    if *fate == Fate::Archived {
                        let token = row.prefix.clone().unwrap_or_default();
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
        // A session is there with all that goes with it, or nothing of that is.
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

/// Polls a future so many times: what comes of it, if it ends by then.
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

/// One history: its steps, and then a look at everything.
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
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_a_server_nothing_is_lost_and_nothing_is_there_twice(
        steps in prop::collection::vec(step(), 3..10),
        pooled in any::<bool>(),
        identified in any::<bool>(),
    ) {
        let kind = if pooled { Kind::Pooled } else { Kind::Direct };
        unfold(&mut History::new(kind, Shape::Plain, identified), &steps)?;
    }

    #[test]
    fn in_a_file_nothing_is_lost_and_nothing_is_there_twice(
        steps in prop::collection::vec(step(), 3..10),
        identified in any::<bool>(),
    ) {
        unfold(&mut History::new(Kind::File, Shape::Plain, identified), &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_table_is_made_of_nothing_is_lost_and_nothing_is_there_twice(
        steps in prop::collection::vec(step(), 2..7),
        shape in prop::sample::select(SHAPES.map(|(shape, _)| shape).to_vec()),
        identified in any::<bool>(),
    ) {
        unfold(&mut History::new(Kind::Direct, shape, identified && shape != Shape::InheritedAlike), &steps)?;
    }
}

/// What was planned is what is deleted, archived and restored, for every action and every shape.
#[test]
fn on_every_shape_just_the_planned_rows_go_and_come_back() {
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
                // Those that go with others are not removed, and nothing else either.
                Shape::SweepTrigger | Shape::SelfReference | Shape::AlsoRule | Shape::VetoTrigger => {
                    assert!(gone <= named, "{shape:?} {kind}: {gone} of {named}");
                }
                _ => assert_eq!(gone, named, "{shape:?} {kind}"),
            }
            history.restore_all().unwrap_or_else(|error| panic!("{shape:?} {kind}: {error}"));
        }
    }
}

/// A session goes with everything in its cart, whenever something is put into it.
#[test]
fn what_is_put_into_a_cart_meanwhile_is_archived_or_keeps_its_session() {
    // A file is read at once, and then waits for the archive only.
    for (kind, shape, held_up) in
        [(Kind::Direct, Shape::Referenced, 30..56), (Kind::File, Shape::Plain, 0..4)]
    {
        let mut history = History::new(kind, shape, true);
        for (until, write) in
            held_up.flat_map(|until| [(until, Write::Fill(5)), (until, Write::ChangeCart(5))])
        {
            // Session s6 is one of user 7.
            history.make(3);
            history.run(false, until, write, None);
            history.check().unwrap_or_else(|error| panic!("{kind:?} after {until}: {error}"));
            history.run(true, u8::MAX, Write::LogIn, None);
            history.check().unwrap_or_else(|error| panic!("{kind:?} after {until}, restored: {error}"));
            assert!(history.app.rows().values().any(|id| id == "s6"), "{kind:?} after {until}: not restored");
        }
    }
}
