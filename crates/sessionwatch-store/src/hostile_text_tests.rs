//! Tests that both kinds of store return any text as it was given, and that no text changes a statement.

use sessionwatch_core::{
    alert::{Alert, AlertState},
    period::Period,
    timestamp::UtcTimestamp,
};

use crate::{
    Store,
    accounts::{self, AccountRecord, AccountRole},
    alerts::{self, AlertRecord},
    api_tokens::{self, ApiToken, TokenScope},
    attestations::{self, Attestation, ChecklistItemRef},
    audit::{self, AuditSearch, NewAuditEntry},
    history_events::{self, EventRecord, EventSearch},
    silences::{self, SilenceRecord},
    tests::store_of_each_kind,
};

const NOW: UtcTimestamp = UtcTimestamp::UNIX_EPOCH;

/// Texts that break careless programs.
fn hostile_texts() -> Vec<String> {
    let texts = [
        "",
        " leading and trailing ",
        "'; DROP TABLE alerts; --",
        "$1 ?1 :a @b",
        "a\"b'c\\d`e",
        "100%_!%%",
        "<script>alert(1)</script>&amp;",
        "line\r\nbreak\ttab\u{7}\u{1b}[31m",
        "ünï 漢字 🔑\u{1f469}\u{200d}\u{1f4bb}",
        "\u{202e}rtl\u{200b}\u{feff}",
        "e\u{301} é",
        "E'\\x41' \\u0041",
        "NULL",
        "{\"a\":[1]}",
    ];
    texts.map(str::to_owned).into_iter().chain([String::from("x").repeat(1_000_000)]).collect()
}

fn account(name: &str) -> AccountRecord {
    AccountRecord {
        name: name.to_owned(),
        role: AccountRole::Viewer,
        password_hash: "x".into(),
        oidc_subject: format!("https://id.example {name}"),
        created_at: NOW,
    }
}

/// Returns a text, or a short name for one that does not fit into an index.
fn name_of(text: &str) -> &str {
    if text.len() < 1_000 { text } else { "long" }
}

fn alert(text: &str) -> AlertRecord {
    AlertRecord {
        target: name_of(text).to_owned(),
        check: name_of(text).to_owned(),
        alert: Alert { state: AlertState::Resolved, is_stale: false, is_acknowledged: true },
        severity: "high".into(),
        summary: text.to_owned(),
        acknowledged_by: Some(text.to_owned()),
        note: Some(text.to_owned()),
        verdict: None,
        unknown_reason: Some(text.to_owned()),
        finding: Some(serde_json::json!({ "user": text }).to_string()),
        updated_at: NOW,
    }
}

#[test]
fn alerts_and_silences_keep_any_text() {
    for store in store_of_each_kind() {
        let texts = hostile_texts();
        let records: Vec<AlertRecord> = texts.iter().map(|text| alert(text)).collect();
        store.write(|db| alerts::upsert_alerts(db, &records)).unwrap();
        for (text, record) in texts.iter().zip(&records) {
            let found = store.read(|db| alerts::find_alert(db, name_of(text), name_of(text))).unwrap();
            assert!(found.as_ref() == Some(record), "{text:.100}");
            assert_eq!(found.unwrap().parse_finding().unwrap()["user"], text.as_str());
            let silence = SilenceRecord {
                id: 0,
                target: Some(text.clone()),
                check: Some(text.clone()),
                subject: Some(text.clone()),
                ends_at: UtcTimestamp::MAX,
                created_by: text.clone(),
                note: text.clone(),
            };
            let id = store.write(|db| silences::insert_silence(db, &silence, NOW)).unwrap();
            let active = store.read(|db| silences::list_active_silences(db, NOW)).unwrap();
            let silence = SilenceRecord { id, ..silence };
            assert!(active.last() == Some(&silence), "{text:.100}");
            assert!(silence.covers(text, text) && !silence.covers(text, &format!("{text}x")));
        }
        assert_eq!(store.read(|db| alerts::list_alerts(db, true)).unwrap().len(), texts.len());
        let unknown = store.read(alerts::list_targets_with_unknown_results).unwrap();
        assert_eq!(unknown, texts.iter().map(|text| name_of(text).to_owned()).collect());
    }
}

#[test]
fn accounts_and_tokens_of_similar_names_stay_apart() {
    for store in store_of_each_kind() {
        let names = hostile_texts();
        let token = |name: &str| ApiToken {
            id: format!("id {name}"),
            token_hash: format!("hash {name}"),
            account: name.to_owned(),
            label: name.to_owned(),
            scopes: vec![TokenScope::Read],
            created_at: NOW,
            expires_at: NOW,
            last_used_at: None,
        };
        let names: Vec<&str> = names.iter().map(|name| name_of(name)).collect();
        store
            .write(|db| {
                names.iter().try_for_each(|name| {
                    accounts::upsert_account(db, &account(name))?;
                    api_tokens::insert_token(db, &token(name))
                })
            })
            .unwrap();
        assert_eq!(store.read(accounts::list_accounts).unwrap().len(), names.len());
        for name in &names {
            let found = store.read(|db| accounts::find_account(db, name)).unwrap();
            assert_eq!(found, Some(account(name)));
            let subject = format!("https://id.example {name}");
            let found = store.read(|db| accounts::find_account_by_oidc_subject(db, &subject)).unwrap();
            assert_eq!(found, Some(account(name)));
            let hash = format!("hash {name}");
            let found = store.read(|db| api_tokens::find_token_by_hash(db, &hash)).unwrap();
            assert_eq!(found, Some((token(name), account(name))));
        }
        for (left, name) in (0..names.len()).rev().zip(&names) {
            assert!(store.write(|db| accounts::delete_account(db, name)).unwrap());
            assert!(!store.write(|db| accounts::delete_account(db, name)).unwrap());
            assert_eq!(store.read(accounts::list_accounts).unwrap().len(), left, "{name}");
            assert_eq!(store.read(|db| api_tokens::list_tokens(db, None)).unwrap().len(), left, "{name}");
        }
    }
}

