//! Libraries are distinguished by features that only one of them has.

use serde_json::{Value, json};
use testkit::run_program_in;

use super::{Store, check, finding, fixture};

#[test]
fn renamed_fields_are_not_mistaken_for_another_library_nor_resets_for_sessions() {
    let store = fixture("better-auth-kysely-pg.sql");
    for column in [
        "userId:user_id",
        "expiresAt:expires_at",
        "createdAt:created_at",
        "updatedAt:updated_at",
        "ipAddress:ip_address",
        "userAgent:user_agent",
    ] {
        let (from, to) = column.split_once(':').unwrap();
        store.run(&format!("ALTER TABLE session RENAME COLUMN \"{from}\" TO {to}"));
    }
    // Like a handmade table with the types of another library.
    store.run(
        "CREATE TABLE password_reset_tokens (token text, user_id text, expires_at timestamp);
               INSERT INTO password_reset_tokens SELECT 'reset-' || token, user_id, expires_at FROM session",
    );
    let folder = store.configured("");
    let (_, report) = check(folder.path());
    assert_eq!(
        (&report["profile"], &report["framework"], &report["table"]),
        (
            &json!("better-auth-snake-case"),
            &json!("Better Auth, snake_case columns"),
            &json!("public.session")
        )
    );
    let resets = store.count("password_reset_tokens");
    let plan = run_program_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let id = plan["plan"]["id"].as_str().unwrap();
    let done = run_program_in(folder.path(), &[], &["apply", id, "--confirm", "app"]);
    assert!(
        done.stdout.contains("in public.session (Better Auth, snake_case columns)"),
        "{} {}",
        done.stdout,
        done.stderr
    );
    assert_eq!((store.count("session"), store.count("password_reset_tokens")), (0, resets));
    // Without the sessions, the resets are not mistaken for them.
    store.run("DROP TABLE session");
    let lucia = fixture("lucia3-pg.sql");
    lucia.run("CREATE TABLE password_reset_tokens (token text, user_id text, expires_at timestamptz)");
    for store in [store, lucia] {
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        assert!(
            said.exit_code == 3 && said.stderr.contains("it holds password resets"),
            "{report:#} {}",
            said.stderr
        );
    }
}

#[test]
fn minimal_tables_are_recognized_under_other_names_with_corroboration() {
    for (name, old, new) in [
        ("authjs-drizzle-pg.sql", "session", "app_logins"),
        ("authjs-drizzle.sqlite.sql", "session", "kept"),
        ("authjs-pg.sql", "sessions", "kept"),
        ("better-auth-kysely-pg.sql", "session", "kept"),
        ("better-auth-kysely.sqlite.sql", "session", "kept"),
        ("authjs-mikro-orm-pg.sql", "session", "kept"),
    ] {
        let store = fixture(name);
        store.run(&format!("ALTER TABLE {old} RENAME TO {new}"));
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        let table = report["table"].as_str().unwrap_or_default();
        assert!(table.ends_with(new) && said.exit_code != 3, "{name}: {report:#} {}", said.stderr);
        assert_eq!(run_program_in(folder.path(), &[], &["cleanup", "expired"]).exit_code, 0, "{name}");
    }
}

#[test]
fn definite_signs_distinguish_libraries() {
    let shapes = |migrations: &str, declared: &str| {
        let store = Store::new(true);
        store.run(&format!(
            "CREATE TABLE users (id text PRIMARY KEY, name text); {migrations};
             CREATE TABLE sessions (id text PRIMARY KEY, session_token text, user_id text REFERENCES users, \
               expires {declared});
             INSERT INTO users VALUES ('u', 'x'); \
             INSERT INTO sessions VALUES ('s', 'a-token-of-a-session', 'u', '2090-01-01')"
        ));
        let plan = run_program_in(store.configured("").path(), &[], &["revoke", "all"]);
        assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
        plan.stdout
    };
    let sure = "The next email-link login";
    let conditional = "With the Prisma adapter, the next email-link login";
    for (migrations, declared, title, warning) in [
        ("SELECT 1", "timestamptz", "Auth.js, snake_case columns", conditional),
        ("SELECT 1", "timestamp(3)", "Auth.js with Prisma, mapped names", sure),
        (
            "CREATE TABLE _prisma_migrations (id text)",
            "timestamptz",
            "Auth.js with Prisma, mapped names",
            sure,
        ),
    ] {
        let said = shapes(migrations, declared);
        assert!(said.contains(title) && said.contains(warning), "{declared}: {said}");
    }
}

#[test]
fn sessions_stored_elsewhere_are_reported_in_plan_and_result() {
    let store = fixture("better-auth-secondary-storage-pg.sql");
    let folder = store.configured("");
    let sign = "there is no verification table";
    let (_, report) = check(folder.path());
    assert!(report["notes"].to_string().contains(sign), "{report:#}");
    let doctor = testkit::run_for_json(&["doctor", &store.url(), "--format", "json"]);
    let other_stores = finding(&doctor, "other-stores");
    assert!(
        other_stores["level"] == "warn" && other_stores["summary"].to_string().contains(sign),
        "{doctor:#}"
    );
    let plan = run_program_in(folder.path(), &[], &["revoke", "all", "--format", "json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert!(plan["plan"]["not_revoked"][0].as_str().unwrap().contains(sign), "{plan:#}");
    assert!(plan["plan"]["not_revoked"].to_string().contains("cookieCache"), "{plan:#}");
    let id = plan["plan"]["id"].as_str().unwrap();
    let done = run_program_in(folder.path(), &[], &["apply", id, "--confirm", "app"]);
    assert!(
        done.stdout.contains("Some logins may stay valid") && done.stdout.contains(sign),
        "{} {}",
        done.stdout,
        done.stderr
    );
    // With a verification table, nothing indicates that.
    let usual = fixture("better-auth-secondary-storage-pg.sql");
    usual.run("CREATE TABLE verification (id text)");
    let (_, report) = check(usual.configured("").path());
    assert!(!report["notes"].to_string().contains(sign), "{report:#}");
    // With secondary storage only, there is no session table at all.
    store.run("DROP TABLE session");
    let (said, _) = check(folder.path());
    assert!(
        said.exit_code == 3
            && ["`public.user`", "`public.account`", "secondaryStorage"]
                .iter()
                .all(|part| said.stderr.contains(part)),
        "{}",
        said.stderr
    );
}
