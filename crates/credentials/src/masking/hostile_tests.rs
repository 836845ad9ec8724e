//! Tests that no password survives masking, whatever its characters and wherever it stands, and that the rest of a
//! text stays readable.

use super::*;

/// Passwords whose middle must never be printed.
const PASSWORDS: [&str; 14] = [
    "hunter2",
    "p@hunter2@s",
    "a:hunter2:b",
    "a/hunter2/b",
    "a?hunter2#b",
    "a&hunter2=b",
    "<b>hunter2</b>",
    "{hunter2}",
    "(hunter2)",
    "a'hunter2'b",
    "a`hunter2`b",
    "pässwörd-hunter2-🔑",
    "%41hunter2%40",
    "a,hunter2;b|c",
];

/// Asserts that a text was masked, and that masking it again changes nothing.
fn assert_masked(text: &str) -> String {
    let masked = mask_credentials(text).into_owned();
    assert!(!masked.contains("hunter2"), "{text}: {masked}");
    assert_eq!(mask_credentials(&masked), masked, "masked twice: {text}");
    masked
}

#[test]
fn an_address_is_masked_whatever_its_password_and_its_scheme() {
    let schemes = [
        "postgres",
        "postgresql",
        "mysql",
        "mariadb",
        "redis",
        "rediss",
        "mongodb+srv",
        "amqps",
        "smtp",
        "https",
    ];
    for scheme in schemes {
        for password in PASSWORDS {
            let masked =
                assert_masked(&format!("cannot connect to {scheme}://watch:{password}@db.example:5432/app"));
            assert!(masked.starts_with(&format!("cannot connect to {scheme}://")), "{masked}");
            assert!(masked.ends_with("@db.example:5432/app"), "{masked}");
        }
    }
}

#[test]
fn every_address_of_a_text_is_masked() {
    for separator in [" ", "\n", "\t", "\r\n", "\u{a0}", "\u{0}", "\u{1b}[0m "] {
        let addresses = [
            "postgres://watch:hunter2a@one.example/app",
            "see https://docs.example/page",
            "redis://:hunter2b@two.example",
            "postgres://watch@three.example/app",
            "PGPASSWORD=hunter2c",
            "mail to ops@example.com",
        ];
        let masked = assert_masked(&addresses.join(separator));
        for kept in [
            "@one.example/app",
            "https://docs.example/page",
            "@two.example",
            "watch@three.example",
            "ops@example.com",
        ] {
            assert!(masked.contains(kept), "{separator:?} {kept}: {masked}");
        }
    }
}

#[test]
fn a_password_inside_json_is_masked_and_the_json_stays_valid() {
    for password in ["hunter2", "hun\"hunter2\"t", "a\\hunter2\\b", "a@hunter2@b"] {
        let document = serde_json::json!({
            "target": format!("postgres://watch:{password}@db.example/app"),
            "note": "nothing to hide",
            "count": 7,
        });
        let masked = assert_masked(&document.to_string());
        let read: serde_json::Value = serde_json::from_str(&masked).unwrap_or_else(|_| panic!("{masked}"));
        assert_eq!(read["target"], "postgres://watch:***@db.example/app");
        assert_eq!((read["note"].as_str(), read["count"].as_u64()), (Some("nothing to hide"), Some(7)));
    }
}

#[test]
fn keyed_values_are_masked_in_every_notation() {
    for text in [
        "password=hunter2",
        "PASSWORD=hunter2",
        "db_password=hunter2 host=x",
        "host=x password='it''s hunter2' port=1",
        r"host=x password='it\'s hunter2' port=1",
        "host=x password='hunter2",
        "passphrase=hunter2&next=1",
        "https://x.example/?token=hunter2",
        "https://x.example/?a=1&api_key=hunter2&b=2",
        "https://x.example/?a=1&signature=hunter2%2Bx",
        "https://x.example/cb?code=hunter2&state=1",
        "client_secret=hunter2",
        "clientsecret%3Dhunter2",
        "my-app.pwd=hunter2",
        "https://hooks.slack.com/services/T0/B0/hunter2",
        "https://hooks.slack.com/workflows/T0/hunter2?x=1",
        "https://chat.example/api/v10/webhooks/123/hunter2",
        "https://api.telegram.org/bot123:hunter2/sendMessage",
        "https://prod-1.westus.logic.azure.com:443/workflows/hunter2/triggers",
    ] {
        let masked = assert_masked(text);
        assert!(masked.contains(MASK_PLACEHOLDER), "{masked}");
    }
}

