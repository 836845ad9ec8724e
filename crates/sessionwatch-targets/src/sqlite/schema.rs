//! Reads tables, columns, indexes and foreign keys of a file.

use super::SqliteRead;
use crate::{
    cells::TextRow,
    error::TargetError,
    sql::{
        Dialect,
        database_schema::DatabaseSchema,
        quote_identifier, quote_string,
        table_info::{ColumnInfo, ColumnKind, Equality, ForeignKey, IndexInfo, TableInfo, TableKind},
    },
};

/// Reads the tables and views of the file.
pub(super) fn read_schema(session: &SqliteRead) -> Result<DatabaseSchema, TargetError> {
    let names = session.query_rows(
        "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('table', \
         'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let mut tables = Vec::new();
    for row in names {
        if let [Some(name), Some(kind), ..] = row.as_slice() {
            tables.push(read_table(session, name, kind == "view")?);
            if let (Some(Some(definition)), Some(view), "view") =
                (row.get(2), tables.last_mut(), kind.as_str())
            {
                describe_view(definition, view);
            }
        }
    }
    Ok(DatabaseSchema { dialect: Dialect::SQLITE, has_named_search_path: false, tables })
}

fn read_table(session: &SqliteRead, name: &str, view: bool) -> Result<TableInfo, TargetError> {
    let quoted = quote_string(Dialect::SQLITE, name);
    let described = session
        .query_rows(&format!("SELECT name, lower(type), \"notnull\", pk FROM pragma_table_info({quoted})"))?;
    let columns: Vec<ColumnInfo> = described
        .iter()
        .zip(probe_equalities(session, name, &described)?)
        .filter_map(|(row, equality)| Some(ColumnInfo { equality, ..parse_column(row)? }))
        .collect();
    let mut indexes = Vec::new();
    for row in session
        .query_rows(&format!("SELECT name, \"unique\", origin, partial FROM pragma_index_list({quoted})"))?
    {
        let Some(Some(index)) = row.first() else { continue };
        let parts = session.query_rows(&format!(
            "SELECT name, coll FROM pragma_index_xinfo({}) WHERE key ORDER BY seqno",
            quote_string(Dialect::SQLITE, index)
        ))?;
        indexes.push(IndexInfo {
            name: index.clone(),
            complete: parts.iter().all(|part| part.first().is_some_and(Option::is_some))
                && cell_equals(&row, 3, "0"),
            exact: parts.first().is_some_and(|part| is_exact_index(&columns, part)),
            columns: parts.into_iter().filter_map(|part| part.into_iter().next().flatten()).collect(),
            unique: cell_equals(&row, 1, "1"),
            primary: cell_equals(&row, 2, "pk"),
        });
    }
    let keyed: Vec<&TextRow> = described.iter().filter(|row| !cell_equals(row, 3, "0")).collect();
    // SQLite lists no index for an INTEGER PRIMARY KEY, which is an alias of the row id.
    if let ([key], false) = (keyed.as_slice(), indexes.iter().any(|index| index.primary))
        && let Some(Some(column)) = key.first()
    {
        indexes.push(IndexInfo {
            name: "primary key".into(),
            columns: vec![column.clone()],
            unique: true,
            primary: true,
            complete: true,
            exact: true,
        });
    }
    Ok(TableInfo {
        name: name.to_owned(),
        kind: if view { TableKind::View } else { TableKind::Table },
        search_path_index: Some(0),
        without_rowid: is_without_rowid(session, &quoted)?,
        columns,
        indexes,
        foreign_keys: read_foreign_keys(session, &quoted)?,
        ..TableInfo::default()
    })
}

/// Determines how the values of each column are compared, if any definition in the file names a collation.
fn probe_equalities(
    session: &SqliteRead,
    name: &str,
    columns: &[TextRow],
) -> Result<Vec<Equality>, TargetError> {
    let collates = "SELECT 1 FROM sqlite_schema WHERE sql LIKE '%collate%' LIMIT 1";
    // Probing every column is slow, and most schemas name no collation.
    if session.query_rows(collates)?.is_empty() {
        return Ok(vec![Equality::Exact; columns.len()]);
    }
    // SQLite reports collations of indexes only, so each column is probed: UNION merges values that it
    // considers equal.
    let count_distinct = |column: &str, one: &str, other: &str| {
        format!(
            "(SELECT COUNT(*) FROM (SELECT {} FROM {} WHERE 0 UNION SELECT '{one}' UNION SELECT '{other}'))",
            quote_identifier(column),
            quote_identifier(name)
        )
    };
    let equality = |row: &TextRow| {
        let column = row.first().and_then(Option::as_deref).unwrap_or_default();
        let probe =
            format!("SELECT {}, {}", count_distinct(column, "A", "a"), count_distinct(column, "a", "a "));
        Ok(match session.query_rows(&probe) {
            Ok(rows) => match rows.as_slice() {
                [row] if cell_equals(row, 0, "1") => Equality::CaseInsensitive,
                [row] if cell_equals(row, 1, "1") => Equality::TrailingSpaceInsensitive,
                _ => Equality::Exact,
            },
            // The application registers this collation on its own connections only.
            Err(TargetError::Query(_)) => Equality::Collation,
            Err(error) => return Err(error),
        })
    };
    columns.iter().map(equality).collect()
}

/// Returns `true` for a table declared WITHOUT ROWID.
fn is_without_rowid(session: &SqliteRead, quoted: &str) -> Result<bool, TargetError> {
    let rows = session.query_rows(&format!("SELECT wr FROM pragma_table_list WHERE name = {quoted}"))?;
    Ok(rows.first().is_some_and(|row| cell_equals(row, 0, "1")))
}

fn cell_equals(row: &[Option<String>], at: usize, expected: &str) -> bool {
    row.get(at).is_some_and(|value| value.as_deref() == Some(expected))
}

fn parse_column(row: &[Option<String>]) -> Option<ColumnInfo> {
    let declared_type = row.get(1)?.clone().unwrap_or_default();
    let kind = if declared_type.contains("int") {
        ColumnKind::Integer
    } else if ["char", "clob", "text"].iter().any(|word| declared_type.contains(word)) {
        ColumnKind::Text
    } else {
        ColumnKind::Other
    };
    let (name, nullable) = (row.first()?.clone()?, cell_equals(row, 2, "0"));
    Some(ColumnInfo { name, declared_type, kind, nullable, readable: true, ..ColumnInfo::default() })
}

/// Returns `true` if values that differ to an index also differ to the column, so that uniqueness in the
/// index proves it for the column. `part` holds the first column of the index and its collation.
fn is_exact_index(columns: &[ColumnInfo], part: &[Option<String>]) -> bool {
    // Every collation other than `BINARY` makes more values equal.
    let column = part.first().and_then(Option::as_deref);
    let equality =
        columns.iter().find(|other| Some(other.name.as_str()) == column).map(|column| column.equality);
    let collation = part.get(1).and_then(Option::as_deref).unwrap_or_default();
    match equality {
        Some(Equality::CaseInsensitive) => collation.eq_ignore_ascii_case("NOCASE"),
        Some(Equality::TrailingSpaceInsensitive) => collation.eq_ignore_ascii_case("RTRIM"),
        Some(Equality::Collation) => false,
        _ => true,
    }
}

/// Analyzes the definition of a view by its keywords: base table, condition, and whether the view may drop or
/// join rows.
fn describe_view(definition: &str, view: &mut TableInfo) {
    /// Keywords after which a view may have fewer or other rows than its table, at any depth. `MIN` and `MAX`
    /// are aggregates unless they have several arguments.
    const AGGREGATING_WORDS: [&str; 10] =
        ["DISTINCT", "GROUP", "HAVING", "LIMIT", "JOIN", "UNION", "INTERSECT", "EXCEPT", "MIN", "MAX"];
    /// Keywords that end the list of tables.
    const AFTER_TABLES: [&str; 8] =
        ["WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "INTERSECT", "EXCEPT"];
    let tokens = split_tokens(definition);
    let count = |word: &str| tokens.iter().filter(|token| token.is_keyword(word)).count();
    let from = tokens.iter().position(|token| token.depth == 0 && token.is_keyword("FROM"));
    let tables = from.map_or(&[][..], |from| &tokens[from + 1..]);
    let end = tables
        .iter()
        .position(|token| token.depth == 0 && AFTER_TABLES.iter().any(|word| token.is_keyword(word)));
    let tables = &tables[..end.unwrap_or(tables.len())];
    let is_list = tables.iter().any(|token| token.is_mark(","));
    if count("SELECT") != 1 || is_list || AGGREGATING_WORDS.iter().any(|word| count(word) > 0) {
        view.visibility_caveat = Some(format!("`{}` is a view that groups, limits or joins rows", view.name));
    }
    view.is_filtered = count("WHERE") > 0;
    if count("SELECT") == 1 {
        view.base_tables.extend(base_table(tables).map(|name| name.to_lowercase()));
    }
}

/// Returns the first name in a list of tables, without its schema.
fn base_table(tables: &[Token]) -> Option<String> {
    match tables {
        [schema, dot, name, ..] if schema.is_name() && dot.is_mark(".") => {
            name.is_name().then(|| name.text.clone())
        }
        [name, ..] if name.is_name() => Some(name.text.clone()),
        _ => None,
    }
}

/// What a token of a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A quoted name or a string. SQLite accepts either for the other.
    Quoted,
    /// A single character of any other kind.
    Mark,
}

/// A token of a statement.
#[derive(Debug)]
struct Token {
    kind: TokenKind,
    text: String,
    /// Number of parentheses around it.
    depth: usize,
}

impl Token {
    fn is_keyword(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    fn is_name(&self) -> bool {
        self.kind != TokenKind::Mark
    }

    fn is_mark(&self, mark: &str) -> bool {
        self.kind == TokenKind::Mark && self.text == mark
    }
}

/// Splits a statement into tokens, without comments. Text after an unclosed quote is left out, which SQLite
/// would not have accepted.
fn split_tokens(statement: &str) -> Vec<Token> {
    let (mut tokens, mut rest, mut depth) = (Vec::new(), statement.trim_start(), 0_usize);
    while let Some(first) = rest.chars().next() {
        let (kind, text, behind) = if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind).trim_start();
            continue;
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, behind)| behind).trim_start();
            continue;
        } else if let Some(close) = closing_quote(first) {
            let Some((text, behind)) = split_quoted(&rest[1..], close) else { break };
            (TokenKind::Quoted, text, behind)
        } else {
            let is_word = |character: char| character.is_alphanumeric() || "_$".contains(character);
            let length = rest.find(|other| !is_word(other)).unwrap_or(rest.len());
            let kind = if length == 0 { TokenKind::Mark } else { TokenKind::Word };
            let (text, behind) = rest.split_at(length.max(first.len_utf8()));
            (kind, text.to_owned(), behind)
        };
        if kind == TokenKind::Mark && text == ")" {
            depth = depth.saturating_sub(1);
        }
        let opens = kind == TokenKind::Mark && text == "(";
        tokens.push(Token { kind, text, depth });
        depth += usize::from(opens);
        rest = behind.trim_start();
    }
    tokens
}

