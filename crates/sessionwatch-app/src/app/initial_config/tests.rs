//! Tests that a rendered configuration reads back as what was detected, whatever the names in the database are.

use std::path::Path;

use proptest::{collection::vec, option, prelude::*};
use sessionwatch_core::timestamp_decoder::Decoder;
use sessionwatch_targets::{
    address::TargetAddress,
    layout::known_layout::KnownLayout,
    mapping::{TimestampColumn, UsersMapping},
};

use super::*;
use crate::config::Config;

const SQLITE: &str = "[[target]]\nname = \"main\"\nurl = \"sqlite:/srv/app.db\"\n";
const MAPPING: &str =
    "[target.mapping]\nsessions = \"s\"\ntoken = \"t\"\nexpires = \"e\"\ndecoder = \"epoch-ms\"\n";

fn parse(text: &str) -> Config {
    Config::parse(Path::new("/etc/sessionwatch/sessionwatch.toml"), text)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn target(text: &str) -> Target {
    parse(text).targets.remove(0)
}

/// Returns the explicit mapping of the first target.
fn mapping_of(config: &Config) -> Mapping {
    match &config.targets[0].profile_source {
        ProfileSource::Explicit(mapping) => (**mapping).clone(),
        other => panic!("{other:?}"),
    }
}

fn detected(mapping: Mapping) -> DetectedLayout {
    DetectedLayout {
        known_layout: KnownLayout::from_mapping(&mapping),
        title: "custom".into(),
        reasons: vec![],
        notes: vec![],
        other_logins: vec![],
        alternatives: vec![],
        doubt: None,
        mapping,
        decoder_replaced: false,
    }
}

/// Renders a configuration with that mapping, and reads it.
fn read_back(mapping: &Mapping) -> Config {
    let explicit = target(&format!("{SQLITE}{MAPPING}"));
    parse(&render_initial_config("main", &explicit, &detected(mapping.clone()), &[]).unwrap())
}

/// Any name of a column, such as one with quotes, line breaks and control characters.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"'\\\\\n\r\t\u{7f}#=\\[\\]$]{1,6}"]
        .prop_filter("empty", |name| !name.is_empty())
}

/// A name without a dot, which would separate a schema.
fn undotted_name() -> impl Strategy<Value = String> {
    any_name().prop_filter("dot", |name| !name.contains('.'))
}

fn any_table() -> impl Strategy<Value = TableName> {
    let plain = undotted_name().prop_map(|name| TableName { schema: None, name });
    let qualified =
        (undotted_name(), any_name()).prop_map(|(schema, name)| TableName { schema: Some(schema), name });
    prop_oneof![plain, qualified]
}

fn any_time() -> impl Strategy<Value = TimestampColumn> {
    (any_name(), proptest::sample::select(Decoder::ALL.to_vec()))
        .prop_map(|(column, decoder)| TimestampColumn { column, decoder })
}

fn any_revoke() -> impl Strategy<Value = RevokeMethod> {
    let flag = (any_name(), any_name()).prop_map(|(column, value)| RevokeMethod::Flag { column, value });
    prop_oneof![Just(RevokeMethod::Delete), Just(RevokeMethod::Expire), flag]
}

proptest! {
    #[test]
    fn any_mapping_reads_back_as_it_was_detected(
        sessions in any_table(),
        expires in any_time(),
        created in option::of(any_time()),
        columns in vec(option::of(any_name()), 4),
        users in option::of((any_table(), any_name(), vec(any_name(), 0..3))),
        revoke in any_revoke(),
    ) {
        let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
        let [id, user, ip, agent] = [0, 1, 2, 3].map(|at| columns[at].clone());
        let users = users.map(|(table, key, display)| UsersMapping { table, key, display });
        let mapping = Mapping {
            sessions, expires, created, id, ip, agent, revoke,
            // The users table needs the column that refers to it.
            user: user.or(users.as_ref().map(|_| "user_id".to_owned())),
            users,
            ..bare
        };
        prop_assert_eq!(mapping_of(&read_back(&mapping)), mapping);
    }
}

#[test]
fn a_lifetime_is_written_in_days_and_never_as_zero() {
    let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
    for (seconds, days) in [(1, 1), (86_399, 1), (86_400, 1), (30 * 86_400, 30), (30 * 86_400 + 1, 30)] {
        let mapping = Mapping { max_lifetime_s: Some(seconds), ..bare.clone() };
        assert_eq!(mapping_of(&read_back(&mapping)).max_lifetime_s, Some(days * 86_400), "{seconds}");
    }
}

#[test]
fn the_file_contains_no_password_of_the_address() {
    let server = target("[[target]]\nname = \"main\"\nurl = \"postgres://watch:hunter2@db.example/shop\"\n");
    let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
    let text = render_initial_config("main", &server, &detected(bare), &[]).unwrap();
    assert!(!text.contains("hunter2") && text.contains("url = \"${DATABASE_URL}\"\n"), "{text}");
    let failure =
        DetectionFailure { searched_profile: String::new(), near_misses: vec![], config_lines: vec![] };
    assert!(!render_config_to_fill_in("main", &server, &failure).unwrap().contains("hunter2"));
}

