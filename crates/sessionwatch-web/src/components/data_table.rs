//! Tables of rows with equal columns.

use maud::{Markup, html};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'a> {
    /// Heading; empty for a column of buttons.
    pub(crate) title: &'a str,
    /// Classes of the heading: `num` aligns numbers at the right, `fill` takes the space that is left.
    pub(crate) class: &'a str,
}

impl<'a> Column<'a> {
    /// A column of text.
    pub(crate) const fn text(title: &'a str) -> Self {
        Self { title, class: "" }
    }

    /// A column of numbers or times, aligned at the right.
    pub(crate) const fn number(title: &'a str) -> Self {
        Self { title, class: "num" }
    }

    /// A column that takes the space that is left.
    pub(crate) const fn fill(title: &'a str) -> Self {
        Self { title, class: "fill" }
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct DataTable<'a> {
    /// Name for screen readers.
    pub(crate) label: &'a str,
    /// Additional classes: `table-dense`, `table-cards` (rows of two lines on phones), `table-sticky`.
    pub(crate) class: &'a str,
    pub(crate) columns: &'a [Column<'a>],
    /// Rows: one `tr` each.
    pub(crate) rows: Markup,
}

impl DataTable<'_> {
    /// Renders the table. It scrolls horizontally if it is wider than its card.
    pub(crate) fn render(&self) -> Markup {
        html! {
            // Reachable by keyboard, because it may scroll.
            div.table-wrap tabindex="0" role="group" aria-label=(self.label) {
                table class={ "table " (self.class) } {
                    thead { tr { @for column in self.columns {
                        @let class = (!column.class.is_empty()).then_some(column.class);
                        @if column.title.is_empty() { td {} }
                        @else { th scope="col" class=[class] { (column.title) } }
                    } } }
                    tbody { (self.rows) }
                }
            }
        }
    }
}
