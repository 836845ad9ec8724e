//! App for tests: an in-memory store, and a clock that only the test advances.

use std::{ops::Deref, path::Path, sync::Arc};

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    Store,
    accounts::{self, AccountRecord, AccountRole},
    audit,
};
use tokio::sync::watch;

use super::{AppState, leadership::LeaseManager};
use crate::config::Config;

pub(super) struct TestApp {
    app: Arc<AppState>,
    hand: Arc<watch::Sender<UtcTimestamp>>,
}

impl Deref for TestApp {
    type Target = Arc<AppState>;

    fn deref(&self) -> &Arc<AppState> {
        &self.app
    }
}

impl TestApp {
    /// Creates an app with that configuration; its clock starts at noon UTC.
    pub(super) fn with_config(configuration: &str) -> Self {
        let config = Config::parse(Path::new("sessionwatch.toml"), configuration).unwrap();
        let noon = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_hours(20_000 * 24 + 12);
        let (clock, hand) = Clock::manual(noon);
        let (store, leadership) = (Store::open_in_memory().unwrap(), LeaseManager::new(false, String::new()));
        Self { app: Arc::new(AppState::new(store, clock, leadership, config)), hand }
    }

    pub(super) fn advance_clock(&self, time: SignedDuration) {
        self.hand.send_modify(|at| *at += time);
    }

    /// Stores an account; a non-empty subject makes it an account of the identity provider.
    pub(super) fn add_account(&self, name: &str, role: AccountRole, subject: &str) {
        let account = AccountRecord {
            name: name.into(),
            role,
            password_hash: "".into(),
            oidc_subject: subject.into(),
            created_at: self.clock.now(),
        };
        self.store.write(|db| accounts::upsert_account(db, &account)).unwrap();
    }

    /// Returns actor, action and detail of all audit entries, the oldest first.
    pub(super) fn audit_trail(&self) -> Vec<[String; 3]> {
        let mut entries = self.store.read(|db| audit::list_audit_entries_before(db, None, 100)).unwrap();
        entries.reverse();
        entries.into_iter().map(|entry| [entry.actor, entry.action, entry.detail]).collect()
    }
}
