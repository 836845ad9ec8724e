//! Password hashing with Argon2id, which takes 19 MiB and tens of milliseconds per password. A few dedicated threads
//! with a bounded queue do the work, so that a flood of logins cannot exhaust the memory or the threads of the
//! daemon.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        PasswordHasher as _,
        phc::{Output, PasswordHash},
    },
};
use credentials::Secret;
use ipnet::IpNet;
use tokio::sync::oneshot;

use super::{
    AppError,
    network_concurrency::{NetworkConcurrency, NetworkPermit},
    random_tokens::random_token,
};

/// Minimum length of a password, in characters (NIST SP 800-63B-4, 3.1.1.2).
pub const MIN_PASSWORD_LENGTH: usize = 15;
/// Maximum length of a password, in characters.
pub const MAX_PASSWORD_LENGTH: usize = 256;
// Few, because each thread keeps its 19 MiB of Argon2 memory for reuse.
const HASHING_THREADS: usize = 2;
const MAX_CONCURRENT_LOGINS: usize = 32;
// A flood from one network leaves permits for all others.
const MAX_LOGINS_PER_NETWORK: usize = 8;
// Twice the logins: password changes of logged-in users share the queue.
const MAX_QUEUED_HASH_JOBS: usize = 2 * MAX_CONCURRENT_LOGINS;

type HashJob = Box<dyn FnOnce() + Send>;

/// Worker threads for passwords, started on first use.
pub(super) struct PasswordWorkers {
    job_queue: OnceLock<SyncSender<HashJob>>,
    login_limiter: NetworkConcurrency,
}

impl std::fmt::Debug for PasswordWorkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Default for PasswordWorkers {
    fn default() -> Self {
        Self {
            job_queue: OnceLock::new(),
            login_limiter: NetworkConcurrency::new(MAX_CONCURRENT_LOGINS, MAX_LOGINS_PER_NETWORK),
        }
    }
}

impl PasswordWorkers {
    /// Acquires a permit, to be held for the duration of a login.
    ///
    /// # Errors
    ///
    /// If there are too many concurrent logins.
    pub(super) fn acquire_login_permit(&self, network: IpNet) -> Result<NetworkPermit, AppError> {
        self.login_limiter.try_acquire(network).ok_or(AppError::Busy)
    }

    /// Returns `true` if the password matches the hash. An empty hash matches no password.
    ///
    /// # Errors
    ///
    /// If the queue is full; the password was not checked.
    pub(super) async fn verify(&self, password: Secret, hashed: Secret) -> Result<bool, AppError> {
        self.run_queued(move || {
            // Refused inside the job, so that an overlong password takes a place in the queue like any
            // other.
            password.expose().chars().count() <= MAX_PASSWORD_LENGTH
                && matches_hash(password.expose(), &hashed)
        })
        .await
    }

    /// Hashes a password.
    ///
    /// # Errors
    ///
    /// If the password is too short or too long, or the queue is full.
    pub(super) async fn hash(&self, password: Secret) -> Result<Secret, AppError> {
        self.run_queued(move || hash_password(password.expose())).await?.map_err(AppError::Invalid)
    }

    /// Runs `work` on a worker thread, or fails immediately if the queue is full.
    async fn run_queued<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AppError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            // The client may have gone away while the job was queued.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        // Never waits: a full queue is an answer, and waiting requests would pile up.
        self.job_queue.get_or_init(start_workers).try_send(job).map_err(|_| AppError::Busy)?;
        // The sender is dropped without an answer only if a worker panicked.
        answered.await.map_err(|_| AppError::Busy)
    }
}

/// Starts the worker threads, which end when the sender is dropped.
fn start_workers() -> SyncSender<HashJob> {
    let (sender, jobs) = sync_channel(MAX_QUEUED_HASH_JOBS);
    let jobs = Arc::new(Mutex::new(jobs));
    // A shared receiver: whichever thread is free takes the next job.
    for _ in 0..HASHING_THREADS {
        let jobs = Arc::clone(&jobs);
        let started = std::thread::Builder::new().name("password".into()).spawn(move || run_worker(&jobs));
        if let Err(error) = started {
            tracing::error!("cannot start a password-hashing thread: {error}");
        }
    }
    sender
}

