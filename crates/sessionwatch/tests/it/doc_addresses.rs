//! Every path of the daemon that the documentation names exists.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use testkit::{ClientRequest, DaemonProcess};

#[test]
fn every_path_in_the_documentation_exists() {
    let paths = list_documented_paths();
    assert!(paths.len() > 10, "{paths:?}");
    let (folder, database) = (tempfile::tempdir().unwrap(), testkit::healthy_database());
    let url = database.url("postgres");
    let text = format!("[[target]]\nname = \"main\"\nurl = \"{url}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n");
    fs::write(folder.path().join("sessionwatch.toml"), text).unwrap();
    testkit::create_account(folder.path(), "ada", "admin");
    let daemon = DaemonProcess::start(folder.path());
    let status = |path: &str| {
        let request = ClientRequest { method: "GET", path, headers: &[], body: b"" };
        testkit::http::send_request(&daemon.address, request).status
    };
    // Paths that exist ask for a login or another method, and do not say who may know which target.
    assert_eq!((status("/awake/main"), status("/api/v1/nothing")), (404, 404));
    let missing: Vec<&String> = paths.iter().filter(|path| status(path) == 404).collect();
    assert!(missing.is_empty(), "the daemon does not have {missing:?}");
}

/// Lists the paths in examples (`http://127.0.0.1:9797/metrics`, `…/api/v1/runs`) and in sentences (`/healthz`).
fn list_documented_paths() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let examples = Regex::new(r"(?:127\.0\.0\.1:9797|…)(/[a-z][\w/.-]*)").unwrap();
    let sentences =
        Regex::new(r"`(?:GET |POST |DELETE )?(/(?:api/v1/|metrics|healthz|readyz|targets)[\w/.{}-]*)`")
            .unwrap();
    let mut found = BTreeSet::new();
    for page in glob::glob(&format!("{}/docs/**/*.md", root.display())).unwrap() {
        let text = fs::read_to_string(page.unwrap()).unwrap();
        for capture in examples.captures_iter(&text).chain(sentences.captures_iter(&text)) {
            found.insert(capture[1].replace("{target}", "main").replace(['{', '}'], ""));
        }
    }
    found
}
