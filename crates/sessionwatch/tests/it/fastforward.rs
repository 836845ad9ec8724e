//! The daemon under a clock that the test sets: in this process, or in its own.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, Command as Process, Stdio},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use jiff::SignedDuration;
use sessionwatch_app::{
    app::LiveEvent,
    config::Config,
    daemon::{Daemon, DaemonCommand, DaemonState},
};
use sessionwatch_clock::Clock;
use sessionwatch_core::{duration::SECOND, timestamp::UtcTimestamp};
use sessionwatch_store::outbox;
use tokio::sync::{broadcast, mpsc, watch};

pub(crate) use sessionwatch_core::duration::MINUTE;

mod process;

/// Start time of tests: a Monday at 06:00.
pub(crate) fn monday() -> UtcTimestamp {
    UtcTimestamp::from_micros(1_736_143_200_000_000).unwrap()
}

/// A running daemon.
pub(crate) struct Watch {
    hand: Arc<watch::Sender<UtcTimestamp>>,
    events: broadcast::Receiver<LiveEvent>,
    commands: mpsc::UnboundedSender<DaemonCommand>,
    thread: JoinHandle<bool>,
    pub(crate) address: String,
    pub(crate) shared: Arc<DaemonState>,
}

impl Watch {
    /// Starts a daemon with a configuration in a folder, and waits for the first check run of each target.
    pub(crate) fn start(folder: &Path, text: &str, from: UtcTimestamp) -> Self {
        let config = Config::parse(&folder.join("sessionwatch.toml"), text).unwrap();
        let targets = config.targets.len();
        let (clock, hand) = Clock::manual(from);
        let (commands, received) = mpsc::unbounded_channel();
        let (started, shared) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let daemon = Daemon::start(config, clock).await.unwrap();
                let (shared, address) = (Arc::clone(daemon.state()), daemon.listen_address().unwrap());
                started
                    .send((Arc::clone(&shared), shared.app.events.subscribe(), address.to_string()))
                    .unwrap();
                let dashboard = sessionwatch_web::build_router(&daemon.state().app);
                daemon.serve(dashboard, received).await.unwrap()
            })
        });
        let (shared, events, address) = shared.recv().unwrap();
        let watch = Self { hand, events, commands, thread, address, shared };
        let looked = |watch: &Self| {
            let config = watch.shared.app.config();
            config.targets.iter().all(|target| watch.shared.metrics.run_count(&target.name) > 0)
        };
        let mut seconds = 0;
        testkit::wait_until("the first looks", || {
            let done = looked(&watch);
            if targets > 1 && !done {
                // The first runs are spread over twenty seconds.
                seconds += 2;
                watch.set(from + seconds * SECOND);
            }
            done
        });
        watch
    }

    /// Sets the clock, and waits for a check run of each target.
    pub(crate) fn all_to(&mut self, at: UtcTimestamp) {
        let mut left: BTreeSet<String> =
            self.shared.app.config().targets.iter().map(|target| target.name.clone()).collect();
        self.set(at);
        while !left.is_empty() {
            let mut seen = None;
            self.wait_for(|event| match event {
                LiveEvent::RunFinished { target, at: run_at } if *run_at == at => {
                    seen = Some(target.clone());
                    true
                }
                _ => false,
            });
            if let Some(target) = seen {
                left.remove(&target);
            }
        }
    }

    /// Waits until this many delivery attempts of a message of the channel have failed.
    pub(crate) fn tried(&mut self, channel: &str, attempts: u32) {
        let tried = |watch: &Self| {
            let waiting = |db: sessionwatch_store::transaction::Tx<'_>| {
                outbox::list_due_messages(db, channel, UtcTimestamp::MAX, 1_000)
            };
            watch.shared.app.store.read(waiting).unwrap().iter().any(|due| due.attempts >= attempts)
        };
        while !tried(self) {
            self.wait_for(|event| matches!(event, LiveEvent::DeliveryFinished { .. }));
        }
    }

    /// Sets the clock, and waits for a check run.
    pub(crate) fn to(&mut self, at: UtcTimestamp) {
        while self.events.try_recv().is_ok() {}
        self.set(at);
        // The result of an earlier run may still be being stored.
        self.wait_for(|event| matches!(event, LiveEvent::RunFinished { at: run_at, .. } if *run_at == at));
    }

    /// Sets the clock, without waiting.
    pub(crate) fn set(&self, at: UtcTimestamp) {
        self.hand.send_replace(at);
    }

    /// Sets the clock, and waits for a check run of each of these targets.
    pub(crate) fn each_to(&mut self, at: UtcTimestamp, targets: &[&str]) {
        while self.events.try_recv().is_ok() {}
        self.set(at);
        let mut left = targets.to_vec();
        while !left.is_empty() {
            self.wait_for(|event| match event {
                LiveEvent::RunFinished { target, at: run_at } if *run_at == at => {
                    let before = left.len();
                    left.retain(|name| name != target);
                    left.len() < before
                }
                _ => false,
            });
        }
    }

    /// Sets the clock, then advances it in steps until a check run. Returns the time until that run, by the clock.
    pub(crate) fn goes_on(&mut self, from: UtcTimestamp) -> SignedDuration {
        let mut events = self.shared.app.events.subscribe();
        let (mut passed, mut ran_after) = (SignedDuration::ZERO, None);
        self.set(from);
        testkit::wait_until("a check run", || {
            let finished = std::iter::from_fn(|| events.try_recv().ok()).filter_map(|event| match event {
                LiveEvent::RunFinished { at, .. } => Some(at.duration_since(from)),
                _ => None,
            });
            // By the time of the run: on a busy machine the clock is set on several times before its event arrives.
            ran_after = finished.filter(|after| after.abs() < 10 * MINUTE).last();
            if ran_after.is_none() {
                passed += 4 * SECOND;
                self.set(from + passed);
            }
            ran_after.is_some()
        });
        ran_after.unwrap_or(passed)
    }

    /// Returns the body of a page.
    pub(crate) fn page(&self, path: &str) -> String {
        testkit::http::get(&self.address, path).body
    }

    /// Waits until no delivery is pending.
    pub(crate) fn delivered(&mut self) {
        while !self.shared.app.store.read(outbox::count_messages).unwrap().is_empty() {
            self.wait_for(|event| matches!(event, LiveEvent::DeliveryFinished { .. }));
        }
    }

    /// Advances the clock to each further delivery attempt of a message of the channel, until there is none. Returns
    /// the time of the last one.
    pub(crate) fn exhausted(&mut self, channel: &str, from: UtcTimestamp) -> UtcTimestamp {
        let mut at = from;
        for _ in 0..100 {
            let next = self.shared.app.store.read(|db| {
                let is_sent = outbox::count_messages(db)?
                    .iter()
                    .any(|(name, state, _)| name == channel && state == "sending");
                let waits = is_sent || !outbox::list_due_messages(db, channel, at, 1)?.is_empty();
                Ok((waits, outbox::next_due_at(db, channel, at)?))
            });
            match next.unwrap() {
                (true, _) => self.wait_for(|event| matches!(event, LiveEvent::DeliveryFinished { .. })),
                (false, Some(next)) => {
                    at = next;
                    self.set(at);
                }
                (false, None) => return at,
            }
        }
        panic!("there is no end of attempts at {channel}");
    }

    fn wait_for(&mut self, wanted: impl FnMut(&LiveEvent) -> bool) {
        assert!(self.receives(wanted, Duration::from_secs(120)), "what is waited for");
    }

    /// Returns `true` if such an event occurs within this time.
    fn receives(&mut self, mut wanted: impl FnMut(&LiveEvent) -> bool, timeout: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let waited = async {
            let events = async { while !wanted(&self.events.recv().await.expect("the daemon runs")) {} };
            tokio::time::timeout(timeout, events).await
        };
        runtime.block_on(waited).is_ok()
    }

    /// Calls a function of the daemon.
    pub(crate) fn ask(&self, command: DaemonCommand) {
        self.commands.send(command).unwrap();
    }

    /// Stops the daemon. Returns `true` if all its tasks ended without error.
    pub(crate) fn stop(self) -> bool {
        self.ask(DaemonCommand::Stop);
        self.thread.join().unwrap()
    }
}