/// Returns the numbers of the texts whose event, searched for by this text, was found.
fn found_events(store: &Store, text: &str) -> Vec<String> {
    let search = EventSearch {
        from: UtcTimestamp::MIN,
        to: UtcTimestamp::MAX,
        target: None,
        check: None,
        text: Some(text.to_owned()),
        alerts_only: false,
        before_id: None,
        limit: 1_000,
    };
    let found = store.read(|db| history_events::search_events(db, &search)).unwrap();
    assert_eq!(store.read(|db| history_events::count_events(db, &search)).unwrap(), found.len() as u64);
    found.into_iter().map(|event| event.summary).collect()
}

#[test]
fn events_are_found_by_exactly_the_text_that_was_typed() {
    for store in store_of_each_kind() {
        let texts = hostile_texts();
        for text in &texts {
            let event = EventRecord {
                id: 0,
                at: NOW,
                target: "app".into(),
                check: "x".into(),
                kind: "comment".into(),
                summary: format!("<{text}>"),
                detail: serde_json::json!({ "evidence": [{ "user": text }] }).to_string(),
            };
            store.write(|db| history_events::insert_event(db, &event)).unwrap();
        }
        // The limit of a pattern's length in SQLite is far below the longest text.
        for text in texts.iter().filter(|text| !text.is_empty() && text.len() < 1_000) {
            let found = found_events(&store, &format!("<{text}>"));
            assert_eq!(found, [format!("<{text}>")]);
            let user = history_events::UserRef { target: "app", user: text };
            let named =
                store.read(|db| history_events::list_user_events(db, user, UtcTimestamp::MIN)).unwrap();
            assert_eq!(named.len(), 1, "{text}");
        }
        assert_eq!(found_events(&store, "!").len(), 1, "an escape character is a character");
        assert_eq!(found_events(&store, "").len(), texts.len());
    }
}

#[test]
fn audit_entries_and_attestations_keep_any_text_and_the_chain_stays_intact() {
    const ITEM: ChecklistItemRef<'_> = ChecklistItemRef { target: "app", item: "user-reports" };
    for store in store_of_each_kind() {
        let texts = hostile_texts();
        for text in &texts {
            let detail = serde_json::json!({ "note": text }).to_string();
            let entry = NewAuditEntry { actor: text, action: "note", detail: &detail };
            store.write(|db| audit::insert_audit_entry(db, entry, NOW)).unwrap();
            let attestation = Attestation {
                at: NOW,
                target: "app".into(),
                item: "user-reports".into(),
                holds: false,
                owner: text.clone(),
                note: text.clone(),
            };
            store.write(|db| attestations::insert_attestation(db, &attestation)).unwrap();
            let last =
                store.read(|db| attestations::find_latest_attestation(db, ITEM, Period::ALL_TIME)).unwrap();
            assert!(last == Some(attestation), "{text:.100}");
        }
        let intact = audit::ChainStatus::Intact(texts.len() as u64);
        assert_eq!(store.read(audit::verify_chain).unwrap(), intact);
        for text in texts.iter().filter(|text| text.len() < 1_000) {
            let search = AuditSearch { actor: Some(text), ..AuditSearch::default() };
            let found = store.read(|db| audit::search_audit_entries(db, search, None, 9)).unwrap();
            assert_eq!(found.len(), 1, "{text}");
            let detail: serde_json::Value = serde_json::from_str(&found[0].detail).unwrap();
            assert_eq!(detail["note"], text.as_str());
        }
    }
}

#[test]
fn credentials_typed_into_an_audit_entry_are_masked_before_they_are_hashed() {
    for store in store_of_each_kind() {
        let text = "postgres://watch:hunter2@db.example/app";
        let detail = serde_json::json!({ "reason": text }).to_string();
        let entry = NewAuditEntry { actor: text, action: text, detail: &detail };
        store.write(|db| audit::insert_audit_entry(db, entry, NOW)).unwrap();
        let stored = store.read(|db| audit::list_audit_entries_before(db, None, 9)).unwrap();
        assert!(!format!("{stored:?}").contains("hunter2"), "{stored:?}");
        assert_eq!(stored[0].actor, "postgres://watch:***@db.example/app");
        assert_eq!(store.read(audit::verify_chain).unwrap(), audit::ChainStatus::Intact(1));
    }
}
