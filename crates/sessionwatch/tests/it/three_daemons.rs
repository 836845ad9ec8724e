//! Three daemons on one store, with clocks an hour apart. One after the other is killed, stopped, or disconnected from
//! the store for a while: nothing is lost, and every duplicate is marked.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant as Monotonic},
};

use jiff::SignedDuration;
use sessionwatch_core::{duration::HOUR, timestamp::UtcTimestamp};
use testkit::{Database, FaultProxy, HttpSink, NetworkFault, wait_until, wait_until_none_left};

use crate::{
    fastforward::{Apart, monday},
    takeovers,
};

/// Interval at which a line is written and the clocks advance.
const PERIOD: Duration = Duration::from_millis(200);
/// More log checks than lines are written; each line matches its own check.
const PATTERNS: u32 = 1_000;

/// A daemon that reaches the store through a proxy.
struct Member {
    folder: PathBuf,
    proxy: FaultProxy,
    /// Amount by which its clock is ahead.
    ahead: SignedDuration,
    daemon: Option<Apart>,
}

/// A fault of the leader.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Kill,
    Stop,
    /// All traffic to the store stops, from the middle of a response on.
    Stall(usize),
}

struct Story {
    members: Arc<Mutex<Vec<Member>>>,
    store: Database<'static>,
    began: Monotonic,
    ended: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
}

fn lock(members: &Mutex<Vec<Member>>) -> MutexGuard<'_, Vec<Member>> {
    members.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    fn now(&self, began: Monotonic) -> UtcTimestamp {
        monday() + self.ahead + sessionwatch_clock::to_signed_duration(began.elapsed())
    }

    fn start(&mut self, began: Monotonic) {
        self.daemon = Some(Apart::start(&self.folder, self.now(began)));
    }

    fn signal(&self, name: &str) {
        let id = self.daemon.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Story {
    fn new(folder: &Path, hook: &str) -> Self {
        let (database, store) = (testkit::healthy_database(), testkit::empty_database());
        let log = folder.join("app.log");
        std::fs::write(&log, "").unwrap();
        let patterns: String = (0..PATTERNS)
            .map(|number| {
                format!(
                    "[[log_check]]\nname = \"event-{number}\"\nliteral = \"EVENT {number};\"\n\
                     severity = \"critical\"\nmax = 0\n"
                )
            })
            .collect();
        let members = [-HOUR, SignedDuration::ZERO, HOUR].into_iter().enumerate().map(|(number, ahead)| {
            let proxy = FaultProxy::start(testkit::shared_server().ports()[0], NetworkFault::None).unwrap();
            let folder = folder.join(format!("member-{number}"));
            std::fs::create_dir(&folder).unwrap();
            let text = format!(
                "[[target]]\nname = \"app\"\nurl = \"{}\"\n[checks.slow-check-run]\nenabled = false\n\
                 [serve]\nlisten = \"127.0.0.1:0\"\nname = \"{number}\"\nstore = \"{}\"\n\
                 [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{hook}\"\n\
                 [[logs]]\nname = \"log\"\nfile = \"{}\"\n{patterns}",
                database.url("postgres"),
                store.url_at_port("postgres", proxy.port()),
                log.display()
            );
            std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
            Member { folder, proxy, ahead, daemon: None }
        });
        let members = Arc::new(Mutex::new(members.collect()));
        let (ended, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let story = Self { members, store, began: Monotonic::now(), ended, written };
        for member in lock(&story.members).iter_mut() {
            member.start(story.began);
            member.daemon.as_ref().unwrap().address();
        }
        story
    }

    /// Advances the clocks and writes lines until the test ends.
    fn go_on(&self, log: PathBuf) {
        let (members, began, ended) = (Arc::clone(&self.members), self.began, Arc::clone(&self.ended));
        let written = Arc::clone(&self.written);
        std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
            while Arc::strong_count(&members) > 1 {
                testkit::let_time_pass(PERIOD);
                for member in lock(&members).iter_mut() {
                    let now = member.now(began);
                    if let Some(daemon) = &mut member.daemon {
                        daemon.set(now);
                    }
                }
                if !ended.load(Ordering::Relaxed) {
                    let number = written.fetch_add(1, Ordering::Relaxed);
                    writeln!(file, "EVENT {number}; of the story").unwrap();
                }
            }
        });
    }

    fn asked(&self, sql: &str) -> String {
        self.store.psql(sql).unwrap().trim().to_owned()
    }

    fn counted(&self, sql: &str) -> u64 {
        self.asked(sql).parse().unwrap()
    }

    /// Alerts without a notification yet; each evaluated one must be notified.
    fn count_undelivered(&self) -> u64 {
        self.counted(
            "SELECT 2 * (SELECT count(*) FROM sessionwatch.log_events WHERE judged = 0)
               + (SELECT count(*) FROM sessionwatch.outbox WHERE state <> 'done')",
        )
    }

    /// Holder of an unexpired lease.
    fn leader(&self, lease: &str) -> Option<usize> {
        let query = format!(
            "SELECT holder FROM sessionwatch.leases
             WHERE name = '{lease}' AND until > EXTRACT(EPOCH FROM clock_timestamp()) * 1000000"
        );
        self.asked(&query).parse().ok()
    }

    /// Strikes the leader, waits for another one, and repairs the fault.
    fn strike(&self, lease: &str, blow: Blow) {
        wait_until("somebody leads", || self.leader(lease).is_some());
        let leader = self.leader(lease).unwrap();
        {
            let mut members = lock(&self.members);
            let member = &mut members[leader];
            match blow {
                Blow::Kill => member.daemon.take().unwrap().kill(),
                Blow::Stop => member.signal("STOP"),
                Blow::Stall(after) => member.proxy.set_fault(NetworkFault::FreezeAfter(after)),
            }
        }
        wait_until("somebody else leads", || self.leader(lease).is_some_and(|other| other != leader));
        // Its pending writes come too late.
        let mut members = lock(&self.members);
        let member = &mut members[leader];
        match blow {
            Blow::Kill => member.start(self.began),
            Blow::Stop => member.signal("CONT"),
            Blow::Stall(_) => member.proxy.set_fault(NetworkFault::None),
        }
    }
}

