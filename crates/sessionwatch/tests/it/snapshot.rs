//! Snapshots of whole texts: help, output, messages, pages and API responses, as users and clients get them.
//!
//! A changed text fails; `INSTA_UPDATE=always cargo test -p sessionwatch --test it snapshot::` accepts all changes,
//! which are then reviewed in the diff of the folder `snapshots`.

mod channels;
pub(crate) mod help;
mod output;
mod scene;
mod web;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Replacements for values that differ in every run. The first match counts.
const FILTERS: [(&str, &str); 27] = [
    // Tests under a set clock begin in January 2025; all other times are those of this machine or of the server.
    (
        r"(20[013-9]\d|202[0-46-9]|2025-(?:0[2-9]|1))-?\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?UTC|Z)?",
        "[time]",
    ),
    (r"\b(20[013-9]\d|202[0-46-9])-\d{2}-\d{2}\b", "[date]"),
    (r"INC-\d{8}-", "INC-[date]-"),
    (r"\bp(-|%2D)[0-9a-f]{10}\b", "p$1[id]"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "[uuid]"),
    (r"\b[0-9a-f]{64}\b", "[hash]"),
    (r"\b[0-9a-f]{32}\b", "[hash]"),
    (r"\b[0-9a-f]{12}\b", "[id]"),
    (r"\bage1[0-9a-z]+", "age1[recipient]"),
    (r"\bswt_[0-9A-Za-z_]+", "swt_[token]"),
    (r"(127\.0\.0\.1|localhost):\d+", "$1:[port]"),
    (r"(?:/tmp|/dev/shm/sessionwatch-tests-[0-9]+)/\.?[A-Za-z0-9_.]+", "[folder]"),
    (r"\bin \d+(\.\d+)? (ms|s)\b", "in [duration]"),
    (r#""(\w+_ms|hours_left)": ?-?\d+\.\d+"#, r#""$1": [number]"#),
    (r#""bytes": \d+"#, r#""bytes": [number]"#),
    (r"SQLite, [0-9.,]+ [kM]B", "SQLite, [size]"),
    (r" {2,}\d{2}:\d{2}:\d{2} UTC", "  [time of day]"),
    (r#""next": "e\d+\."#, r#""next": "e[number]."#),
    (r"(?m)(^|, )\d+ ms\b", "$1[duration]"),
    (r"took \d+ ms", "took [duration]"),
    (r"PostgreSQL \d+\.\d+ \([^)]*\)", "PostgreSQL [version]"),
    (r"PostgreSQL \d+\.\d+", "PostgreSQL [version]"),
    (r"SQLite \d+\.\d+\.\d+", "SQLite [version]"),
    (r"differ by \d+\.\d+ s", "differ by [duration]"),
    (r"sessionwatch \d+\.\d+\.\d+", "sessionwatch [version]"),
    // From the clock of the test, years ago, to the end of an archive by the clock of the machine.
    (r"\b([5-9]\d\d|\d{4}) days\b", "[days]"),
    (r"\buntil (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{1,2}\b", "until [day]"),
];

/// Snapshots of one family, in their own folder. All are taken before the first difference fails the test.
pub(crate) struct Snapshots {
    settings: insta::Settings,
    differing: Vec<String>,
}

impl Snapshots {
    pub(crate) fn new(family: &str) -> Self {
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path(format!("snapshots/{family}"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, replacement) in FILTERS {
            settings.add_filter(pattern, replacement);
        }
        Self { settings, differing: vec![] }
    }

    /// Adds replacements, applied after the usual ones.
    pub(crate) fn replace(&mut self, pattern: &str, replacement: &str) {
        self.settings.add_filter(pattern, replacement);
    }

    /// Compares a text with the stored snapshot of this name.
    pub(crate) fn take(&mut self, name: &str, text: &str) {
        let compared = || insta::assert_snapshot!(name, text);
        if catch_unwind(AssertUnwindSafe(|| self.settings.bind(compared))).is_err() {
            self.differing.push(name.to_owned());
        }
    }

    /// Fails if a snapshot differed.
    pub(crate) fn finish(self) {
        assert!(self.differing.is_empty(), "these snapshots differ: {}", self.differing.join(", "));
    }
}
