//! Databases and logs that users have reported, each with the correct answer.

use std::path::Path;
use testkit::{ProgramOutput, run_program_in};

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cases");

/// Cases without a correct answer yet, with the reason. None of these may get a wrong answer.
const NOT_YET: [(&str, &str); 16] = [
    ("07-health-check-sessions.sql", "a profile for connect-session-sequelize"),
    ("08-directus-three-million.sql", "a profile for Directus"),
    ("10-lucia-seconds.sqlite.sql", "a profile for Lucia"),
    ("12-local-time-in-timestamp.sql", "local time is doubted, and not corrected before its zone is named"),
    ("15-laravel-user-set-null.sql", "a profile for Laravel"),
    ("16-guests-have-user-zero.sql", "a profile for MyBB"),
    ("21-zero-means-never.sql", "a profile of its own columns"),
    ("22-end-is-always-null.sql", "a profile for Supabase Auth"),
    ("30-revoked-and-idle.sql", "a profile of its own columns"),
    ("50-mattermost.sql", "a profile for Mattermost"),
    ("51-supertokens.sql", "a profile for SuperTokens"),
    ("60-ory-kratos.sql", "a profile for Ory Kratos"),
    ("60-ory-kratos.sqlite.sql", "a profile for Ory Kratos"),
    ("61-lemmy.sql", "a profile for Lemmy"),
    ("70-payload-users-sessions.sql", "a profile for Payload"),
    ("74-rails-8.sql", "a profile for Rails"),
];

/// Counts of the last hour, which may shrink while a case runs.
const MOVING: [&str; 1] = ["rapid-creation"];
/// Checks that one run cannot evaluate, and one that depends on the speed of this machine.
const NOT_EVALUATED: [&str; 2] = ["creation-rate", "slow-check-run"];

/// One case and its outcome.
struct Tried<'a> {
    case: &'a Value,
    check: ProgramOutput,
    report: Value,
    wrong: Vec<String>,
}

fn json(said: &ProgramOutput) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or(Value::Null)
}

/// Reads the statements of a case. A `then` script runs after the main one.
fn statements(file: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
    match file.strip_suffix(".then.sql") {
        Some(first) => read(&format!("{first}.sql")) + &read(file),
        None => read(file),
    }
}

impl Tried<'_> {
    fn expects(&mut self, what: &str, expected: &Value, found: &Value) {
        let (wanted, got) = (expected.as_f64(), found.as_f64());
        let near = |slack: f64| wanted.zip(got).is_some_and(|(wanted, got)| (wanted - got).abs() <= slack);
        let moving = MOVING.contains(&what) && near(3.0) && got <= wanted;
        if !(expected == found || near(0.0051) || moving) {
            self.wrong.push(format!("{what}: {found} instead of {expected}"));
        }
    }

    fn check(&self, id: &str) -> Value {
        let checks = self.report["checks"].as_array().cloned().unwrap_or_default();
        checks.into_iter().find(|check| check["id"] == id).unwrap_or(Value::Null)
    }

    fn compare(&mut self) {
        let case = self.case;
        let is_recognized = !self.report["stats"].is_null();
        match &case["recognized"] {
            Value::Bool(expected) if *expected != is_recognized => {
                return self.wrong.push(format!("recognized: {is_recognized}: {}", self.check.stderr));
            }
            Value::String(_) if self.check.exit_code != 3 && self.check.exit_code != 1 => {
                self.wrong.push(format!("not refused: {}", self.check.exit_code));
            }
            _ => {}
        }
        for (name, expected) in case["stats"].as_object().into_iter().flatten() {
            // The number of shared tokens occurs only in the summary.
            if name != "duplicates_across_users" {
                let found = self.report["stats"][name].clone();
                self.expects(name, expected, &found);
            }
        }
        for (id, expected) in case["failing"].as_object().into_iter().flatten() {
            let found = self.check(id);
            if NOT_EVALUATED.contains(&id.as_str()) || found.is_null() {
                continue;
            }
            self.expects("verdict", &"failing".into(), &found["result"]);
            if !expected.is_null() {
                self.expects(id, expected, &found["value"]);
            }
        }
        for (key, verdict) in [("passing", "passing"), ("unknown", "unknown")] {
            for id in case[key].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let found = self.check(id);
                if id != "*" && !found.is_null() && !NOT_EVALUATED.contains(&id) {
                    self.expects(&format!("{id} {key}"), &verdict.into(), &found["result"]);
                }
            }
        }
    }
}

/// Names and numbers that must be in the output, because the rest alone would hide the damage.
fn unsaid(case: &Value, said: &str) -> Vec<String> {
    if case["harm"] != true {
        return vec![];
    }
    let words = case["doctor_says"].as_str().unwrap_or_default().split('`').skip(1).step_by(2);
    words.filter(|word| !said.contains(*word)).map(|word| format!("not said: {word}")).collect()
}

