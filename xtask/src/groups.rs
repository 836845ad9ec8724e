//! Groups of tests: the fast ones for every change, and all.

use anyhow::{Result, anyhow};

/// Stories that `cargo xtask test --fast` leaves out: modules of `crates/sessionwatch/tests/it`, or one test of them. They kill,
/// flood, cut, wait for time to pass, or run on every version of a server.
const SLOW_TESTS: [&str; 47] = [
    "api::paging::questions_take_turns",
    "api::schemathesis",
    "attack",
    "backends",
    "cases",
    "channels::ten_thousand",
    "checks::adapters",
    "clocks",
    "concurrent_writers",
    "config_check::config_check_and_serve",
    "crash_recovery_actions",
    "crash_recovery_daemon",
    "dashboard_access::open_pages",
    "deliveries::a_channel_that_never",
    "disk_full",
    "drill_endings",
    "engine_equivalence",
    "evidence_gaps::a_connection_that_is_cut",
    "failing_runs",
    "held_connections",
    "local_time::applications_that_write",
    "local_time::removal",
    "log_histories",
    "logs::intake::on_a_full_disk",
    "masking",
    "network_partitions",
    "no_token_leaks",
    "paging::pages_follow",
    "planted",
    "profiles::every_store",
    "reach::dependents",
    "reach::many_small_plans",
    "read_only_store",
    "recognition::other_tables",
    "recognition::the_role_that_grants",
    "recognition::what_the_frameworks",
    "replica::where_the_replica_is_down",
    "several_daemons::who_takes_over",
    "shadows::no_shadow_is_executed",
    "soak",
    "soft_delete::on_a_server",
    "systemd::a_good_change",
    "systemd::it_ends_in_time",
    "three_daemons",
    "timeouts_and_locks",
    "versions",
    "views::every_version",
];

/// Tests that run at the same time for each processor. Most of the time they wait for servers, for other processes, and for
/// time to pass.
const TEST_THREADS_PER_CPU: usize = 3;

/// How many tests run at the same time, unless `RUST_TEST_THREADS` says so.
pub(crate) fn count_test_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * TEST_THREADS_PER_CPU
}

/// Installs what the tests need while everything is linted and built, then runs all tests. There are none in documentation,
/// and to look for them takes a minute.
///
/// # Errors
///
/// If something cannot be installed, or a lint or a test fails.
pub(crate) fn test_all() -> Result<()> {
    const BUILD_ARGUMENTS: [&str; 5] = ["test", "--workspace", "--locked", "--tests", "--no-run"];
    // Nearly all tests wait most of the time, so that two groups at once hardly slow each other down.
    const STORY_ARGUMENTS: [&str; 5] = ["test", "--workspace", "--locked", "--test", "it"];
    const OTHER_ARGUMENTS: [&str; 9] =
        ["test", "--workspace", "--locked", "--lib", "--bins", "--test", "samples", "--test", "browser"];
    let prepare = || {
        super::install_prerequisites()?;
        super::spelling::check_spelling()
    };
    run_both(prepare, || super::run_cargo_with_clippy(&BUILD_ARGUMENTS))?;
    run_both(
        || super::run_cargo_with_clippy(&STORY_ARGUMENTS),
        || super::run_cargo_with_clippy(&OTHER_ARGUMENTS),
    )
}

/// Runs two things at the same time.
///
/// # Errors
///
/// If one of them fails; the other one has ended by then.
fn run_both(one: impl Fn() -> Result<()> + Send, other: impl Fn() -> Result<()>) -> Result<()> {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        one.join().map_err(|_| anyhow!("a chore panicked"))?.and(other)
    })
}

/// Lints, and runs the tests of every crate, without stories in a browser and without slow ones.
///
/// # Errors
///
/// If a lint or a test fails.
pub(crate) fn test_fast() -> Result<()> {
    // Every time the whole workspace, so that nothing is built once more with other features.
    super::run_cargo_with_clippy(&[
        "test",
        "--workspace",
        "--locked",
        "--lib",
        "--bins",
        "--test",
        "samples",
    ])?;
    let mut stories = vec!["test", "--workspace", "--locked", "--test", "it", "--"];
    stories.extend(SLOW_TESTS.iter().flat_map(|story| ["--skip", story]));
    super::run_cargo_with_clippy(&stories)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_end_and_either_fails() {
        let fail = || Err(anyhow!("failed"));
        assert!(run_both(|| Ok(()), || Ok(())).is_ok());
        assert!(run_both(fail, || Ok(())).is_err());
        assert!(run_both(|| Ok(()), fail).is_err());
    }

    #[test]
    fn every_slow_story_is_there() {
        let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sessionwatch/tests/it");
        for story in SLOW_TESTS {
            let (mut folder, mut text) =
                (stories.clone(), std::fs::read_to_string(stories.join("main.rs")).unwrap());
            for name in story.split("::") {
                if text.contains(&format!("\nmod {name};\n")) {
                    text = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
                    folder.push(name);
                } else {
                    let there = text.contains(&format!("fn {name}"));
                    assert!(there, "`{story}` is neither a module of stories nor the start of one's name");
                }
            }
        }
    }
}
