//! What use cases are tried on: a store in memory, and a clock that stands still until the test moves it.

use std::{ops::Deref, path::Path, sync::Arc};

use jiff::SignedDuration;
use sessionwatch_clock::Clock;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{
    Store,
    accounts::{self, Account, Role},
    audit,
};
use tokio::sync::watch;

use super::{AppState, leadership::Leadership};
use crate::config::Config;

pub(super) struct Scene {
    app: Arc<AppState>,
    hand: Arc<watch::Sender<Instant>>,
}

impl Deref for Scene {
    type Target = Arc<AppState>;

    fn deref(&self) -> &Arc<AppState> {
        &self.app
    }
}

impl Scene {
    /// With that configuration, at noon of some day.
    pub(super) fn of(configuration: &str) -> Self {
        let config = Config::parse(Path::new("sessionwatch.toml"), configuration).unwrap();
        let noon = Instant::UNIX_EPOCH + SignedDuration::from_hours(20_000 * 24 + 12);
        let (clock, hand) = Clock::set(noon);
        let (store, leadership) = (Store::in_memory().unwrap(), Leadership::new(false, String::new()));
        Self { app: Arc::new(AppState::new(store, clock, leadership, config)), hand }
    }

    pub(super) fn pass(&self, time: SignedDuration) {
        self.hand.send_modify(|at| *at += time);
    }

    /// Keeps an account; with a subject, a provider of identities vouches for it.
    pub(super) fn add_account(&self, name: &str, role: Role, subject: &str) {
        let account = Account {
            name: name.into(),
            role,
            password: "".into(),
            subject: subject.into(),
            created_at: self.clock.now(),
        };
        self.store.write(|db| accounts::put(db, &account)).unwrap();
    }

    /// What the audit trail holds, the latest last: who, what, and the rest.
    pub(super) fn trail(&self) -> Vec<[String; 3]> {
        let mut entries = self.store.read(|db| audit::page(db, None, 100)).unwrap();
        entries.reverse();
        entries.into_iter().map(|entry| [entry.actor, entry.action, entry.detail]).collect()
    }
}
