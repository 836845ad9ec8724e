//! Unusual files: sparse, replaced by editors, next to other logs, not regular, or many.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{
    FileTailer, StartPosition,
    tests::{Scene, append, line, pack},
};

#[test]
fn lines_after_a_hole_are_read() {
    for length in [1, 64, 1_000, 70_000] {
        let scene = Scene::new();
        append(&scene.log(), line(1) + &"\0".repeat(length) + &line(2) + &line(3));
        let mut follower = scene.follower(None);
        scene.read(&mut follower).is(&[1, 2, 3]);
        append(&scene.log(), line(4) + &"\0".repeat(length));
        scene.read(&mut follower).is(&[4]);
        append(&scene.log(), line(5));
        scene.read(&mut follower).is(&[5]);
    }
}

#[test]
fn a_log_replaced_by_an_editor_is_resumed() {
    let scene = Scene::new();
    append(&scene.log(), line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    fs::copy(scene.log(), scene.path("copy")).unwrap();
    append(&scene.path("copy"), line(3));
    scene.rename("copy", "app.log");
    let place = scene.read(&mut follower).is(&[3]);
    append(&scene.log(), line(4));
    scene.read(&mut follower).is(&[4]);
    scene.read_from(place).is(&[4]);
    // A file with a different start is another one.
    fs::write(scene.path("other"), line(7) + &line(8) + &line(9) + &line(6) + &line(5)).unwrap();
    scene.rename("other", "app.log");
    scene.read(&mut follower).is(&[7, 8, 9, 6, 5]);
}

#[test]
fn a_log_that_was_empty_at_the_stop_may_be_compressed_meanwhile() {
    for lines in [String::new(), line(1)] {
        let scene = Scene::new();
        append(&scene.log(), "");
        let place = scene.read_from(None).is(&[]);
        append(&scene.log(), &lines);
        scene.rename("app.log", "app.log.1");
        pack(&scene.path("app.log.1"));
        append(&scene.log(), line(2));
        let users: &[u32] = if lines.is_empty() { &[2] } else { &[1, 2] };
        scene.read_from(place.clone()).is(users);
        // Without a candidate, the file counts as gone.
        fs::remove_file(scene.path("app.log.1.gz")).unwrap();
        let gone = scene.read_from(place);
        assert!(format!("{gone:?}").contains("FileGone"));
    }
}

#[test]
fn other_logs_are_not_taken_for_rotated_files() {
    let scene = Scene::new();
    let other = scene.path("app.1.log");
    append(&scene.log(), line(1));
    let mut follower = scene.follower(None).excluding(vec![other.clone()]);
    scene.read(&mut follower).is(&[1]);
    append(&other, line(7));
    scene.rename("app.log", "app.log.1");
    append(&scene.log(), line(2));
    append(&other, line(8));
    scene.read(&mut follower).is(&[2]);
}

#[test]
fn a_path_that_is_not_a_regular_file_is_reported_and_blocks_nothing() {
    let scene = Scene::new();
    append(&scene.log(), line(1));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    append(&scene.log(), line(2));
    scene.rename("app.log", "app.log.1");
    let pipe = std::process::Command::new("mkfifo").arg(scene.log()).status();
    assert!(pipe.unwrap().success());
    // Lines added to the file before the rename are still read.
    let mut users = vec![];
    let refused = loop {
        match follower.read_batch(scene.now.get()) {
            Ok(step) => users.extend(step.events.into_iter().filter_map(|found| found.event.user)),
            Err(error) => break super::describe_read_error(&error),
        }
    };
    assert_eq!((refused.as_str(), users), ("not a regular file", vec!["2".into()]));
    fs::remove_file(scene.log()).unwrap();
    append(&scene.log(), line(3));
    scene.read(&mut follower).is(&[3]);
}

#[test]
fn lines_written_before_the_log_becomes_readable_are_new() {
    let scene = Scene::new();
    fs::create_dir(scene.log()).unwrap();
    let mut follower = FileTailer::new(&scene.log(), "app", &scene.grammar, StartPosition::AtEnd);
    follower.read_batch(scene.now.get()).unwrap_err();
    fs::remove_dir(scene.log()).unwrap();
    append(&scene.log(), line(1));
    scene.read(&mut follower).is(&[1]);
}

#[test]
fn old_rotated_files_are_not_read_when_they_are_rewritten() {
    let scene = Scene::new();
    for number in 1..=100 {
        let lines: String = (1..=8).map(|user| line(1_000 * user + number)).collect();
        append(&scene.path(&format!("app.log.{number}")), lines);
    }
    append(&scene.log(), line(1));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    for number in 1..=100 {
        let name = format!("app.log.{number}");
        let before = fs::metadata(scene.path(&name)).unwrap().ino();
        fs::copy(scene.path(&name), scene.path("copy")).unwrap();
        scene.rename("copy", &name);
        assert_ne!(fs::metadata(scene.path(&name)).unwrap().ino(), before);
    }
    scene.rename("app.log", "app.log.101");
    append(&scene.log(), line(2));
    scene.read(&mut follower).is(&[2]);
}

/// Reads every sample with a restart after each line, even in the middle of entries.
#[test]
fn a_restart_after_any_line_changes_nothing() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../sessionwatch-logs/samples");
    for entry in fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        let sample = fs::read(&path).unwrap();
        if path.extension().is_none_or(|ending| ending != "log") || sample.len() > 20_000 {
            continue;
        }
        let found = |restarts: bool| {
            let scene = Scene::new();
            append(&scene.log(), "");
            let (mut follower, mut kinds) = (scene.follower(None), vec![]);
            let mut place = scene.read(&mut follower).place;
            for line in sample.split_inclusive(|byte| *byte == b'\n') {
                append(&scene.log(), line);
                if restarts {
                    follower = scene.follower(place.take());
                }
                let mut idle = 0;
                while idle < 2 {
                    let step = follower.read_batch(scene.now.get()).unwrap();
                    kinds.extend(step.events.iter().map(|found| format!("{:?}", found.event)));
                    place = step.position.or(place);
                    idle = if step.has_more { 0 } else { idle + 1 };
                }
            }
            kinds.extend(
                follower.finish(scene.now.get()).events.iter().map(|found| format!("{:?}", found.event)),
            );
            kinds
        };
        assert_eq!(found(true), found(false), "{}", path.display());
    }
}
