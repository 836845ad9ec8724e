//! Tests of what a role, a scope and a login session permit.

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use crate::{
    StoreError,
    accounts::{
        self, AccountRecord, AccountRole, LoginNetwork, LoginSession, LoginSessionUse,
        is_known_login_network, upsert_login_network,
    },
    api_tokens::{self, ApiToken, TokenScope},
    confirmed_time,
    tests::store_of_each_kind,
};

fn at(second: i64) -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

fn account(name: &str, role: AccountRole) -> AccountRecord {
    AccountRecord {
        name: name.to_owned(),
        role,
        password_hash: "$argon2id$x".into(),
        oidc_subject: String::new(),
        created_at: at(1),
    }
}

fn login(hash: &str, account: &str) -> LoginSession {
    LoginSession {
        token_hash: hash.to_owned(),
        account: account.to_owned(),
        created_at: at(1),
        last_used_at: at(100),
        expires_at: at(200),
        client_address: "::1".into(),
        user_agent: String::new(),
    }
}

#[test]
fn every_scope_needs_the_lowest_role_that_may_do_the_same() {
    use AccountRole::{Admin, Responder, Viewer};
    assert!(Viewer < Responder && Responder < Admin);
    for (scope, role) in [
        (TokenScope::Read, Viewer),
        (TokenScope::Account, Viewer),
        (TokenScope::Alerts, Responder),
        (TokenScope::Actions, Responder),
        (TokenScope::Incidents, Responder),
        (TokenScope::Admin, Admin),
    ] {
        assert_eq!(scope.required_role(), role, "{}", scope.name());
        assert_eq!(scope.name().parse(), Ok(scope));
    }
    assert_eq!(TokenScope::ALL.len(), 6, "a new scope needs a line above");
    for wrong in ["", "Admin", "admin ", "superuser", "read,admin"] {
        assert!(wrong.parse::<TokenScope>().is_err() && wrong.parse::<AccountRole>().is_err(), "{wrong}");
    }
}

#[test]
fn a_login_session_is_valid_from_its_last_use_to_its_expiry() {
    let login = login("h", "ada");
    for (second, expected) in
        [(39, false), (40, true), (100, true), (199, true), (200, false), (10_000, false)]
    {
        assert_eq!(login.is_valid(at(second)), expected, "{second}");
    }
    let just_before = at(200) - SignedDuration::from_micros(1);
    assert!(login.is_valid(just_before));
    for now in [UtcTimestamp::MIN, UtcTimestamp::MAX] {
        assert!(!login.is_valid(now), "{now:?}");
    }
    let endless = LoginSession { last_used_at: UtcTimestamp::MAX, expires_at: UtcTimestamp::MAX, ..login };
    assert!(!endless.is_valid(at(100)), "a clock that was far ahead extended it");
}

#[test]
fn an_expiry_is_never_stored_later_than_it_was_set() {
    for store in store_of_each_kind() {
        store.write(|db| accounts::upsert_account(db, &account("ada", AccountRole::Viewer))).unwrap();
        for (hash, micros) in [("a", 1_999), ("b", -1), ("c", -1_000), ("d", UtcTimestamp::MAX.micros())] {
            let ends = UtcTimestamp::from_micros(micros).unwrap();
            let session = LoginSession { expires_at: ends, ..login(hash, "ada") };
            store.write(|db| accounts::insert_login_session(db, &session)).unwrap();
            let (found, _) = store.read(|db| accounts::find_login_session(db, hash)).unwrap().unwrap();
            let lost = ends.duration_since(found.expires_at);
            assert!(lost >= SignedDuration::ZERO && lost < SignedDuration::from_millis(1), "{micros}");
            let used = LoginSessionUse { used_at: at(5), expires_at: ends };
            store.write(|db| accounts::touch_login_session(db, hash, used)).unwrap();
            let (again, _) = store.read(|db| accounts::find_login_session(db, hash)).unwrap().unwrap();
            assert_eq!((again.expires_at, again.last_used_at), (found.expires_at, at(5)));
        }
        let damage = "UPDATE login_sessions SET expires_at = $1 WHERE hash = 'a'";
        for millis in [i64::MAX, i64::MIN, UtcTimestamp::MAX.micros()] {
            store.write(|db| db.execute(damage, &[millis.into()])).unwrap();
            let found = store.read(|db| accounts::find_login_session(db, "a"));
            assert!(matches!(found, Err(StoreError::Undecodable { .. })), "{millis}: {found:?}");
        }
    }
}