/// Answers that would do harm: passing although there is damage, or the reverse.
fn harm(case: &Value, tried: &Tried<'_>) -> Vec<String> {
    let never = [("failing", "passing"), ("unknown", "passing"), ("passing", "failing")];
    let listed = |key: &str| match &case[key] {
        Value::Object(checks) => checks.keys().cloned().collect(),
        Value::Array(checks) => checks.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![],
    };
    let verdicts =
        never.iter().flat_map(|(key, verdict)| listed(key).into_iter().map(move |id| (id, *verdict)));
    let mut harmful: Vec<String> = verdicts
        .filter(|(id, verdict)| {
            !NOT_EVALUATED.contains(&id.as_str()) && tried.check(id)["result"] == *verdict
        })
        .map(|(id, verdict)| format!("{id} is {verdict}"))
        .collect();
    if case["recognized"] == false && !tried.report["stats"].is_null() {
        harmful.push("taken for sessions".into());
    }
    harmful
}

/// Runs a case. Returns what is wrong, and which of it would do harm.
fn try_case(case: &Value) -> (Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = case["file"].as_str().unwrap();
    let run = |arguments: &[&str]| run_program_in(folder.path(), &[], arguments);
    let (mut wrong, mut harmful) = (vec![], vec![]);
    let database = (case["db"] == "postgres").then(testkit::empty_database);
    let url = match (&database, case["db"].as_str()) {
        (Some(database), _) => {
            database.psql(&statements(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            database.url("postgres")
        }
        (_, Some("sqlite")) => {
            let app = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
            // As the applications do that wrote these files.
            app.pragma_update(None, "foreign_keys", false).unwrap();
            app.execute_batch(&statements(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            "app.db".to_owned()
        }
        _ => String::new(),
    };
    if !url.is_empty() {
        let check = run(&["check", &url, "--format", "json"]);
        let mut said = check.stdout.clone() + &check.stderr;
        let mut tried = Tried { case, report: json(&check)["targets"][0].take(), check, wrong: vec![] };
        tried.compare();
        harmful = harm(case, &tried);
        wrong = tried.wrong;
        let doctor = run(&["doctor", &url]);
        said.push_str(&doctor.stdout);
        if let Some(kind) = case["plan"]["kind"].as_str() {
            let plan = run(&["cleanup", kind, &url, "--format", "json"]);
            let (made, expected) = (json(&plan)["plan"].clone(), &case["plan"]["rows"]);
            let rows = made["rows"].clone();
            if rows.as_u64() > expected.as_u64() || made["active"].as_u64() > Some(0) {
                harmful.push(format!("the plan has {rows} rows, {} of them live", made["active"]));
            }
            said.push_str(&(plan.stdout.clone() + &plan.stderr));
            // Without a plan, no rows are affected.
            if rows != *expected && !(rows.is_null() && *expected == 0) {
                wrong.push(format!("plan: {rows} rows instead of {expected}: {}", plan.stderr));
            }
        }
        wrong.extend(unsaid(case, &said));
    }
    let log = if case["db"] == "log" { Some(file) } else { case["log"].as_str() };
    if let (Some(log), Some(expected)) = (log, case["log_events"].as_object()) {
        let text = std::fs::read_to_string(Path::new(FOLDER).join(log)).unwrap();
        let lines: Vec<&str> = text.lines().skip_while(|line| line.starts_with("# ")).collect();
        std::fs::write(folder.path().join("app.log"), lines.join("\n") + "\n").unwrap();
        let found = json(&run(&["logs", "scan", "app.log", "--format", "json"]));
        for (kind, count) in expected {
            let kinds = found["kinds"].as_array().cloned().unwrap_or_default();
            let log_events: u64 = kinds
                .iter()
                .filter(|found| found["kind"] == kind.as_str())
                .filter_map(|found| found["log_events"].as_u64())
                .sum();
            if count.as_u64() != Some(log_events) {
                wrong.push(format!("{kind} in the log: {log_events} instead of {count}"));
            }
        }
    }
    (wrong, harmful)
}

#[test]
fn every_case_is_answered_correctly_or_not_yet() {
    let cases = std::fs::read_to_string(Path::new(FOLDER).join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    let mut complaints = vec![];
    for case in &cases {
        let file = case["file"].as_str().unwrap();
        let (wrong, harmful) = try_case(case);
        match (NOT_YET.iter().find(|(name, _)| *name == file), wrong.is_empty()) {
            (None, false) => complaints.push(format!("{file}: {}", wrong.join("; "))),
            (Some(_), false) if !harmful.is_empty() => {
                complaints.push(format!("{file} does harm: {}", harmful.join("; ")));
            }
            (Some((_, reason)), true) => complaints.push(format!("{file} is right, and listed: {reason}")),
            _ => {}
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
