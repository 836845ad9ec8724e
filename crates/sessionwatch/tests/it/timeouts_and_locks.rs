//! Targets that hang, are slow or locked, clocks that jump, and databases that suspend.

use std::path::Path;

use serde_json::Value;
use sessionwatch_app::app::{LiveEvent, check_runs};
use sessionwatch_core::duration::{DAY, HOUR, SECOND};
use sessionwatch_store::silences::{self, SilenceRecord};
use testkit::{FaultProxy, HttpSink, NetworkFault};
use tokio::sync::broadcast::Receiver;

use crate::fastforward::{MINUTE, Watch, monday};

/// End of a configuration: a channel that is notified of these checks.
fn common(sink: &HttpSink, checks: &str) -> String {
    format!(
        "[checks.slow-check-run]\nenabled = false\n[serve]\nlisten = \"127.0.0.1:0\"\n\
         [[channel]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n\
         [[route]]\nchannels = [\"hook\"]\nchecks = [{checks}]\n",
        sink.url()
    )
}

fn target(name: &str, url: &str, more: &str) -> String {
    format!("[[target]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
}

/// Notifications in order of arrival.
fn list_notifications(sink: &HttpSink) -> Vec<String> {
    let line = |received: &testkit::ReceivedRequest| {
        let message: Value = serde_json::from_str(&received.body).unwrap();
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        format!("{} {} {}", text("target"), text("check"), text("notice"))
    };
    sink.received_requests().iter().map(line).collect()
}

/// Minutes at which a target was checked since the last call.
fn list_run_minutes(events: &mut Receiver<LiveEvent>, name: &str) -> Vec<i32> {
    let mut minutes = vec![];
    while let Ok(event) = events.try_recv() {
        match event {
            LiveEvent::RunFinished { target, at } if target == name => {
                minutes.push(i32::try_from(at.duration_since(monday()).as_mins()).unwrap() - 10)
            }
            _ => {}
        }
    }
    minutes
}

#[test]
fn a_hanging_target_delays_no_other_and_is_checked_less_often_until_it_responds() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let hanging =
        FaultProxy::start(testkit::shared_server().ports()[0], NetworkFault::FreezeAfter(3_000)).unwrap();
    let slow = FaultProxy::start(
        testkit::shared_server().ports()[0],
        NetworkFault::Delay(std::time::Duration::from_millis(20)),
    )
    .unwrap();
    let url = |proxy: &FaultProxy| database.url_at_port("postgres", proxy.port());
    let targets = target("hanging", &url(&hanging), "timeout = 1")
        + &target("slow", &url(&slow), "")
        + &target("good", &database.url("postgres"), "");
    let folder = tempfile::tempdir().unwrap();
    let mut watch =
        Watch::start(folder.path(), &(targets + &common(&sink, "\"target-unreachable\"")), monday());
    let mut events = watch.shared.app.events.subscribe();
    // The first check runs have finished by then.
    let at = |minute: i32| monday() + (10 + minute) * MINUTE;
    let (others, all) = (["good", "slow"], ["hanging", "good", "slow"]);
    // The others do not wait for it.
    for minute in 1..=8 {
        watch.each_to(at(minute), &others);
    }
    // However often it fails, it is checked again within this time.
    let mut minute = 8;
    for _ in 0..8 {
        minute += 17;
        watch.each_to(at(minute), &all);
    }
    assert_eq!(*list_run_minutes(&mut events, "hanging").last().unwrap(), minute);
    watch.each_to(at(minute + 14), &others);
    minute += 17;
    watch.each_to(at(minute), &all);
    assert_eq!(list_run_minutes(&mut events, "hanging"), [minute], "it is left alone for a while");
    hanging.set_fault(NetworkFault::None);
    minute += 17;
    watch.each_to(at(minute), &all);
    watch.each_to(at(minute + 1), &all);
    watch.delivered();
    let metrics = watch.page("/metrics");
    assert!(watch.stop());
    assert_eq!(list_notifications(&sink)[0], "hanging target-unreachable firing");
    let (last, repeated) = (list_notifications(&sink).pop().unwrap(), "hanging target-unreachable reminder");
    assert_eq!(last, "hanging target-unreachable resolved");
    assert!(
        list_notifications(&sink)[1..].iter().all(|line| *line == last || line == repeated),
        "{:?}",
        list_notifications(&sink)
    );
    for name in others {
        let none = format!("sessionwatch_check_run_failures_total{{target=\"{name}\"}} 0\n");
        assert!(metrics.contains(&none), "{metrics}");
    }
    assert_eq!(testkit::wait_for_remaining_queries(&database), "");
}

