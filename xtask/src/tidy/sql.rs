//! Rule: SQL text, database drivers and names of dialects occur only in the crates of targets and of the store.

use proc_macro2::{Literal, TokenTree};

use super::{
    TidyFinding, TidyRule,
    source::{SourceFile, flatten},
};

/// Folders and files that may contain SQL. Tests may too.
const SQL_FOLDERS: [&str; 8] = [
    "crates/bench/",
    "crates/pg-link/",
    "crates/sessionwatch-store/",
    "crates/sessionwatch-targets/",
    "crates/sessionwatch-app/src/demo.rs",
    "crates/sessionwatch-app/src/demo/",
    "crates/testkit/",
    "xtask/",
];

/// Keywords that SQL statements begin with.
const STATEMENT_KEYWORDS: [&str; 11] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE",
];
const DIALECT_TYPES: [&str; 4] = ["MySql", "Postgres", "Redis", "Sqlite"];
const DRIVER_CRATES: [&str; 2] = ["rusqlite", "tokio_postgres"];

pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    if SQL_FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
        return;
    }
    let mut tokens = Vec::new();
    flatten(source.tokens.clone(), &mut tokens);
    for (index, token) in tokens.iter().enumerate() {
        let line = token.span().start().line;
        let what = match token {
            TokenTree::Literal(literal) => find_statement(literal).map(|word| format!("SQL text ({word} …)")),
            TokenTree::Ident(name) => foreign_name(&name.to_string(), &tokens[..index], &tokens[index + 1..]),
            _ => None,
        };
        if let Some(what) = what.filter(|_| !source.is_test(line)) {
            let message = format!("{what} outside of the target and store crates: add a function there");
            findings.push(TidyFinding::new(TidyRule::SqlOutsideTargets, source, line, message));
        }
    }
}

/// Returns the keyword that a literal begins with, or `None` if the literal is not an SQL statement.
fn find_statement(literal: &Literal) -> Option<&'static str> {
    let text = literal.to_string();
    let text = text.trim_start_matches(['b', 'c', 'r', '#']).strip_prefix('"')?.trim_start();
    STATEMENT_KEYWORDS.into_iter().find(|word| {
        text.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\n']) || rest.starts_with("\\n"))
    })
}

fn foreign_name(name: &str, before: &[TokenTree], after: &[TokenTree]) -> Option<String> {
    let in_path = |tokens: &mut dyn Iterator<Item = &TokenTree>| {
        let mut is_colon =
            || matches!(tokens.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
        is_colon() && is_colon()
    };
    let begins_path = in_path(&mut after.iter());
    if DRIVER_CRATES.contains(&name) && begins_path {
        return Some(format!("the driver `{name}`"));
    }
    if DIALECT_TYPES.contains(&name) && in_path(&mut before.iter().rev()) {
        return Some(format!("a special case for `{name}`"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{TidyRule, findings_of};

    fn count(path: &str, text: &str) -> usize {
        findings_of(TidyRule::SqlOutsideTargets, path, text).len()
    }

    #[test]
    fn sql_drivers_and_dialects_are_found_elsewhere() {
        let path = "crates/sessionwatch-app/src/doctor.rs";
        assert_eq!(count(path, r#"fn f() { ask(&format!("SELECT {column} FROM t")); }"#), 1);
        assert_eq!(count(path, r##"const Q: &str = r#"DELETE FROM "t""#;"##), 1);
        assert_eq!(count(path, "fn f() { if x == Dialect::Postgres {} }"), 1);
        assert_eq!(count(path, "fn f() { let Address::Sqlite(path) = a else { return }; }"), 1);
        assert_eq!(count(path, "use rusqlite::Connection;"), 1);
    }

    #[test]
    fn targets_store_tests_and_plain_words_pass() {
        let sql = r#"const Q: &str = "SELECT 1";"#;
        assert_eq!(count("crates/sessionwatch-targets/src/sql.rs", sql), 0);
        assert_eq!(count("crates/sessionwatch-store/src/alerts.rs", sql), 0);
        assert_eq!(count("crates/sessionwatch/tests/it/a.rs", sql), 0);
        assert_eq!(count("crates/sessionwatch-web/src/test_database.rs", sql), 0);
        let tests = format!("#[cfg(test)]\nmod tests {{\n    {sql}\n}}");
        assert_eq!(count("crates/sessionwatch-app/src/doctor.rs", &tests), 0);
        let words = r#"const P: [&str; 2] = ["SELECT", "Update the file"]; fn f() -> Postgres { Postgres }"#;
        assert_eq!(count("crates/sessionwatch-app/src/doctor.rs", words), 0);
    }
}
