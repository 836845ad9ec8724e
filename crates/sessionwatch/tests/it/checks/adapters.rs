//! The first `check` of ordinary healthy applications, by the adapter that stores their sessions: it passes at any
//! size, locally and over a slow connection, without configuration.

use std::time::Duration;

use testkit::{FaultProxy, NetworkFault, run_program_in};

/// Numbers of users of an application.
const SIZES: [u32; 3] = [50, 800, 50_000];

/// How an adapter stores an application, in tables that it created itself.
struct Adapter {
    /// The tables as the adapter created them. Their rows are removed.
    made: &'static str,
    tables: [&'static str; 2],
    /// Expression for the ID of user `n`.
    user: &'static str,
    /// Columns of users besides `id`, with their values.
    people: (&'static str, &'static str),
    /// Columns of sessions, with their values: `USER`, `TOKEN`, `BEGAN`, `ENDS` and `n`.
    sessions: (&'static str, &'static str),
    /// Expression for the stored form of an instant `seconds` from now.
    instant: &'static str,
    /// Seconds until an unused session expires.
    lifetime: u32,
}

const DAY: u32 = 86_400;
const NAIVE: &str = "(now() + (SECONDS) * interval '1 second') AT TIME ZONE 'UTC'";
const ZONED: &str = "now() + (SECONDS) * interval '1 second'";
const ISO: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', (SECONDS) || ' seconds')";
const ISO_OFFSET: &str =
    "replace(strftime('%Y-%m-%dT%H:%M:%fZ', 'now', (SECONDS) || ' seconds'), 'Z', '+00:00')";
const MILLIS: &str = "(unixepoch() + (SECONDS)) * 1000";

/// Rows of an application: users with one session, every fourth with a second one, one with seven devices, a few
/// recently expired sessions, and users without any.
fn rows(adapter: &Adapter, users: u32, is_file: bool) -> String {
    let series = |count: u32| {
        if is_file {
            format!(
                "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
            )
        } else {
            format!("generate_series(1, {count})")
        }
    };
    let alias = if is_file { "AS numbers" } else { "AS numbers (n)" };
    let token = if is_file { "lower(hex(randomblob(16)))" } else { "md5('t' || KIND || n)" };
    let [people, sessions] = adapter.tables;
    let mut text = format!("DELETE FROM {sessions}; DELETE FROM {people};");
    let (columns, values) = adapter.people;
    let values = values.replace("NOW", &adapter.instant.replace("SECONDS", "0"));
    text.push_str(&format!(
        "INSERT INTO {people} (id, {columns}) SELECT {}, {values} FROM {} {alias};",
        adapter.user,
        series(users)
    ));
    // User, number of sessions, and time since their last use.
    let live = format!("(n % {}) * {} + 300", adapter.lifetime / DAY - 1, DAY - 1_000);
    for (kind, user, count, age) in [
        ("1", "n".to_owned(), users * 9 / 10, live.clone()),
        ("2", "n * 4".to_owned(), users / 5, live),
        ("3", "1".to_owned(), 6, "n * 7200".to_owned()),
        ("4", "n + 5".to_owned(), (users / 50).min(90), format!("{} + n * 60", adapter.lifetime + DAY)),
    ] {
        let (columns, values) = adapter.sessions;
        let values = values
            .replace("USER", &adapter.user.replace('n', &format!("({user})")))
            .replace("TOKEN", &token.replace("KIND", kind))
            .replace("KIND", kind)
            .replace("BEGAN", &adapter.instant.replace("SECONDS", &format!("-({age})")))
            .replace("ENDS", &adapter.instant.replace("SECONDS", &format!("{} - ({age})", adapter.lifetime)));
        text.push_str(&format!(
            "INSERT INTO {sessions} ({columns}) SELECT {values} FROM {} {alias};",
            series(count)
        ));
    }
    text
}

/// Checks once, as a first-time user does.
fn passes(url: &str, about: &str) {
    let folder = tempfile::tempdir().unwrap();
    let said = run_program_in(folder.path(), &[], &["check", url]);
    assert!(
        said.exit_code == 0 && said.stdout.starts_with("passing: "),
        "{about}: {} {}",
        said.stdout,
        said.stderr
    );
}

fn passes_on_a_server(adapter: &Adapter) {
    for users in SIZES {
        let database = testkit::empty_database();
        database.psql(adapter.made).unwrap();
        database.psql(&rows(adapter, users, false)).unwrap();
        passes(&database.url("postgres"), &format!("{users} users"));
        let far = FaultProxy::start(
            testkit::shared_server().ports()[0],
            NetworkFault::Delay(Duration::from_millis(40)),
        )
        .unwrap();
        passes(&database.url_at_port("postgres", far.port()), &format!("{users} users, 40 ms away"));
    }
}

fn passes_in_a_file(adapter: &Adapter, sizes: &[u32]) {
    for &users in sizes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let app = rusqlite::Connection::open(&path).unwrap();
        app.execute_batch(adapter.made).unwrap();
        app.execute_batch(&format!("BEGIN; {} COMMIT", rows(adapter, users, true))).unwrap();
        passes(&path.display().to_string(), &format!("{users} users"));
    }
}