#[test]
fn a_session_or_token_without_its_account_permits_nothing() {
    for store in store_of_each_kind() {
        let token = ApiToken {
            id: "t".into(),
            token_hash: "th".into(),
            account: "ada".into(),
            label: String::new(),
            scopes: TokenScope::ALL.to_vec(),
            created_at: at(1),
            expires_at: at(9),
            last_used_at: None,
        };
        store
            .write(|db| {
                accounts::insert_login_session(db, &login("h", "ada"))?;
                api_tokens::insert_token(db, &token)
            })
            .unwrap();
        let session = || store.read(|db| accounts::find_login_session(db, "h")).unwrap();
        let found_token = || store.read(|db| api_tokens::find_token_by_hash(db, "th")).unwrap();
        assert_eq!((session(), found_token()), (None, None));
        store.write(|db| accounts::upsert_account(db, &account("ADA", AccountRole::Admin))).unwrap();
        assert_eq!((session(), found_token()), (None, None), "names differ by case");
        store.write(|db| accounts::upsert_account(db, &account("ada", AccountRole::Viewer))).unwrap();
        assert_eq!(session().map(|(_, account)| account.role), Some(AccountRole::Viewer));
        assert_eq!(found_token().map(|(token, _)| token.scopes), Some(TokenScope::ALL.to_vec()));
        // A change of the role applies at once.
        store.write(|db| accounts::upsert_account(db, &account("ada", AccountRole::Admin))).unwrap();
        assert_eq!(session().map(|(_, account)| account.role), Some(AccountRole::Admin));
        for scopes in ["", "read superuser", "read  admin", "READ"] {
            let set = "UPDATE api_tokens SET scopes = $1";
            store.write(|db| db.execute(set, &[scopes.into()])).unwrap();
            let found = store.read(|db| api_tokens::find_token_by_hash(db, "th"));
            assert!(matches!(found, Err(StoreError::Undecodable { .. })), "{scopes}: {found:?}");
        }
    }
}

#[test]
fn nobody_ends_the_login_session_of_somebody_else() {
    for store in store_of_each_kind() {
        for (hash, name) in [("h1", "ada"), ("h2", "ada"), ("h3", "bob")] {
            store
                .write(|db| {
                    accounts::upsert_account(db, &account(name, AccountRole::Viewer))?;
                    accounts::insert_login_session(db, &login(hash, name))
                })
                .unwrap();
        }
        let end = |name: &str, hash: &str| {
            store.write(|db| accounts::delete_login_session(db, name, hash)).unwrap()
        };
        let left = |name: &str| store.read(|db| accounts::list_login_sessions(db, name)).unwrap().len();
        for (name, hash) in
            [("bob", "h1"), ("ada", "h3"), ("ada", "h"), ("ada", "h%"), ("%", "h1"), ("", "h1")]
        {
            assert!(!end(name, hash), "{name} {hash}");
        }
        assert_eq!((left("ada"), left("bob")), (2, 1));
        assert!(end("ada", "h1"));
        assert_eq!((left("ada"), left("bob")), (1, 1));
        store.write(|db| accounts::delete_login_sessions(db, "ada")).unwrap();
        assert_eq!((left("ada"), left("bob")), (0, 1));
    }
}

#[test]
fn a_network_is_known_for_one_account_until_its_retention_has_surely_passed() {
    const DAY: i64 = 86_400;
    for store in store_of_each_kind() {
        let network = LoginNetwork { account: "ada", network: "192.0.2.0/24" };
        let log_in = |network: &'static str, day: i64| {
            let login = LoginNetwork { account: "ada", network };
            store.write(|db| upsert_login_network(db, login, at(day * DAY))).unwrap();
        };
        let is_known = |login: LoginNetwork<'_>| store.read(|db| is_known_login_network(db, login)).unwrap();
        assert!(!is_known(network));
        log_in("192.0.2.0/24", 0);
        assert!(is_known(network));
        assert!(!is_known(LoginNetwork { account: "bob", ..network }));
        assert!(!is_known(LoginNetwork { network: "192.0.2.0/25", ..network }));
        // A clock that is far ahead forgets nothing while the passage of time is not confirmed.
        store.write(|db| confirmed_time::upsert_confirmed_time(db, at(90 * DAY))).unwrap();
        log_in("198.51.100.0/24", 5_000);
        assert!(is_known(network), "exactly as old as the retention");
        store.write(|db| confirmed_time::upsert_confirmed_time(db, at(90 * DAY + 1))).unwrap();
        log_in("198.51.100.0/24", 5_000);
        assert!(!is_known(network));
    }
}
