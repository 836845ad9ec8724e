//! Lists for people: one sentence where a list is empty, and a note of how many there are where it is cut.

use sessionwatch_app::output::{OutputFormat, table::OutputTable};
use sessionwatch_core::plural::ListTotal;

/// Advice for a list with the option `--limit`.
pub(super) const RAISE_LIMIT: &str = "raise --limit to see more";

/// Renders a list. For people, an empty one is a sentence; for programs it stays an empty list.
pub(super) fn render_list(list: &OutputTable, format: OutputFormat, plural: &str) -> String {
    let is_readable = matches!(format, OutputFormat::Table | OutputFormat::Markdown);
    if is_readable && list.rows.is_empty() { empty_list(plural) } else { list.render(format) }
}

/// Returns the sentence for an empty list, given its noun.
pub(super) fn empty_list(plural: &str) -> String {
    format!("No {plural}.\n")
}

/// Returns the noun of a list that may be filtered: `alerts`, or `matching alerts`.
pub(super) fn filtered_noun(plural: &str, is_filtered: bool) -> String {
    if is_filtered { format!("matching {plural}") } else { plural.to_owned() }
}

/// Prints a note on stderr if a list shows fewer items than there are. `advice` says how to see the others.
pub(super) fn note_if_cut(plural: &str, shown: usize, total: ListTotal, advice: &str) {
    if let Some(cut) = total.describe_cut(shown as u64) {
        super::print_note(&format!("{plural}: {cut}; {advice}"));
    }
}

/// Removes items of a list beyond the limit. Returns `true` if there were any.
pub(super) fn cut_list<T>(list: &mut Vec<T>, limit: u32) -> bool {
    let is_cut = list.len() > limit as usize;
    list.truncate(limit as usize);
    is_cut
}
