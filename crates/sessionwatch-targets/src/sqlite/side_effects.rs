//! Foreign keys and triggers from the schema of a file.

use crate::{
    cells::{self, TextRow},
    error::TargetError,
    mapping::TableName,
    side_effects::{ForeignKeyColumn, RowEvent, SideEffectCatalog, SideEffectKind, TriggerOrRule},
    sql::{Dialect, quote_identifier},
};

/// Foreign keys, one row per column: schema (empty), name and column of the referencing table, schema, name
/// and column of the referenced one, name, action. Without a column list, a key refers to the primary key.
const FOREIGN_KEYS_QUERY: &str = "
SELECT '', m.name, f.\"from\", '', f.\"table\",
  COALESCE(f.\"to\", (SELECT p.name FROM pragma_table_info(f.\"table\") AS p WHERE p.pk = f.seq + 1)),
  (SELECT group_concat(g.\"from\") FROM pragma_foreign_key_list(m.name) AS g WHERE g.id = f.id), f.on_delete, 't', '='
FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f
WHERE m.type = 'table'
ORDER BY m.name, f.id, f.seq";
/// Triggers: table, name and CREATE statement.
const TRIGGERS_QUERY: &str =
    "SELECT tbl_name, name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY tbl_name, name";

/// Reads the schema. `fetch` runs the queries.
pub(super) fn read_catalog(
    mut fetch: impl FnMut(&str) -> Result<Vec<TextRow>, TargetError>,
) -> Result<SideEffectCatalog, TargetError> {
    let mut catalog = SideEffectCatalog::default();
    for row in fetch(FOREIGN_KEYS_QUERY)? {
        if let Some(column) = parse_foreign_key_column(&row)? {
            catalog.add_reference(column);
        }
    }
    for row in fetch(TRIGGERS_QUERY)? {
        catalog.add_triggers(parse_trigger(&row)?);
    }
    Ok(catalog)
}

/// Reads a row of [`FOREIGN_KEYS_QUERY`]. Returns `None` if the key refers to a primary key that does not
/// exist.
fn parse_foreign_key_column(row: &TextRow) -> Result<Option<ForeignKeyColumn>, TargetError> {
    let text = |at: usize| cells::required_text(row, at, "a foreign key");
    let table = |at: usize| Ok::<_, TargetError>(TableName { schema: None, name: text(at)?.to_owned() });
    let Some(Some(to_column)) = row.get(5) else { return Ok(None) };
    let child = table(1)?;
    Ok(Some(ForeignKeyColumn {
        kind: SideEffectKind::from_action(text(7)?),
        name: text(6)?.to_owned(),
        from: Dialect::SQLITE.catalog_name(&child),
        from_column: text(2)?.to_owned(),
        child,
        to: Dialect::SQLITE.catalog_name(&table(4)?),
        to_column: to_column.clone(),
        equals: text(9)?.to_owned(),
        readable: cells::parse_flag(row, 8, "a foreign key")?,
    }))
}

/// Reads a row of [`TRIGGERS_QUERY`]. Returns `None` for triggers on INSERT or on views.
fn parse_trigger(row: &TextRow) -> Result<Option<TriggerOrRule>, TargetError> {
    let text = |at: usize| cells::required_text(row, at, "a trigger");
    // Catalog names of SQLite are in lower case, since names are case-insensitive.
    let (table, name) = (text(0)?.to_lowercase(), text(1)?.to_owned());
    let Some((before, event)) = parse_trigger_event(text(2)?) else { return Ok(None) };
    let kind = if before { SideEffectKind::TriggerBefore } else { SideEffectKind::Trigger };
    Ok(Some(TriggerOrRule { kind, table: quote_identifier(&table), name, event }))
}

/// Parses timing and event of a trigger: `true` for a BEFORE trigger. Returns `None` for triggers on INSERT
/// or on views.
fn parse_trigger_event(statement: &str) -> Option<(bool, RowEvent)> {
    let words = split_words(statement);
    let mut words = words.iter().map(String::as_str).skip_while(|word| *word != "TRIGGER").skip(1).peekable();
    if words.peek() == Some(&"IF") {
        // IF NOT EXISTS
        words.nth(2);
    }
    // Name of the trigger, with or without a schema.
    words.next()?;
    if words.peek() == Some(&".") {
        words.nth(1);
    }
    let before = match *words.peek()? {
        "AFTER" => words.next().is_none(),
        "BEFORE" => words.next().is_some(),
        // INSTEAD OF triggers exist on views only.
        "INSTEAD" => return None,
        // BEFORE is the default.
        _ => true,
    };
    match words.next()? {
        "DELETE" => Some((before, RowEvent::Delete)),
        "UPDATE" => Some((before, RowEvent::Update)),
        _ => None,
    }
}

/// Splits the start of a statement into words, in upper case and without comments. Quoted text is one word.
fn split_words(statement: &str) -> Vec<String> {
    /// The event of a trigger always comes within the first words.
    const MAX_WORDS: usize = 16;
    let (mut words, mut rest) = (Vec::new(), statement);
    while words.len() < MAX_WORDS {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { break };
        let close = match first {
            '"' | '\'' | '`' => Some(first),
            '[' => Some(']'),
            _ => None,
        };
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, behind)| behind);
        } else if let Some(close) = close {
            // A doubled quote is an escaped one.
            let mut inner = rest.get(1..).unwrap_or_default();
            loop {
                let Some((_, behind)) = inner.split_once(close) else { return words };
                inner = behind;
                match behind.strip_prefix(close) {
                    Some(behind) if close != ']' => inner = behind,
                    _ => break,
                }
            }
            words.push("(quoted)".into());
            rest = inner;
        } else {
            let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
            let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, behind) = rest.split_at(length);
            words.push(word.to_uppercase());
            rest = behind;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_parsed_in_every_notation() {
        for (statement, expected) in [
            ("CREATE TRIGGER t AFTER DELETE ON s BEGIN SELECT 1; END", Some((false, RowEvent::Delete))),
            (
                "create temp trigger if not exists main.\"delete\" before update of x on s begin",
                Some((true, RowEvent::Update)),
            ),
            ("CREATE TRIGGER [my \"t] -- AFTER INSERT\n DELETE ON s BEGIN", Some((true, RowEvent::Delete))),
            ("CREATE TRIGGER /* BEFORE */ 'it''s' AFTER INSERT ON s BEGIN DELETE FROM s; END", None),
            ("CREATE TRIGGER after AFTER UPDATE ON s BEGIN", Some((false, RowEvent::Update))),
            ("CREATE TRIGGER v INSTEAD OF DELETE ON v BEGIN", None),
            ("CREATE TRIGGER `unfinished", None),
            ("", None),
        ] {
            assert_eq!(parse_trigger_event(statement), expected, "{statement}");
        }
    }
}