/// A daemon in its own process.
pub(crate) struct Apart {
    child: Child,
    hand: Option<ChildStdin>,
    looks: Receiver<String>,
    /// Host and port of its listener, once it listens; empty if it ended before that.
    address: Arc<OnceLock<String>>,
    /// Standard error, unless the command decided on it.
    log: PathBuf,
}

/// File for the standard error of the daemons of a folder.
const LOG_FILE: &str = "stderr.log";

impl Apart {
    /// Starts a daemon with the configuration in a folder.
    pub(crate) fn start(folder: &Path, from: UtcTimestamp) -> Self {
        let mut log = std::fs::OpenOptions::new();
        let log = log.append(true).create(true).open(folder.join(LOG_FILE)).unwrap();
        Self::start_by(Process::new(program()).stderr(log), folder, from)
    }

    /// Starts a daemon with a command that runs [`program`].
    pub(crate) fn start_by(command: &mut Process, folder: &Path, from: UtcTimestamp) -> Self {
        process::prepare(command, &folder.join("sessionwatch.toml"), from);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let (sender, looks) = sync_channel(1_000);
        let address = Arc::new(OnceLock::new());
        let listens = Arc::clone(&address);
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once("://") {
                    listens.set(address.to_owned()).unwrap();
                } else if line.starts_with(process::LOOKED) {
                    // The test has ended and no longer receives.
                    drop(sender.send(line));
                }
            }
            listens.get_or_init(String::new);
        });
        let hand = child.stdin.take();
        Self { child, hand, looks, address, log: folder.join(LOG_FILE) }
    }

    /// Host and port of its listener.
    pub(crate) fn address(&self) -> &str {
        let begun = std::time::Instant::now();
        while self.address.get().is_none_or(String::is_empty) {
            // With a limit: a daemon that never prints its address must fail the test rather than hang it.
            let may_come = self.address.get().is_none() && begun.elapsed() < Duration::from_secs(60);
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(may_come, "the daemon prints no address; its log:\n{}", log());
            testkit::let_time_pass(Duration::from_millis(50));
        }
        self.address.wait()
    }

    /// Returns the body of a page.
    pub(crate) fn page(&self, path: &str) -> String {
        testkit::http::get(self.address(), path).body
    }

    /// Returns the status and the body of a page.
    pub(crate) fn answer(&self, path: &str) -> (u16, String) {
        let answer = testkit::http::get(self.address(), path);
        (answer.status, answer.body)
    }

    /// Sets the clock.
    pub(crate) fn set(&mut self, at: UtcTimestamp) {
        let hand = self.hand.as_mut().unwrap();
        // A killed process receives nothing.
        let _ = writeln!(hand, "{}", at.micros());
    }

    /// Sets the clock forward or back, as an administrator does: no time passes.
    pub(crate) fn adjust(&mut self, by: SignedDuration) {
        let hand = self.hand.as_mut().unwrap();
        // A killed process receives nothing.
        let _ = writeln!(hand, "adjust {}", by.as_micros());
    }

    /// Waits up to two minutes for a check run. Returns `true` if there was one.
    pub(crate) fn looked(&self) -> bool {
        self.looks.recv_timeout(Duration::from_secs(120)).is_ok()
    }

    /// Returns `true` if there was a check run since the last call.
    pub(crate) fn has_looked(&self) -> bool {
        self.looks.try_iter().count() > 0
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Its log, if piped.
    pub(crate) fn log(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Its process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it. Returns `true` if it ended without error.
    pub(crate) fn stop(mut self) -> bool {
        self.hand = None;
        self.child.wait().unwrap().success()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Path of this test binary, which also runs as that process.
pub(crate) fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::current_exe().unwrap())
}
