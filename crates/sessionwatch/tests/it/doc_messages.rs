//! The messages that the troubleshooting page lists are texts of the program.

use std::{fs, path::Path};

use regex::Regex;

#[test]
fn every_listed_message_is_a_text_of_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    read_code(&root.join("crates"), &mut code);
    // Lines of a literal that continue, and quotation marks in it.
    let code = Regex::new(r"\\\n\s*").unwrap().replace_all(&code, "").replace("\\\"", "\"");
    let page = fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let spans = Regex::new(r"``(.+?)``|`([^`]+)`").unwrap();
    let mut missing = vec![];
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    for (message, _) in rows {
        for span in spans.captures_iter(message) {
            let text = span.get(1).or_else(|| span.get(2)).unwrap().as_str();
            missing.extend(
                text.split('…').map(str::trim).filter(|part| !code.contains(part)).map(str::to_owned),
            );
        }
    }
    assert!(missing.is_empty(), "the program never prints: {missing:#?}");
}

/// Appends the code of the program below a folder, without comments and tests.
fn read_code(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["tests", "testkit", "bench"].contains(&name) {
                read_code(&path, code);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let (text, _) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            lines.for_each(|line| code.extend([line, "\n"]));
        }
    }
}
