//! A file that is cut off or that is gone: what was in it is read from its copy, or a gap is told.

use super::*;

#[test]
fn what_cannot_be_found_again_is_a_gap() {
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
    // What is left of it cannot be unpacked to its end.
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
fn a_truncation_is_noticed_though_the_file_begins_and_grows_as_before() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, banner() + &line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    append(&path, line(3));
    copytruncate(&path, &scene.path("app.log.1"));
    append(&path, banner() + &line(4) + &line(5) + &line(6) + &line(7));
    let place = scene.read(&mut follower).is(&[3, 4, 5, 6, 7]);
    // While nobody reads, and without a copy.
    append(&path, line(8));
    copytruncate(&path, &scene.path("app.log.2"));
    append(&path, banner() + &line(9) + &line(10) + &line(11) + &line(12) + &line(13) + &line(14));
    let place = scene.read_from(place).is(&[8, 9, 10, 11, 12, 13, 14]);
    let text = banner() + &(20..40).map(line).collect::<String>();
    fs::write(&path, text).unwrap();
    scene.read_from(place).has_gap(&(20..40).collect::<Vec<_>>(), GapCause::Truncated);
}

#[test]
fn where_only_what_all_files_begin_with_was_read_a_copy_holds_the_rest() {
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
fn a_hole_is_passed_over() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    // Who does not append writes on where it was.
    copytruncate(&path, &scene.path("app.log.1"));
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(line(3).as_bytes(), 5 << 20).unwrap();
    scene.read(&mut follower).is(&[3]);
    append(&path, line(4));
    scene.read(&mut follower).is(&[4]);
}

#[test]
fn the_copy_that_a_truncation_needs_is_not_read_itself() {
    let scene = Scene::new();
    let path = scene.log();
    append(&path, line(1) + &line(2));
    let mut follower = scene.follower(None);
    scene.read(&mut follower).is(&[1, 2]);
    // The copy is made in steps, and the log grows meanwhile.
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