#[test]
fn placeholders_of_documentation_and_configuration_stay_readable() {
    for text in [
        "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        "postgres://watch:***@db.example/app",
        "postgres://watch:${WATCH_PASSWORD}@db.example/app",
        "password=${WATCH_PASSWORD}",
        "password=***",
        "https://x.example/?token=…",
    ] {
        assert_eq!(mask_credentials(text), text);
    }
}

#[test]
fn a_very_long_text_is_masked_to_its_end() {
    let filler = "x".repeat(200_000);
    let masked = assert_masked(&format!("{filler} postgres://watch:hunter2@db.example/app {filler}"));
    assert!(masked.contains("postgres://watch:***@db.example/app"));
    assert_eq!(masked.len(), 2 * filler.len() + " postgres://watch:***@db.example/app ".len());
    let many = "postgres://watch:hunter2@db.example/app\n".repeat(2_000);
    assert_eq!(assert_masked(&many).matches("watch:***@db.example").count(), 2_000);
    assert_masked(&format!("postgres://watch:{}hunter2@db.example/app", "é@:/".repeat(10_000)));
}

#[test]
fn malformed_text_is_masked_without_a_panic() {
    for text in [
        "://",
        "://:@",
        "postgres://",
        "postgres://@",
        "postgres://:@",
        "postgres://é",
        "postgres://é:é@é",
        "%3A%2F%2F%40",
        "u%3A%2F%2F%3a%40",
        ":\\/\\/@",
        "password=",
        "password='",
        "?token=",
        "\u{feff}postgres://a:hunter2@b",
        "postgres://a:hunter2@",
    ] {
        assert_masked(text);
    }
}

#[test]
fn an_argument_is_refused_as_a_name_exactly_if_it_holds_a_password() {
    for text in [
        "postgres://watch:hunter2@db.example/app",
        "postgers://watch:hunter2@db.example/app",
        "watch:hunter2@db.example:5432/app",
        "postgres:watch:hunter2@db.example:5432",
        "host=db.example password=hunter2",
        "host=db.example password = 'hunter2'",
        "redis://:hunter2@db.example",
    ] {
        assert!(contains_credential(text), "{text}");
    }
    for text in [
        "app",
        "",
        "shop (staging)",
        "ada@example.com",
        "oidc:ada@example.com",
        "10:30@noon",
        "postgres://watch@db/app",
    ] {
        assert!(!contains_credential(text), "{text}");
    }
}

/// The only test that registers secrets, which stay for the whole process.
#[test]
fn a_registered_secret_is_masked_wherever_it_is_printed() {
    register_secrets([
        "postgres://watch:Zx9-known@secret/1?q@db.example/app".to_owned(),
        "--url=postgres://watch:Zx9%2Dencoded%40Q@db.example/app".to_owned(),
        "main".to_owned(),
    ]);
    for (text, kept) in [
        ("FATAL: password Zx9-known@secret/1?q is wrong", "FATAL: password *** is wrong"),
        ("could not translate host name \"secret/1?q@db.example\"", "could not translate host name"),
        ("decoded: Zx9-encoded@Q.", "decoded: ***."),
        ("encoded: Zx9%2Dencoded%40Q.", "encoded: ***."),
        ("the target main and the role watch", "the target main and the role watch"),
    ] {
        let masked = mask_credentials(text);
        assert!(masked.starts_with(kept), "{masked}");
        assert!(!masked.contains("Zx9"), "{masked}");
    }
    // Only the first registration counts.
    register_secrets(["postgres://watch:Other-secret-99@db.example/app".to_owned()]);
    assert_eq!(mask_credentials("Other-secret-99"), "Other-secret-99");
}
