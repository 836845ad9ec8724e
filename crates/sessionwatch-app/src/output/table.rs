//! Rows of something, as a table and in every other format.

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{Format, csv, terminal_width};
use crate::sanitize::{escape_cell, printable};

/// A table without the blanks that fill its last column.
pub(crate) fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Rows to show, for people and for programs.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// What the rows are, as a key of the JSON document.
    pub kind: &'static str,
    /// Names of the columns.
    pub header: Vec<String>,
    /// The rows, as text from a database.
    pub rows: Vec<Vec<String>>,
    /// The rows as JSON.
    pub documents: Vec<Value>,
}

impl Sheet {
    /// The rows in that format.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Table | Format::Markdown => {
                let mut table = Table::new();
                let markdown = format == Format::Markdown;
                let cell = |text: &String| if markdown { escape_cell(text) } else { printable(text) };
                table.load_style(if markdown { presets::ASCII_MARKDOWN } else { presets::NOTHING });
                table.set_header(&self.header).add_rows(self.rows.iter().map(|row| row.iter().map(cell)));
                if let (false, Some(columns)) = (markdown, terminal_width()) {
                    self.fit(&mut table, usize::from(columns));
                }
                format!("{}\n", trimmed(&table))
            }
            Format::Csv => {
                let line = |row: &Vec<String>| csv::line(&row.iter().map(String::as_str).collect::<Vec<_>>());
                let header = self.header.iter().map(|name| name.replace(' ', "_")).collect();
                format!("{}{}", line(&header), self.rows.iter().map(line).collect::<String>())
            }
            Format::Json => {
                let mut document = json!({ "schema": 1 });
                document[self.kind] = json!(self.documents);
                format!("{document:#}\n")
            }
            Format::Ndjson => self.documents.iter().map(|document| format!("{document}\n")).collect(),
        }
    }

    /// Wraps the widest column if the table is wider than that: the others hold names, which are copied whole.
    fn fit(&self, table: &mut Table, columns: usize) {
        /// Blanks beside each cell.
        const PADDING: usize = 2;
        /// Narrower, a column cannot be read.
        const NARROWEST: usize = 20;
        let length = |text: &String| text.chars().count();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain(self.header.get(column)).map(length).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let whole = widths.iter().map(|width| width + PADDING).sum::<usize>();
        let Some((widest, most)) = widths.iter().enumerate().max_by_key(|(_, width)| **width) else { return };
        if whole > columns {
            let most = most.saturating_sub(whole - columns).max(NARROWEST) + PADDING;
            let most = comfy_table::Width::Fixed(u16::try_from(most).unwrap_or(u16::MAX));
            if let Some(column) = table.column_mut(widest) {
                column.set_constraint(comfy_table::ColumnConstraint::UpperBoundary(most));
            }
        }
    }
}
