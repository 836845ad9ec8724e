//! Parser for SQL statements in logs: the table and columns written, and tokens in the statement.

/// Maximum number of columns parsed.
const MAX_COLUMNS: usize = 64;

/// Columns and their values, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ColumnValues<'a> {
    /// Names without quotes.
    pub(crate) columns: Vec<&'a [u8]>,
    /// Values without quotes; may be shorter than `columns`.
    pub(crate) values: Vec<&'a [u8]>,
}

impl<'a> ColumnValues<'a> {
    /// Returns the first matching column with its value.
    pub(crate) fn find_column(&self, is: impl Fn(&[u8]) -> bool) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let at = self.columns.iter().position(|column| is(column))?;
        Some((self.columns[at], self.values.get(at).copied()))
    }
}

/// `INSERT` or `UPDATE` statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteStatement<'a> {
    /// Table name without schema and quotes.
    pub(crate) table: &'a [u8],
    pub(crate) column_values: ColumnValues<'a>,
}

impl<'a> WriteStatement<'a> {
    /// Parses the first `INSERT` or `UPDATE` in a text.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        if let Some(at) = find_ignore_case(text, b"insert into ") {
            let (table, rest) = parse_name(&text[at + "insert into ".len()..])?;
            let (columns, rest) = parse_list(rest.trim_ascii_start())?;
            let after =
                find_ignore_case(rest, b"values").map(|at| rest[at + "values".len()..].trim_ascii_start());
            // Statements in logs are often truncated, so missing values are not an error.
            let values = after.and_then(parse_list).map(|(values, _)| values).unwrap_or_default();
            return Some(Self { table, column_values: ColumnValues { columns, values } });
        }
        let (table, rest) = parse_name(&text[find_ignore_case(text, b"update ")? + "update ".len()..])?;
        let at = find_ignore_case(rest, b" set ")?;
        let (mut column_values, mut rest) = (ColumnValues::default(), &rest[at + " set ".len()..]);
        while column_values.columns.len() < MAX_COLUMNS
            && let Some((column, after)) = parse_name(rest)
            && let Some(after) = after.trim_ascii_start().strip_prefix(b"=")
        {
            let (value, after) = parse_value(after.trim_ascii_start());
            column_values.columns.push(column);
            column_values.values.push(value);
            let Some(next) = after.trim_ascii_start().strip_prefix(b",") else { break };
            rest = next;
        }
        Some(Self { table, column_values })
    }
}

/// Parses `Key (a, b)=(1, x)`, as PostgreSQL writes it in `DETAIL`.
pub(crate) fn parse_key_detail(text: &[u8]) -> Option<ColumnValues<'_>> {
    let rest = text.strip_prefix(b"Key ")?;
    let (columns, rest) = parse_list(rest)?;
    let values = rest.strip_prefix(b"=(")?;
    // Values are not quoted, so they may contain anything; only the last closing text ends them.
    let values = &values[..memchr::memmem::rfind(values, b") already exists")?];
    let values = match columns.len() {
        1 => vec![values],
        count => {
            let parts: Vec<&[u8]> =
                values.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).take(MAX_COLUMNS).collect();
            // A comma inside a value makes the positions ambiguous; then no value is better than a wrong one.
            if parts.len() == count { parts } else { vec![] }
        }
    };
    Some(ColumnValues { columns, values })
}

/// Finds a value that a statement writes to, or compares with, a matching column.
pub(crate) fn find_column_value(text: &[u8], is: impl Fn(&[u8]) -> bool + Copy) -> Option<&[u8]> {
    let begins = memchr::memmem::find(text, b"Key (");
    if let Some((_, Some(value))) =
        begins.and_then(|at| parse_key_detail(&text[at..])).and_then(|key| key.find_column(is))
    {
        return Some(value);
    }
    let written = WriteStatement::parse(text).and_then(|written| written.column_values.find_column(is));
    if let Some((_, Some(value))) = written {
        return resolve_parameter(text, value);
    }
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        let before = rest[..at].trim_ascii_end();
        // Spaces or quotes around the name distinguish SQL from `key=value` pairs, which are parsed elsewhere.
        let spaced = before.len() < at || before.ends_with(b"\"") || before.ends_with(b"`");
        let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"`")).unwrap_or(before);
        let length = before.iter().rev().take_while(|byte| is_name_byte(**byte)).count();
        rest = &rest[at + 1..];
        let (found, _) = parse_value(rest.trim_ascii_start());
        if spaced && length > 0 && is(&before[before.len() - length..]) {
            return resolve_parameter(text, found);
        }
    }
    None
}

/// Returns the value, or the parameter that it refers to: `$1` with `params: […]`, as query loggers write it.
fn resolve_parameter<'a>(text: &'a [u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let Some(number) = value.strip_prefix(b"$") else { return Some(value) };
    let number: usize = std::str::from_utf8(number).ok()?.parse().ok()?;
    let at = find_ignore_case(text, b"params: [")?;
    let (parameters, _) = parse_list(&text[at + "params: ".len()..])?;
    parameters.get(number.checked_sub(1)?).copied()
}