const PRISMA: Adapter = Adapter {
    made: include_str!("../../fixtures/frameworks/authjs-prisma-pg.sql"),
    tables: ["\"User\"", "\"Session\""],
    user: "'u' || n",
    people: ("email, \"updatedAt\"", "n || '@example.org', NOW"),
    sessions: (
        "\"sessionToken\", \"userId\", expires, \"createdAt\", \"updatedAt\"",
        "TOKEN, USER, ENDS, BEGAN, BEGAN",
    ),
    instant: NAIVE,
    lifetime: 30 * DAY,
};
const DRIZZLE: Adapter = Adapter {
    made: include_str!("../../fixtures/frameworks/authjs-drizzle-pg.sql"),
    tables: ["\"user\"", "session"],
    people: ("email", "n || '@example.org'"),
    sessions: ("\"sessionToken\", \"userId\", expires", "TOKEN, USER, ENDS"),
    ..PRISMA
};
const BETTER_AUTH: Adapter = Adapter {
    made: include_str!("../../fixtures/frameworks/better-auth-kysely-pg.sql"),
    tables: ["\"user\"", "session"],
    people: (
        "name, email, \"emailVerified\", \"createdAt\", \"updatedAt\"",
        "'Person ' || n, n || '@example.org', EXISTS (SELECT 1), NOW, NOW",
    ),
    sessions: (
        "id, token, \"userId\", \"expiresAt\", \"createdAt\", \"updatedAt\", \"ipAddress\", \"userAgent\"",
        "'sKIND-' || n, TOKEN, USER, ENDS, BEGAN, BEGAN, '192.0.2.1', 'Mozilla/5.0'",
    ),
    instant: ZONED,
    lifetime: 7 * DAY,
    ..PRISMA
};

#[test]
fn auth_js_with_prisma_passes_its_first_check() {
    passes_on_a_server(&PRISMA);
}

#[test]
fn auth_js_with_drizzle_passes_its_first_check() {
    passes_on_a_server(&DRIZZLE);
}

#[test]
fn auth_js_with_the_pg_adapter_passes_its_first_check() {
    passes_on_a_server(&Adapter {
        made: include_str!("../../fixtures/frameworks/authjs-pg.sql"),
        tables: ["users", "sessions"],
        user: "n",
        instant: ZONED,
        ..DRIZZLE
    });
}

#[test]
fn better_auth_with_kysely_passes_its_first_check() {
    passes_on_a_server(&BETTER_AUTH);
}

#[test]
fn better_auth_with_prisma_passes_its_first_check() {
    let made = include_str!("../../fixtures/frameworks/better-auth-prisma-pg.sql");
    passes_on_a_server(&Adapter { made, instant: NAIVE, ..BETTER_AUTH });
}

#[test]
fn better_auth_with_drizzle_passes_its_first_check() {
    passes_on_a_server(&Adapter {
        made: include_str!("../../fixtures/frameworks/better-auth-drizzle-pg.sql"),
        people: ("name, email", "'Person ' || n, n || '@example.org'"),
        sessions: (
            "id, token, user_id, expires_at, created_at, updated_at, ip_address, user_agent",
            BETTER_AUTH.sessions.1,
        ),
        instant: NAIVE,
        ..BETTER_AUTH
    });
}

#[test]
fn auth_js_and_better_auth_in_files_pass_their_first_check() {
    let iso = include_str!("../../fixtures/frameworks/authjs-prisma-iso.sqlite.sql");
    let millis = include_str!("../../fixtures/frameworks/authjs-prisma-ms.sqlite.sql");
    let kysely = include_str!("../../fixtures/frameworks/authjs-kysely.sqlite.sql");
    let drizzle = include_str!("../../fixtures/frameworks/authjs-drizzle.sqlite.sql");
    let better_auth = include_str!("../../fixtures/frameworks/better-auth-kysely.sqlite.sql");
    // Every size with one text format of instants, and one size with numbers.
    for (adapter, sizes) in [
        (Adapter { made: iso, instant: ISO_OFFSET, ..PRISMA }, &SIZES[..]),
        (Adapter { made: millis, instant: MILLIS, ..PRISMA }, &SIZES[..2]),
        (Adapter { made: kysely, instant: ISO, tables: PRISMA.tables, ..DRIZZLE }, &SIZES[..2]),
        (Adapter { made: drizzle, instant: MILLIS, ..DRIZZLE }, &SIZES),
        (Adapter { made: better_auth, instant: ISO, ..BETTER_AUTH }, &SIZES[..2]),
    ] {
        passes_in_a_file(&adapter, sizes);
    }
}
