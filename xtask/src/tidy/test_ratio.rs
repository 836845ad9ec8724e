//! Rule: minimum ratio of test lines to production lines.

use anyhow::{Result, bail};
use syn::Item;

use super::source::{self, SourceFile};

/// Minimum number of test lines per 100 production lines.
// Below the ratio, so that a change of markup does not fail: raise this with the ratio.
const MIN_TEST_PERCENT: usize = 64;
/// The test helpers, which count as tests.
const TESTKIT_FOLDER: &str = "crates/testkit/";
/// Developer tools, which are neither tests nor part of the product.
const TOOL_FOLDERS: [&str; 3] = ["crates/bench/", "fuzz/", "xtask/"];

/// Lines of code in tests and in the product. Empty lines and comments do not count: the product has more of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    pub(crate) tests: usize,
    pub(crate) production: usize,
}

impl LineCounts {
    /// Counts the lines of all files.
    pub(crate) fn count(sources: &[SourceFile]) -> Self {
        let files: Vec<String> = sources.iter().flat_map(files_for_tests).collect();
        let mut lines = Self::default();
        for source in sources {
            if TOOL_FOLDERS.iter().any(|tool| source.path.starts_with(tool)) {
                continue;
            }
            let is_test_file = source.path.starts_with(TESTKIT_FOLDER) || files.contains(&source.path);
            for (at, line) in (1..).zip(source.text.lines()) {
                if !is_code(line) {
                    continue;
                }
                if is_test_file || source.is_test(at) {
                    lines.tests += 1;
                } else {
                    lines.production += 1;
                }
            }
        }
        lines
    }

    /// Returns the number of test lines per 100 production lines.
    pub(crate) fn percent(self) -> usize {
        self.tests * 100 / self.production.max(1)
    }

    /// Prints the counts.
    ///
    /// # Errors
    ///
    /// Fails if there are too few test lines.
    pub(crate) fn check(self) -> Result<()> {
        let percent = self.percent();
        super::super::print_message(&format!(
            "{} test lines, {} production lines: ratio {}.{:02}",
            self.tests,
            self.production,
            percent / 100,
            percent % 100
        ));
        if percent < MIN_TEST_PERCENT {
            bail!("tidy: fewer than {MIN_TEST_PERCENT} test lines per 100 production lines");
        }
        Ok(())
    }
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

/// Lists the files of modules that a file declares for tests only.
fn files_for_tests(source: &SourceFile) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let folder = if ["lib", "main"].contains(&name) { parent } else { stem };
    let declared = source.syntax.items.iter().filter_map(|item| match item {
        Item::Mod(module) if module.content.is_none() && source::is_for_tests(&module.attrs) => {
            Some(format!("{folder}/{}.rs", module.ident))
        }
        _ => None,
    });
    declared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = "\
/// Works.
fn works() {
    // Once.
    let _ = 1;
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_works() {}
}
";

    #[test]
    fn items_test_files_and_the_testkit_count_as_tests() {
        for (path, tests, production) in [
            ("crates/a/src/lib.rs", 5, 3),
            ("crates/a/tests/it/main.rs", 8, 0),
            ("crates/a/src/lib_tests.rs", 8, 0),
            ("crates/testkit/src/lib.rs", 8, 0),
            ("crates/bench/src/main.rs", 0, 0),
        ] {
            let lines = LineCounts::count(&[SourceFile::parse(path, MIXED).unwrap()]);
            assert_eq!(lines, LineCounts { tests, production }, "{path}");
        }
    }

    #[test]
    fn a_module_declared_for_tests_counts_as_tests() {
        let of = |declares: &str| {
            let declaring = SourceFile::parse(declares, "#[cfg(test)]\nmod samples;\n").unwrap();
            files_for_tests(&declaring)
        };
        assert_eq!(of("crates/a/src/lib.rs"), ["crates/a/src/samples.rs"]);
        assert_eq!(of("crates/a/src/checks.rs"), ["crates/a/src/checks/samples.rs"]);
    }

    #[test]
    fn too_few_test_lines_are_rejected() {
        assert!(LineCounts { tests: MIN_TEST_PERCENT, production: 100 }.check().is_ok());
        assert!(LineCounts { tests: MIN_TEST_PERCENT - 1, production: 100 }.check().is_err());
    }
}
