//! The daemon and the system that supervises it: systemd, where it runs under that.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use sd_notify::NotifyState;

use super::DaemonState;

/// Tells a supervisor that wants to know that the daemon is alive, as long as it is.
pub(super) struct SystemdWatchdog {
    state: Arc<DaemonState>,
    ticks: Option<tokio::time::Interval>,
    last_heartbeats: u64,
    missed_ticks: u32,
}

/// Ticks without a sign of life that are borne: rhythms are kept by tasks that wait for up to ten seconds.
const WATCHDOG_GRACE: Duration = Duration::from_secs(60);

impl SystemdWatchdog {
    /// Says that the daemon is ready.
    pub(super) fn start(state: Arc<DaemonState>) -> Self {
        notify_ready();
        let ticks = sd_notify::watchdog_enabled().map(|limit| tokio::time::interval(limit / 2));
        Self { state, ticks, last_heartbeats: 0, missed_ticks: 0 }
    }

    /// Does something that takes a while, and says so meanwhile.
    pub(super) async fn run_with_keepalive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = self.tick() => {}
            }
        }
    }

    /// Waits for the next time to say so, and says it; without a supervisor, for ever.
    pub(super) async fn tick(&mut self) {
        let Some(ticks) = &mut self.ticks else { return std::future::pending().await };
        ticks.tick().await;
        let beats = self.state.heartbeats.load(Ordering::Relaxed);
        self.missed_ticks = if beats == self.last_heartbeats { self.missed_ticks + 1 } else { 0 };
        self.last_heartbeats = beats;
        if ticks.period() * self.missed_ticks <= WATCHDOG_GRACE {
            notify_systemd(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("no rhythm was kept for a minute: the supervisor is not told that all is well");
        }
    }
}

pub(super) fn notify_ready() {
    notify_systemd(&[NotifyState::Ready]);
}

pub(super) fn notify_stopping() {
    notify_systemd(&[NotifyState::Stopping]);
}

pub(super) fn notify_reloading() {
    // Both in one message: by the time alone nobody knows of what it is.
    let now = NotifyState::monotonic_usec_now();
    notify_systemd(&[NotifyState::Reloading].into_iter().chain(now.ok()).collect::<Vec<_>>());
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
fn notify_systemd(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// A name that no other daemon has: this machine's and the process number.
pub(super) fn default_instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "sessionwatch" } else { host };
    format!("{host}:{}", std::process::id())
}