#[test]
fn a_file_locked_by_a_writer_is_unreachable_until_it_is_released() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&[]).unwrap());
    let path = folder.path().join("app.db");
    assert_eq!(testkit::run_program(&["demo", "--once", "--path", path.to_str().unwrap()]).exit_code, 0);
    let writer = rusqlite::Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let text = target("app", "app.db", "lock_timeout = 1") + &common(&sink, "\"target-unreachable\"");
    let mut watch = Watch::start(folder.path(), &text, monday());
    watch.to(monday() + MINUTE);
    watch.to(monday() + 2 * MINUTE);
    assert!(sink.wait_for_requests(1)[0].body.contains("locked by another transaction"));
    writer.execute_batch("COMMIT").unwrap();
    watch.to(monday() + 5 * MINUTE);
    watch.delivered();
    assert!(watch.stop());
    assert_eq!(
        list_notifications(&sink),
        ["app target-unreachable firing", "app target-unreachable resolved"]
    );
}

#[test]
fn a_clock_jump_loses_no_alert_and_notifies_none_twice() {
    let database = testkit::anomalous_database();
    // The first message is due for a retry in five seconds, by the clock.
    let (folder, sink) = (tempfile::tempdir().unwrap(), HttpSink::start(&["503 Busy"]).unwrap());
    let checks = "\"duplicate-tokens\", \"orphaned-sessions\"";
    let text = target("app", &database.url("postgres"), "") + &common(&sink, checks);
    let mut watch = Watch::start(folder.path(), &text, monday());
    let silence = SilenceRecord {
        id: 0,
        target: None,
        check: Some("orphaned-sessions".into()),
        subject: None,
        ends_at: monday() + HOUR,
        created_by: "ada".into(),
        note: "x".into(),
    };
    watch.shared.app.store.write(|db| silences::insert_silence(db, &silence, monday())).unwrap();
    assert_eq!(sink.wait_for_requests(1).len(), 1);
    let at = |hours: i32, minutes: i32| monday() + hours * HOUR + minutes * MINUTE;
    // Five hours back: deliveries that were due are not delayed by hours, and check runs continue within a minute.
    assert!(watch.goes_on(at(-5, 0)) <= 80 * SECOND);
    assert_eq!(sink.wait_for_requests(2).len(), 2);
    watch.to(at(-5, 4));
    assert_eq!(list_notifications(&sink), ["app duplicate-tokens firing"; 2]);
    // Five hours ahead: the reminder is due, and the silence is over.
    watch.to(at(1, 0));
    let orphaned = || list_notifications(&sink).iter().filter(|line| line.contains("orphaned")).count();
    assert_eq!(sink.wait_for_requests(4).len(), 4);
    assert_eq!(orphaned(), 1);
    // Thirty days ahead and back: one reminder each, then the usual interval again.
    watch.to(at(30 * 24, 0));
    assert_eq!(sink.wait_for_requests(6).len(), 6);
    assert!(watch.goes_on(at(1, 1)) <= 80 * SECOND);
    watch.to(at(5, 0));
    assert_eq!(sink.received_requests().len(), 6);
    watch.to(at(5, 4));
    assert_eq!(sink.wait_for_requests(8).len(), 8);
    watch.delivered();
    assert!(watch.stop());
    assert_eq!(list_notifications(&sink)[4..].iter().filter(|line| line.ends_with("reminder")).count(), 4);
}

/// Check runs that the metrics count.
fn counted(watch: &Watch) -> u64 {
    let metrics = watch.page("/metrics");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("sessionwatch_check_runs_total{target=\"app\"} "));
    line.unwrap().parse().unwrap()
}

#[test]
fn the_weekly_checklist_is_sent_each_week_after_a_clock_went_far_ahead_and_back() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = target("app", &database.url("postgres"), "") + &common(&sink, "\"target-unreachable\"");
    let report = "[report]\nchannels = [\"hook\"]\n";
    let mut watch = Watch::start(folder.path(), &(text + report), monday());
    watch.to(monday() + 30 * DAY);
    assert_eq!(sink.wait_for_requests(1).len(), 1);
    watch.goes_on(monday());
    watch.to(monday() + HOUR + MINUTE);
    assert_eq!(sink.wait_for_requests(2).len(), 2, "it is due at seven on Mondays");
    assert!(watch.stop());
}

