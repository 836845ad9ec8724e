//! What use cases are tried on: a store in memory, and a clock that stands still until the test moves it.

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
    /// With that configuration, at noon of some day.
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

    /// Keeps an account; with a subject, a provider of identities vouches for it.
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

    /// What the audit trail holds, the latest last: who, what, and the rest.
    pub(super) fn audit_trail(&self) -> Vec<[String; 3]> {
        let mut entries = self.store.read(|db| audit::list_audit_entries_before(db, None, 100)).unwrap();
        entries.reverse();
        entries.into_iter().map(|entry| [entry.actor, entry.action, entry.detail]).collect()
    }
}