/// Returns the offset of `words` in a text, ignoring ASCII case.
fn find_ignore_case(text: &[u8], words: &[u8]) -> Option<usize> {
    let first = *words.first()?;
    let begins = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text);
    let is_there =
        |at: &usize| text.get(*at..at + words.len()).is_some_and(|part| part.eq_ignore_ascii_case(words));
    begins.into_iter().find(is_there)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// Parses a name, skips its qualifiers, and returns the rest.
fn parse_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = text.trim_ascii_start();
    loop {
        let (part, after) = match rest.first()? {
            quote @ (b'"' | b'`') => {
                let end = 1 + memchr::memchr(*quote, &rest[1..])?;
                (&rest[1..end], &rest[end + 1..])
            }
            _ => {
                let end = rest.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        match after.strip_prefix(b".") {
            Some(next) => rest = next,
            None => return (!part.is_empty()).then_some((part, after)),
        }
    }
}

/// Parses a comma-separated list in brackets, and returns the rest.
fn parse_list(text: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let close = match text.first()? {
        b'(' => b')',
        b'[' => b']',
        _ => return None,
    };
    let (mut parts, mut rest) = (vec![], text[1..].trim_ascii_start());
    while parts.len() < MAX_COLUMNS {
        let (part, after) = parse_value(rest);
        parts.push(part);
        let after = after.trim_ascii_start();
        match after.first()? {
            b',' => rest = after[1..].trim_ascii_start(),
            byte if *byte == close => return Some((parts, &after[1..])),
            _ => return None,
        }
    }
    None
}

/// Parses a value without its quotes, up to a comma or closing bracket, and returns the rest.
fn parse_value(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut at, mut depth, mut inner) = (0, 0_usize, None);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\'' | b'"' | b'`' => {
                // An unclosed quote means that the statement was truncated.
                let Some(end) = memchr::memchr(*byte, &text[at + 1..]) else { return (b"", b"") };
                if depth == 0 && inner.is_none() {
                    inner = Some((at + 1, at + 1 + end));
                }
                at += 1 + end;
            }
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth > 0 => depth -= 1,
            b',' | b')' | b']' | b';' if depth == 0 => break,
            byte if depth == 0 && byte.is_ascii_whitespace() && at > 0 => break,
            _ => {}
        }
        at += 1;
    }
    let (begin, end) = inner.unwrap_or((0, at));
    (&text[begin..end], &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Vec<String>)> {
        let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let written = WriteStatement::parse(text.as_bytes())?;
        let pairs = written.column_values.columns.iter().zip(
            written
                .column_values
                .values
                .iter()
                .map(|value| word(value))
                .chain(std::iter::repeat(String::new())),
        );
        Some((
            word(written.table),
            pairs.map(|(column, value)| format!("{}={value}", word(column))).collect(),
        ))
    }

    #[test]
    fn parses_tables_columns_and_values() {
        for (text, table, pairs) in [
            (
                "INSERT INTO sessions (user_id, session_token) VALUES (12, 'abc')",
                "sessions",
                &["user_id=12", "session_token=abc"][..],
            ),
            (
                "insert into \"public\".\"session\" (\"id\", \"token\") values (nextval('a,b'::regclass), 'x, y')",
                "session",
                &["id=nextval('a,b'::regclass)", "token=x, y"],
            ),
            ("INSERT INTO a.b (\"c\",\"d\") VALUES ($1,$2) RETURNING \"id\"", "b", &["c=$1", "d=$2"]),
            ("INSERT INTO t (a) SELECT 1", "t", &["a="]),
            (
                "UPDATE \"Session\" SET token = 'x', expires=$2 WHERE id = 1",
                "Session",
                &["token=x", "expires=$2"],
            ),
        ] {
            let pairs = pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>();
            assert_eq!(parsed(text), Some((table.to_owned(), pairs)), "{text}");
        }
        for text in ["", "INSERT INTO", "INSERT INTO t", "INSERT INTO t (a", "insert into t values (1)"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn finds_values_in_details_and_statements() {
        let token = |text: &'static str| {
            find_column_value(text.as_bytes(), |column| column.ends_with(b"token"))
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        for text in [
            "Key (token)=(abc) already exists.",
            "Key (tenant, token)=(7, abc) already exists.",
            "2026-09-07 10:00:01 UTC [812] DETAIL:  Key (token)=(abc) already exists.",
            "INSERT INTO s (a, token) VALUES (1, 'abc')",
            "SELECT * FROM s WHERE token = 'abc'",
            "select 1 from s where \"s\".\"token\"='abc' limit 1",
            "UPDATE s SET expires = 1 WHERE token = 'abc'",
            "Query: select 1 from \"s\" where \"s\".\"token\" = $1 limit $2 -- params: [\"abc\", 1]",
            "Query: insert into \"s\" (\"u\", \"token\") values ($1, $2) -- params: [7, \"abc\"]",
        ] {
            assert_eq!(token(text).as_deref(), Some("abc"), "{text}");
        }
        for text in
            ["token=abc", "SELECT token FROM s", "WHERE token = $1", "Key (token)=(abc) is not present"]
        {
            assert_eq!(token(text), None, "{text}");
        }
    }
}
