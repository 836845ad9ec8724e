//! Sessions that were ended in place are restored, including NULL values, unless they have changed since.

use std::path::Path;

use serde_json::Value;
use testkit::run_program_in;

use super::{
    BACKENDS, TestDatabase,
    remediation::{document, plan},
};

/// Numbered sessions that lack one or several values: the last has neither an ID nor a token.
const TABLE: &str = "DROP TABLE IF EXISTS s;
CREATE TABLE s (n integer, id text UNIQUE, t text, u text, e bigint, ended text, seen integer);
INSERT INTO s VALUES (1, 'a', 'a-token-of-a-usual-length', 'u1', 4000000000, NULL, 0), \
  (2, 'b', NULL, 'u1', 4000000000, NULL, 0),
  (3, 'c', 'c-token-of-a-usual-length', NULL, 4000000000, NULL, 0), \
    (4, NULL, 'd-token-of-a-usual-length', 'u1', 4000000000, NULL, 0),
  (5, NULL, 'e-token-of-a-usual-length', NULL, 4000000000, 'no', 0), (6, NULL, NULL, 'u1', 4000000000, NULL, 0);";
/// Ways to end a session in place, and the condition that ended sessions satisfy.
const WAYS: [(&str, &str); 2] = [
    ("revoke = \"expire\"", "e < 4000000000"),
    ("revoke = \"flag\"\nrevoke_column = \"ended\"\nrevoke_value = \"yes\"", "ended = 'yes'"),
];

/// Applies a plan and returns the result.
fn apply_plan(folder: &Path, plan: &Value) -> Value {
    let command = ["apply", plan["id"].as_str().unwrap(), "--confirm", "app", "--format", "json"];
    document(&run_program_in(folder, &[], &command))["applied"].clone()
}

/// Plans a restore of an archive, of which this many rows can be restored, and applies it.
fn restore(folder: &Path, archive: &str, count: u64) -> Value {
    let command = ["archive", "restore", archive];
    let plan = plan(folder, &command);
    assert_eq!(plan["rows"], count, "{plan:#}");
    let notes = plan["notes"].to_string();
    assert!(!notes.contains("without a token fingerprint"), "a token that is NULL has none: {notes}");
    apply_plan(folder, &plan)
}

struct Story<'a> {
    database: &'a dyn TestDatabase,
    folder: &'a Path,
    is_ended: &'a str,
}

impl Story<'_> {
    fn rows(&self, condition: &str) -> String {
        self.database.query(&format!("SELECT * FROM s WHERE {condition} ORDER BY n"))
    }

    fn numbers(&self, condition: &str) -> String {
        self.database.query(&format!("SELECT n FROM s WHERE {condition} ORDER BY n")).replace('\n', "")
    }

    /// Ends every active session after they have moved within the table. Returns the plan's ID.
    fn end_all(&self, count: u64) -> String {
        let plan = plan(self.folder, &["revoke", "all"]);
        self.database.execute("UPDATE s SET seen = seen + 1");
        let ended = apply_plan(self.folder, &plan);
        assert_eq!((&ended["done"], &ended["skipped"]), (&count.into(), &0.into()), "{ended:#}");
        assert_eq!(self.numbers(self.is_ended), "123456");
        plan["id"].as_str().unwrap().to_owned()
    }

    fn whatever_is_null_comes_back(&self) {
        let archive = self.end_all(6);
        let restored = restore(self.folder, &archive, 5);
        assert_eq!((&restored["done"], &restored["skipped"]), (&5.into(), &0.into()), "{restored:#}");
        assert_eq!(self.numbers(self.is_ended), "6", "nothing distinguishes its row from others");
        let as_before = TABLE.replace(", 0)", ", 1)");
        let after = self.rows("n < 6");
        self.database.execute(&as_before);
        assert_eq!(after, self.rows("n < 6"));
    }

    fn sessions_changed_since_are_left(&self) {
        let archive = self.end_all(6);
        self.database.execute("UPDATE s SET u = 'u2' WHERE n = 1; UPDATE s SET t = NULL WHERE n = 3;");
        let changed = self.rows("n IN (1, 3)");
        let restored = restore(self.folder, &archive, 4);
        assert_eq!((&restored["done"], &restored["skipped"]), (&3.into(), &1.into()), "{restored:#}");
        assert_eq!(self.rows("n IN (1, 3)"), changed);
        assert_eq!(self.numbers(self.is_ended), "136");
    }
}

#[test]
fn a_session_ended_in_place_is_restored_with_its_null_values() {
    for backend in BACKENDS {
        let database = backend.create();
        for url in database.urls() {
            for (revoke, is_ended) in WAYS {
                let folder = tempfile::tempdir().unwrap();
                let text = format!(
                    "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n\
                     [target.mapping]\nsessions = \"s\"\n\
                     id = \"id\"\ntoken = \"t\"\nuser = \"u\"\nexpires = \"e\"\ndecoder = \"epoch-s\"\n{revoke}\n"
                );
                std::fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
                let story = Story { database: &*database, folder: folder.path(), is_ended };
                database.execute(TABLE);
                story.whatever_is_null_comes_back();
                story.sessions_changed_since_are_left();
            }
        }
    }
}
