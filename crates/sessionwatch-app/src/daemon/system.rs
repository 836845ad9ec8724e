//! The daemon and the system that supervises it: systemd, where it runs under that.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use sd_notify::NotifyState;

use super::DaemonState;

/// Tells a supervisor that wants to know that the daemon is alive, as long as it is.
pub(super) struct Life {
    state: Arc<DaemonState>,
    ticks: Option<tokio::time::Interval>,
    beats: u64,
    silent: u32,
}

/// Ticks without a sign of life that are borne: rhythms are kept by tasks that wait for up to ten seconds.
const BORNE: Duration = Duration::from_secs(60);

impl Life {
    /// Says that the daemon is ready.
    pub(super) fn start(state: Arc<DaemonState>) -> Self {
        ready();
        let ticks = sd_notify::watchdog_enabled().map(|limit| tokio::time::interval(limit / 2));
        Self { state, ticks, beats: 0, silent: 0 }
    }

    /// Does something that takes a while, and says so meanwhile.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = self.next() => {}
            }
        }
    }

    /// Waits for the next time to say so, and says it; without a supervisor, for ever.
    pub(super) async fn next(&mut self) {
        let Some(ticks) = &mut self.ticks else { return std::future::pending().await };
        ticks.tick().await;
        let beats = self.state.beats.load(Ordering::Relaxed);
        self.silent = if beats == self.beats { self.silent + 1 } else { 0 };
        self.beats = beats;
        if ticks.period() * self.silent <= BORNE {
            say(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("no rhythm was kept for a minute: the supervisor is not told that all is well");
        }
    }
}

pub(super) fn ready() {
    say(&[NotifyState::Ready]);
}

pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

pub(super) fn reloading() {
    // Both in one message: by the time alone nobody knows of what it is.
    let now = NotifyState::monotonic_usec_now();
    say(&[NotifyState::Reloading].into_iter().chain(now.ok()).collect::<Vec<_>>());
}

/// Raises the limit of open files of this process as far as the system allows: a target, a channel and every reader of a
/// page take some, and the limit that most systems begin with is for programs that open few.
pub fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Without a supervisor there is nobody to tell, and one that is gone cannot be.
fn say(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// A name that no other daemon has: this machine's and the process number.
pub(super) fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "sessionwatch" } else { host };
    format!("{host}:{}", std::process::id())
}
