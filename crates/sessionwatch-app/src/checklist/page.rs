//! Checklists as one page of HTML that needs nothing else, to be read or printed.

use minijinja::{Environment, Value, value::Serde};
use serde_json::json;
use sessionwatch_clock as clock;

use super::{Checklist, Number, facts::time};

/// What the name ends in is what makes every text in it be escaped.
const NAME: &str = "page.html";
const PAGE: &str = include_str!("page.html");

/// Checklists on one page.
#[must_use]
pub fn html(lists: &[Checklist]) -> String {
    let lists: Vec<serde_json::Value> = lists.iter().map(shown).collect();
    let mut environment = Environment::new();
    let page = environment.add_template(NAME, PAGE).and_then(|()| environment.get_template(NAME));
    let page = page.and_then(|page| page.render(Value::from(Serde(json!({ "lists": lists })))));
    page.expect("the page is part of the program, and a test renders it")
}

/// What the page shows of a checklist: what programs are told, and some of it in people's words.
fn shown(list: &Checklist) -> serde_json::Value {
    let mut shown = list.json();
    shown["period"] = time(list.period).into();
    shown["made"] = clock::readable(list.made_at).into();
    shown["seen"] = list.coverage.said().join(". ").into();
    for (part, items) in [("items", &list.items), ("requirements", &list.requirements)] {
        for (row, item) in items.iter().enumerate() {
            shown[part][row]["found"] = item.found().into();
        }
    }
    for (row, number) in list.baseline.iter().enumerate() {
        shown["baseline"][row]["cells"] = json!(Number::cells(number));
    }
    shown
}
