//! Renders checklists as one self-contained HTML page, to read or print.

use minijinja::{Environment, Value, value::Serde};
use serde_json::json;
use sessionwatch_clock as clock;

use super::{BaselineMetric, Checklist, inputs::format_period};

/// The extension `.html` turns on automatic escaping.
const TEMPLATE_NAME: &str = "page.html";
const TEMPLATE_SOURCE: &str = include_str!("page.html");

/// Renders checklists on one page.
#[must_use]
pub fn render_html(lists: &[Checklist]) -> String {
    let lists: Vec<serde_json::Value> = lists.iter().map(template_context).collect();
    let mut environment = Environment::new();
    let page = environment
        .add_template(TEMPLATE_NAME, TEMPLATE_SOURCE)
        .and_then(|()| environment.get_template(TEMPLATE_NAME));
    let page = page.and_then(|page| page.render(Value::from(Serde(json!({ "lists": lists })))));
    page.expect("the template is compiled in, and a test renders it")
}

/// Returns the template context: the JSON document and some formatted texts.
fn template_context(list: &Checklist) -> serde_json::Value {
    // The public document, so that page and API can never disagree.
    let mut shown = list.to_json();
    shown["period"] = format_period(list.period).into();
    shown["made"] = clock::format_utc(list.made_at).into();
    shown["seen"] = list.coverage.to_sentences().join(". ").into();
    for (part, items) in [("items", &list.items), ("requirements", &list.requirements)] {
        for (row, item) in items.iter().enumerate() {
            shown[part][row]["found"] = item.describe_finding().into();
        }
    }
    for (row, number) in list.baseline.iter().enumerate() {
        shown["baseline"][row]["cells"] = json!(BaselineMetric::render_cells(number));
    }
    shown
}
