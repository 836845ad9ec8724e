//! The formats and the options of `check`: documents that other programs accept, and exit codes that jobs rely on.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;
use serde_json::Value;
use testkit::{ProgramOutput, run_program_in};

const FORMATS: [&str; 7] = ["table", "json", "ndjson", "csv", "markdown", "sarif", "junit"];

/// What every token has after its prefix. Nothing of it may be printed.
const PLANTED: &str = "Z-planted-token-that-no-reader-may-see-";

const TABLES: &str = r#"CREATE TABLE users (id text PRIMARY KEY, name text, email text);
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL,
  "userId" text NOT NULL, expires text NOT NULL);
CREATE INDEX by_user ON sessions ("userId"); CREATE INDEX by_expires ON sessions (expires);
"#;

/// Makes a target `main` with 1,180 sessions: two share a token, and 14 have no user.
fn folder_with_findings() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut sql = format!("{TABLES}BEGIN;");
    let session = |n: u32, token: u32, user: &str| {
        format!(
            "INSERT INTO sessions VALUES ('s{n}', printf('%08x', {token}) || '{PLANTED}' || {token}, '{user}', \
             strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+3 days'));"
        )
    };
    for n in 0..1_166 {
        let name = if n == 0 { "<b>&\"]]>[x](http://e.example)\u{1}" } else { "Ada" };
        sql.push_str(&format!("INSERT INTO users VALUES ('u{n}', '{name}', 'a{n}@example.org');"));
        sql.push_str(&session(n, n.max(1), &format!("u{n}")));
    }
    (1_166..1_180).for_each(|n| sql.push_str(&session(n, n, &format!("ghost{n}"))));
    create_target(folder.path(), &format!("{sql}COMMIT;"));
    folder
}

fn create_target(folder: &Path, sql: &str) {
    Connection::open(folder.join("app.db")).unwrap().execute_batch(sql).unwrap();
    let text = "[[target]]\nname = \"main\"\nurl = \"sqlite:app.db\"\n";
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}

fn check(folder: &Path, arguments: &[&str]) -> ProgramOutput {
    run_program_in(folder, &[], &[&["check", "main"], arguments].concat())
}

#[test]
fn the_report_opens_with_the_headline_and_every_finding_has_its_fix() {
    let folder = folder_with_findings();
    let report = check(folder.path(), &[]);
    assert_eq!(report.exit_code, 1, "{}", report.stderr);
    let text = &report.stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("failing: 2 of ")
            && lines[0].ends_with(" checks on main (1 critical, 1 high), 2 skipped"),
        "{text}"
    );
    assert!(lines[lines.len() - 1].starts_with("Checked 1,180 sessions in "), "{text}");
    for part in [
        "\n  Fix:       sessionwatch cleanup duplicates main\n             sessionwatch doctor main\n",
        "\n  Fix:       sessionwatch cleanup orphaned main\n",
        "\n    10 of 14 shown\n",
        " Result ",
        " Fails if\n",
        "\nNotes:\n",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    let position = |part: &str| text.find(part).unwrap_or_else(|| panic!("`{part}` is missing: {text}"));
    assert!(position("\nduplicate-tokens (critical): ") < position("\norphaned-sessions (high): "));
    assert!(position("\norphaned-sessions (high): ") < position("\n passing "));
    // The commands that are printed exist.
    for line in text
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("Fix:").trim().strip_prefix("sessionwatch "))
    {
        let arguments: Vec<&str> = line.split(' ').collect();
        let run = run_program_in(folder.path(), &[], &arguments);
        assert!([0, 1].contains(&run.exit_code), "{line}: {}", run.stderr);
    }
}

#[test]
fn no_format_shows_more_of_a_token_than_its_prefix() {
    let folder = folder_with_findings();
    for format in FORMATS {
        let report = check(folder.path(), &["--format", format]);
        assert_eq!(report.exit_code, 1, "{format}: {}", report.stderr);
        let text = report.stdout + &report.stderr;
        assert!(!text.contains(PLANTED) && !text.contains("Z-"), "{format}: {text}");
        assert!(format == "csv" || text.contains("0000048e"), "{format} shows prefixes: {text}");
        assert!(!text.contains('\u{1}'), "{format}");
    }
}

