//! Encrypted connections: what each `sslmode` accepts and refuses.

/// URL of the server that requires TLS, with a host name and parameters.
fn url(database: &testkit::Database<'_>, host: &str, parameters: &str) -> String {
    let url = database.url("postgres").replace("127.0.0.1", host);
    format!("{url}?{parameters}")
}

#[test]
fn each_mode_checks_what_its_name_says() {
    let server = testkit::shared_tls_server();
    let database = server.create_database(None).unwrap();
    database.psql(testkit::sample_databases::GUIDE_SCHEMA).unwrap();
    let authority = format!("sslrootcert={}", server.certificates().authority().display());
    let stranger = format!("sslrootcert={}", server.certificates().untrusted_authority().display());
    let refused = "no pg_hba.conf entry allows this user and host, or connections without TLS";
    for (host, mode, expected) in [
        ("localhost", "sslmode=disable".to_owned(), Err(refused)),
        ("localhost", "sslmode=allow".to_owned(), Ok(())),
        ("localhost", "sslmode=prefer".to_owned(), Ok(())),
        ("127.0.0.1", "sslmode=require".to_owned(), Ok(())),
        ("localhost", format!("sslmode=verify-ca&{authority}"), Ok(())),
        ("127.0.0.1", format!("sslmode=verify-ca&{authority}"), Ok(())),
        ("localhost", format!("sslmode=verify-ca&{stranger}"), Err("not from a trusted authority")),
        ("localhost", format!("sslmode=require&{stranger}"), Err("not from a trusted authority")),
        ("localhost", format!("sslmode=verify-full&{authority}"), Ok(())),
        ("127.0.0.1", format!("sslmode=verify-full&{authority}"), Err("for another host name")),
        ("localhost", format!("sslmode=verify-full&{stranger}"), Err("not from a trusted authority")),
        ("localhost", "sslmode=verify-full&sslrootcert=/no/such/file".to_owned(), Err("sslrootcert")),
        ("localhost", "sslmode=require&channel_binding=require".to_owned(), Ok(())),
    ] {
        let said = testkit::run_program(&["check", &url(&database, host, &mode)]);
        match expected {
            Ok(()) => assert_eq!(said.exit_code, 0, "{host} {mode}: {}", said.stderr),
            Err(part) => {
                assert_eq!(said.exit_code, 3, "{host} {mode}");
                assert!(said.stderr.contains(part), "{host} {mode}: {}", said.stderr);
            }
        }
    }
}

#[test]
fn modes_that_require_tls_reject_a_server_without_it() {
    let database = testkit::healthy_database();
    for (parameters, expected) in [
        ("sslmode=prefer", Ok(())),
        ("sslmode=allow", Ok(())),
        ("sslmode=disable", Ok(())),
        ("sslmode=require", Err("the server does not offer it")),
        ("sslmode=verify-full", Err("the server does not offer it")),
        ("sslmode=prefer&channel_binding=require", Err("channel binding")),
    ] {
        let said = testkit::run_program(&["check", &format!("{}?{parameters}", database.url("postgres"))]);
        match expected {
            Ok(()) => assert_eq!(said.exit_code, 0, "{parameters}: {}", said.stderr),
            Err(part) => {
                assert!(said.exit_code == 3 && said.stderr.contains(part), "{parameters}: {}", said.stderr)
            }
        }
    }
}

#[test]
fn passwords_sockets_and_options_are_taken_from_the_url() {
    let database = testkit::healthy_database();
    let role = testkit::create_role(&database, "odd");
    let settings = format!(
        "ALTER ROLE {role} PASSWORD 'p@ss/w:rd?#%'; GRANT SELECT ON sessions, users, accounts TO {role};
         CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.sessions (LIKE sessions); \
         GRANT USAGE ON SCHEMA elsewhere TO {role};
         GRANT SELECT ON elsewhere.sessions TO {role}"
    );
    database.psql(&settings).unwrap();
    let odd = database.url(&role).replace(":testkit@", ":p%40ss%2Fw%3Ard%3F%23%25@");
    assert_eq!(testkit::run_program(&["check", &odd]).exit_code, 0);
    let path = format!("{odd}?options=-c%20search_path%3Delsewhere");
    let empty = testkit::run_program(&["check", &path]);
    // Orphaned sessions are unknown: this schema has no user table.
    let found = ["Auth.js with Prisma in elsewhere.sessions", "the session table is empty"];
    assert!(empty.exit_code == 3 && found.iter().all(|part| empty.stdout.contains(part)), "{}", empty.stdout);
    let (folder, port) = testkit::shared_server().socket_address();
    let folder = folder.display().to_string().replace('/', "%2F");
    let socket = format!("postgres://{role}@{folder}:{port}/{}", database.name());
    let said = testkit::run_program(&["check", &socket]);
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
}
