//! Limits on attempts to log in. A network from which an account was used before has a limit of its own for that account, so
//! that strangers who guess its password cannot lock it there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use jiff::SignedDuration;
use sessionwatch_core::instant::Instant;

/// Failed attempts within [`WINDOW`] after which no password of an account is checked any more: from one known network, and
/// from all other networks together.
const PER_ACCOUNT: u32 = 10;
/// Failed attempts within [`WINDOW`] after which nothing from a network is checked any more, except for accounts that were
/// used from there.
const PER_NETWORK: u32 = 50;
/// How long failed attempts are counted.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);
/// The most accounts and networks of strangers of which attempts are counted. Beyond that, other strangers are refused.
const MAX_COUNTED: usize = 10_000;
/// What attempts are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Counter {
    /// An account, from a network from which it was used before.
    KnownNetwork { account: String, network: IpNet },
    /// An account, from all other networks.
    Account(String),
    /// A network, whatever the account.
    Network(IpNet),
    /// Somebody who is logged in, and names the present password to change it.
    PasswordChange { account: String },
}

impl Counter {
    const fn limit(&self) -> u32 {
        match self {
            Self::KnownNetwork { .. } | Self::Account(_) | Self::PasswordChange { .. } => PER_ACCOUNT,
            Self::Network(_) => PER_NETWORK,
        }
    }

    /// Returns `true` if whoever is not known can make as many of these as they like.
    const fn is_of_strangers(&self) -> bool {
        matches!(self, Self::Account(_) | Self::Network(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    attempts: u32,
    since: Instant,
}

impl Count {
    fn is_current(&self, now: Instant) -> bool {
        (SignedDuration::ZERO..WINDOW).contains(&now.duration_since(self.since))
    }
}

/// Who attempts to log in.
#[derive(Debug)]
pub(super) struct Applicant<'a> {
    /// The account that is named, whether or not it exists.
    pub(super) account: &'a str,
    /// The network of the client.
    pub(super) network: IpNet,
    /// Whether that account was used from there before.
    pub(super) is_known: bool,
}

/// The attempts of the last quarter of an hour.
#[derive(Debug, Default)]
pub(super) struct LoginAttempts {
    counts: Arc<Mutex<BTreeMap<Counter, Count>>>,
}

/// An attempt that was counted before anything was checked. It stays counted unless it is taken back: also if nobody waits
/// for its outcome any more.
#[derive(Debug)]
pub(super) struct Attempt {
    counters: Vec<Counter>,
    counts: Arc<Mutex<BTreeMap<Counter, Count>>>,
}

impl LoginAttempts {
    /// Counts an attempt to log in by password. `None` where there were too many.
    pub(super) fn log_in(&self, applicant: &Applicant<'_>, now: Instant) -> Option<Attempt> {
        let (account, network) = (applicant.account.to_owned(), applicant.network);
        self.count(
            if applicant.is_known {
                vec![Counter::KnownNetwork { account, network }]
            } else {
                vec![Counter::Account(account), Counter::Network(network)]
            },
            now,
        )
    }

    /// Counts the return from a provider of identities. `None` where there were too many.
    pub(super) fn log_in_by_provider(&self, network: IpNet, now: Instant) -> Option<Attempt> {
        self.count(vec![Counter::Network(network)], now)
    }

    /// Counts an attempt to change a password. `None` where there were too many.
    pub(super) fn change_password(&self, account: &str, now: Instant) -> Option<Attempt> {
        self.count(vec![Counter::PasswordChange { account: account.to_owned() }], now)
    }

    fn count(&self, counters: Vec<Counter>, now: Instant) -> Option<Attempt> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, count| count.attempts > 0 && count.is_current(now));
        let of_strangers = counts.keys().filter(|counter| counter.is_of_strangers()).count();
        let is_full = of_strangers >= MAX_COUNTED;
        let is_refused = |counter: &Counter| match counts.get(counter) {
            Some(count) => count.attempts >= counter.limit(),
            None => is_full && counter.is_of_strangers(),
        };
        if counters.iter().any(is_refused) {
            return None;
        }
        for counter in &counters {
            counts.entry(counter.clone()).or_insert(Count { attempts: 0, since: now }).attempts += 1;
        }
        drop(counts);
        Some(Attempt { counters, counts: Arc::clone(&self.counts) })
    }
}

impl Attempt {
    /// It succeeded, or nothing was checked: it does not count.
    pub(super) fn take_back(self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for counter in &self.counters {
            if let Some(count) = counts.get_mut(counter) {
                count.attempts = count.attempts.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::client::network_of;

    fn at(second: i64) -> Instant {
        Instant::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn from(address: &str) -> IpNet {
        network_of(address.parse().unwrap())
    }

    fn applicant(address: &str, is_known: bool) -> Applicant<'static> {
        Applicant { account: "ada", network: from(address), is_known }
    }

    #[test]
    fn strangers_never_lock_an_account_where_it_was_used_before() {
        let attempts = LoginAttempts::default();
        for turn in 0..2_000 {
            let address = format!("2001:db8:0:{turn:x}::1");
            assert_eq!(attempts.log_in(&applicant(&address, false), at(1)).is_some(), turn < 10);
        }
        for turn in 0..11 {
            assert_eq!(attempts.log_in(&applicant("198.51.100.7", true), at(2)).is_some(), turn < 10);
        }
        // Another known network has a count of its own, and so has a later quarter of an hour.
        assert!(attempts.log_in(&applicant("203.0.113.7", true), at(2)).is_some());
        assert!(attempts.log_in(&applicant("192.0.2.7", false), at(800)).is_none());
        assert!(attempts.log_in(&applicant("192.0.2.7", false), at(902)).is_some());
    }

    #[test]
    fn an_attempt_counts_from_its_start_until_it_is_taken_back() {
        let attempts = LoginAttempts::default();
        let running: Vec<Attempt> =
            (0..10).map(|_| attempts.log_in(&applicant("192.0.2.7", false), at(1)).unwrap()).collect();
        assert!(attempts.log_in(&applicant("192.0.2.7", false), at(1)).is_none());
        running.into_iter().for_each(Attempt::take_back);
        assert!(attempts.log_in(&applicant("192.0.2.7", false), at(1)).is_some());
    }

    #[test]
    fn a_network_is_refused_after_many_accounts_but_not_those_that_belong_there() {
        let attempts = LoginAttempts::default();
        for turn in 0..60 {
            let account = format!("nobody{turn}");
            let stranger = Applicant { account: &account, network: from("192.0.2.7"), is_known: false };
            assert_eq!(attempts.log_in(&stranger, at(1)).is_some(), turn < 50);
        }
        assert!(attempts.log_in(&applicant("192.0.2.200", true), at(1)).is_some());
    }

    #[test]
    fn when_too_many_are_counted_only_strangers_are_refused() {
        let attempts = LoginAttempts::default();
        for turn in 0..u32::try_from(MAX_COUNTED).unwrap() {
            let account = format!("nobody{turn}");
            let network = network_of(std::net::Ipv4Addr::from(turn << 8).into());
            let _ = attempts.log_in(&Applicant { account: &account, network, is_known: false }, at(1));
        }
        assert!(attempts.counts.lock().unwrap().len() <= MAX_COUNTED + 1);
        assert!(attempts.log_in(&applicant("198.51.100.7", false), at(1)).is_none());
        assert!(attempts.log_in(&applicant("198.51.100.7", true), at(1)).is_some());
    }
}
