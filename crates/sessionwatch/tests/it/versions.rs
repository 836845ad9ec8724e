//! Every supported version of PostgreSQL is checked, fixed and restored alike.

use std::path::Path;

use serde_json::Value;
use testkit::{
    Database, PostgresServer, find_check_result, run_program_in, shared_server_of_version,
    shared_timescale_server,
};

/// Better Auth's tables, with the sessions laid out as `SESSION` says.
const USERS: &str = r#"
CREATE TABLE "user" (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE,
  "emailVerified" boolean NOT NULL,
  image text, "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
CREATE TABLE account (id text PRIMARY KEY, "accountId" text NOT NULL,
  "providerId" text NOT NULL, "userId" text NOT NULL,
  password text, "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL);
CREATE TABLE verification (id text PRIMARY KEY, identifier text NOT NULL, value text NOT NULL,
  "expiresAt" timestamptz NOT NULL,
  "createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
INSERT INTO "user" SELECT 'u' || n, 'User ' || n, 'user' || n || '@example.org', true FROM generate_series(1, 300) AS n;
"#;

/// Columns of the sessions, without the primary key.
const COLUMNS: &str = r#"id text NOT NULL, token text NOT NULL, "userId" text NOT NULL,
  "expiresAt" timestamptz NOT NULL,
  "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL, "ipAddress" text, "userAgent" text"#;

/// 1030 sessions, written by one transaction, 30 of which expired long ago.
const SESSIONS: &str = r#"
INSERT INTO session SELECT 's' || to_char(n, 'FM0000'), 'token-' || md5(n::text), 'u' || 1 + n % 300,
  CASE WHEN n % 34 = 0 THEN now() - n * interval '1 hour' ELSE now() + n * interval '10 minutes' END,
  now() - (1 + n % 9) * interval '1 day', now() - n * interval '0.123457 seconds', '192.0.2.' || n % 250,
    E'agent \\ ''x'', "y"\t' || n
FROM generate_series(1, 1030) AS n;
ANALYZE;
"#;

/// Two dependent rows per session.
const CARTS: &str = r#"
CREATE TABLE cart (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "sessionId" text NOT NULL REFERENCES session (id)
  ON DELETE CASCADE, content jsonb);
INSERT INTO cart ("sessionId", content) SELECT id, jsonb_build_object('a\t"b"', n)
  FROM session, generate_series(1, 2) AS n;
"#;

/// Layout of the session table.
struct Shape {
    name: &'static str,
    table: &'static str,
}

const PLAIN: Shape = Shape {
    name: "plain",
    table: "CREATE TABLE session (COLUMNS, PRIMARY KEY (id)); ALTER TABLE session ADD UNIQUE (token)",
};

/// Sessions of one statement in several partitions, with equal tuple and transaction IDs.
const HASHED: Shape = Shape {
    name: "partitioned by hash",
    table: "CREATE TABLE session (COLUMNS, PRIMARY KEY (id)) PARTITION BY HASH (id);
      CREATE TABLE session_0 PARTITION OF session FOR VALUES WITH (MODULUS 4, REMAINDER 0);
      CREATE TABLE session_1 PARTITION OF session FOR VALUES WITH (MODULUS 4, REMAINDER 1);
      CREATE TABLE session_2 PARTITION OF session FOR VALUES WITH (MODULUS 4, REMAINDER 2);
      CREATE TABLE session_3 PARTITION OF session FOR VALUES WITH (MODULUS 4, REMAINDER 3)",
};

const RANGED: Shape = Shape {
    name: "partitioned by range",
    table: r#"CREATE TABLE session (COLUMNS, PRIMARY KEY (id, "createdAt")) PARTITION BY RANGE ("createdAt");
      DO $$ BEGIN
        FOR n IN 1..6 LOOP
          EXECUTE format('CREATE TABLE session_%s PARTITION OF session FOR VALUES FROM (%L) TO (%L)',
            n, now() - (n + 1) * interval '1 day', now() - n * interval '1 day');
        END LOOP;
      END $$;
      CREATE TABLE session_old PARTITION OF session DEFAULT"#,
};

/// Inheriting tables do not show in the catalog entry of their parent.
const INHERITED: Shape = Shape {
    name: "inherited",
    table: "CREATE TABLE session (COLUMNS, PRIMARY KEY (id)); \
      CREATE TABLE session_eu (PRIMARY KEY (id)) INHERITS (session);
      CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO session_eu VALUES (NEW.*); RETURN NULL; END';
      CREATE TRIGGER elsewhere BEFORE INSERT ON session FOR EACH ROW WHEN (right(NEW.id, 1) < '5') \
        EXECUTE FUNCTION elsewhere()",
};

/// Half of the rows are in another database, where row versions are not visible.
const FOREIGN: Shape = Shape {
    name: "partly foreign",
    table: "CREATE EXTENSION postgres_fdw;
      CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port 'PORT', dbname 'REMOTE');
      CREATE USER MAPPING FOR PUBLIC SERVER remote OPTIONS (user 'postgres', password 'testkit');
      CREATE TABLE session (COLUMNS) PARTITION BY HASH (id);
      CREATE TABLE session_0 PARTITION OF session FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE FOREIGN TABLE session_1 PARTITION OF session FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER remote
        OPTIONS (table_name 'session')",
};

const HYPERTABLE: Shape = Shape {
    name: "hypertable",
    table: r#"CREATE EXTENSION timescaledb; CREATE TABLE session (COLUMNS, PRIMARY KEY (id, "createdAt"));
      SELECT create_hypertable('session', 'createdAt', chunk_time_interval => interval '1 day')"#,
};

impl Shape {
    /// Foreign keys need a unique key over all tables.
    fn has_carts(&self) -> bool {
        [PLAIN.name, HASHED.name].contains(&self.name)
    }
}

/// A target on a server of some version, with both roles, through the server's own port or through the pooler.
struct Site<'a> {
    folder: tempfile::TempDir,
    database: Database<'static>,
    /// Database of the store, or of the rows of a foreign table.
    _other: Database<'static>,
    shape: &'a Shape,
}

impl<'a> Site<'a> {
    fn new(server: &'static PostgresServer, shape: &'a Shape, port: usize) -> Self {
        let [database, other] = [(); 2].map(|()| server.create_database(None).unwrap());
        let mut table = shape.table.replace("COLUMNS", COLUMNS);
        if shape.name == FOREIGN.name {
            other.psql(&format!("CREATE TABLE session ({COLUMNS}, PRIMARY KEY (id))")).unwrap();
            table = table.replace("PORT", &server.ports()[0].to_string()).replace("REMOTE", other.name());
        }
        let carts = if shape.has_carts() { CARTS } else { "" };
        database.psql(&format!("{USERS}{table};\n{SESSIONS}{carts}")).unwrap();
        let (watch, act) = (testkit::create_role(&database, "watch"), testkit::create_role(&database, "act"));
        let granting = ["grants", &database.url("postgres"), "--watch-role", &watch, "--write-role", &act];
        let said = testkit::run_program(&granting);
        assert_eq!(said.exit_code, 0, "{}", said.stderr);
        let grants = said.stdout.lines().filter(|line| !line.starts_with("CREATE ROLE"));
        database.psql(&grants.collect::<Vec<_>>().join("\n")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [watch, act] = [&watch, &act].map(|role| database.urls(role)[port].clone());
        // The state store may be on any version too.
        let store = if port == 1 {
            format!("[serve]\nstore = \"{}\"\n", other.url("postgres"))
        } else {
            String::new()
        };
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{watch}\"\nwrite_url = \"{act}\"\n\
             [checks.slow-check-run]\nbudget_ms = 3600000\n{store}",
        );
        std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
        let site = Self { folder, database, _other: other, shape };
        site.set_roles_right();
        site
    }

    /// Follows `doctor`'s advice on roles: rows of inheriting tables are restored there, which needs grants of its own,
    /// and up to PostgreSQL 14 every role can create tables.
    fn set_roles_right(&self) {
        let everybody = "SELECT has_schema_privilege('public', 'public', 'CREATE')";
        let everybody_creates = self.database.psql(everybody).unwrap() == "t\n";
        let doctor = run_program_in(self.folder.path(), &[], &["doctor"]).stdout;
        let statements = |verb: &str| {
            let lines = doctor.lines().filter_map(|line| line.trim().strip_prefix("→ "));
            lines.filter(|line| line.starts_with(verb)).map(str::to_owned).collect::<Vec<_>>()
        };
        let (grants, revokes) = (statements("GRANT "), statements("REVOKE CREATE "));
        assert_eq!(grants.is_empty(), self.shape.name != INHERITED.name, "{doctor}");
        assert_eq!(revokes.is_empty(), !everybody_creates, "{doctor}");
        self.database.psql(&[grants, revokes].concat().join("\n")).unwrap();
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        json(self.folder.path(), arguments, code)
    }

    /// Plans and applies.
    fn apply(&self, arguments: &[&str]) -> Value {
        let plan = self.json(arguments, 0)["plan"].clone();
        self.json(&["apply", plan["id"].as_str().unwrap(), "--confirm", "app"], 0)["applied"].clone()
    }

    /// IDs and contents of rows, with the table that holds them.
    fn rows(&self, condition: &str) -> Vec<String> {
        let query = format!(
            "SELECT md5(s::text) || tableoid::regclass || id FROM session AS s WHERE {condition} ORDER BY id"
        );
        self.database.psql(&query).unwrap().lines().map(str::to_owned).collect()
    }

    /// Dependent rows of sessions.
    fn carts(&self) -> String {
        let query = "SELECT count(*), md5(string_agg(c::text, ',' ORDER BY c.id)) FROM cart AS c";
        if self.shape.has_carts() { self.database.psql(query).unwrap() } else { String::new() }
    }

    fn is_examined(&self) {
        let mut by_engine = vec![];
        for engine in ["scan", "pushdown"] {
            let report = self.json(&["check", "app", "--engine", engine], 1)["targets"][0].take();
            assert_eq!(
                (&report["engine"], &report["profile"]),
                (&engine.into(), &"better-auth-kysely".into())
            );
            assert_eq!(find_check_result(&report, "expired-backlog")["result"], "failing", "{report:#}");
            let mut stats = report["stats"].clone();
            let counts = [&stats["sessions"], &stats["active"], &stats["expired"]];
            assert_eq!(counts, [1030, 1000, 30], "{}", self.shape.name);
            // Each run has its own timestamp.
            stats.as_object_mut().unwrap().remove("checked_at");
            by_engine.push(stats);
        }
        assert_eq!(by_engine[0], by_engine[1], "{}", self.shape.name);
        let listed = self.json(&["sessions", "list", "app", "--limit", "2000"], 0);
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 1030, "{listed:#}");
        let doctor = run_program_in(self.folder.path(), &[], &["doctor"]);
        let failing: Vec<&str> = doctor.stdout.lines().filter(|line| line.starts_with("fail")).collect();
        // A constraint cannot span several tables.
        assert!(
            failing.iter().all(|line| line.contains("token-unique")),
            "{} {}",
            self.shape.name,
            doctor.stdout
        );
        assert_eq!(failing.is_empty(), self.shape.name == PLAIN.name, "{}: {failing:#?}", self.shape.name);
        for pass in ["server: PostgreSQL ", "role:", "write-role:", "visibility:", "expiry:", "clock:"] {
            assert!(doctor.stdout.contains(&format!("\npass  {pass}")), "{pass} {}", doctor.stdout);
        }
    }

    /// Asserts that the SQL printed by `doctor` can be run, and fixes the finding.
    fn is_fixed_by_doctor(&self) {
        let statements = || {
            let doctor = run_program_in(self.folder.path(), &[], &["doctor"]).stdout;
            let lines = doctor.lines().filter_map(|line| line.trim().strip_prefix("→ "));
            let statements = lines.filter(|line| line.starts_with("CREATE ") || line.starts_with("ALTER "));
            statements.map(str::to_owned).collect::<Vec<_>>()
        };
        let printed = statements();
        assert!(printed.len() >= 3, "{}: {printed:#?}", self.shape.name);
        for statement in &printed {
            let ran = self.database.psql(statement);
            assert!(ran.is_ok(), "{}: {statement} {ran:?}", self.shape.name);
        }
        // A foreign key does not cover inheriting tables.
        let left = statements();
        assert!(left.is_empty() || self.shape.name == INHERITED.name, "{}: {left:#?}", self.shape.name);
    }

    fn is_fixed_and_undone(&self) {
        let expired = "\"expiresAt\" < now() - interval '1 hour'";
        if self.shape.name != PLAIN.name {
            let alike = format!(
                "SELECT count(*) FROM session AS s JOIN session AS a ON a.ctid = s.ctid AND a.tableoid <> s.tableoid\n\
                 AND a.xmin::text IN (s.xmin::text, '0') WHERE s.{expired} AND a.\"expiresAt\" > now()"
            );
            assert_ne!(self.database.psql(&alike).unwrap(), "0\n", "{}: rows share places", self.shape.name);
        }
        let (before, planned, carts) = (self.rows("true"), self.rows(expired), self.carts());
        assert_eq!((before.len(), planned.len()), (1030, 30));
        let applied = self.apply(&["cleanup", "expired", "--grace", "1h"]);
        assert_eq!(
            (&applied["done"], &applied["skipped"], &applied["still_matching"]),
            (&30.into(), &0.into(), &0.into())
        );
        let stay: Vec<String> = before.iter().filter(|row| !planned.contains(row)).cloned().collect();
        assert_eq!(self.rows("true"), stay, "{}: what was planned went, and nothing else", self.shape.name);
        if self.shape.has_carts() {
            assert_eq!(applied["dependents"][0]["done"], 60, "{applied:#}");
            assert!(self.carts().starts_with("2000|"), "{}", self.carts());
        }
        let archived = self.json(&["archive", "list"], 0);
        assert_eq!(archived["archives"][0]["rows"], 30, "{archived:#}");
        let restored = self.apply(&["archive", "restore", applied["plan"].as_str().unwrap()]);
        assert_eq!((&restored["done"], &restored["skipped"]), (&30.into(), &0.into()), "{restored:#}");
        assert_eq!(self.rows("true"), before, "{}: everything is as it was", self.shape.name);
        assert_eq!(self.carts(), carts, "{}", self.shape.name);
    }
}

