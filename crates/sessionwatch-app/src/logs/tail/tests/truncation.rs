//! Truncated and removed files: their rest is read from a copy, or a gap is reported.

use super::*;

#[test]
fn a_file_that_cannot_be_found_is_a_gap() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1));
    let place = scene.read_from(None).is(&[1]);
    append(&path, line(2));
    fs::remove_file(&path).unwrap();
    append(&path, line(3));
    let place = scene.read_from(place).has_gap(&[3], GapCause::FileGone);
    append(&path, line(4));
    scene.rename("app.log", "app.log.1");
    pack(&scene.path("app.log.1"));
    // The compressed file is truncated.
    let packed = fs::read(scene.path("app.log.1.gz")).unwrap();
    fs::write(scene.path("app.log.1.gz"), &packed[..packed.len() - 9]).unwrap();
    append(&path, line(5));
    let seen = scene.read_from(place);
    assert!(seen.users.ends_with(&["5".to_owned()]) && !seen.gaps.is_empty(), "{seen:?}");
    append(&path, line(6));
    fs::remove_file(&path).unwrap();
    append(&scene.path("app.log.1.xz"), b"\xfd7zXZ");
    let later = std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    fs::File::options().append(true).open(scene.path("app.log.1.xz")).unwrap().set_modified(later).unwrap();
    append(&path, line(7));
    let seen = scene.read_from(seen.place);
    assert_eq!(
        (seen.users, seen.gaps),
        (vec!["7".to_owned()], vec![GapCause::FileGone, GapCause::Unreadable])
    );
    assert_eq!(seen.lost_bytes, 5);
}

#[test]
fn a_truncation_is_detected_although_the_file_starts_and_grows_as_before() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, banner() + &line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    append(&path, line(3));
    copytruncate(&path, &scene.path("app.log.1"));
    append(&path, banner() + &line(4) + &line(5) + &line(6) + &line(7));
    let place = scene.read(&mut follower).is(&[3, 4, 5, 6, 7]);
    // While stopped, and without a copy.
    append(&path, line(8));
    copytruncate(&path, &scene.path("app.log.2"));
    append(&path, banner() + &line(9) + &line(10) + &line(11) + &line(12) + &line(13) + &line(14));
    let place = scene.read_from(place).is(&[8, 9, 10, 11, 12, 13, 14]);
    let text = banner() + &(20..40).map(line).collect::<String>();
    fs::write(&path, text).unwrap();
    scene.read_from(place).has_gap(&(20..40).collect::<Vec<_>>(), GapCause::Truncated);
}

#[test]
fn the_rest_is_read_from_a_copy_even_if_only_the_banner_was_read() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, banner());
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[]);
    append(&path, line(1));
    copytruncate(&path, &scene.path("app.log.1"));
    append(&path, banner() + &line(2));
    scene.read(&mut follower).is(&[1, 2]);
}

#[test]
fn a_hole_is_skipped() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    // A process that does not append keeps its write offset.
    copytruncate(&path, &scene.path("app.log.1"));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(line(3).as_bytes(), 5 << 20).unwrap();
    scene.read(&mut follower).is(&[3]);
    append(&path, line(4));
    scene.read(&mut follower).is(&[4]);
}

#[test]
fn the_copy_made_before_a_truncation_is_not_read_twice() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    // The copy is written in steps while the log grows.
    append(&scene.path("app.log.1"), "");
    scene.read(&mut follower).is(&[]);
    append(&scene.path("app.log.1"), line(1));
    scene.read(&mut follower).is(&[]);
    append(&path, line(3));
    append(&scene.path("app.log.1"), line(2) + &line(3));
    let place = scene.read(&mut follower).is(&[3]);
    append(&path, line(4));
    append(&scene.path("app.log.1"), line(4));
    fs::write(&path, line(5)).unwrap();
    scene.read(&mut follower).is(&[4, 5]);
    scene.read_from(place).is(&[4, 5]);
}
