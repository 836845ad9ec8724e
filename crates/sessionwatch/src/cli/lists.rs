//! Lists for people: one sentence where a list is empty, and a note where it is cut.

use sessionwatch_app::output::{OutputFormat, table::OutputTable};

/// Renders a list. For people, an empty one is a sentence; for programs it stays an empty list.
pub(super) fn render_list(list: &OutputTable, format: OutputFormat, plural: &str) -> String {
    let is_readable = matches!(format, OutputFormat::Table | OutputFormat::Markdown);
    if is_readable && list.rows.is_empty() { empty_list(plural) } else { list.render(format) }
}

/// Returns the sentence for an empty list.
pub(super) fn empty_list(plural: &str) -> String {
    format!("No matching {plural}.\n")
}

/// Prints a note on stderr if a list shows fewer rows than there are.
pub(super) fn note_if_cut(shown: usize, total: usize) {
    if shown < total {
        super::print_note(&format!("{shown} of {total} shown; raise --limit to see more"));
    }
}

/// Prints a note on stderr if there are more rows than `--limit` shows. Counting them all would cost a second query.
pub(super) fn note_if_more(has_more: bool, limit: usize) {
    if has_more {
        super::print_note(&format!("list cut at {limit}; raise --limit to see more"));
    }
}