#[test]
fn no_alert_and_no_line_is_lost_or_duplicated_without_a_mark() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let story = Story::new(folder.path(), &sink.url());
    wait_until("the log is followed", || {
        story.leader("target/app").is_some()
            && story.asked("SELECT count(*) FROM sessionwatch.log_sources WHERE place IS NOT NULL") == "1"
    });
    takeovers::note(&story.store);
    story.go_on(folder.path().join("app.log"));
    let blows = [
        Blow::Kill,
        Blow::Stall(40),
        Blow::Stop,
        Blow::Stall(900),
        Blow::Kill,
        Blow::Stop,
        Blow::Stall(5_000),
    ];
    for (number, blow) in blows.into_iter().enumerate() {
        let kept = || story.asked("SELECT count(*) FROM sessionwatch.log_events").parse::<u32>().unwrap();
        let before = kept();
        story.strike(if number % 3 == 2 { "delivery" } else { "target/app" }, blow);
        wait_until("the new leader reads on", || kept() > before);
    }
    takeovers::assert_in_time(&story.store, "target/app", 5);
    takeovers::assert_in_time(&story.store, "delivery", 2);
    story.ended.store(true, Ordering::Relaxed);
    wait_until_none_left("every line is kept", || {
        let kept = story.counted("SELECT count(DISTINCT byte_from) FROM sessionwatch.log_events");
        u64::from(story.written.load(Ordering::Relaxed)).abs_diff(kept)
    });
    let written = story.written.load(Ordering::Relaxed);
    assert!(written > 100 && written < PATTERNS, "{written}");
    assert_eq!(story.asked("SELECT count(*) FROM sessionwatch.log_events"), written.to_string());
    assert_eq!(
        story.asked("SELECT max((counters::json ->> 'lines')::int) FROM sessionwatch.log_sources"),
        written.to_string()
    );
    wait_until_none_left("everything is notified", || story.count_undelivered());
    let mut deliveries = BTreeMap::<String, Vec<bool>>::new();
    let mut checks = BTreeMap::<String, Vec<String>>::new();
    for received in sink.received_requests() {
        let message: serde_json::Value = serde_json::from_str(&received.body).unwrap();
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        let times = deliveries.entry(text("key")).or_default();
        times.push(message["possible_duplicate"].as_bool().unwrap());
        // The first message of a key may be marked: a delivery that a blow cut off may never have arrived.
        if times.len() == 1 && text("check").starts_with("event-") {
            checks.entry(text("check")).or_default().push(text("notice"));
        }
    }
    assert!(deliveries.values().all(|times| times.iter().skip(1).all(|again| *again)), "{deliveries:?}");
    assert_eq!(checks.len(), written as usize);
    for (check, notices) in &checks {
        assert_eq!(notices, &["firing"], "{check}");
    }
    for member in lock(&story.members).drain(..) {
        assert!(member.daemon.unwrap().stop());
    }
}
