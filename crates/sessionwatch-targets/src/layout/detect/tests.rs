use super::*;
use crate::layout::profile_catalog;

fn table(name: &str, columns: &[(&str, &str, ColumnKind)]) -> TableInfo {
    let column = |(name, declared, kind): &(&str, &str, ColumnKind)| ColumnInfo {
        name: (*name).into(),
        declared_type: (*declared).into(),
        kind: *kind,
        readable: true,
        ..ColumnInfo::default()
    };
    TableInfo {
        schema: Some("public".into()),
        name: name.into(),
        search_path_index: Some(0),
        columns: columns.iter().map(column).collect(),
        ..TableInfo::default()
    }
}

fn best(tables: Vec<TableInfo>) -> Option<LayoutCandidate> {
    let schema = DatabaseSchema { dialect: Dialect::POSTGRES, has_named_search_path: false, tables };
    detect_candidates(&schema, &profile_catalog::embedded_profiles(), DetectionConstraint::default())
        .candidates
        .into_iter()
        .next()
}

/// Returns the profile of the best candidate, if there is enough evidence for it.
fn chosen(tables: Vec<TableInfo>) -> Option<String> {
    best(tables).filter(|best| best.missing_evidence.is_empty()).map(|best| best.mapping.profile)
}

const TEXT: ColumnKind = ColumnKind::Text;
const CAMEL: [(&str, &str, ColumnKind); 4] =
    [("createdAt", "", TEXT), ("updatedAt", "", TEXT), ("ipAddress", "", TEXT), ("userAgent", "", TEXT)];
const SNAKE: [(&str, &str, ColumnKind); 4] =
    [("created_at", "", TEXT), ("updated_at", "", TEXT), ("ip_address", "", TEXT), ("user_agent", "", TEXT)];

/// Further columns of every version of Better Auth.
fn further(profile: &str) -> Vec<(&'static str, &'static str, ColumnKind)> {
    match profile {
        "better-auth-drizzle" => SNAKE.to_vec(),
        better if better.starts_with("better") => CAMEL.to_vec(),
        _ => vec![],
    }
}

const PRISMA: (&str, &str, ColumnKind) = ("expires", "timestamp(3) without time zone", ColumnKind::Timestamp);
const ZONED: (&str, &str, ColumnKind) = ("expires", "timestamp with time zone", ColumnKind::Timestamptz);

#[test]
fn adapters_are_distinguished_by_columns_under_any_table_name() {
    let token = ("sessionToken", "text", TEXT);
    let number = ("userId", "integer", ColumnKind::Integer);
    let uuid = ("userId", "uuid", ColumnKind::Uuid);
    let uuid_id = ("id", "uuid", ColumnKind::Uuid);
    let serial = ("id", "integer", ColumnKind::Integer);
    for (columns, profile) in [
        (vec![("id", "text", TEXT), token, number, PRISMA], "authjs-prisma"),
        (
            vec![("id", "text", TEXT), ("session_token", "text", TEXT), ("user_id", "text", TEXT), PRISMA],
            "authjs-prisma-mapped",
        ),
        (vec![serial, token, number, ZONED], "authjs-pg"),
        (
            vec![
                token,
                ("userId", "text", TEXT),
                ("expires", "timestamp without time zone", ColumnKind::Timestamp),
            ],
            "authjs-drizzle",
        ),
        (vec![uuid_id, token, uuid, ZONED], "authjs-kysely"),
        (vec![uuid_id, token, uuid, ("expires", "character varying", TEXT)], "authjs-typeorm"),
        (
            vec![
                ("id", "text", TEXT),
                ("token", "text", TEXT),
                ("userId", "text", TEXT),
                ("expiresAt", "timestamp with time zone", ColumnKind::Timestamptz),
            ],
            "better-auth-kysely",
        ),
        (
            vec![
                ("id", "text", TEXT),
                ("token", "text", TEXT),
                ("user_id", "text", TEXT),
                ("expires_at", "timestamp without time zone", ColumnKind::Timestamp),
            ],
            "better-auth-drizzle",
        ),
        (
            vec![
                ("id", "text", TEXT),
                ("token", "text", TEXT),
                ("userId", "text", TEXT),
                ("expiresAt", "timestamp(3) without time zone", ColumnKind::Timestamp),
            ],
            "better-auth-prisma",
        ),
    ] {
        let sessions = table("anything", &[&columns[..], &further(profile)].concat());
        let beside = ["user", "users"].map(|name| table(name, &[("id", "text", TEXT)]));
        assert_eq!(chosen([vec![sessions.clone()], beside.to_vec()].concat()).as_deref(), Some(profile));
        // Without a user table, the columns alone are not enough.
        assert!(!best(vec![sessions]).unwrap().missing_evidence.is_empty(), "{profile}");
    }
}

#[test]
fn the_supabase_schema_is_detected_off_the_search_path() {
    let mut sessions = table(
        "sessions",
        &[
            ("id", "uuid", ColumnKind::Uuid),
            ("sessionToken", "text", TEXT),
            ("userId", "uuid", ColumnKind::Uuid),
            ZONED,
        ],
    );
    sessions.schema = Some("next_auth".into());
    sessions.search_path_index = None;
    assert_eq!(chosen(vec![sessions]).as_deref(), Some("authjs-supabase"));
}

