//! Prepares every SQL statement in this crate's source on both kinds of store, to find statements that only one of them
//! accepts.

use std::{collections::BTreeMap, path::Path};

use proc_macro2::{TokenStream, TokenTree};

use crate::{tests::store_of_each_kind, transaction::Tx};

/// First words of SQL statements.
const FIRST_WORDS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
/// Files whose statements are for one kind of store only.
const OF_ONE_KIND: [&str; 3] = ["database_copy.rs", "postgres_store.rs", "sqlite_connection.rs"];
/// Texts that only statements for one kind of store contain.
const OF_FILES: [&str; 2] = ["pragma_page_count", "sqlite_schema"];
const OF_SERVERS: [&str; 3] = ["clock_timestamp()", "pg_total_relation_size", "to_regclass("];
/// Placeholders in statements: the file, the placeholder, and all its values.
const INSERTED: [(&str, &str, &[&str]); 8] = [
    ("alerts.rs", "{}", &["($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"]),
    (
        "archive_batches.rs",
        "{passed}",
        &["state = 'kept' AND (($1 <> '' AND plan = $1) OR ($1 = '' AND purge_at <= $2))"],
    ),
    (
        "transaction.rs",
        "{table}",
        &[
            "archive_batches",
            "attestations",
            "audit",
            "drills",
            "events",
            "log_events",
            "outbox",
            "restores",
            "silences",
            "timeline_entries",
        ],
    ),
    ("history_events.rs", "{at}", &["at", "at + 0"]),
    ("outbox.rs", "{set}", &["state = 'sending'", "state = 'done', attempts = attempts + 1, error = NULL"]),
    ("outbox.rs", "{}", &["$1", "$1, $2"]),
    ("log_events.rs", "{}", &["$5", "$5, $6"]),
    (
        "log_events.rs",
        "{condition}",
        &[
            "COALESCE(severity, '') IN ('high', 'critical')",
            "NOT COALESCE(severity, '') IN ('high', 'critical')",
        ],
    ),
];

/// A statement and its file.
struct Statement {
    file: String,
    sql: String,
}

/// The string literals and string constants of a file, except those in test modules.
#[derive(Default)]
struct Texts {
    found: Vec<String>,
    constants: BTreeMap<String, String>,
}

impl Texts {
    fn collect(&mut self, tokens: TokenStream) {
        let mut last_name = String::new();
        let (mut is_constant, mut is_for_tests) = (false, false);
        for token in tokens {
            match token {
                TokenTree::Group(group) if group.stream().to_string().replace(' ', "") == "cfg(test)" => {
                    is_for_tests = true;
                }
                TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => {
                    if !is_for_tests {
                        self.collect(group.stream());
                    }
                    is_for_tests = false;
                }
                TokenTree::Group(group) => self.collect(group.stream()),
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    is_constant |= name == "const";
                    if name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_') {
                        last_name = name;
                    }
                }
                TokenTree::Punct(mark) if mark.as_char() == ';' => {
                    (is_constant, is_for_tests) = (false, false)
                }
                TokenTree::Punct(_) => {}
                TokenTree::Literal(literal) => {
                    let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else { continue };
                    if is_constant {
                        self.constants.insert(last_name.clone(), text.value());
                    }
                    self.found.push(text.value());
                }
            }
        }
    }
}

/// Returns every statement, with its placeholders filled in.
fn statements() -> Vec<Statement> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut statements = vec![];
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        if file.ends_with("tests.rs") || OF_ONE_KIND.contains(&file.as_str()) {
            continue;
        }
        let mut texts = Texts::default();
        texts.collect(std::fs::read_to_string(&path).unwrap().parse().unwrap());
        for text in &texts.found {
            if FIRST_WORDS.iter().any(|word| text.starts_with(word)) {
                let filled = filled(&file, text, &texts.constants);
                statements.extend(filled.into_iter().map(|sql| Statement { file: file.clone(), sql }));
            }
        }
    }
    statements
}

/// Fills the placeholders of a statement with all combinations of their values.
fn filled(file: &str, text: &str, constants: &BTreeMap<String, String>) -> Vec<String> {
    let mut filled = vec![text.to_owned()];
    for (name, value) in constants {
        filled.iter_mut().for_each(|sql| *sql = sql.replace(&format!("{{{name}}}"), value));
    }
    for (_, placeholder, values) in INSERTED.iter().filter(|(of, ..)| *of == file) {
        let each = |sql: String| values.iter().map(move |value| sql.replace(placeholder, value));
        filled = filled.into_iter().flat_map(each).collect();
        filled.dedup();
    }
    filled
}

fn prepare(db: Tx<'_>, sql: &str) -> Result<(), String> {
    match db {
        Tx::Sqlite(connection) => {
            let statement = connection.prepare(sql).map_err(|error| error.to_string())?;
            let mut names = (1..=statement.parameter_count()).map(|number| statement.parameter_name(number));
            // SQLite reads `$1::text` as one parameter name, which would never be bound.
            let is_number = |name: &str| name[1..].parse::<u32>().is_ok();
            let other = names.find(|name| !name.is_some_and(is_number));
            other.map_or(Ok(()), |name| Err(format!("{name:?} is not a numbered parameter")))
        }
        Tx::Postgres(_) => db
            .execute_batch(&format!("PREPARE it AS {sql}; DEALLOCATE it"))
            .map_err(|error| error.to_string()),
    }
}

#[test]
fn every_statement_is_valid_on_both_kinds_of_store() {
    let statements = statements();
    assert!(statements.len() > 130, "{} statements were found", statements.len());
    let mut refused = vec![];
    for store in store_of_each_kind() {
        let is_server = store.is_shared();
        for Statement { file, sql } in &statements {
            let sql = &sql.replace("{like}", if is_server { "ILIKE" } else { "LIKE" });
            let of = |marks: &[&str]| marks.iter().any(|mark| sql.contains(mark));
            if of(if is_server { &OF_FILES } else { &OF_SERVERS }) {
                continue;
            }
            let outcome = store.read(|db| Ok(prepare(db, sql))).unwrap();
            if let Err(error) = outcome {
                refused.push(format!("{file}, on a server {is_server}: {error}\n  {sql}"));
            }
        }
    }
    assert!(refused.is_empty(), "{} are refused:\n{}", refused.len(), refused.join("\n"));
}