#[test]
fn sarif_has_what_its_schema_requires() {
    let folder = folder_with_findings();
    let report = check(folder.path(), &["--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(sarif["$schema"].as_str().unwrap().contains("sarif-2.1.0"));
    let run = &sarif["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "sessionwatch");
    assert_eq!(run["automationDetails"]["id"], "sessionwatch/main/");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["id"].is_string() && rule["shortDescription"]["text"].is_string(), "{rule:#}");
        assert!(rule["help"]["text"].as_str().is_some_and(|help| help.len() > 100), "{rule:#}");
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        assert!(["error", "warning", "note"].contains(&level), "{level}");
    }
    let results = run["results"].as_array().unwrap();
    let mut found: Vec<&str> = Vec::new();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"], "a result refers to its rule");
        // The schema allows a level other than none for failures only.
        assert_eq!((&result["kind"], &result["level"]), (&"fail".into(), &"error".into()), "{result:#}");
        let location = &result["locations"][0];
        assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], "sessionwatch.toml");
        assert_eq!(location["logicalLocations"][0]["fullyQualifiedName"], "main/sessions");
        found.push(result["ruleId"].as_str().unwrap());
    }
    assert_eq!(found, ["duplicate-tokens", "orphaned-sessions"]);
    let text = |index: usize| results[index]["message"]["text"].as_str().unwrap();
    assert!(text(0).contains(r"\[x\](http://e.example)"), "a name is not a link: {}", text(0));
    assert!(text(1).contains("\n10 of 14 shown\n"), "{}", text(1));
    assert!(text(1).contains("\nFix: sessionwatch cleanup orphaned main\n"), "{}", text(1));
}

#[test]
fn junit_is_xml_with_a_case_per_check() {
    let folder = folder_with_findings();
    let document = parse_xml(&check(folder.path(), &["--format", "junit"]).stdout);
    assert_eq!((document.name.as_str(), document.children.len()), ("testsuites", 1));
    let suite = &document.children[0];
    assert_eq!((suite.name.as_str(), suite.attributes["name"].as_str()), ("testsuite", "main"));
    assert_eq!((suite.attributes["failures"].as_str(), suite.attributes["errors"].as_str()), ("2", "0"));
    let cases: Vec<&Element> = suite.children.iter().filter(|child| child.name == "testcase").collect();
    assert_eq!(suite.attributes["tests"], cases.len().to_string());
    let case = |id: &str| *cases.iter().find(|case| case.attributes["name"] == id).unwrap();
    assert!(case("expired-backlog").children.is_empty());
    let failure = &case("duplicate-tokens").children[0];
    assert_eq!((failure.name.as_str(), failure.attributes["type"].as_str()), ("failure", "critical"));
    assert!(failure.text.contains("(<b>&\"]]>[x](http://e.example)\u{fffd}, "), "{}", failure.text);
    assert!(failure.text.contains("\nFix: sessionwatch cleanup duplicates main\n"), "{}", failure.text);
    // A target that cannot be checked is an error for every check.
    std::fs::write(folder.path().join("app.db"), "this is no database, and long enough to be read as one")
        .unwrap();
    let broken = check(folder.path(), &["--format", "junit"]);
    assert_eq!(broken.exit_code, 3, "{}", broken.stderr);
    let suite = parse_xml(&broken.stdout).children.remove(0);
    assert_eq!(suite.attributes["tests"], suite.attributes["errors"]);
    assert!(suite.children.iter().all(|case| case.children[0].name == "error"));
}