fn closing_quote(open: char) -> Option<char> {
    match open {
        '[' => Some(']'),
        '"' | '\'' | '`' => Some(open),
        _ => None,
    }
}

/// Splits a text after the end of a quoted part whose start was cut off. Returns `None` without an end.
fn split_quoted(text: &str, close: char) -> Option<(String, &str)> {
    let (mut name, mut rest) = (String::new(), text);
    loop {
        let (part, behind) = rest.split_once(close)?;
        name.push_str(part);
        match behind.strip_prefix(close) {
            // A doubled quote is an escaped one.
            Some(behind) if close != ']' => {
                name.push(close);
                rest = behind;
            }
            _ => return Some((name, behind)),
        }
    }
}

fn read_foreign_keys(session: &SqliteRead, quoted: &str) -> Result<Vec<ForeignKey>, TargetError> {
    // Without a column list, a key refers to the primary key of the parent.
    let rows = session.query_rows(&format!(
        "SELECT f.id, f.\"from\", f.\"table\", COALESCE(f.\"to\", (SELECT p.name \
         FROM pragma_table_info(f.\"table\") AS p WHERE p.pk = f.seq + 1)), f.on_delete\n\
         FROM pragma_foreign_key_list({quoted}) AS f ORDER BY f.id, f.seq"
    ))?;
    let keys = rows.chunk_by(|one, next| one.first() == next.first());
    Ok(keys.filter_map(parse_foreign_key).collect())
}

