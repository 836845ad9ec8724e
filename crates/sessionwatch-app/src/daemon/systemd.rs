//! Integration with systemd: readiness, watchdog and resource limits.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use sd_notify::NotifyState;

use super::DaemonState;

/// Pings the systemd watchdog as long as the schedulers make progress.
pub(super) struct SystemdWatchdog {
    state: Arc<DaemonState>,
    ticks: Option<tokio::time::Interval>,
    last_heartbeats: u64,
    missed_ticks: u32,
}

/// Time without scheduler progress after which pings are withheld. Idle schedulers wake at least every ten seconds.
const WATCHDOG_GRACE: Duration = Duration::from_secs(60);

impl SystemdWatchdog {
    /// Reports readiness, and starts the pings if systemd asks for them.
    pub(super) fn start(state: Arc<DaemonState>) -> Self {
        notify_ready();
        // Half the limit, as systemd recommends, so that one late ping does no harm.
        let ticks = sd_notify::watchdog_enabled().map(|limit| tokio::time::interval(limit / 2));
        Self { state, ticks, last_heartbeats: 0, missed_ticks: 0 }
    }

    /// Runs `work` to its end, and keeps pinging meanwhile.
    pub(super) async fn run_with_keepalive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome,
                () = self.tick() => {}
            }
        }
    }

    /// Waits for the next ping and sends it. Never returns if systemd asks for no pings.
    pub(super) async fn tick(&mut self) {
        // Pending, not an immediate return, which would make the caller's loop spin.
        let Some(ticks) = &mut self.ticks else { return std::future::pending().await };
        ticks.tick().await;
        let beats = self.state.heartbeats.load(Ordering::Relaxed);
        // Counted in ticks: after a suspend, the schedulers get the same chance to run as this task.
        self.missed_ticks = if beats == self.last_heartbeats { self.missed_ticks + 1 } else { 0 };
        self.last_heartbeats = beats;
        if ticks.period() * self.missed_ticks <= WATCHDOG_GRACE {
            notify_systemd(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("scheduler made no progress for 60 s; withholding the systemd watchdog ping");
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
    // systemd requires the monotonic timestamp in the same message as `RELOADING=1`.
    let now = NotifyState::monotonic_usec_now();
    notify_systemd(&[NotifyState::Reloading].into_iter().chain(now.ok()).collect::<Vec<_>>());
}

/// Raises the soft limit of open files to the hard limit. Targets, channels and HTTP clients each take some, and the
/// usual soft limit of 1,024 is too low for many targets.
pub fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Up to the hard limit, which needs no privileges.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the open file limit: {error}");
    }
}

fn notify_systemd(states: &[NotifyState<'_>]) {
    // Fails without systemd, or if its socket is gone; neither concerns the daemon.
    let _ = sd_notify::notify(states);
}

/// Returns the default instance name, `HOST:PID`, which is unique among running daemons.
pub(super) fn default_instance_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    // No host name outside Linux or in some containers; the process id still distinguishes daemons.
    let host = if host.is_empty() { "sessionwatch" } else { host };
    format!("{host}:{}", std::process::id())
}