#[test]
fn markdown_says_what_to_do_and_links_to_no_file() {
    let folder = folder_with_findings();
    let text = check(folder.path(), &["--format", "markdown"]).stdout;
    assert!(text.starts_with("## failing: 2 of "), "{text}");
    for part in [
        "\n### duplicate-tokens (critical)\n",
        "\n| Session | User | Expiry |\n|---|---|---|\n| token 00000001… | user u0 (",
        "\n10 of 14 shown\n",
        "\n**Action:** ",
        "\n```sh\nsessionwatch cleanup orphaned main\n",
        "\n### Notes\n\n- ",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    assert!(!text.contains("docs/") && !text.contains(".md"), "{text}");
}

#[test]
fn options_decide_what_fails_and_what_is_printed() {
    let folder = folder_with_findings();
    let run = |arguments: &[&str]| check(folder.path(), arguments);
    let headline = run(&["--summary"]);
    assert_eq!((headline.exit_code, headline.stdout.lines().count()), (1, 1), "{}", headline.stdout);
    assert!(headline.stdout.starts_with("failing: 2 of "), "{}", headline.stdout);
    // Findings below the severity are shown, and do not fail.
    let only = ["--only", "orphaned-sessions", "--fail-on"];
    for (severity, code) in [("low", 1), ("high", 1), ("critical", 0)] {
        let report = run(&[&only[..], &[severity]].concat());
        assert_eq!(report.exit_code, code, "{severity}");
        assert!(report.stdout.starts_with("failing: 1 of 1 check on main (1 high)\n"), "{}", report.stdout);
    }
    let quiet = run(&[&only[..], &["critical", "--quiet"]].concat());
    assert_eq!((quiet.exit_code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
    assert!(run(&["--quiet"]).stdout.starts_with("failing: "));
    let ignored = run(&["--ignore", "orphaned-sessions", "--ignore", "duplicate-tokens", "--summary"]);
    assert_eq!(ignored.exit_code, 0, "{}", ignored.stdout);
    assert!(ignored.stdout.starts_with("passing: "), "{}", ignored.stdout);
    let typo = run(&["--ignore", "orphaned-session"]);
    assert!(
        typo.exit_code == 2 && typo.stderr.contains("did you mean `orphaned-sessions`?"),
        "{}",
        typo.stderr
    );
    for (arguments, part) in [
        (&["--only", "expired-backlog", "--ignore", "expired-backlog"][..], "no check is left to run"),
        (&["--summary", "--format", "json"], "--format table"),
        (&["--fail-on", "hgih"], "high"),
    ] {
        let refused = run(arguments);
        assert!(refused.exit_code == 2 && refused.stderr.contains(part), "{}", refused.stderr);
    }
}

#[test]
fn an_empty_table_passes_only_without_users() {
    let ada = "INSERT INTO users VALUES ('u1', 'Ada', 'ada@example.org');";
    for (users, exit_code, result) in [("", 0, "passing: "), (ada, 3, "unknown: ")] {
        let folder = tempfile::tempdir().unwrap();
        create_target(folder.path(), &format!("{TABLES}{users}"));
        let report = check(folder.path(), &[]);
        assert_eq!(report.exit_code, exit_code, "{}", report.stdout);
        let headline = report.stdout.lines().next().unwrap();
        assert!(headline.starts_with(result), "{headline}");
        assert!(headline.ends_with(" skipped (the session table is empty)"), "{headline}");
        assert!(report.stdout.ends_with(" ms\n") && report.stdout.contains("\nChecked 0 sessions in "));
    }
}

/// An element of an XML document; its text is that of the element itself.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Element>,
    text: String,
}

/// Parses the XML that JUnit documents use, and panics on what no XML parser would accept.
fn parse_xml(document: &str) -> Element {
    let forbidden =
        |letter: char| letter < ' ' && !"\t\n\r".contains(letter) || "\u{fffe}\u{ffff}".contains(letter);
    assert!(!document.contains(forbidden), "a character that XML does not have");
    let mut rest =
        document.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
    let mut open = vec![Element::default()];
    while let Some(start) = rest.find('<') {
        open.last_mut().unwrap().text.push_str(&decode_xml(&rest[..start]));
        let end = rest[start..].find('>').expect("a tag ends") + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let element = open.pop().unwrap();
            assert_eq!(element.name, name, "tags are nested");
            open.last_mut().expect("an element is open").children.push(element);
            continue;
        }
        let (body, is_empty) = tag.strip_suffix('/').map_or((tag, false), |body| (body, true));
        let (name, mut left) = body.split_once(' ').unwrap_or((body, ""));
        let mut element = Element { name: name.to_owned(), ..Element::default() };
        while !left.is_empty() {
            let (key, value) = left.split_once("=\"").expect("a value in quotes");
            let (value, after) = value.split_once('"').expect("the quotes are closed");
            assert!(!value.contains('<'), "an attribute with a tag");
            let earlier = element.attributes.insert(key.trim().to_owned(), decode_xml(value));
            assert!(earlier.is_none(), "`{key}` is there twice");
            left = after.trim_start();
        }
        if is_empty {
            open.last_mut().unwrap().children.push(element);
        } else {
            open.push(element);
        }
    }
    assert!(rest.trim().is_empty() && open.len() == 1, "everything is closed");
    let mut root = open.remove(0);
    assert_eq!(root.children.len(), 1, "one root");
    root.children.remove(0)
}

fn decode_xml(text: &str) -> String {
    assert!(!text.contains("]]>"), "the end of a section that was not opened");
    let mut parts = text.split('&');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';').expect("an entity");
        decoded.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" | "#39" => '\'',
            _ => panic!("`&{entity};` is not an entity of XML"),
        });
        decoded.push_str(after);
    }
    decoded
}