fn run_worker(jobs: &Mutex<Receiver<HashJob>>) {
    loop {
        // The lock is released before the job runs, or the other threads would wait for it.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

/// Hashes a password of acceptable length.
///
/// # Errors
///
/// If the password is too short or too long.
pub fn hash_password(password: &str) -> Result<Secret, String> {
    let length = password.chars().count();
    if !(MIN_PASSWORD_LENGTH..=MAX_PASSWORD_LENGTH).contains(&length) {
        return Err(format!(
            "Use a password of {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters, such as a sentence."
        ));
    }
    // A random salt and the crate's current parameters; both are stored within the hash.
    let hashed = Argon2::default().hash_password(password.as_bytes());
    Ok(hashed.map_err(|_| "The password could not be hashed. Try again.".to_owned())?.to_string().into())
}

/// Returns `true` if the password matches the hash. Takes the same time for an empty hash, which matches no password.
fn matches_hash(password: &str, hashed: &Secret) -> bool {
    thread_local! {
        // Reused for every password: allocating 19 MiB each time would fragment the heap.
        static ARGON2_MEMORY: RefCell<Vec<Block>> = const { RefCell::new(vec![]) };
    }
    let hashed = if hashed.expose().is_empty() { dummy_password_hash() } else { hashed };
    let Ok(hashed) = PasswordHash::new(hashed.expose()) else { return false };
    ARGON2_MEMORY.with_borrow_mut(|memory| compute_hash_output(password, &hashed, memory)).is_some_and(
        |output| {
            // `Output` compares in constant time.
            hashed.hash.as_ref() == Some(&output)
        },
    )
}

/// Hashes a password with the algorithm, parameters and salt of another hash, so that hashes made with older
/// parameters can still be verified. Returns `None` if the algorithm or the parameters are not supported.
fn compute_hash_output(password: &str, parameters: &PasswordHash, memory: &mut Vec<Block>) -> Option<Output> {
    let algorithm = Algorithm::try_from(parameters.algorithm.as_str()).ok()?;
    let version =
        parameters.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let params = Params::try_from(parameters).ok()?;
    // Sized per hash: older hashes may use more or less memory.
    memory.resize(params.block_count(), Block::default());
    let mut buffer = [0; Output::MAX_LENGTH];
    let bytes = buffer.get_mut(..params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN))?;
    let argon2 = Argon2::new(algorithm, version, params);
    argon2
        .hash_password_into_with_memory(password.as_bytes(), parameters.salt.as_ref()?, bytes, memory)
        .ok()?;
    Output::new(bytes).ok()
}

/// Dummy hash, verified for unknown users so that login time does not reveal whether an account exists.
fn dummy_password_hash() -> &'static Secret {
    static DUMMY_HASH: OnceLock<Secret> = OnceLock::new();
    DUMMY_HASH.get_or_init(|| hash_password(&random_token()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::request_client::network_for;

    #[test]
    fn passwords_are_hashed_with_argon2id_within_length_limits() {
        let good = hash_password("a sentence is a good one").unwrap();
        assert!(good.expose().starts_with("$argon2id$") && !format!("{good:?}").contains("argon"));
        assert!(matches_hash("a sentence is a good one", &good));
        assert!(!matches_hash("a sentence is a bad one", &good) && !matches_hash("", &Secret::default()));
        assert!(hash_password("short").is_err() && hash_password(&"x".repeat(300)).is_err());
    }

    #[test]
    fn hashes_of_earlier_parameters_are_verified() {
        let argon2 =
            Argon2::new(Algorithm::Argon2i, Version::V0x13, Params::new(64, 3, 2, Some(16)).unwrap());
        let older = Secret::new(argon2.hash_password(b"a sentence is a good one").unwrap().to_string());
        assert!(matches_hash("a sentence is a good one", &older) && !matches_hash("another one", &older));
        assert!(!matches_hash("x", &"$argon2id$nonsense".into()));
    }

    #[test]
    fn a_flood_from_one_network_leaves_permits_for_others() {
        let passwords = PasswordWorkers::default();
        let of =
            |third: u8, last: u8| passwords.acquire_login_permit(network_for([192, 0, third, last].into()));
        let flood: Vec<NetworkPermit> = (0..100).filter_map(|last| of(2, last).ok()).collect();
        assert_eq!(flood.len(), MAX_LOGINS_PER_NETWORK);
        let others: Vec<NetworkPermit> = (3..200).filter_map(|third| of(third, 1).ok()).collect();
        assert_eq!(others.len(), MAX_CONCURRENT_LOGINS - MAX_LOGINS_PER_NETWORK);
        drop(flood);
        assert!(of(2, 1).is_ok());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_passwords_immediately() {
        let passwords = PasswordWorkers::default();
        // The threads block until `go` is dropped.
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let mut waiting = vec![];
        let mut refused = 0;
        for _ in 0..2 * MAX_QUEUED_HASH_JOBS {
            let gate = Arc::clone(&gate);
            let mut job = Box::pin(passwords.run_queued(move || gate.lock().unwrap().recv().is_err()));
            match futures_util::FutureExt::now_or_never(&mut job) {
                Some(outcome) => {
                    assert!(matches!(outcome, Err(AppError::Busy)));
                    refused += 1;
                }
                None => waiting.push(job),
            }
        }
        assert!(
            (MAX_QUEUED_HASH_JOBS - HASHING_THREADS..=MAX_QUEUED_HASH_JOBS).contains(&refused),
            "{refused}"
        );
        // Without a sender, `recv` fails and all threads continue.
        drop(go);
        for job in waiting {
            assert!(job.await.unwrap());
        }
    }
}
