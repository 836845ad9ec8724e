//! Hostile values of every key: each is accepted or reported, and none ends the program.

use super::*;

/// Keys that hold a secret, or may: their values must not appear in messages.
const SECRET_KEY_NAMES: [&str; 6] = ["url", "replica_url", "write_url", "store", "secret", "client_secret"];

/// Values beyond every limit, of every type of TOML.
const HOSTILE_VALUES: [&str; 14] = [
    "9223372036854775807",
    "-9223372036854775808",
    "0",
    "1.7976931348623157e308",
    "nan",
    "true",
    "\"\"",
    "\"9223372036854775807d\"",
    "\"${\"",
    "\"* * * * * * *\"",
    "[\"\", \"\\n\"]",
    "\"\\u0000\\u001B[2J\\u202E\"",
    "{ a = 1 }",
    "9999-12-31T23:59:59Z",
];

/// Returns the heading and the keys of every section, as the example lists them.
fn list_sections() -> Vec<(String, Vec<String>)> {
    let mut sections = vec![(String::new(), vec![])];
    for line in sections::render_example().lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') && line.ends_with(']') {
            sections.push((line.to_owned(), vec![]));
        } else if let (Some((key, _)), Some((_, keys))) = (line.split_once(" = "), sections.last_mut()) {
            let is_key = key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
            keys.extend(is_key.then(|| key.to_owned()));
        }
    }
    sections
}

/// Returns a file with these lines in one section.
fn file_with(heading: &str, lines: &[String]) -> String {
    let (target, lines) = ("[[target]]\nname = \"main\"\nurl = \"app.db\"\n", lines.join("\n"));
    match heading {
        "" => format!("{lines}\n{target}"),
        "[[target]]" => format!("[[target]]\n{lines}\n"),
        _ => format!("{target}{heading}\n{lines}\n"),
    }
}

/// Parses a file. Returns the messages about it.
fn messages_about(text: &str) -> Vec<String> {
    match Config::parse(Path::new("folder/sessionwatch.toml"), text) {
        Ok(_) => vec![],
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Returns whether a message has no character that steers a terminal.
fn is_printable(message: &str) -> bool {
    !message.contains(|letter: char| letter.is_control() || letter == '\u{202e}')
}

#[test]
fn names_in_messages_are_printable() {
    let target = "[[target]]\nname = \"a\\u001B[2J\"\nurl = \"app.db\"\n";
    for text in [
        "\"a\\u001B[2J\" = 1\n".to_owned(),
        "[\"a\\u001B[2J\"]\nb = 1\n".to_owned(),
        "[checks.\"a\\u001B[2J\"]\nenabled = 1\n".to_owned(),
        format!("{target}{target}"),
        format!("{target}profile = \"\\u0000\\u001B[2J\"\n"),
        format!("{target}[actions]\narchive_recipient = \"\\u001B[2J\"\n"),
    ] {
        let messages = messages_about(&text);
        assert!(!messages.is_empty(), "{text}");
        assert!(messages.iter().all(|message| is_printable(message)), "{text}: {messages:?}");
    }
}

#[test]
fn messages_about_invalid_syntax_are_one_line_each() {
    for text in ["a", "a =", "a = 'x", "a = \"\\q\"", "[a", "a = [1,", "a = 1\na = 2", "a = \u{1b}", "= 1"] {
        let messages = messages_about(text);
        assert!(!messages.is_empty(), "{text}");
        assert!(messages.iter().all(|message| is_printable(message)), "{text}: {messages:?}");
        assert!(!messages.iter().any(|message| message.contains('\u{fffd}')), "{text}: {messages:?}");
    }
}

#[test]
fn a_hostile_value_of_any_key_is_accepted_or_reported() {
    let sections = list_sections();
    let count: usize = sections.iter().map(|(_, keys)| keys.len()).sum();
    assert!(count > 200, "{count} keys");
    for (heading, keys) in &sections {
        for value in HOSTILE_VALUES {
            let lines: Vec<String> = keys.iter().map(|key| format!("{key} = {value}")).collect();
            let messages = messages_about(&file_with(heading, &lines));
            assert!(messages.iter().all(|message| !message.trim().is_empty()), "{heading} {value}");
            assert!(messages.iter().all(|message| is_printable(message)), "{heading} {value}: {messages:?}");
        }
    }
}

#[test]
fn values_of_the_wrong_type_are_all_reported_with_their_keys() {
    for (heading, keys) in list_sections() {
        let lines: Vec<String> = keys.iter().map(|key| format!("{key} = {{ a = 1 }}")).collect();
        let messages = messages_about(&file_with(&heading, &lines));
        for key in keys {
            assert!(messages.iter().any(|message| message.contains(&key)), "{heading} {key}: {messages:?}");
        }
    }
}

#[test]
fn a_key_that_does_not_exist_is_reported_in_every_section() {
    for (heading, _) in list_sections() {
        let messages = messages_about(&file_with(&heading, &["no_such_key = 1".to_owned()]));
        assert!(messages.iter().any(|message| message.contains("no_such_key")), "{heading}: {messages:?}");
    }
}

#[test]
fn a_secret_of_the_wrong_form_is_not_repeated_in_a_message() {
    let mut count = 0;
    for (heading, keys) in list_sections() {
        let secrets: Vec<&String> =
            keys.iter().filter(|key| SECRET_KEY_NAMES.contains(&key.as_str())).collect();
        count += secrets.len();
        for value in
            ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d", "hunter2", "://hunter2@", "hunter2\\n"]
        {
            let lines: Vec<String> = secrets.iter().map(|key| format!("{key} = \"{value}\"")).collect();
            for message in messages_about(&file_with(&heading, &lines)) {
                assert!(!message.contains("hunter2"), "{heading} {value}: {message}");
            }
        }
    }
    assert!(count >= SECRET_KEY_NAMES.len(), "{count}");
}
