//! Groups of tests: the fast ones, for every change, and all of them, as in CI.

use anyhow::{Result, anyhow};

use super::{
    memory_folder::MemoryFolder,
    test_binaries::{TestRunOptions, build_test_binaries, count_test_threads, run_test_binaries},
};

/// The tests that run the program against real servers.
const INTEGRATION_TESTS: &str = "it";
/// The tests that run it in a browser.
const BROWSER_TESTS: &str = "browser";

/// Tests that `cargo xtask test --fast` skips: modules of `crates/sessionwatch/tests/it`, or prefixes of single tests.
/// They kill processes, flood, cut connections, wait for time to pass, or run on every version of a server.
const SLOW_TESTS: [&str; 49] = [
    "api::paging::queries_take_turns",
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
    "deliveries::a_channel_without_responses",
    "disk_full",
    "drill_endings",
    "engine_equivalence",
    "evidence_gaps::a_connection_cut",
    "failing_runs",
    "held_connections",
    "local_time::applications_that_write",
    "local_time::removal",
    "log_histories",
    "logs::ingest::on_a_full_disk",
    "masking",
    "network_partitions",
    "no_token_leaks",
    "paging::pages_follow",
    "planted",
    "profiles::every_store",
    "reach::dependents",
    "reach::many_small_plans",
    "read_only_store",
    "recognition::other_token_tables",
    "recognition::tables_of_frameworks",
    "recognition::the_role_of_grants",
    "release_packages",
    "replica::if_the_replica_is_down",
    "several_daemons::a_new_leader",
    "shadows::no_shadow_is_executed",
    "single_rounds",
    "soak",
    "soft_delete::on_a_server",
    "systemd::a_valid_change",
    "systemd::it_stops_in_time",
    "three_daemons",
    "timeouts_and_locks",
    "versions",
    "views::every_version",
];

/// Installs what the tests need while everything is linted and built, then runs all tests.
///
/// # Errors
///
/// Fails if a prerequisite cannot be installed, or a lint or a test fails.
pub(crate) fn test_all() -> Result<()> {
    let prepare = || {
        super::install_prerequisites()?;
        super::spelling::check_spelling()
    };
    // Doc tests are left out: there are none, and searching for them takes a minute.
    let binaries = run_both(prepare, build_test_binaries)?;
    let memory = MemoryFolder::create();
    let options = TestRunOptions {
        threads: count_test_threads(),
        temporary_folder: memory.as_ref().map(MemoryFolder::path),
        ..TestRunOptions::default()
    };
    // Nearly all tests wait most of the time, so two groups at once hardly slow each other down.
    let (integration, others): (Vec<_>, Vec<_>) =
        binaries.iter().partition(|binary| binary.name == INTEGRATION_TESTS);
    run_both(
        || run_test_binaries(integration.iter().copied(), options),
        // Browsers need the CPU, and a page that takes a minute is taken for one that never comes. This group is the
        // shorter one anyway.
        || {
            let threads = (options.threads / 2).max(1);
            run_test_binaries(others.iter().copied(), TestRunOptions { threads, ..options })
        },
    )
}

/// Runs two steps concurrently.
///
/// # Errors
///
/// Returns the error of a step that failed, after both have ended.
fn run_both<T>(one: impl Fn() -> Result<()> + Send, other: impl Fn() -> Result<T>) -> Result<T> {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        one.join().map_err(|_| anyhow!("a step panicked"))?.and(other)
    })
}

/// Lints, and runs the tests of every crate except browser tests and [`SLOW_TESTS`].
///
/// # Errors
///
/// Fails if a lint or a test fails.
pub(crate) fn test_fast() -> Result<()> {
    let binaries = build_test_binaries()?;
    let memory = MemoryFolder::create();
    let options = TestRunOptions {
        threads: count_test_threads(),
        temporary_folder: memory.as_ref().map(MemoryFolder::path),
        ..TestRunOptions::default()
    };
    let (integration, others): (Vec<_>, Vec<_>) =
        binaries.iter().partition(|binary| binary.name == INTEGRATION_TESTS);
    // Browser tests need Chromium, which `--fast` does without.
    run_test_binaries(others.into_iter().filter(|binary| binary.name != BROWSER_TESTS), options)?;
    run_test_binaries(integration.into_iter(), TestRunOptions { skipped: &SLOW_TESTS, ..options })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_steps_run_and_either_failure_is_returned() {
        let fail = || Err(anyhow!("failed"));
        assert!(run_both(|| Ok(()), || Ok(())).is_ok());
        assert!(run_both(fail, || Ok(())).is_err());
        assert!(run_both(|| Ok(()), fail).is_err());
    }

    #[test]
    fn every_slow_test_exists() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sessionwatch/tests/it");
        for slow in SLOW_TESTS {
            let (mut folder, mut text) =
                (tests.clone(), std::fs::read_to_string(tests.join("main.rs")).unwrap());
            for name in slow.split("::") {
                if text.contains(&format!("\nmod {name};\n")) {
                    text = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
                    folder.push(name);
                } else {
                    let exists = text.contains(&format!("fn {name}"));
                    assert!(exists, "`{slow}` is neither a test module nor the beginning of a test's name");
                }
            }
        }
    }
}
