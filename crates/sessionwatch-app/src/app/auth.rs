//! What logging in keeps in memory: the setup link while nobody has an account, and attempts to log in.

use std::sync::{Mutex, PoisonError};

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    login_attempts::LoginAttempts,
    passwords::PasswordWorkers,
    secrets::{random_token, sha256_hex},
};
use crate::oidc;

/// What logging in keeps in memory.
#[derive(Debug, Default)]
pub struct AuthState {
    setup_link: Mutex<Option<SetupLink>>,
    pub(super) login_attempts: LoginAttempts,
    pub(super) passwords: PasswordWorkers,
    /// What is known of the provider of identities.
    pub(super) oidc: oidc::client::ProviderCache,
}

/// The link by which the first account is made.
#[derive(Debug)]
struct SetupLink {
    /// The SHA-256 of its token.
    token_hash: String,
    created_at: UtcTimestamp,
}

impl AuthState {
    /// Makes a new link for the first account: its token. The one before holds no longer.
    pub fn create_setup_link(&self, now: UtcTimestamp) -> String {
        let token = random_token();
        let link = SetupLink { token_hash: sha256_hex(&token), created_at: now };
        *self.setup_link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        token
    }

    /// When the link of that token was offered; `None` if it is not on offer.
    pub(super) fn setup_link_created_at(&self, token: &str) -> Option<UtcTimestamp> {
        let link = self.setup_link.lock().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().filter(|link| link.token_hash == sha256_hex(token)).map(|link| link.created_at)
    }

    /// Takes the offer back, since it holds once: when it was made. `None` if it is not on offer.
    pub(super) fn consume_setup_link(&self, token: &str) -> Option<UtcTimestamp> {
        let mut link = self.setup_link.lock().unwrap_or_else(PoisonError::into_inner);
        link.take_if(|link| link.token_hash == sha256_hex(token)).map(|link| link.created_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_once_and_only_the_right_one() {
        let (auth, at) = (AuthState::default(), UtcTimestamp::from_micros(1_000_000));
        let first = auth.create_setup_link(at.unwrap());
        assert!(auth.setup_link_created_at(&first) == at && auth.setup_link_created_at("x").is_none());
        assert!(auth.consume_setup_link("x").is_none() && auth.consume_setup_link(&first) == at);
        assert!(auth.consume_setup_link(&first).is_none());
    }
}