/// Reads the rows of one foreign key. Returns `None` if the key refers to a primary key that does not exist.
fn parse_foreign_key(rows: &[TextRow]) -> Option<ForeignKey> {
    let texts = |at: usize| rows.iter().map(|row| row.get(at)?.clone()).collect::<Option<Vec<String>>>();
    let columns = texts(1)?;
    Some(ForeignKey {
        name: format!("foreign key on {}", columns.join(", ")),
        columns,
        target_table: rows.first()?.get(2)?.clone()?,
        target_columns: texts(3)?,
        on_delete: rows.first()?.get(4)?.clone()?,
        ..ForeignKey::default()
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn schema(statements: &str) -> DatabaseSchema {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(statements).unwrap();
        read_schema(&SqliteRead { connection, progress: None }).unwrap()
    }

    #[test]
    fn a_foreign_key_without_columns_refers_to_the_primary_key() {
        let schema = schema(
            "CREATE TABLE users (name TEXT, key TEXT PRIMARY KEY);
             CREATE TABLE sessions (user TEXT REFERENCES users, other TEXT REFERENCES users (name), \
             none TEXT REFERENCES missing);",
        );
        let sessions = schema.find_table(None, "sessions").unwrap();
        let target = |column: &str| sessions.foreign_key_on(column).map(|key| key.target_columns.clone());
        assert_eq!(target("user"), Some(vec!["key".to_owned()]));
        assert_eq!(target("other"), Some(vec!["name".to_owned()]));
        assert_eq!(target("none"), None);
    }

    #[test]
    fn only_a_list_of_tables_makes_a_view_join_rows() {
        // Every definition is one that SQLite accepts.
        let describe = |select: &str| {
            let schema = schema(&format!(
                "CREATE TABLE sessions (id TEXT, \"a, b\" TEXT, \"from\" TEXT, \"group\" TEXT);
                 CREATE TABLE \"one, two\" (id TEXT, \"from\" TEXT);
                 CREATE TABLE users (id TEXT);
                 CREATE VIEW v AS {select};"
            ));
            let view = schema.find_table(None, "v").unwrap();
            (view.visibility_caveat.is_some(), view.is_filtered, view.base_tables.clone())
        };
        for (select, table, is_filtered) in [
            ("SELECT id, \"a, b\" FROM sessions", "sessions", false),
            ("SELECT id, \"from\" FROM sessions WHERE id IN ('a', 'b')", "sessions", true),
            ("SELECT id FROM sessions WHERE coalesce(id, \"a, b\") <> 'x, y'", "sessions", true),
            ("SELECT id FROM sessions -- one, two\nWHERE id <> 'x'", "sessions", true),
            ("SELECT id FROM /* users, */ sessions ORDER BY id, \"group\"", "sessions", false),
            ("SELECT id, 'join, where it''s' AS text FROM sessions", "sessions", false),
            ("SELECT id, [from] FROM [one, two]", "one, two", false),
            (
                "SELECT id, (substr(id, 1, 2)) AS `select, x` FROM main . sessions AS \"s, t\"",
                "sessions",
                false,
            ),
            ("SELECT trim(id), \"from\" FROM \"one, two\"", "one, two", false),
        ] {
            assert_eq!(describe(select), (false, is_filtered, vec![table.to_owned()]), "{select}");
        }
        for select in [
            "SELECT s.id FROM sessions s, users u",
            "SELECT s.id\nFROM\nsessions AS s\n,users",
            "SELECT s.id FROM \"one, two\" AS s, users",
            "SELECT s.id FROM (sessions AS s, users)",
            "SELECT id FROM sessions UNION ALL SELECT id FROM users",
            "SELECT id FROM sessions/* */LIMIT 5",
            "SELECT id FROM sessions WHERE id IN (SELECT id FROM users)",
            "WITH one AS (SELECT id FROM sessions) SELECT id FROM one",
        ] {
            assert!(describe(select).0, "{select}");
        }
        // Values of a view without a table could come from anywhere.
        assert_eq!(describe("VALUES (1), (2)"), (true, false, vec![]));
    }

    #[test]
    fn a_column_named_rowid_hides_the_position_of_a_row() {
        for (table, has_rowid) in [
            ("(id TEXT)", true),
            ("(id TEXT, RowId TEXT)", false),
            ("(id TEXT, rowid INTEGER)", false),
            ("(rowid INTEGER PRIMARY KEY, id TEXT)", true),
            ("(id TEXT PRIMARY KEY) WITHOUT ROWID", false),
        ] {
            let schema = schema(&format!("CREATE TABLE sessions {table};"));
            assert_eq!(schema.find_table(None, "sessions").unwrap().has_rowid(), has_rowid, "{table}");
        }
    }

    #[test]
    fn a_composite_foreign_key_stays_whole() {
        let schema = schema(
            "CREATE TABLE users (tenant TEXT, id TEXT, PRIMARY KEY (tenant, id));
             CREATE TABLE sessions (tenant TEXT, user TEXT, FOREIGN KEY (tenant, user) REFERENCES users ON \
             DELETE CASCADE);",
        );
        let [key] = schema.find_table(None, "sessions").unwrap().foreign_keys.as_slice() else { panic!() };
        assert_eq!(
            (key.columns.as_slice(), key.target_columns.as_slice()),
            (["tenant", "user"].map(String::from).as_slice(), ["tenant", "id"].map(String::from).as_slice())
        );
        assert_eq!((key.name.as_str(), key.on_delete.as_str()), ("foreign key on tenant, user", "CASCADE"));
    }

    #[test]
    fn the_table_behind_a_view_is_found_in_every_notation() {
        for (from, table) in [
            ("sessions", "sessions"),
            ("main.Sessions AS s WHERE id > 1", "sessions"),
            ("\"main\" . [My Sessions]", "my sessions"),
            ("`a``b`", "a`b"),
        ] {
            let definition = format!("CREATE VIEW v AS SELECT valid_from, id\nFROM {from}");
            let mut view = TableInfo::default();
            describe_view(&definition, &mut view);
            assert_eq!(view.base_tables, [table], "{definition}");
        }
        let schema =
            schema("CREATE TABLE sessions (id TEXT); CREATE VIEW v AS SELECT id FROM main.sessions;");
        assert_eq!(schema.find_table(None, "v").unwrap().base_tables, ["sessions"]);
    }
}