#[test]
fn other_tables_are_ignored_and_unreadable_columns_are_named() {
    assert_eq!(
        chosen(vec![table(
            "verification_token",
            &[("identifier", "text", TEXT), ("token", "text", TEXT), ZONED]
        )]),
        None
    );
    let mut sessions = table("sessions", &[("sessionToken", "text", TEXT), ("userId", "text", TEXT), ZONED]);
    sessions.columns[0].readable = false;
    let schema =
        DatabaseSchema { dialect: Dialect::POSTGRES, has_named_search_path: false, tables: vec![sessions] };
    let detection =
        detect_candidates(&schema, &profile_catalog::embedded_profiles(), DetectionConstraint::default());
    assert!(detection.candidates.is_empty());
    assert_eq!(detection.unreadable, vec![("sessions".into(), vec!["sessionToken".into()])]);
}
fn tokens(name: &str) -> TableInfo {
    let columns = [
        ("token", "text", TEXT),
        ("user_id", "text", TEXT),
        ("expires_at", "timestamp without time zone", ColumnKind::Timestamp),
    ];
    table(name, &columns)
}

#[test]
fn a_token_a_user_and_an_expiry_are_not_enough() {
    let users = || vec![table("user", &[("id", "text", TEXT)]), table("account", &[("id", "text", TEXT)])];
    for name in ["session", "links_of_users", "tokens", "entries"] {
        let found = best([vec![tokens(name)], users()].concat());
        let lacks = found.map(|best| best.missing_evidence.join("; "));
        assert!(
            lacks.as_deref().is_none_or(|lacks| lacks.contains("no column `created_at`, `updated_at`")),
            "{name}: {lacks:?}"
        );
    }
    // With a creation column and users beside it, a table with the exact name is accepted.
    let mut begun = tokens("session");
    begun
        .columns
        .extend(table("", &[("created_at", "timestamp without time zone", ColumnKind::Timestamp)]).columns);
    assert_eq!(best([vec![begun.clone()], users()].concat()).unwrap().missing_evidence, Vec::<String>::new());
    assert!(!best(vec![begun.clone()]).unwrap().missing_evidence.is_empty());
    begun.name = "entries".into();
    assert!(!best([vec![begun], users()].concat()).unwrap().missing_evidence.is_empty());
    for name in ["password_reset_tokens", "invitations", "apiKeys", "refresh_token"] {
        assert!(best([vec![tokens(name)], users()].concat()).is_none(), "{name}");
        let mut whole = tokens(name);
        whole.columns.extend(table("", &SNAKE).columns);
        assert!(best([vec![whole], users()].concat()).is_none(), "{name}");
    }
}

#[test]
fn a_historical_copy_is_not_enough() {
    let token = ("sessionToken", "text", TEXT);
    let user = ("userId", "text", TEXT);
    let old = table("sessions_old", &[token, user, ZONED]);
    let users = || table("users", &[("id", "text", TEXT)]);
    assert_eq!(best(vec![old.clone(), users()]).unwrap().missing_evidence, ["its name contains `old`"]);
    let both = best(vec![old, users(), table("sessions", &[token, user, ZONED])]).unwrap();
    assert_eq!((both.mapping.sessions.name.as_str(), both.missing_evidence.len()), ("sessions", 0));
}

#[test]
fn soft_delete_columns_are_found() {
    let marks = |name: &str, declared: &str, kind: ColumnKind| {
        find_soft_delete_column(&table("session", &[("token", "text", TEXT), (name, declared, kind)]))
            .is_some()
    };
    for name in ["deleted_at", "deletedAt", "revoked_on", "loggedOutAt"] {
        assert!(marks(name, "timestamp without time zone", ColumnKind::Timestamp), "{name}");
        assert!(marks(name, "text", TEXT), "{name}");
    }
    for name in ["is_deleted", "isRevoked", "revoked"] {
        assert!(marks(name, "boolean", ColumnKind::Other), "{name}");
        assert!(marks(name, "integer", ColumnKind::Integer), "{name}");
        assert!(!marks(name, "text", TEXT) && !marks(name, "numeric(1,0)", ColumnKind::Other), "{name}");
    }
    for name in ["deleted_by", "undeleted_at", "island", "revoked_reason", "expires_at", "at"] {
        assert!(!marks(name, "boolean", ColumnKind::Other), "{name}");
    }
}

#[test]
fn partitions_are_not_separate_candidates() {
    let columns = [("sessionToken", "text", TEXT), ("userId", "text", TEXT), ZONED];
    let whole = table("sessions", &columns);
    let mut part = table("sessions_2026", &columns);
    part.parent_table = Some(TableName { schema: Some("public".into()), name: "sessions".into() });
    let schema = DatabaseSchema {
        dialect: Dialect::POSTGRES,
        has_named_search_path: false,
        tables: vec![part, whole],
    };
    let found =
        detect_candidates(&schema, &profile_catalog::embedded_profiles(), DetectionConstraint::default())
            .candidates;
    assert!(found.iter().all(|found| found.mapping.sessions.name == "sessions"), "{found:#?}");
}
