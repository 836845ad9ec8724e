//! Rate limits for logins and password changes. A network from which an account has logged in before has a separate
//! limit for that account, so that strangers who guess passwords cannot lock its owner out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use jiff::SignedDuration;
use sessionwatch_core::timestamp::UtcTimestamp;

/// Maximum failed attempts on an account within [`RATE_LIMIT_WINDOW`]: from each known network, and from all other
/// networks together.
const MAX_FAILURES_PER_ACCOUNT: u32 = 10;
/// Maximum failed attempts from a network within [`RATE_LIMIT_WINDOW`], not counting accounts known there.
const MAX_FAILURES_PER_NETWORK: u32 = 50;
const RATE_LIMIT_WINDOW: SignedDuration = SignedDuration::from_mins(15);
// Bounds the memory that a distributed attack can occupy. Beyond the limit, new strangers are refused.
const MAX_ANONYMOUS_COUNTERS: usize = 10_000;

/// Key of a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AttemptCounter {
    /// Account, from a network from which it has logged in before.
    KnownNetwork { account: String, network: IpNet },
    /// Account, from all other networks.
    Account(String),
    /// Network, for any account.
    Network(IpNet),
    /// Current password entered by a logged-in user to change it.
    PasswordChange { account: String },
}

impl AttemptCounter {
    const fn max_failures(&self) -> u32 {
        match self {
            Self::KnownNetwork { .. } | Self::Account(_) | Self::PasswordChange { .. } => {
                MAX_FAILURES_PER_ACCOUNT
            }
            Self::Network(_) => MAX_FAILURES_PER_NETWORK,
        }
    }

