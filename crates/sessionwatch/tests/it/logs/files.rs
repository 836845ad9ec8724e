//! Log files: followed by the daemon and by command, and scanned as a whole.

use std::{io::Write as _, process::Stdio};

use serde_json::Value;
use testkit::{run_program_in, wait_until};

use super::{DUPLICATE, MISMATCH, Scene, TOKEN, signals};

#[test]
fn a_file_is_followed_across_restarts_and_rotation_without_rereading_lines() {
    let scene = Scene::new();
    let path = scene.folder.path().join("app.log");
    let sources = "[[logs]]\nname = \"file\"\nfile = \"app.log\"\n";
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let users = || -> Vec<String> {
        let all = signals(scene.folder.path());
        all.iter().rev().map(|signal| signal["user"].as_str().unwrap().to_owned()).collect()
    };
    let line = |user: u32| format!("[AUTH-ADAPTER] Session created {{ userId: {user} }}\n");
    append(&line(1));
    let running = scene.start(sources);
    wait_until("the file is found", || {
        scene.folder.path().join("sessionwatch-state.db").exists() && {
            let said =
                run_program_in(scene.folder.path(), &[], &["logs", "sources", "--format", "json"]).stdout;
            said.contains("\"file\"")
        }
    });
    append(&line(2));
    wait_until("a line that is new", || users() == ["2"]);
    assert_eq!(running.stop(), Some(0));
    append(&line(3));
    std::fs::rename(&path, scene.folder.path().join("app.log.1")).unwrap();
    append(&line(4));
    let running = scene.start(sources);
    wait_until("what was added meanwhile", || users() == ["2", "3", "4"]);
    running.send_signal("KILL");
    let _ = running.wait();
    append(&line(5));
    let running = scene.start(sources);
    wait_until("what was added after the crash", || users() == ["2", "3", "4", "5"]);
    assert_eq!(running.stop(), Some(0));
    assert_eq!(users(), ["2", "3", "4", "5"]);
}

#[test]
fn compressed_and_plain_files_are_scanned_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("{MISMATCH}\n{}{DUPLICATE}\n", "GET / 200\n".repeat(300_000));
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.log"), &lines).unwrap();
    let mut packer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packer.write_all(lines.as_bytes()).unwrap();
    std::fs::write(path("b.log.gz"), packer.finish().unwrap()).unwrap();
    std::fs::write(path("c.log.zst"), zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    let scan =
        |arguments: &[&str]| run_program_in(folder.path(), &[], &[&["logs", "scan"], arguments].concat());
    let all = scan(&["*.log*", "--format", "json"]);
    assert_eq!(all.exit_code, 1, "{}", all.stderr);
    let document: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(document["read"]["lines"], 3 * 300_006);
    let kinds: Vec<(&str, u64)> = document["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| (kind["kind"].as_str().unwrap(), kind["log_events"].as_u64().unwrap()))
        .collect();
    assert_eq!(kinds, [("duplicate-token", 3), ("user-mismatch", 3)]);
    let list = scan(&["a.log", "--format", "ndjson", "--only", "duplicate-token"]);
    let signal: Value = serde_json::from_str(&list.stdout).unwrap();
    let (from, to) = (signal["bytes"][0].as_u64().unwrap(), signal["bytes"][1].as_u64().unwrap());
    let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
    assert_eq!(lines[range].trim_end(), DUPLICATE);
    let mut piped = testkit::program_command(&["logs", "scan", "-", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let piped = testkit::ProgramOutput::from(piped.wait_with_output().unwrap());
    assert_eq!((piped.exit_code, piped.stdout.lines().count()), (1, 3), "{}", piped.stdout);
    for (arguments, code, part) in [
        (&["missing.log"][..], 3, "cannot read missing.log"),
        (&["*.nothing"], 2, "no file matches"),
        (&["a.log", "--only", "user-mismatc"], 2, "did you mean `user-mismatch`?"),
    ] {
        let said = scan(arguments);
        assert_eq!((said.exit_code, said.stderr.contains(part)), (code, true), "{}", said.stderr);
    }
    let broken = std::fs::read(path("b.log.gz")).unwrap();
    std::fs::write(path("d.log.gz"), &broken[..broken.len() / 2]).unwrap();
    let said = scan(&["d.log.gz"]);
    assert_eq!((said.exit_code, said.stderr.contains("beyond byte")), (3, true), "{}", said.stderr);
}

#[test]
fn a_huge_line_and_garbage_are_tolerated_and_later_lines_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.log");
    let garbage: Vec<u8> =
        (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for _ in 0..64 {
        file.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    file.write_all(&[b"\n", garbage.as_slice(), b"\n", DUPLICATE.as_bytes(), b"\r\n\0\0"].concat()).unwrap();
    drop(file);
    let said = run_program_in(folder.path(), &[], &["logs", "scan", "huge.log", "--format", "json"]);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["kinds"][0]["kind"], "duplicate-token", "{document:#}");
    assert_eq!(document["read"]["overlong"], 1, "{document:#}");
}

#[test]
fn a_line_is_explained_at_every_stage() {
    let explain = |line: &str| testkit::run_program(&["logs", "explain", line]).stdout;
    let tagged = explain(DUPLICATE);
    for part in ["matched `[AUTH-ADAPTER]`", "duplicate-token", "token f47ac10b… user 8, then 9"] {
        assert!(tagged.contains(part), "{part}: {tagged}");
    }
    assert!(explain("GET / 200").contains("no match"));
    assert!(explain("[AUTH-ADAPTER] Session kreated").contains("expected one of"));
    let whole = explain(&format!("x session-token={TOKEN}"));
    assert!(whole.contains("token-in-log") && !whole.contains(&TOKEN[8..]), "{whole}");
}

#[test]
fn files_are_followed_by_command_and_continued_from_the_last_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let line = |user: u32| format!("[AUTH-ADAPTER] Session created {{ userId: {user} }}\n");
    // Follows until this many log events were printed. Returns the users.
    let follow = |count: usize| -> Vec<String> {
        let arguments =
            ["logs", "follow", "app.log", "--state", "place.json", "--from-start", "--format", "ndjson"];
        let mut child = testkit::program_command(&arguments)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut users = vec![];
        for line in lines.take(count) {
            let signal: Value = serde_json::from_str(&line.unwrap()).unwrap();
            users.push(signal["user"].as_str().unwrap().to_owned());
        }
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        users
    };
    append(&(line(1) + &line(2)));
    assert_eq!(follow(2), ["1", "2"]);
    append(&line(3));
    assert_eq!(follow(1), ["3"]);
    std::fs::write(folder.path().join("place.json"), "nonsense").unwrap();
    let said = run_program_in(folder.path(), &[], &["logs", "follow", "app.log", "--state", "place.json"]);
    assert_eq!(
        (said.exit_code, said.stderr.contains("place.json holds no positions")),
        (2, true),
        "{}",
        said.stderr
    );
}