fn json(folder: &Path, arguments: &[&str], code: i32) -> Value {
    let said = run_program_in(folder, &[], &[arguments, &["--format", "json"]].concat());
    assert_eq!(said.exit_code, code, "{arguments:?}: {} {}", said.stdout, said.stderr);
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("no JSON: {} {}", said.stdout, said.stderr))
}

fn every_story_on(major: u32) {
    for (number, shape) in [PLAIN, HASHED, RANGED, INHERITED, FOREIGN].iter().enumerate() {
        every_story_of(shape, shared_server_of_version(major), (number + major as usize) % 2);
    }
}

fn every_story_of(shape: &Shape, server: &'static PostgresServer, port: usize) {
    let site = Site::new(server, shape, port);
    site.is_examined();
    site.is_fixed_and_undone();
    // A foreign partition can have neither a foreign key nor an index.
    if shape.name != FOREIGN.name {
        site.is_fixed_by_doctor();
    }
}

#[test]
fn sessions_on_postgresql_13_are_fixed_and_restored() {
    every_story_on(13);
}

#[test]
fn sessions_on_postgresql_14_are_fixed_and_restored() {
    every_story_on(14);
}

#[test]
fn sessions_on_postgresql_15_are_fixed_and_restored() {
    every_story_on(15);
}

#[test]
fn sessions_on_postgresql_16_are_fixed_and_restored() {
    every_story_on(16);
}

#[test]
fn sessions_on_postgresql_17_are_fixed_and_restored() {
    every_story_on(17);
}

#[test]
fn sessions_on_postgresql_18_are_fixed_and_restored() {
    every_story_on(18);
}

#[test]
fn sessions_in_a_hypertable_are_fixed_and_restored() {
    for port in [0, 1] {
        every_story_of(&HYPERTABLE, shared_timescale_server(), port);
    }
}
