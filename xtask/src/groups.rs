//! Groups of tests: the fast ones, for every change, and all of them, as in CI.

use anyhow::{Result, anyhow};

/// Tests that `cargo xtask test --fast` skips: modules of `crates/sessionwatch/tests/it`, or prefixes of single tests.
/// They kill processes, flood, cut connections, wait for time to pass, or run on every version of a server.
const SLOW_TESTS: [&str; 47] = [
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
    "recognition::other_token_tables",
    "recognition::tables_of_frameworks",
    "recognition::the_role_of_grants",
    "replica::if_the_replica_is_down",
    "several_daemons::a_new_leader",
    "shadows::no_shadow_is_executed",
    "soak",
    "soft_delete::on_a_server",
    "systemd::a_valid_change",
    "systemd::it_stops_in_time",
    "three_daemons",
    "timeouts_and_locks",
    "versions",
    "views::every_version",
];

/// Concurrent tests per CPU. Tests spend most of their time waiting for servers, for other processes and for time to
/// pass.
const TEST_THREADS_PER_CPU: usize = 3;

/// Returns the number of concurrent tests, for when `RUST_TEST_THREADS` is not set.
pub(crate) fn count_test_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * TEST_THREADS_PER_CPU
}

/// Installs what the tests need while everything is linted and built, then runs all tests.
///
/// # Errors
///
/// Fails if a prerequisite cannot be installed, or a lint or a test fails.
pub(crate) fn test_all() -> Result<()> {
    // Doc tests are left out: there are none, and searching for them takes a minute.
    const BUILD_ARGUMENTS: [&str; 5] = ["test", "--workspace", "--locked", "--tests", "--no-run"];
    // Nearly all tests wait most of the time, so two groups at once hardly slow each other down.
    const INTEGRATION_ARGUMENTS: [&str; 5] = ["test", "--workspace", "--locked", "--test", "it"];
    const OTHER_ARGUMENTS: [&str; 9] =
        ["test", "--workspace", "--locked", "--lib", "--bins", "--test", "samples", "--test", "browser"];
    let prepare = || {
        super::install_prerequisites()?;
        super::spelling::check_spelling()
    };
    run_both(prepare, || super::run_cargo_with_clippy(&BUILD_ARGUMENTS))?;
    run_both(
        || super::run_cargo_with_clippy(&INTEGRATION_ARGUMENTS),
        || super::run_cargo_with_clippy(&OTHER_ARGUMENTS),
    )
}

/// Runs two steps concurrently.
///
/// # Errors
///
/// Returns the error of a step that failed, after both have ended.
fn run_both(one: impl Fn() -> Result<()> + Send, other: impl Fn() -> Result<()>) -> Result<()> {
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
    // Always the whole workspace: a subset would enable fewer features, and rebuild dependencies.
    super::run_cargo_with_clippy(&[
        "test",
        "--workspace",
        "--locked",
        "--lib",
        "--bins",
        "--test",
        "samples",
    ])?;
    let mut arguments = vec!["test", "--workspace", "--locked", "--test", "it", "--"];
    arguments.extend(SLOW_TESTS.iter().flat_map(|test| ["--skip", test]));
    super::run_cargo_with_clippy(&arguments)
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