    /// Returns `true` for counters that strangers can create in any number.
    const fn is_anonymous(&self) -> bool {
        matches!(self, Self::Account(_) | Self::Network(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct AttemptCount {
    attempts: u32,
    since: UtcTimestamp,
}

impl AttemptCount {
    fn is_current(&self, now: UtcTimestamp) -> bool {
        // A count from the future belongs to a clock that was set back; it must not lock anyone out.
        (SignedDuration::ZERO..RATE_LIMIT_WINDOW).contains(&now.duration_since(self.since))
    }
}

/// Client that attempts to log in.
#[derive(Debug)]
pub(super) struct LoginCandidate<'a> {
    /// Requested account, which may not exist.
    pub(super) account: &'a str,
    /// Network of the client.
    pub(super) network: IpNet,
    /// `true` if the account has logged in from the network before.
    pub(super) is_known_network: bool,
}

/// Counters of the attempts within [`RATE_LIMIT_WINDOW`].
#[derive(Debug, Default)]
pub(super) struct LoginAttempts {
    counts: Arc<Mutex<BTreeMap<AttemptCounter, AttemptCount>>>,
}

/// Attempt that was counted before its password was checked. The attempt stays counted until
/// [`CountedAttempt::remove_from_counts`], so that a client cannot avoid the limit by closing the connection early.
#[derive(Debug)]
pub(super) struct CountedAttempt {
    counters: Vec<AttemptCounter>,
    counts: Arc<Mutex<BTreeMap<AttemptCounter, AttemptCount>>>,
}

impl LoginAttempts {
    /// Counts a login with a password. Returns `None` if a limit is reached.
    pub(super) fn count_password_login(
        &self,
        candidate: &LoginCandidate<'_>,
        now: UtcTimestamp,
    ) -> Option<CountedAttempt> {
        let (account, network) = (candidate.account.to_owned(), candidate.network);
        self.count_attempt(
            if candidate.is_known_network {
                vec![AttemptCounter::KnownNetwork { account, network }]
            } else {
                // A stranger must pass both limits: guessing one account widely, and many accounts from one
                // place.
                vec![AttemptCounter::Account(account), AttemptCounter::Network(network)]
            },
            now,
        )
    }

    /// Counts a callback from the identity provider. Returns `None` if a limit is reached.
    pub(super) fn count_oidc_login(&self, network: IpNet, now: UtcTimestamp) -> Option<CountedAttempt> {
        self.count_attempt(vec![AttemptCounter::Network(network)], now)
    }

    /// Counts a password change. Returns `None` if a limit is reached.
    pub(super) fn count_password_change(&self, account: &str, now: UtcTimestamp) -> Option<CountedAttempt> {
        self.count_attempt(vec![AttemptCounter::PasswordChange { account: account.to_owned() }], now)
    }

    fn count_attempt(&self, counters: Vec<AttemptCounter>, now: UtcTimestamp) -> Option<CountedAttempt> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Expired counters are dropped on use, so no timer has to sweep the map.
        counts.retain(|_, count| count.attempts > 0 && count.is_current(now));
        let anonymous = counts.keys().filter(|counter| counter.is_anonymous()).count();
        let is_full = anonymous >= MAX_ANONYMOUS_COUNTERS;
        let is_refused = |counter: &AttemptCounter| match counts.get(counter) {
            Some(count) => count.attempts >= counter.max_failures(),
            // Known networks are never refused for lack of space: an attacker must not be able to lock
            // owners out.
            None => is_full && counter.is_anonymous(),
        };
        // All are checked before any is counted, so a refused attempt does not extend the lockout.
        if counters.iter().any(is_refused) {
            return None;
        }
        for counter in &counters {
            counts.entry(counter.clone()).or_insert(AttemptCount { attempts: 0, since: now }).attempts += 1;
        }
        drop(counts);
        Some(CountedAttempt { counters, counts: Arc::clone(&self.counts) })
    }
}

impl CountedAttempt {
    /// Removes an attempt that succeeded, or whose password was not checked.
    pub(super) fn remove_from_counts(self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for counter in &self.counters {
            if let Some(count) = counts.get_mut(counter) {
                // Saturating: the window may have ended meanwhile, which removed the count.
                count.attempts = count.attempts.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::request_client::network_for;

    fn at(second: i64) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn from(address: &str) -> IpNet {
        network_for(address.parse().unwrap())
    }

    fn applicant(address: &str, is_known_network: bool) -> LoginCandidate<'static> {
        LoginCandidate { account: "ada", network: from(address), is_known_network }
    }

    #[test]
    fn strangers_cannot_lock_an_account_on_its_known_networks() {
        let attempts = LoginAttempts::default();
        for turn in 0..2_000 {
            let address = format!("2001:db8:0:{turn:x}::1");
            assert_eq!(
                attempts.count_password_login(&applicant(&address, false), at(1)).is_some(),
                turn < 10
            );
        }
        for turn in 0..11 {
            assert_eq!(
                attempts.count_password_login(&applicant("198.51.100.7", true), at(2)).is_some(),
                turn < 10
            );
        }
        // Each known network has its own counter, and counters expire after 15 minutes.
        assert!(attempts.count_password_login(&applicant("203.0.113.7", true), at(2)).is_some());
        assert!(attempts.count_password_login(&applicant("192.0.2.7", false), at(800)).is_none());
        assert!(attempts.count_password_login(&applicant("192.0.2.7", false), at(902)).is_some());
    }

    #[test]
    fn an_attempt_counts_from_its_start_until_it_is_removed() {
        let attempts = LoginAttempts::default();
        let running: Vec<CountedAttempt> = (0..10)
            .map(|_| attempts.count_password_login(&applicant("192.0.2.7", false), at(1)).unwrap())
            .collect();
        assert!(attempts.count_password_login(&applicant("192.0.2.7", false), at(1)).is_none());
        running.into_iter().for_each(CountedAttempt::remove_from_counts);
        assert!(attempts.count_password_login(&applicant("192.0.2.7", false), at(1)).is_some());
    }

    #[test]
    fn a_network_is_refused_after_many_accounts_except_for_accounts_known_there() {
        let attempts = LoginAttempts::default();
        for turn in 0..60 {
            let account = format!("nobody{turn}");
            let stranger =
                LoginCandidate { account: &account, network: from("192.0.2.7"), is_known_network: false };
            assert_eq!(attempts.count_password_login(&stranger, at(1)).is_some(), turn < 50);
        }
        assert!(attempts.count_password_login(&applicant("192.0.2.200", true), at(1)).is_some());
    }

    #[test]
    fn at_the_counter_limit_only_strangers_are_refused() {
        let attempts = LoginAttempts::default();
        for turn in 0..u32::try_from(MAX_ANONYMOUS_COUNTERS).unwrap() {
            let account = format!("nobody{turn}");
            let network = network_for(std::net::Ipv4Addr::from(turn << 8).into());
            let _ = attempts.count_password_login(
                &LoginCandidate { account: &account, network, is_known_network: false },
                at(1),
            );
        }
        assert!(attempts.counts.lock().unwrap().len() <= MAX_ANONYMOUS_COUNTERS + 1);
        assert!(attempts.count_password_login(&applicant("198.51.100.7", false), at(1)).is_none());
        assert!(attempts.count_password_login(&applicant("198.51.100.7", true), at(1)).is_some());
    }
}
