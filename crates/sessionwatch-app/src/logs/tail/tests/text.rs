//! Multi-line entries and encodings.

use super::*;

#[test]
fn a_multi_line_entry_survives_a_restart_and_a_pause() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, "[AUTH-ADAPTER] Session created {\n");
    let mut follower = scene.follower(None);
    let place = scene.read(&mut follower).is(&[]);
    append(&path, "  userId: 1\n}\n");
    scene.passes(IDLE_ENTRY_TIMEOUT * 9 / 10);
    scene.read(&mut follower).is(&[1]);
    let place = scene.read_from(place).is(&[1]);
    append(&path, "[AUTH-ADAPTER] Session created {\n  userId: 2");
    let place = scene.read_from(place).is(&[]);
    append(&path, ",\n");
    let place = scene.read_from(place).is(&[]);
    append(&path, "}\n");
    let place = scene.read_from(place).is(&[2]);
    // The entry ends if nothing follows for a while.
    append(&path, "[AUTH-ADAPTER] Session created {\n  userId: 3,\n");
    let mut follower = scene.follower(place);
    scene.read(&mut follower).is(&[]);
    scene.passes(IDLE_ENTRY_TIMEOUT);
    let place = scene.read(&mut follower).is(&[3]);
    append(&path, "}\n");
    let place = scene.read_from(place).is(&[]);
    append(&path, "[AUTH-ADAPTER] Session created {\n  userId: 4,\n");
    let mut follower = scene.follower(place);
    follower.read_batch(scene.now.get()).unwrap();
    let last = follower.finish(scene.now.get());
    assert_eq!(last.events.len(), 1);
    scene.read_from(last.position).is(&[]);
}

#[test]
fn events_of_a_pending_entry_are_reported_once() {
    let pattern = Pattern::new("opened", Severity::Low, Some("Session created"), None).unwrap();
    let scene = Scene { grammar: Matchers::new(vec![pattern], TimestampDefaults::default()), ..Scene::new() };
    append(&scene.log(), "[AUTH-ADAPTER] Session created {\n");
    let seen = scene.read_from(None);
    assert_eq!((seen.users.len(), seen.counters.lines), (1, 1));
    let seen = scene.read_from(seen.place);
    assert_eq!((seen.users.len(), seen.counters.lines), (0, 0));
    append(&scene.log(), "  userId: 1\n}\n");
    scene.read_from(seen.place).is(&[1]);
}

#[test]
fn an_entry_continues_in_the_next_file() {
    let begun = "[AUTH-ADAPTER] Session created {\n";
    for is_restarted in [false, true] {
        for rotate in [&(|scene: &Scene| scene.rename("app.log", "app.log.1")) as &dyn Fn(&Scene), &|scene| {
            copytruncate(&scene.log(), &scene.path("app.log.1"))
        }] {
            let scene = Scene::new();
            let path = scene.log();
            append(&path, line(1) + begun);
            let mut follower = scene.follower(None);
            let place = scene.read(&mut follower).is(&[1]);
            rotate(&scene);
            append(&path, "  userId: 2,\n");
            if is_restarted {
                follower = scene.follower(place);
            }
            let place = scene.read(&mut follower).is(&[]);
            append(&path, "}\n".to_owned() + &line(3));
            if is_restarted {
                follower = scene.follower(place);
            }
            scene.read(&mut follower).is(&[2, 3]);
            scene.passes(IDLE_ENTRY_TIMEOUT);
            let place = scene.read(&mut follower).is(&[]);
            scene.read_from(place).is(&[]);
        }
    }
}

#[test]
fn a_line_cut_by_a_truncation_is_a_gap() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1) + LINE);
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    copytruncate(&path, &scene.path("app.log.1"));
    append(&path, "2 }\n".to_owned() + &line(3));
    scene.read(&mut follower).is(&[3]);
    scene.passes(IDLE_ENTRY_TIMEOUT);
    assert_eq!(scene.read(&mut follower).gaps, [GapCause::CutLine]);
}

fn wide(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(encode).collect()
}

#[test]
fn utf_16_is_read_across_restarts_and_rotation() {
    for encode in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        for mark in ["\u{feff}", ""] {
            let scene = Scene::new();
            let path = scene.log();
            let text = |text: &str| wide(text, encode);
            append(&path, text(&(mark.to_owned() + &line(1) + "ü🚨 " + LINE)));
            let place = scene.read_from(None).is(&[1]);
            append(&path, text("2 }\n"));
            append(&path, &text(&line(3))[..9]);
            let place = scene.read_from(place).is(&[]);
            append(&path, &text(&line(3))[9..]);
            append(&path, text("[AUTH-ADAPTER] Session created {\n"));
            let place = scene.read_from(place).is(&[3]);
            append(&path, text("  userId: 4\n}\n"));
            let mut follower = scene.follower(place);
            scene.read(&mut follower).is(&[4]);
            append(&path, text(&line(5)));
            copytruncate(&path, &scene.path("app.log.1"));
            append(&path, text(&(mark.to_owned() + &line(6))));
            scene.read(&mut follower).is(&[5, 6]);
        }
    }
}

#[test]
fn text_in_an_unknown_encoding_is_a_gap() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1]);
    let text = wide(&line(2), u16::to_le_bytes);
    append(&path, &text);
    let seen = scene.read(&mut follower);
    assert_eq!(seen.gaps, [GapCause::NotText]);
    assert!(seen.lost_bytes + 1 >= text.len() as u64, "{seen:?}");
    // Reported at intervals, but always counted.
    append(&path, &text);
    let seen = scene.read(&mut follower);
    assert_eq!((seen.gaps, seen.lost_bytes > 80), (vec![], true));
    append(&path, "\n".to_owned() + &line(3));
    scene.read(&mut follower).is(&[3]);
}
