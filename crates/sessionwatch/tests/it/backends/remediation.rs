//! Findings are planned, removed and restored in every database.

use std::path::Path;

use serde_json::Value;
use testkit::{ProgramOutput, run_program_in};

use super::BACKENDS;

pub(crate) const TABLE: &str = "SELECT * FROM sessions ORDER BY id, \"userId\"";

/// Parses the JSON output of a command.
pub(crate) fn document(said: &ProgramOutput) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{} {}", said.stdout, said.stderr))
}

/// Runs a command and returns its plan as JSON.
pub(crate) fn plan(folder: &Path, arguments: &[&str]) -> Value {
    let said = run_program_in(folder, &[], &[arguments, &["--format", "json"]].concat());
    assert_eq!(said.exit_code, 0, "{}", said.stderr);
    document(&said)["plan"].clone()
}

/// Plans and applies. Returns the result and the exit code.
pub(crate) fn apply(folder: &Path, arguments: &[&str]) -> (Value, i32) {
    let plan = plan(folder, arguments);
    let (id, name) = (plan["id"].as_str().unwrap(), plan["target"].as_str().unwrap());
    let said = run_program_in(folder, &[], &["apply", id, "--confirm", name, "--format", "json"]);
    (document(&said)["applied"].clone(), said.exit_code)
}

/// A target with every anomaly, configured in a folder, and its database.
pub(crate) struct Site<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) sql: &'a dyn Fn(&str) -> String,
    /// Tomorrow.
    pub(crate) live: &'a str,
}

/// Each action, the rows and active sessions that it selects, and the rows that are gone afterwards.
const ACTIONS: [(&[&str], u64, u64, &str); 9] = [
    (
        &["cleanup", "expired", "--grace", "24h"],
        107,
        0,
        "id LIKE 'x%' AND CAST(substr(id, 2) AS integer) >= 24",
    ),
    (&["cleanup", "orphaned"], 12, 12, "\"userId\" > 1000"),
    (&["revoke", "user", "5"], 9, 9, "\"userId\" = 5"),
    (&["revoke", "where", "--user-like", "USER7"], 132, 2, "\"userId\" = 7"),
    (&["revoke", "session", "m1"], 1, 1, "id = 'm1'"),
    (&["revoke", "session", "s3"], 1, 1, "id = 's3'"),
    (&["cleanup", "duplicates"], 3, 3, "id IN ('s1', 's2', 'e2')"),
    (&["cleanup", "excess", "--keep", "1"], 37, 37, "1 = 0"),
    (&["revoke", "all"], 239, 109, "1 = 1"),
];

impl Site<'_> {
    fn is_fixed_and_undone(&self) {
        let mut before = (self.sql)(TABLE);
        for (arguments, rows, active, gone) in ACTIONS {
            let plan = plan(self.folder, arguments);
            assert_eq!((&plan["rows"], &plan["active"]), (&rows.into(), &active.into()), "{arguments:?}");
            assert_eq!((self.sql)(TABLE), before, "a plan touches nothing");
            let (applied, code) = apply(self.folder, arguments);
            let done = (code, &applied["done"], &applied["skipped"], &applied["still_matching"]);
            assert_eq!(done, (0, &rows.into(), &0.into(), &0.into()), "{arguments:?} {applied:#}");
            let still = (self.sql)(&format!("SELECT COUNT(*) FROM sessions WHERE {gone}"));
            assert_eq!(still.trim(), "0", "{arguments:?}");
            let archive = applied["plan"].as_str().unwrap();
            let (restored, code) = apply(self.folder, &["archive", "restore", archive]);
            // Deleted users and duplicate tokens cannot be logged in.
            let stays = match arguments[1] {
                "orphaned" | "all" => 12,
                "duplicates" => 2,
                _ => 0,
            };
            // The plan promised no more than that.
            assert_eq!((&restored["done"], &restored["skipped"]), (&(rows - stays).into(), &0.into()));
            assert_eq!(code, 0);
            if stays == 0 {
                assert_eq!((self.sql)(TABLE), before, "{arguments:?}");
            } else if arguments[1] == "orphaned" {
                for number in 1..=12 {
                    let values = format!("'o{number}', 'orphan-{number}', {}, {}", 1000 + number, self.live);
                    (self.sql)(&format!("INSERT INTO sessions VALUES ({values})"));
                }
            }
            before = (self.sql)(TABLE);
        }
    }
}

#[test]
fn every_action_does_what_its_plan_says_and_can_be_restored() {
    for backend in BACKENDS {
        backend.visit_anomalous(&|site| site.is_fixed_and_undone());
    }
}
