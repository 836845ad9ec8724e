//! Tables of users that do not allow orphaned sessions to be determined, as `doctor` reports them.

/// Summaries of `doctor`'s findings about users, except those that every target has.
fn found(schema: &str) -> Vec<(String, String)> {
    let database = testkit::empty_database();
    database.psql(schema).unwrap();
    let document = testkit::run_for_json(&["doctor", &database.url("postgres"), "--format", "json"]);
    let findings = document["findings"].as_array().unwrap().iter();
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let about_users = findings.filter(|finding| {
        let id = finding["id"].as_str().unwrap();
        ["users-key", "users-deleted", "users-form"].contains(&id)
    });
    about_users.map(|finding| (text(finding, "id"), text(finding, "summary"))).collect()
}

fn schema(users: &str, user: &str, rows: &str) -> String {
    format!(
        "CREATE TABLE users ({users});
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL UNIQUE, \
           \"userId\" {user} NOT NULL, expires timestamptz NOT NULL);
         {rows}"
    )
}

fn rows(user: &str) -> String {
    format!(
        "INSERT INTO sessions SELECT 's' || n, 'token-of-a-usual-length-' || n, {user}, now() + interval '5 days' \
           FROM generate_series(1, 60) AS n;"
    )
}

#[test]
fn no_session_is_removed_because_its_user_id_is_written_in_another_form() {
    let integers = "INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, 60) AS n;";
    let plain = "id bigint PRIMARY KEY, name text";
    let planned = |user: &str| {
        let database = testkit::empty_database();
        database.psql(&schema(plain, "text", &format!("{integers}{}", rows(user)))).unwrap();
        testkit::run_program(&["cleanup", "orphaned", &database.url("postgres")])
    };
    let refused = planned("lpad(n::text, 5, '0')");
    assert!(
        refused.exit_code == 3
            && refused.stderr.contains("60 sessions write the user ID differently from the users table"),
        "{} {} {}",
        refused.exit_code,
        refused.stdout,
        refused.stderr
    );
    // Sessions of missing users are still orphans.
    let plan = planned("(n + 10)::text");
    assert!(plan.exit_code == 0 && plan.stdout.contains("10 of 60 rows"), "{} {}", plan.stdout, plan.stderr);
}

#[test]
fn doctor_says_why_orphans_cannot_be_determined() {
    let integers = "INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, 60) AS n;";
    let is_one = |found: Vec<(String, String)>, id: &str, words: &[&str]| {
        let [(only, summary)] = found.as_slice() else { panic!("{id}: {found:?}") };
        assert_eq!(only, id);
        words.iter().for_each(|word| assert!(summary.contains(word), "{summary}"));
    };
    let plain = "id bigint PRIMARY KEY, name text";
    assert_eq!(found(&schema(plain, "text", &format!("{integers}{}", rows("n::text")))), []);
    let zeros = format!("{integers}{}", rows("lpad(n::text, 5, '0')"));
    is_one(found(&schema(plain, "text", &zeros)), "users-form", &["60 sessions write", "\"id\""]);
    let uuid = "('00000000-0000-4000-8000-00000000ab' || lpad(n::text, 2, '0'))";
    let uuids = format!("INSERT INTO users SELECT {uuid}::uuid FROM generate_series(1, 60) AS n;");
    let keyed = "id uuid PRIMARY KEY, name text";
    assert_eq!(found(&schema(keyed, "text", &format!("{uuids}{}", rows(uuid)))), []);
    let capitals = format!("{uuids}{}", rows(&format!("upper({uuid})")));
    is_one(found(&schema(keyed, "text", &capitals)), "users-form", &["60 sessions write"]);
    let composite = "tenant integer, id bigint, name text, PRIMARY KEY (tenant, id)";
    let tenants = "INSERT INTO users SELECT 1, n, 'User ' || n FROM generate_series(1, 60) AS n;";
    let found_of_composite = found(&schema(composite, "bigint", &format!("{tenants}{}", rows("n"))));
    is_one(
        found_of_composite,
        "users-key",
        &["(\"tenant\", \"id\")", "by \"id\" alone", "another \"tenant\""],
    );
    // With a unique constraint, the column is a key on its own.
    let unique = "tenant integer, id bigint UNIQUE, name text, PRIMARY KEY (tenant, id)";
    assert_eq!(found(&schema(unique, "bigint", &format!("{tenants}{}", rows("n")))), []);
    for mark in ["deleted_at timestamptz", "\"isDeleted\" boolean"] {
        let marked = schema(&format!("{plain}, {mark}"), "bigint", &format!("{integers}{}", rows("n")));
        is_one(found(&marked), "users-deleted", &["count as users"]);
    }
}