#[test]
fn a_suspending_database_is_checked_rarely_and_while_it_is_awake() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let more = "schedule = \"scale-to-zero\"\nautosuspend_after = 300";
    let text = target("app", &database.url("postgres"), more) + &common(&sink, "\"target-unreachable\"");
    let mut watch = Watch::start(folder.path(), &text, monday());
    let at = |hours: i32, seconds: i32| monday() + hours * HOUR + seconds * SECOND;
    let mut events = watch.shared.app.events.subscribe();
    watch.set(at(5, 3_599));
    let awake = |watch: &Watch, name: &str| {
        testkit::http::post(&watch.address, &format!("/targets/{name}/wake"), &[], b"").status
    };
    assert_eq!((counted(&watch), awake(&watch, "nobody")), (1, 404));
    assert_eq!(awake(&watch, "app"), 202);
    testkit::wait_until("a check run out of turn", || counted(&watch) == 2);
    for _ in 0..3 {
        assert_eq!(awake(&watch, "app"), 202);
    }
    watch.set(at(5, 3_599 + 59));
    assert_eq!(counted(&watch), 2);
    watch.to(at(5, 3_599 + 60));
    assert_eq!(counted(&watch), 3);
    watch.set(at(11, 3_599));
    assert_eq!(counted(&watch), 3);
    watch.to(at(12, 60));
    assert!(watch.stop());
    // Never within a minute of the last run.
    let runs: Vec<_> = std::iter::from_fn(|| events.try_recv().ok())
        .filter_map(|event| if let LiveEvent::RunFinished { at, .. } = event { Some(at) } else { None })
        // The first run is counted before its event is sent, so the event may arrive as well.
        .filter(|at| *at > monday())
        .collect();
    assert_eq!(runs, [at(5, 3_599), at(5, 3_599 + 60), at(12, 60)]);
    assert_costs(folder.path(), &text);
}

#[test]
fn a_requested_run_is_answered_when_its_notifications_are_sent() {
    let (database, sink) = (testkit::healthy_database(), HttpSink::start(&[]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let text = target("app", &database.url("postgres"), "interval = \"1d\"")
        + &target("gone", "postgres://nobody@127.0.0.1:1/none", "interval = \"1d\"")
        + &common(&sink, "\"duplicate-tokens\"");
    let watch = Watch::start(folder.path(), &text, monday());
    database
        .psql(r#"UPDATE sessions SET "sessionToken" = 'a-shared-token-abcdefgh' WHERE id IN ('s1', 's2')"#)
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request_runs = |only: Option<&str>| {
        let runs = runtime.block_on(check_runs::request_check_runs(&watch.shared.app, only)).unwrap();
        runs.iter().map(|run| (run.target.clone(), run.status.state(), run.is_finished)).collect::<Vec<_>>()
    };
    watch.set(monday() + 5 * MINUTE);
    assert_eq!(request_runs(Some("app")), [("app".to_owned(), "failing", true)]);
    let notified = sink.received_requests();
    assert!(notified.len() == 1 && notified[0].body.contains("duplicate-tokens"), "{notified:?}");
    // Never within a minute of the last run, which is not waited for.
    watch.set(monday() + 5 * MINUTE + SECOND);
    assert_eq!(request_runs(Some("app")), [("app".to_owned(), "failing", false)]);
    watch.set(monday() + 10 * MINUTE);
    let both = [("app".to_owned(), "failing", true), ("gone".to_owned(), "failing", true)];
    assert_eq!(request_runs(None), both);
    assert!(watch.stop());
}

/// Asserts the monthly cost of the presets.
fn assert_costs(folder: &Path, text: &str) {
    for (preset, runs, hours) in [("scale-to-zero", 119, 10), ("guide", 34, 2), ("default", 43_199, 720)] {
        std::fs::write(folder.join("sessionwatch.toml"), text.replace("scale-to-zero", preset)).unwrap();
        let said = testkit::run_program_in(folder, &[], &["config", "check"]);
        let line =
            format!("app: {runs} check runs a month keep this database awake for {hours} of 720 hours");
        assert!(said.exit_code == 0 && said.stdout.contains(&line), "{line}: {}", said.stdout);
    }
}
