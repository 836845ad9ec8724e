use std::{collections::BTreeMap, path::Path};

use jiff::SignedDuration;
use sessionwatch_core::{
    duration::{HOUR, SECOND},
    source_activity::ActivityProfile,
};
use sessionwatch_store::{
    Store,
    attestations::{self, Attestation},
    history_events::{self, EventRecord},
    latest_reports,
    log_sources::{self, StoredLogSource},
    samples::{self, GaugeSample, SampleRetention},
};

use super::*;

const HALF_HOUR: SignedDuration = SignedDuration::from_mins(30);

/// Opens a store in a new file.
fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open(&sessionwatch_store::StoreLocation::File(folder.path().join("store.db"))).unwrap();
    (folder, store)
}

/// 2026-11-25T00:00:00Z.
fn now() -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_564_800)
}

fn config(name: &str) -> Config {
    let usual = "[checks.active-sessions]\nmin = 50\nmax = 500\n[checks.creation-rate]\nmin = 10\nmax = 50\n";
    let text = format!("[[target]]\nname = {name:?}\nurl = \"postgres://u@h/d\"\n{usual}");
    Config::parse(Path::new("sessionwatch.toml"), &text).unwrap()
}

/// Records a healthy week. `change` may alter the values of a half-hour; `false` makes its check run fail.
fn fill(store: &Store, target: &str, change: fn(i64, &mut BTreeMap<&'static str, f64>) -> bool) {
    let start = now() - 7 * DAY;
    let look = |db: Tx<'_>, number: i32| {
        let mut gauges = BTreeMap::from([
            ("active", 200.0),
            ("expired", 3.0),
            ("never_expiring", 0.0),
            ("max_per_user", 4.0),
            ("per_user", 1.5),
            ("duplicate_tokens", 0.0),
            ("orphaned", 2.0),
            ("created_last_hour", 20.0),
            ("extended", 0.0),
            ("reassigned", 0.0),
            ("reappeared", 0.0),
        ]);
        let seen = change(number.into(), &mut gauges);
        let gauges: Vec<(&'static str, f64)> = gauges.into_iter().collect();
        let point = GaugeSample::from_run(start + number * HALF_HOUR, seen.then_some(gauges.as_slice()));
        samples::record_sample(
            db,
            target,
            &point,
            SampleRetention { max_age: 400 * DAY, confirmed_now: point.at },
        )
    };
    let verdict = |check: &str| EventRecord {
        id: 0,
        at: start - 30 * DAY,
        target: target.to_owned(),
        check: check.to_owned(),
        kind: "result".into(),
        summary: String::new(),
        detail: json!({ "before": null, "after": "passing" }).to_string(),
    };
    let report = json!({
        "checked_at": "2026-11-24T23:30:00Z",
        "stats": { "furthest_expiry": "2026-12-20T23:30:00Z", "never_expiring": 0, "undecodable": 0 },
    });
    let attestation = Attestation {
        at: now() - HOUR,
        target: target.to_owned(),
        item: USER_REPORTS_ITEM.into(),
        holds: true,
        owner: "ada".into(),
        note: "no ticket".into(),
    };
    store
        .write(|db| {
            (0..336).try_for_each(|number| look(db, number))?;
            for check in crate::checks::TABLE_CHECKS {
                history_events::insert_event(db, &verdict(check.id))?;
            }
            latest_reports::upsert_report(db, target, &report.to_string(), now() - HALF_HOUR)?;
            attestations::insert_attestation(db, &attestation)
        })
        .unwrap();
}

fn made(target: &str, change: fn(i64, &mut BTreeMap<&'static str, f64>) -> bool) -> Checklist {
    let (_folder, store) = store();
    fill(&store, target, change);
    let config = config(target);
    store.read(|db| build_weekly_checklist(db, &config, &config.targets[0], now())).unwrap()
}

#[test]
fn the_last_value_is_that_of_the_last_check_run() {
    let (_folder, store) = store();
    let config = config("main");
    // Orphans that were just deleted must not appear, whatever the mean of the last minutes is.
    for (seconds, orphaned) in [(-90, 15.0), (-60, 15.0), (-15, 0.0)] {
        let point = GaugeSample::from_run(now() + seconds * SECOND, Some(&[("orphaned", orphaned)]));
        store
            .write(|db| {
                samples::record_sample(
                    db,
                    "main",
                    &point,
                    SampleRetention { max_age: 400 * DAY, confirmed_now: point.at },
                )
            })
            .unwrap();
    }
    let list = store.read(|db| build_weekly_checklist(db, &config, &config.targets[0], now())).unwrap();
    let document = list.to_json();
    let orphaned =
        document["baseline"].as_array().unwrap().iter().find(|number| number["id"] == "orphaned-sessions");
    let orphaned = orphaned.unwrap();
    assert_eq!((&orphaned["now"], &orphaned["highest"]), (&json!(0.0), &json!(15.0)), "{orphaned:#}");
    assert!(
        list.render_text().contains("number                                last"),
        "{}",
        list.render_text()
    );
}

#[test]
fn one_bad_hour_of_a_week_is_reported() {
    let list = made("main", |number, gauges| {
        if number == 100 || number == 101 {
            gauges.insert("duplicate_tokens", 3.0);
        }
        true
    });
    assert_eq!(list.render_text(), BAD_HOUR);
    let widest = BAD_HOUR.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?}");
    assert_eq!(list.summary_line(), "checklist of main: failing, 5 of 7 items passing, 1 failing, 1 unknown");
}

#[test]
fn too_few_check_runs_prevent_a_pass_but_not_a_failure() {
    let of = |list: &Checklist, id: &str| {
        let item = list.items.iter().find(|item| item.info.id == id).unwrap();
        item.describe_finding()
    };
    let with_failures = made("main", |number, gauges| {
        gauges.insert("expired", 10.0);
        number % 9 != 0
    });
    assert_eq!(of(&with_failures, "duplicate-tokens"), "unknown: 38 of 336 check runs failed (highest: 0)");
    assert_eq!(of(&with_failures, "expired-sessions"), "highest: 10, on 2026-11-18 00:30:00 UTC");
    assert_eq!(with_failures.verdict(), ChecklistVerdict::Failing);
    let tolerated = made("main", |number, _| number % 10 != 0 || number > 320);
    assert_eq!(of(&tolerated, "duplicate-tokens"), "highest: 0");
    let gap = made("main", |number, gauges| {
        if (100..153).contains(&number) {
            gauges.remove("orphaned");
        }
        true
    });
    assert_eq!(of(&gap, "duplicate-tokens"), "highest: 0");
    let expected = "unknown: not measured from 2026-11-20 01:30:00 UTC to 2026-11-21 04:30:00 UTC";
    assert!(of(&gap, "orphaned-sessions").starts_with(expected), "{}", of(&gap, "orphaned-sessions"));
    let empty = made("main", |_, gauges| {
        gauges.insert("per_user", 0.0);
        gauges.insert("extended", 4.0);
        true
    });
    assert_eq!(of(&empty, "sessions-per-user"), "unknown: no active sessions in this period");
    let place = |id: &str| gap.baseline.iter().find(|number| number.id == id).unwrap().range_position;
    assert_eq!(
        (place("orphaned-sessions"), place("expired-sessions")),
        (RangePosition::Unknown, RangePosition::In)
    );
    let lifetime = |item: &&ChecklistItem| item.info.id == "absolute-lifetime";
    let lifetime = empty.requirements.iter().find(lifetime).unwrap();
    assert!(
        lifetime.describe_finding().starts_with("unknown: sessions are extended"),
        "{}",
        lifetime.describe_finding()
    );
}

#[test]
fn every_item_is_unknown_without_check_runs() {
    let (_folder, store) = store();
    let config = config("main");
    let list = store.read(|db| build_weekly_checklist(db, &config, &config.targets[0], now())).unwrap();
    for item in list.items.iter().chain(&list.requirements) {
        assert_eq!(item.verdict.name(), "unknown", "{}", item.info.id);
    }
    assert!(list.baseline.iter().all(|number| number.range_position == RangePosition::Unknown));
    assert_eq!(list.verdict().name(), "unknown");
    assert!(
        list.render_text().contains("No successful check run from 2026-11-18 00:00:00 UTC to 2026-11-25")
    );
}

#[test]
fn values_are_not_trusted_while_their_check_is_unknown() {
    let (_folder, store) = store();
    fill(&store, "main", |_, _| true);
    let event = EventRecord {
        id: 0,
        at: now() - DAY,
        target: "main".into(),
        check: "orphaned-sessions".into(),
        kind: "result".into(),
        summary: String::new(),
        detail: json!({ "before": "passing", "after": "unknown" }).to_string(),
    };
    store.write(|db| history_events::insert_event(db, &event)).unwrap();
    let mut config = config("main");
    config.checks.disabled.insert("expired-backlog");
    let list = store.read(|db| build_weekly_checklist(db, &config, &config.targets[0], now())).unwrap();
    let reason = |at: usize| list.items[at].verdict.reason().unwrap_or_default().to_owned();
    assert_eq!(
        reason(1),
        "the check orphaned-sessions was unknown from 2026-11-24 00:00:00 UTC to 2026-11-25 00:00:00 UTC"
    );
    assert_eq!(reason(3), "the check expired-backlog is off");
    assert_eq!(reason(0), "");
}

#[test]
fn markup_in_names_is_escaped() {
    let list = made("<script>alert('|')</script>", |_, _| true);
    let page = render_html(std::slice::from_ref(&list));
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    assert_eq!(page.matches("<tr>").count(), 3 + 7 + 6 + 12);
    let markdown = list.render_markdown();
    assert!(!markdown.contains("<script") && markdown.contains("&lt;script>alert('\\|')"), "{markdown}");
}

#[test]
fn the_json_document_is_complete() {
    let list = made("main", |_, _| true).to_json();
    let ids = |part: &str| -> Vec<String> {
        let rows = list[part].as_array().unwrap().iter();
        rows.map(|row| format!("{} {}", row["id"].as_str().unwrap(), row["result"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(
        ids("items"),
        [
            "duplicate-tokens passing",
            "orphaned-sessions passing",
            "sessions-per-user passing",
            "expired-sessions passing",
            "critical-log-lines unknown",
            "creation-rate passing",
            "user-reports passing",
        ]
    );
    assert_eq!(ids("baseline").len(), 6);
    assert_eq!(ids("requirements").len(), 12);
    assert_eq!(list["coverage"]["hours_covered"], 168);
    assert_eq!(list["baseline"][0]["healthy"], json!({ "min": 50.0, "max": 500.0 }));
    assert_eq!(list["items"][0]["action"], Value::Null);
    assert_eq!((&list["schema"], &list["result"]), (&json!(2), &json!("unknown")));
}

/// Checklist of a week with duplicate tokens in one hour.
const BAD_HOUR: &str = "Checklist of main, from 2026-11-18 00:00:00 UTC to 2026-11-25 00:00:00 UTC
Created 2026-11-25 00:00:00 UTC
Check runs: 336
Hours covered: 168 of 168

Checklist items
          item                               finding                                     passes if
 failing  No duplicate tokens                highest: 3, on 2026-11-20 02:00:00 UTC      0
 passing  Few orphaned sessions              highest: 2, on 2026-11-18 00:00:00 UTC      < 5
 passing  Normal sessions per user           highest: 1.5, on 2026-11-18 00:00:00 UTC    1.0 to 3.0
 passing  Few expired sessions               highest: 3, on 2026-11-18 00:00:00 UTC      < 10
 unknown  No critical warnings in the logs   unknown: no log source is configured        0
 passing  Normal creation rate, no spike     highest: 20, on 2026-11-18 00:00:00 UTC     10 to 50
 passing  No user reports of session issues  ada, on 2026-11-24 23:00:00 UTC: no ticket  attested
 → duplicate-tokens:
   revoke the sessions sharing a token, then add a unique constraint to the token column
 → critical-log-lines:
   search the application logs for `Duplicate session token detected` and `User ID mismatch`

Baseline
               number                                last  lowest  highest  usual
 in range      Active sessions                       200   200     200      50 to 500
 in range      Sessions per user                     1.5   1.5     1.5      1 to 2.5
 out of range  Duplicate tokens                      0     0       3        0
 in range      Orphaned sessions                     2     2       2        0 to 5
 in range      Expired sessions                      3     3       3        0 to 10
 in range      Sessions created in the busiest hour  20    20      20       10 to 50

Evidence for standards
          requirement                    finding                       source
 failing  No two sessions share a token  highest: 3, on 2026-11-20     OWASP ASVS 5.0.0 7.2.3; NIST
                                         02:00:00 UTC                  SP 800-53 r5 SC-23(3)
 unknown  Tokens cannot be guessed       unknown: not visible in a     OWASP ASVS 5.0.0 7.2.3; NIST
                                         session table                 SP 800-63B-4 5.1
 passing  No token passes from one user  highest: 0                    OWASP ASVS 5.0.0 7.2.4
          to another
 unknown  Unused sessions end            unknown: not visible in a     OWASP ASVS 5.0.0 7.3.1
                                         session table
 passing  Every session ends after a     sessions extended between     OWASP ASVS 5.0.0 7.3.2
          fixed time, used or not        two check runs, highest: 0
 passing  Ended sessions do not          highest: 0                    OWASP ASVS 5.0.0 7.4.1
          reappear
 failing  Deleted users have no          highest: 2, on 2026-11-18     OWASP ASVS 5.0.0 7.4.2
          sessions                       00:00:00 UTC
 passing  Expired sessions are deleted   highest: 3, on 2026-11-18     OWASP ASVS 5.0.0 14.2.7
          in time                        00:00:00 UTC
 passing  AAL1: logins last no longer    the latest expiry is in 26    NIST SP 800-63B-4 2.1.3
          than 30 days                   days, as of 2026-11-24
                                         23:30:00 UTC
 failing  AAL2: logins last no longer    the latest expiry is in 26    NIST SP 800-63B-4 2.2.3
          than 24 hours                  days, as of 2026-11-24
                                         23:30:00 UTC
 passing  No user has more sessions      highest: 4, on 2026-11-18     NIST SP 800-53 r5 AC-10;
          than the limit                 00:00:00 UTC                  OWASP ASVS 5.0.0 7.1.2
 passing  Every session expires          highest: 0                    NIST SP 800-53 r5 AC-12
 → unique-tokens:
   revoke the sessions sharing a token, then add a unique constraint to the token column
 → random-tokens:
   verify in the code that tokens come from a cryptographic random generator, at least 128 bits
 → inactivity-timeout:
   leave a session unused for as long as your policy allows, then verify that it has ended
 → deleted-users:
   delete the orphaned rows, then add a foreign key with ON DELETE CASCADE
 → aal2-lifetime:
   shorten the lifetime of sessions, if you need this level

Latest audit log entry: none yet
Result: failing
";

#[test]
fn log_lines_pass_only_if_the_logs_were_read_all_week() {
    let item = |read_since: UtcTimestamp| {
        let (_folder, store) = store();
        fill(&store, "main", |_, _| true);
        let source = "[[logs]]\nname = \"web\"\ntarget = \"main\"\nfile = \"web.log\"\n";
        let text = format!("[[target]]\nname = \"main\"\nurl = \"postgres://u@h/d\"\n{source}");
        let config = Config::parse(Path::new("sessionwatch.toml"), &text).unwrap();
        let seen = StoredLogSource::<()> {
            name: "web".into(),
            target: "main".into(),
            position: None,
            last_line_at: Some(now() - HOUR),
            activity: ActivityProfile::default(),
            counters: serde_json::Map::new(),
            gaps: vec![],
        };
        let result = |check: &str| EventRecord {
            id: 0,
            at: read_since,
            target: "main".into(),
            check: check.to_owned(),
            kind: "result".into(),
            summary: String::new(),
            detail: json!({ "before": null, "after": "passing" }).to_string(),
        };
        store
            .write(|db| {
                log_sources::upsert_log_source(db, &seen)?;
                ["log-duplicate-token", "log-user-mismatch"]
                    .iter()
                    .try_for_each(|check| history_events::insert_event(db, &result(check)).map(drop))
            })
            .unwrap();
        let list = store.read(|db| build_weekly_checklist(db, &config, &config.targets[0], now())).unwrap();
        let item = list.items.iter().find(|item| item.info.id == "critical-log-lines").unwrap();
        item.describe_finding()
    };
    assert_eq!(item(now() - 30 * DAY), "0 in this period");
    // The source was added on the fifth day, so earlier lines were not read.
    let late = item(now() - 2 * DAY);
    assert!(late.starts_with("unknown: the check log-duplicate-token was unknown from 2026-11-18"), "{late}");
}
