//! Lists, as a table and in every other format.

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{OutputFormat, csv, terminal_width};
use crate::sanitize::{escape_markdown_cell, sanitize_text};

/// Renders a table without the trailing blanks of its last column.
pub(crate) fn render_trimmed(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A list, for people and for programs.
#[derive(Clone, Debug)]
pub struct OutputTable {
    /// Key of the rows in the JSON document.
    pub json_key: &'static str,
    /// Column names.
    pub header: Vec<String>,
    /// Rows as text, which may be untrusted.
    pub rows: Vec<Vec<String>>,
    /// The rows as JSON.
    pub json_rows: Vec<Value>,
}

impl OutputTable {
    /// Renders the rows in a format.
    #[must_use]
    pub fn render(&self, format: OutputFormat) -> String {
        match format {
            OutputFormat::Table | OutputFormat::Markdown => {
                let mut table = Table::new();
                let markdown = format == OutputFormat::Markdown;
                let cell =
                    |text: &String| if markdown { escape_markdown_cell(text) } else { sanitize_text(text) };
                table.load_style(if markdown { presets::ASCII_MARKDOWN } else { presets::NOTHING });
                table.set_header(&self.header).add_rows(self.rows.iter().map(|row| row.iter().map(cell)));
                if let (false, Some(columns)) = (markdown, terminal_width()) {
                    self.limit_width(&mut table, usize::from(columns));
                }
                format!("{}\n", render_trimmed(&table))
            }
            OutputFormat::Csv => {
                let line = |row: &Vec<String>| {
                    csv::render_csv_line(&row.iter().map(String::as_str).collect::<Vec<_>>())
                };
                let header = self.header.iter().map(|name| name.replace(' ', "_")).collect();
                format!("{}{}", line(&header), self.rows.iter().map(line).collect::<String>())
            }
            OutputFormat::Json => {
                let mut document = json!({ "schema": 2 });
                document[self.json_key] = json!(self.json_rows);
                format!("{document:#}\n")
            }
            OutputFormat::Ndjson => self.json_rows.iter().map(|document| format!("{document}\n")).collect(),
        }
    }

    /// Wraps the widest column if the table is wider than `columns`. The others hold names, which people copy.
    fn limit_width(&self, table: &mut Table, columns: usize) {
        /// Blanks beside each cell.
        const CELL_PADDING: usize = 2;
        /// A narrower column is unreadable.
        const MIN_COLUMN_WIDTH: usize = 20;
        let length = |text: &String| text.chars().count();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain(self.header.get(column)).map(length).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let whole = widths.iter().map(|width| width + CELL_PADDING).sum::<usize>();
        let Some((widest, most)) = widths.iter().enumerate().max_by_key(|(_, width)| **width) else { return };
        if whole > columns {
            let most = most.saturating_sub(whole - columns).max(MIN_COLUMN_WIDTH) + CELL_PADDING;
            let most = comfy_table::Width::Fixed(u16::try_from(most).unwrap_or(u16::MAX));
            if let Some(column) = table.column_mut(widest) {
                column.set_constraint(comfy_table::ColumnConstraint::UpperBoundary(most));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a|b\u{1b}[31m\u{202e}\nc";

    fn sheet(cell: &str) -> OutputTable {
        OutputTable {
            json_key: "things",
            header: vec!["first seen".into(), "text".into()],
            rows: vec![vec!["now".into(), cell.into()], vec!["then".into(), "x".into()]],
            json_rows: vec![json!({ "text": cell }), json!({ "text": "x" })],
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_row_and_no_blanks_at_the_ends() {
        let text = sheet("plain").render(OutputFormat::Table);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
    }

    #[test]
    fn no_cell_makes_a_column_a_row_or_a_color() {
        let markdown = sheet(HOSTILE).render(OutputFormat::Markdown);
        assert_eq!(markdown.lines().count(), 4, "a header, a rule and two rows: {markdown}");
        assert!(markdown.contains("a\\|b"), "{markdown}");
        for format in [OutputFormat::Table, OutputFormat::Markdown] {
            let text = sheet(HOSTILE).render(format);
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        }
    }

    #[test]
    fn programs_get_columns_without_blanks_and_formulas_as_text() {
        let csv = sheet("=1+1").render(OutputFormat::Csv);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, "first_seen,text"));
        assert!(!lines[1].ends_with(",=1+1"), "{csv}");
    }

    #[test]
    fn json_is_one_document_with_a_schema_and_ndjson_one_a_line() {
        let document: Value = serde_json::from_str(&sheet(HOSTILE).render(OutputFormat::Json)).unwrap();
        assert_eq!((&document["schema"], &document["things"][0]["text"]), (&json!(1), &json!(HOSTILE)));
        let lines = sheet(HOSTILE).render(OutputFormat::Ndjson);
        let documents: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(documents, sheet(HOSTILE).json_rows);
    }

    #[test]
    fn without_rows_there_is_a_header_and_an_empty_list() {
        let empty = OutputTable { rows: vec![], json_rows: vec![], ..sheet("") };
        assert_eq!(empty.render(OutputFormat::Csv), "first_seen,text\n");
        assert_eq!(empty.render(OutputFormat::Ndjson), "");
        let document: Value = serde_json::from_str(&empty.render(OutputFormat::Json)).unwrap();
        assert_eq!(document["things"], json!([]));
    }

    #[test]
    fn only_the_widest_column_is_wrapped_where_a_table_is_too_wide() {
        let long = "word ".repeat(30);
        let sheet = sheet(&long);
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(&sheet.header).add_rows(sheet.rows.iter());
        sheet.limit_width(&mut table, 60);
        let text = render_trimmed(&table);
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 62), "{text}");
        assert!(text.contains("first seen"), "{text}");
    }
}
