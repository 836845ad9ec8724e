//! Groups of tests: the fast ones for every change, and all.

use anyhow::Result;

/// Stories that `cargo xtask test --fast` leaves out: modules of `crates/sessionwatch/tests/it`, or one test of them. They kill,
/// flood, cut, wait for time to pass, or run on every version of a server.
const SLOW_STORIES: [&str; 20] = [
    "api::schemathesis",
    "attack",
    "channels::ten_thousand",
    "clocks",
    "concurrent_writers",
    "crash_recovery_actions",
    "crash_recovery_daemon",
    "dashboard_access::open_pages",
    "disk_full",
    "drill_endings",
    "engine_equivalence",
    "evidence_gaps::a_connection_that_is_cut",
    "failing_runs",
    "held_connections",
    "log_histories",
    "network_partitions",
    "soak",
    "three_daemons",
    "timeouts_and_locks",
    "versions",
];

/// Tests that run at the same time for each processor. Most of the time they wait for servers, for other processes, and for
/// time to pass. Three are faster, but on a busy machine a takeover then takes longer than a story allows.
const THREADS_OF_PROCESSOR: usize = 2;

/// How many tests run at the same time, unless `RUST_TEST_THREADS` says so.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) * THREADS_OF_PROCESSOR
}

/// Lints and runs all tests. There are none in documentation, and to look for them takes a minute.
///
/// # Errors
///
/// If a lint or a test fails.
pub(crate) fn test_all() -> Result<()> {
    super::cargo_with_clippy(&["test", "--workspace", "--locked", "--tests"])
}

/// Lints, and runs the tests of every crate, without stories in a browser and without slow ones.
///
/// # Errors
///
/// If a lint or a test fails.
pub(crate) fn test_fast() -> Result<()> {
    // Every time the whole workspace, so that nothing is built once more with other features.
    super::cargo_with_clippy(&["test", "--workspace", "--locked", "--lib", "--bins", "--test", "samples"])?;
    let mut stories = vec!["test", "--workspace", "--locked", "--test", "it", "--"];
    stories.extend(SLOW_STORIES.iter().flat_map(|story| ["--skip", story]));
    super::cargo_with_clippy(&stories)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_slow_story_is_there() {
        let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/sessionwatch/tests/it");
        let read = |name: &str| std::fs::read_to_string(stories.join(format!("{name}.rs"))).unwrap();
        let modules = read("main");
        for story in SLOW_STORIES {
            let (module, test) = story.split_once("::").unwrap_or((story, ""));
            assert!(
                modules.contains(&format!("\nmod {module};\n")),
                "there is no module `{module}` any more"
            );
            assert!(read(module).contains(&format!("fn {test}")), "there is no test `{story}` any more");
        }
    }
}
