//! Tests of addresses.

use super::*;

#[test]
fn parses_addresses_of_hosting_services() {
    for (url, mode, pooled) in [
        (
            "postgresql://u:p%40ss@ep-x-123-pooler.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
            SslMode::Require,
            true,
        ),
        (
            "postgres://postgres.ref:pw@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true",
            SslMode::Prefer,
            true,
        ),
        ("postgres://u:pw@h:5432/db?schema=public&connection_limit=5", SslMode::Prefer, false),
        ("postgres://u:pw@h/db?sslmode=verify-full&sslrootcert=/ca.pem", SslMode::VerifyFull, false),
        ("postgres://u:pw@h/db?sslmode=require&sslrootcert=/ca.pem", SslMode::VerifyCa, false),
        ("postgres://u:pw@%2Fvar%2Frun%2Fpostgresql/db?sslmode=disable", SslMode::Disable, false),
        ("postgres://u@[::1]:5433/db?options=endpoint%3Dep-1", SslMode::Prefer, false),
    ] {
        let dsn = Dsn::parse(url).unwrap();
        assert_eq!((dsn.ssl_mode, dsn.pooled), (mode, pooled), "{url}");
    }
    let neon = Dsn::parse("postgres://u:p%40ss@h/db").unwrap();
    assert_eq!(neon.config.get_password(), Some(&b"p@ss"[..]));
}

#[test]
fn parses_the_search_path() {
    for (query, path) in [
        ("schema=Staging", &["Staging"][..]),
        ("schema=a,b", &["a,b"]),
        ("currentSchema=app,%22Other%22", &["app", "Other"]),
        ("options=-csearch_path%3Dapp", &["app"]),
        ("options=-c%20search_path%3Dapp%2Cpublic", &["app", "public"]),
        ("options=-c%20geqo%3Doff%20--search-path%3DApp", &["app"]),
        ("options=-csearch_path%3D%22%24user%22%2C%5C%20public", &["$user", "public"]),
        ("options=-csearch_path%3D%22a%22%22b%22", &["a\"b"]),
        ("options=endpoint%3Dep-1", &[]),
        ("connection_limit=5", &[]),
    ] {
        let dsn = Dsn::parse(&format!("postgres://u@h/d?{query}")).unwrap();
        assert_eq!(dsn.search_path, path, "{query}");
    }
    for name in ["schema", "currentSchema"] {
        let refused = Dsn::parse(&format!("postgres://u@h/d?{name}=")).unwrap_err();
        assert_eq!(refused, DsnError::NoSchema(name.into()));
    }
}

#[test]
fn ignores_parameters_of_other_programs() {
    for query in [
        // As printed by `prisma dev`.
        "sslmode=disable&connection_limit=10&connect_timeout=0&max_idle_connection_lifetime=0&pool_timeout=0&socket_timeout=0",
        "pool_max_conns=10&pool_max_conn_idle_time=5m&default_query_exec_mode=exec&keepalives_interval=5",
        "ApplicationName=app&reWriteBatchedInserts=true&socketTimeout=10&pool=5&reaping_frequency=10",
    ] {
        let dsn = Dsn::parse(&format!("postgres://u:pw@127.0.0.1:51214/template1?{query}")).unwrap();
        assert!(dsn.is_loopback(), "{query}");
        assert_eq!(dsn.config.get_connect_timeout(), Some(&Duration::from_secs(10)), "{query}");
    }
}

#[test]
fn rejects_ambiguous_passwords() {
    for url in [
        "postgres://u:p@ss/w:rd@127.0.0.1:5432/app",
        "postgres://u:a@b@h/d",
        "postgres://u:se?cret@h/d",
        "postgres://u:1?user=cret@h/d",
        "postgres://u:p@h/d?application_name=x@y",
    ] {
        assert_eq!(Dsn::parse(url).unwrap_err(), DsnError::Ambiguous, "{url}");
    }
    for url in ["postgres://u:se/cr#et@h/d", "postgres://u:se%40cr%3Fet@h/d?user=a%40b"] {
        let shown = Dsn::parse(url).map_or_else(|error| error.to_string(), |dsn| dsn.to_string());
        assert!(!shown.contains("cr"), "{shown}");
    }
}