#[test]
fn the_path_of_a_database_stays_the_same_from_any_folder() {
    let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
    for name in ["/srv/app.db", "/srv/my shop/ä\u{1f980}.db", "/srv/a\"b'c.db", "/srv/a#b.db"] {
        let url = serde_json::Value::from(format!("sqlite:{name}"));
        let own = target(&format!("[[target]]\nname = \"main\"\nurl = {url}\n"));
        let text = render_initial_config("main", &own, &detected(bare.clone()), &[]).unwrap();
        assert_eq!(parse(&text).targets[0].address, own.address, "{name}");
    }
    let relative = TargetAddress::parse("sqlite:shop.db").unwrap();
    let relative = Target { address: relative, ..target(SQLITE) };
    let text = render_initial_config("main", &relative, &detected(bare), &[]).unwrap();
    let written = parse(&text).targets.remove(0).address;
    assert_eq!(written.file_path(), Some(&*std::path::absolute("shop.db").unwrap()));
}

#[test]
fn a_path_with_characters_that_an_address_interprets_reads_back_unchanged() {
    let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
    for path in [
        "/srv/a%41.db",
        "/srv/100%.db",
        "/srv/a?b.db",
        "/srv/a?mode=ro",
        "/srv/${HOME}/app.db",
        "/srv/${",
        "/srv/$HOME/$app.db",
        "/srv/app.db ",
        "/srv/app.db\u{3000}",
        "/srv/\t\n\u{7f}.db",
        "//srv/app.db",
    ] {
        let own = Target { address: TargetAddress::Sqlite(path.into()), ..target(SQLITE) };
        let text = render_initial_config("main", &own, &detected(bare.clone()), &[]).unwrap();
        let written = parse(&text).targets.remove(0).address;
        assert_eq!(written.file_path(), Some(Path::new(path)), "{text}");
    }
}

#[test]
fn a_table_that_the_file_cannot_name_is_refused() {
    let explicit = target(&format!("{SQLITE}{MAPPING}"));
    let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
    let name = |schema: Option<&str>, name: &str| TableName {
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    };
    for (dotted, shown) in [
        (name(None, "app.sessions"), "app.sessions"),
        (name(Some("my.schema"), "sessions"), "my.schema.sessions"),
    ] {
        let user = Some("user_id".to_owned());
        let users = UsersMapping { table: dotted.clone(), key: "id".into(), display: vec![] };
        for mapping in [
            Mapping { sessions: dotted.clone(), ..bare.clone() },
            Mapping { users: Some(users), user, ..bare.clone() },
            Mapping { accounts: Some(dotted.clone()), ..bare.clone() },
        ] {
            let refused = render_initial_config("main", &explicit, &detected(mapping), &[]);
            assert_eq!(refused, Err(UnwritableConfigError::AmbiguousTable(shown.into())));
        }
    }
    let mapping = Mapping { sessions: name(Some("app"), "sessions.v2"), ..bare };
    assert_eq!(mapping_of(&read_back(&mapping)).sessions, mapping.sessions);
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;

    let path = Path::new(std::ffi::OsStr::from_bytes(b"/srv/\xff.db"));
    let own = Target { address: TargetAddress::Sqlite(path.to_owned()), ..target(SQLITE) };
    let refused = render_config_to_fill_in("main", &own, &DetectionFailure::default());
    assert_eq!(refused, Err(UnwritableConfigError::PathNotUtf8(path.to_owned())));
}

#[test]
fn names_from_the_database_cannot_end_a_comment() {
    let failure = DetectionFailure {
        searched_profile: String::new(),
        near_misses: vec!["evil\n[actions]\nmax_rows = 1000000 #".into(), "a\u{2028}b\rc".into()],
        config_lines: vec![],
    };
    let text = render_config_to_fill_in("main \"x\"\n", &target(SQLITE), &failure).unwrap();
    let candidates: Vec<&str> = text.lines().filter(|line| line.starts_with("# Candidate: ")).collect();
    assert_eq!(candidates.len(), 2, "{text}");
    let config = parse(&text);
    assert_eq!(config.actions.max_rows, 10_000);
    assert_eq!(config.targets[0].name, "main \"x\"\n");
    assert_eq!(mapping_of(&config).sessions.name, "SESSIONS_TABLE");
}

#[test]
fn the_lines_of_a_near_miss_are_called_a_guess() {
    let config_lines = MAPPING.lines().map(str::to_owned).collect();
    let failure = DetectionFailure { config_lines, ..DetectionFailure::default() };
    let text = render_config_to_fill_in("main", &target(SQLITE), &failure).unwrap();
    assert!(text.contains("are a guess from the closest table") && !text.contains("in capitals"), "{text}");
    assert_eq!(mapping_of(&parse(&text)).sessions.name, "s");
    let text = render_config_to_fill_in("main", &target(SQLITE), &DetectionFailure::default()).unwrap();
    assert!(text.contains("in capitals") && !text.contains("a guess"), "{text}");
}

#[test]
fn a_new_archive_key_is_added_to_a_file_that_stays_valid() {
    let recipient = "age148uhe3yk5nth88agcmm9acyc3f7ruwds2qa7e63v2yrmhzuusdzsy2cs8l";
    let bare = mapping_of(&parse(&format!("{SQLITE}{MAPPING}")));
    let text = render_initial_config("main", &target(SQLITE), &detected(bare), &[]).unwrap();
    let config = parse(&append_archive_recipient(&text, &Recipient::parse(recipient).unwrap()));
    assert_eq!(config.actions.archive_recipient.as_deref(), Some(recipient));
}
