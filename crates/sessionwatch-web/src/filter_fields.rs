//! Fields of the forms that filter a list. The filter is in the URL, so that a filtered list can be shared.

use std::num::IntErrorKind;

use maud::{Markup, html};

use super::components::{Icon, render_icon};

/// A choice of one value or all.
#[derive(Clone, Debug)]
pub(super) struct FilterSelect<'a> {
    pub(super) label: &'a str,
    pub(super) name: &'a str,
    /// Text of the choice of all values.
    pub(super) all: &'a str,
    pub(super) options: Vec<FilterOption>,
    /// Chosen value; empty for all.
    pub(super) value: &'a str,
}

/// A value to choose, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilterOption {
    pub(super) value: String,
    pub(super) text: String,
}

impl FilterOption {
    /// Creates an option whose text is its value.
    pub(super) fn named(value: &str) -> Self {
        Self { value: value.to_owned(), text: value.to_owned() }
    }
}

impl FilterSelect<'_> {
    /// Renders the field. A value that is not among the options is added, so that sending the form keeps it.
    pub(super) fn render(&self) -> Markup {
        let is_other = !self.value.is_empty() && self.options.iter().all(|option| option.value != self.value);
        html! {
            label.filter {
                span.label { (self.label) }
                span.select-box {
                    select.input.input-s.select name=(self.name) data-submit-on-change {
                        option value="" { (self.all) }
                        @if is_other { option value=(self.value) selected { (self.value) } }
                        @for option in &self.options {
                            option value=(option.value) selected[option.value == self.value] { (option.text) }
                        }
                    }
                    (render_icon(Icon::ChevronDown))
                }
            }
        }
    }
}

/// A field for text.
#[derive(Clone, Copy, Debug)]
pub(super) struct FilterInput<'a> {
    pub(super) label: &'a str,
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) placeholder: &'a str,
    pub(super) max_length: u32,
}

impl FilterInput<'_> {
    /// Renders the field.
    pub(super) fn render(&self) -> Markup {
        html! {
            label.filter {
                span.label { (self.label) }
                input.input.input-s name=(self.name) value=(self.value) placeholder=(self.placeholder)
                    maxlength=(self.max_length);
            }
        }
    }
}

/// Renders a form that filters the list at `path`. `is_filtered` offers to show everything again.
pub(super) fn render_filter_form(path: &str, fields: &Markup, is_filtered: bool) -> Markup {
    html! {
        form.filters method="get" action=(path) role="search" {
            (fields)
            div.actions {
                button.btn { "Filter" }
                @if is_filtered { a href=(path) { "Clear filters" } }
            }
        }
    }
}

/// Returns a link to a path with the parameters that are not empty.
pub(super) fn link_with(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Returns the number of days that a parameter names, from 1 to `most`. A number outside is clamped, so that any number
/// shows a page. Returns `None` for any other text.
pub(super) fn parse_days(text: &str, most: i64) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(days) => Some(days.clamp(1, most)),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(most),
            IntErrorKind::NegOverflow => Some(1),
            _ => None,
        },
    }
}

/// Position of a page in a list.
#[derive(Clone, Debug)]
pub(super) struct ListPager {
    /// Number of rows on this page.
    pub(super) shown: u64,
    /// Number of rows on all pages.
    pub(super) matching: u64,
    /// Link to the first page; empty if this is it.
    pub(super) newest: String,
    /// Link to the next page; empty if this is the last one.
    pub(super) older: String,
}

impl ListPager {
    /// Renders how many rows are shown, and the links to other pages.
    pub(super) fn render(&self) -> Markup {
        let number = sessionwatch_core::plural::format_number;
        html! {
            div.card-foot {
                span { (number(self.shown)) " of " (number(self.matching)) " shown" }
                @if !self.newest.is_empty() || !self.older.is_empty() {
                    nav.pager.end aria-label="Pages" {
                        @if !self.newest.is_empty() { a.btn.btn-s href=(self.newest) { "Newest" } }
                        @if !self.older.is_empty() { a.btn.btn-s href=(self.older) rel="next" { "Older" } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_leave_out_empty_parameters() {
        assert_eq!(link_with("/logs", &[("user", ""), ("token", "")]), "/logs");
        assert_eq!(link_with("/logs", &[("user", "a b&c"), ("token", "")]), "/logs?user=a+b%26c");
    }

    #[test]
    fn an_unknown_value_of_a_choice_is_kept() {
        let field =
            FilterSelect { label: "Who", name: "actor", all: "Anybody", options: vec![], value: "<b>" };
        let html = field.render().into_string();
        assert!(html.contains("<option value=\"&lt;b&gt;\" selected>"), "{html}");
    }
}
