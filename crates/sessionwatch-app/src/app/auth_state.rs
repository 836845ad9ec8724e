//! In-memory state of authentication: setup link, login attempts, password workers and OIDC provider cache.

use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    login_rate_limit::LoginAttempts,
    passwords::PasswordWorkers,
    random_tokens::{random_token, sha256_hex},
};
use crate::oidc;

/// In-memory state of authentication.
#[derive(Debug, Default)]
pub struct AuthState {
    setup_link: Mutex<Option<SetupLink>>,
    demo_link: Mutex<Option<DemoLink>>,
    pub(super) login_attempts: LoginAttempts,
    pub(super) passwords: PasswordWorkers,
    pub(super) oidc: oidc::client::ProviderCache,
}

/// Link for creating the first account.
#[derive(Debug)]
struct SetupLink {
    /// SHA-256 of the token.
    token_hash: String,
    created_at: UtcTimestamp,
}

/// Link that logs in the visitor of the demo.
#[derive(Debug)]
struct DemoLink {
    /// SHA-256 of the token.
    token_hash: String,
    expires_at: UtcTimestamp,
    is_used: bool,
}

/// Result of opening a link of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DemoLinkUse {
    /// The first use in time.
    Accepted,
    /// The link was used before, or has expired.
    Expired,
    /// The token does not belong to a link of the demo.
    Unknown,
}

/// Time for which a link of the demo works.
const DEMO_LINK_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

impl AuthState {
    /// Creates the link that logs in the visitor of the demo as admin, once and within an hour. Returns its token. No
    /// other command than `demo` may call this.
    pub fn create_demo_link(&self, now: UtcTimestamp) -> String {
        let token = random_token();
        let link =
            DemoLink { token_hash: sha256_hex(&token), expires_at: now + DEMO_LINK_LIFETIME, is_used: false };
        *self.demo_link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        token
    }

    /// Uses the link of the demo up, if the token is its own.
    pub(super) fn consume_demo_link(&self, token: &str, now: UtcTimestamp) -> DemoLinkUse {
        let mut link = self.demo_link.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(link) = link.as_mut().filter(|link| link.token_hash == sha256_hex(token)) else {
            return DemoLinkUse::Unknown;
        };
        // Marked under the lock: of two concurrent requests with the same link, only one logs in.
        let was_used = std::mem::replace(&mut link.is_used, true);
        if was_used || now >= link.expires_at { DemoLinkUse::Expired } else { DemoLinkUse::Accepted }
    }

    /// Creates a setup link, which replaces the previous one. Returns its token.
    pub fn create_setup_link(&self, now: UtcTimestamp) -> String {
        let token = random_token();
        // Only the hash is kept, so that a memory dump does not contain a link that still works.
        let link = SetupLink { token_hash: sha256_hex(&token), created_at: now };
        *self.setup_link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        token
    }

    /// Returns the creation time of the setup link with that token; `None` if the link is not valid.
    pub(super) fn setup_link_created_at(&self, token: &str) -> Option<UtcTimestamp> {
        let link = self.setup_link.lock().unwrap_or_else(PoisonError::into_inner);
        link.as_ref().filter(|link| link.token_hash == sha256_hex(token)).map(|link| link.created_at)
    }

    /// Invalidates the setup link with that token, which works once. Returns its creation time; `None` if the link is
    /// not valid.
    pub(super) fn consume_setup_link(&self, token: &str) -> Option<UtcTimestamp> {
        let mut link = self.setup_link.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken under the lock: of two concurrent requests with the same link, only one gets the time.
        link.take_if(|link| link.token_hash == sha256_hex(token)).map(|link| link.created_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_link_works_and_only_once() {
        let (auth, at) = (AuthState::default(), UtcTimestamp::from_micros(1_000_000));
        let first = auth.create_setup_link(at.unwrap());
        assert!(auth.setup_link_created_at(&first) == at && auth.setup_link_created_at("x").is_none());
        assert!(auth.consume_setup_link("x").is_none() && auth.consume_setup_link(&first) == at);
        assert!(auth.consume_setup_link(&first).is_none());
    }

    #[test]
    fn the_link_of_the_demo_works_once_and_for_an_hour() {
        let (auth, now) = (AuthState::default(), UtcTimestamp::UNIX_EPOCH);
        assert_eq!(auth.consume_demo_link("", now), DemoLinkUse::Unknown);
        let link = auth.create_demo_link(now);
        assert_eq!(auth.consume_demo_link("x", now), DemoLinkUse::Unknown);
        assert_eq!(auth.consume_demo_link(&link, now), DemoLinkUse::Accepted);
        assert_eq!(auth.consume_demo_link(&link, now), DemoLinkUse::Expired);
        let link = auth.create_demo_link(now);
        assert_eq!(auth.consume_demo_link(&link, now + DEMO_LINK_LIFETIME), DemoLinkUse::Expired);
    }
}
