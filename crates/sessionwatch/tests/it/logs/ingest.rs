//! Received lines are stored before they are acknowledged, and counted once.

use std::{io::Write as _, path::Path};

use serde_json::json;
use testkit::{DaemonProcess, run_program_in, wait_until};

use super::{
    DUPLICATE, MISMATCH, Scene, configuration, drained, find_notifications, kinds, post, signature, vercel,
};

#[test]
fn only_authorized_senders_are_accepted_and_sizes_are_limited() {
    let scene = Scene::new();
    let sources =
        format!("{}[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n", vercel());
    let running = scene.start(&sources);
    let body = format!("[{}]", json!({ "id": "1", "message": MISMATCH }));
    let sign = |body: &[u8]| ("x-vercel-signature", signature(body));
    let vercel = |headers: &[(&str, &str)], body: &[u8]| post(&running, "/ingest/vercel", headers, body).0;
    assert_eq!(vercel(&[], body.as_bytes()), 401);
    assert_eq!(vercel(&[("x-vercel-signature", &"0".repeat(40))], body.as_bytes()), 401);
    let other = sign(b"other");
    assert_eq!(vercel(&[(other.0, &other.1)], body.as_bytes()), 401);
    let nonsense = sign(b"nonsense");
    assert_eq!(vercel(&[(nonsense.0, &nonsense.1)], b"nonsense"), 400);
    let packed = sign(body.as_bytes());
    assert_eq!(vercel(&[(packed.0, &packed.1), ("content-encoding", "gzip")], body.as_bytes()), 415);
    let forged = [("x-vercel-signature", &*"0".repeat(40))];
    assert_eq!(vercel(&forged, &vec![b'x'; 9 << 20]), 413);
    assert_eq!(post(&running, "/ingest/vercel/other", &[], b"").0, 404);
    assert!(running.get("/ingest/vercel").header("x-vercel-verify") == "owner-of-this");
    let lines = |token: &str, body: &str| {
        let header = format!("Bearer {token}");
        post(
            &running,
            "/ingest/logs",
            &[("authorization", &header), ("idempotency-key", "k")],
            body.as_bytes(),
        )
        .0
    };
    assert_eq!(lines("a-token-for-line", DUPLICATE), 401);
    assert_eq!(lines("", DUPLICATE), 401);
    assert_eq!(kinds(scene.folder.path()), Vec::<String>::new());
    let zipped = {
        let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packer.write_all(body.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let right = sign(&zipped);
    assert_eq!(vercel(&[(right.0, &right.1), ("content-encoding", "gzip")], &zipped), 200);
    // The same request twice.
    assert_eq!(lines("a-token-for-lines", DUPLICATE), 200);
    assert_eq!(lines("a-token-for-lines", DUPLICATE), 200);
    assert_eq!(kinds(scene.folder.path()), ["user-mismatch", "duplicate-token"]);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn acknowledged_lines_are_stored_whatever_is_rejected_later() {
    let scene = Scene::new();
    let running = scene.start(&vercel());
    let acknowledged: usize = std::thread::scope(|scope| {
        let running = &running;
        let senders: Vec<_> = (0..40)
            .map(|sender| {
                scope.spawn(move || {
                    let send = |number: usize| {
                        let id = format!("{sender}-{number}");
                        let status = drained(running, &[(&id, "[AUTH-ADAPTER] Invalid userId")]).0;
                        assert!([200, 503].contains(&status), "{status}");
                        usize::from(status == 200)
                    };
                    (0..5).map(send).sum::<usize>()
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    });
    assert!(acknowledged > 0);
    let kept = run_program_in(
        scene.folder.path(),
        &[],
        &["logs", "events", "--format", "ndjson", "--limit", "1000"],
    );
    assert_eq!(kept.stdout.lines().count(), acknowledged);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn on_a_full_disk_no_line_is_acknowledged_and_none_is_lost() {
    let scene = Scene::new();
    let disk = scene.folder.path().join("disk");
    let store = format!("store = \"{}\"\n", disk.join("state.db").display());
    let sources =
        format!("{}[[logs]]\nname = \"lines\"\nkind = \"http\"\nsecret = \"a-token-for-lines\"\n", vercel());
    let text = configuration(&scene.database.url("postgres"), &scene.sink.url(), &sources);
    let text = text.replace("[serve]\n", &format!("[serve]\n{store}"));
    std::fs::write(scene.folder.path().join("sessionwatch.toml"), text).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_sessionwatch"));
    let mut command = crate::disk_full::beside(&disk, program, "2m");
    let running = testkit::DaemonProcess::start_with_command(
        command.arg("serve").env_clear().env("PATH", "/usr/bin:/bin").current_dir(scene.folder.path()),
    );
    let invalid = "[AUTH-ADAPTER] Invalid userId";
    assert_eq!(drained(&running, &[("1", invalid)]).0, 200);
    let inner = Path::new("/proc").join(running.child.id().to_string()).join("root");
    let filler = inner.join(disk.strip_prefix("/").unwrap()).join("filler");
    crate::disk_full::fill(&filler);
    let mut refused = 0;
    for number in 0..200 {
        let status = drained(&running, &[(&format!("full-{number}"), invalid)]).0;
        refused += u32::from(status == 503);
        assert!([200, 503].contains(&status), "{status}");
    }
    assert!(refused > 0);
    // Requests without an ID are identified by their bytes while they are rejected.
    let bearer = [("authorization", "Bearer a-token-for-lines")];
    let line = |running: &DaemonProcess| post(running, "/ingest/logs", &bearer, invalid.as_bytes()).0;
    assert_eq!([line(&running), line(&running)], [503, 503]);
    std::fs::remove_file(&filler).unwrap();
    wait_until("room again", || drained(&running, &[("full-199", invalid)]).0 == 200);
    let metrics = running.get_body("/metrics");
    assert_eq!(line(&running), 200);
    let of_lines = "sessionwatch_log_events_total{source=\"lines\",kind=\"invalid-user\"}";
    assert!(running.get_body("/metrics").contains(&format!("{of_lines} 1\n")));
    // A later request is another one.
    assert_eq!(line(&running), 200);
    assert!(running.get_body("/metrics").contains(&format!("{of_lines} 2\n")));
    // The rejected request was sent again, and is stored once.
    assert!(
        metrics.contains("sessionwatch_log_events_total{source=\"drain\",kind=\"invalid-user\"} 201"),
        "{metrics}"
    );
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn a_repeated_signed_request_adds_nothing_even_without_ids() {
    let scene = Scene::new();
    let running = scene.start(&vercel());
    let send = |body: &str| {
        let signature = signature(body.as_bytes());
        assert_eq!(
            post(&running, "/ingest/vercel", &[("x-vercel-signature", &signature)], body.as_bytes()).0,
            200
        );
    };
    let invalid = |more: &str| format!("{{ \"message\": \"[AUTH-ADAPTER] Invalid userId\"{more} }}");
    let [array, lines] = [
        format!("[{0},{0},{1}]", invalid(""), invalid(", \"id\": \"1\"")),
        format!("{0}\n{0}\n", invalid("")),
    ];
    for body in [&array, &lines, &array, &lines, &array] {
        send(body);
    }
    assert_eq!(kinds(scene.folder.path()), ["invalid-user"; 5]);
    // Another request of the same kind is a new one.
    send(&format!("[{}]", invalid(", \"timestamp\": 1795608000123")));
    assert_eq!(kinds(scene.folder.path()), ["invalid-user"; 6]);
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn lines_stored_before_a_crash_are_evaluated_after_it() {
    use sessionwatch_app::logs::log_batch::{self, LogBatch};
    use sessionwatch_clock as clock;
    use sessionwatch_logs::{matchers::Matchers, timestamps::TimestampDefaults};
    use sessionwatch_store::{Store, StoreLocation};
    let scene = Scene::new();
    let path = scene.folder.path().join("sessionwatch-state.db");
    {
        let store = Store::open(&StoreLocation::File(path)).unwrap();
        let grammar = Matchers::new(vec![], TimestampDefaults::default());
        let batch = sessionwatch_app::logs::ingest_payload::parse_posted_lines(
            DUPLICATE.as_bytes(),
            "drain",
            "app",
            &grammar,
            None,
        );
        assert_eq!(batch.events.len(), 1);
        store.write(|db| log_batch::record_batch(db, &LogBatch { ..batch.clone() }, clock::now())).unwrap();
    }
    let running = scene.start(&vercel());
    wait_until("the alert", || !find_notifications(&scene.sink, "log-duplicate-token").is_empty());
    assert_eq!(running.stop(), Some(0));
}