#[test]
fn errors_do_not_repeat_values() {
    assert_eq!(
        Dsn::parse("postgres://u:hunter2@h/d?sslmod=require").unwrap_err(),
        DsnError::UnknownParameter("sslmod".into())
    );
    assert!(matches!(
        Dsn::parse("postgres://u:hunter2@h/d?sslmode=hunter2").unwrap_err(),
        DsnError::InvalidValue("sslmode", _)
    ));
    assert_eq!(Dsn::parse("postgres://h/d").unwrap_err(), DsnError::NoUser);
    let shown = format!("{0} {0:?}", Dsn::parse("postgres://u:hunter2@h/d").unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_password_is_never_printed_wherever_it_stands() {
    let mut seen = 0;
    for password in [
        "hunter2",
        "p%40ss%3Fhunter2",
        "hunter2%2F",
        "%27hunter2%27",
        "hunter2%0A",
        "%00hunter2",
        "hunter2:5432",
    ] {
        for url in [
            format!("postgres://watch:{password}@db.example/app"),
            format!("postgres://watch:{password}@db.example:6432/app?sslmode=require"),
            format!("postgres://watch@db.example/app?password={password}"),
            format!("postgres://watch:{password}@/app?host=/run/postgresql"),
            format!("postgres://watch:{password}@db.example/app?sslmode={password}"),
            format!("postgres://watch:{password}@db.example/app?{password}=1"),
            format!("postgres://watch:{password}@db.example:port/app"),
            format!("postgres://:{password}@db.example/app"),
        ] {
            let shown = match Dsn::parse(&url) {
                Ok(dsn) => format!("{dsn} {dsn:?} {:?}", dsn.password_key()),
                Err(error) => format!("{error} {error:?}"),
            };
            // A password in place of a parameter is printed only if it looks like a name.
            let is_name = url.ends_with("hunter2=1") && !password.contains('%');
            assert!(!shown.contains("hunter2") || is_name, "{url}: {shown}");
            seen += 1;
        }
    }
    assert_eq!(seen, 56);
}

#[test]
fn a_password_file_is_searched_by_the_words_of_the_address() {
    for (url, key) in [
        ("postgres://watch@db.example:6000/app", Some(["db.example", "6000", "app", "watch"])),
        ("postgres://watch@db.example", Some(["db.example", "5432", "watch", "watch"])),
        ("postgres://watch@%2Frun%2Fpostgresql/app", Some(["localhost", "5432", "app", "watch"])),
        ("postgres:///app?user=watch", Some(["localhost", "5432", "app", "watch"])),
        ("postgres://watch@[::1]/app", Some(["::1", "5432", "app", "watch"])),
        ("postgres://watch:pw@db.example/app", None),
        ("postgres://watch@db.example/app?password=pw", None),
    ] {
        let dsn = Dsn::parse(url).unwrap();
        let key = key.map(|words| words.map(str::to_owned));
        assert_eq!(dsn.password_key(), key, "{url}");
        let mut with_password = dsn;
        with_password.set_password("from-a-file");
        assert_eq!(with_password.password_key(), None, "{url}");
        assert!(!format!("{with_password} {with_password:?}").contains("from-a-file"), "{url}");
    }
}

#[test]
fn only_this_machine_is_loopback() {
    for (host, is_loopback, is_local) in [
        ("localhost", true, false),
        ("127.0.0.1", true, false),
        ("127.8.9.10", true, false),
        ("[::1]", true, false),
        ("%2Frun%2Fpostgresql", true, true),
        ("localhost.example", false, false),
        ("127.0.0.1.example", false, false),
        ("0.0.0.0", false, false),
        ("10.0.0.1", false, false),
        ("[::]", false, false),
        ("localhost,db.example", false, false),
    ] {
        let dsn = Dsn::parse(&format!("postgres://watch@{host}/app")).unwrap();
        assert_eq!((dsn.is_loopback(), dsn.is_local()), (is_loopback, is_local), "{host}");
    }
}

#[test]
fn a_pooler_is_recognized_by_port_name_or_parameter() {
    for (address, pooled) in [
        ("db.example:6432/app", true),
        ("db.example:6543/app", true),
        ("db.example:5432,db.example:6432/app", true),
        ("ep-1-pooler.aws.example/app", true),
        ("db.example/app?pgbouncer=true", true),
        ("db.example/app?pgbouncer=false", false),
        ("db.example/pooler", false),
        ("db.example:5432/app", false),
    ] {
        assert_eq!(Dsn::parse(&format!("postgres://watch@{address}")).unwrap().pooled, pooled, "{address}");
    }
}

#[test]
fn the_protection_is_what_the_parameters_ask_for() {
    for (query, mode) in [
        ("", SslMode::Prefer),
        ("sslmode=disable", SslMode::Disable),
        ("sslmode=allow", SslMode::Allow),
        ("sslmode=verify-ca&sslrootcert=/ca.pem", SslMode::VerifyCa),
        ("sslrootcert=/ca.pem&sslmode=require", SslMode::VerifyCa),
        ("sslrootcert=/ca.pem", SslMode::Prefer),
        ("sslrootcert=system", SslMode::VerifyFull),
        ("sslmode=require&sslrootcert=system", SslMode::VerifyFull),
        ("ssl=true", SslMode::Require),
        ("ssl=1", SslMode::Require),
        ("ssl=false", SslMode::Prefer),
        ("sslaccept=strict", SslMode::VerifyFull),
        ("sslaccept=accept_invalid_certs", SslMode::Require),
        ("sslmode=require&sslaccept=strict", SslMode::VerifyFull),
        // A later parameter never turns off what an earlier one protects.
        ("sslmode=verify-full&ssl=true", SslMode::VerifyFull),
        ("sslmode=verify-full&sslaccept=accept_invalid_certs", SslMode::VerifyFull),
        ("sslrootcert=system&sslmode=require", SslMode::VerifyFull),
        ("sslaccept=strict&sslmode=require", SslMode::VerifyFull),
        ("sslaccept=strict&sslmode=disable", SslMode::VerifyFull),
        ("sslmode=disable&sslmode=require", SslMode::Require),
    ] {
        let dsn = Dsn::parse(&format!("postgres://watch@db.example/app?{query}")).unwrap();
        assert_eq!(dsn.ssl_mode, mode, "{query}");
    }
    for value in ["", "Require", "require ", "verify_full", "on", "no-verify"] {
        let refused = Dsn::parse(&format!("postgres://watch@db.example/app?sslmode={value}"));
        assert!(matches!(refused, Err(DsnError::InvalidValue("sslmode", _))), "{value}");
    }
}

#[test]
fn malformed_addresses_are_errors_and_never_panic() {
    let long = format!("postgres://watch@{}/app", "h".repeat(100_000));
    for url in [
        "",
        "?",
        "postgres://",
        "postgres://watch@db.example:99999/app",
        "postgres://watch@db.example:-1/app",
        "postgres://watch@[::1/app",
        "postgres://watch@db.example/app?schema=%FF",
        "postgres://watch@db.example/app?=",
        "postgres://watch@db.example/app?a%20b=1",
        "postgres://watch@db.example/app?\0=1",
        "postgres://watch@db.example/app?connect_timeout=soon",
        "mysql://watch@db.example/app",
        "postgres//watch@db.example/app",
        "🔐",
    ] {
        assert!(Dsn::parse(url).is_err(), "{url}");
    }
    // A long name is a matter of the resolver.
    assert!(Dsn::parse(&long).is_ok());
}
