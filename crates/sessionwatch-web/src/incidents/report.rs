//! The report of an incident, as a document to read and print, or as Markdown.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use sessionwatch_app::app::{
    AppState,
    incident_views::{self, BLANK_PLACEHOLDER, ReportPart},
    incidents::{self, IncidentOps, IncidentWorkflow},
};

use super::{
    incident_path,
    wording::{incident_summary, render_severity, render_state},
};
use crate::{
    components::{Crumb, Icon, PageHeader, render_icon},
    format::sanitize_text,
    params::{PagePath, PageQuery},
    shell::{NavSection, PageHead, Shell},
    web_error::WebError,
};

/// Parameters of the report.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReportQuery {
    /// `markdown` for plain text, otherwise a page.
    format: String,
}

pub(crate) async fn show_report(
    State(app): State<Arc<AppState>>,
    PagePath(id): PagePath<String>,
    PageQuery(query): PageQuery<ReportQuery>,
    shell: Shell,
) -> Result<Response, WebError> {
    let IncidentOps { case, .. } = incidents::load_incident(&app, &shell.user.actor(), &id).await?;
    if query.format == "markdown" {
        let text = incidents::render_report_markdown(&case)?;
        // Plain text, so that browsers show it instead of downloading Markdown.
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    let parts = incident_views::build_report(&case)?;
    let title = format!("Report of {}", case.incident.id);
    let page = PageHead {
        title: &title,
        section: NavSection::Incidents,
        target: Some(&case.incident.target),
        live: false,
    };
    let body = html! { (render_header(&case)) (render_document(&parts)) };
    Ok(shell.render_page(page, &body).into_response())
}

fn render_header(case: &IncidentWorkflow) -> Markup {
    let incident = &case.incident;
    let path = incident_path(&incident.id);
    let actions = html! {
        a.btn href={ (path) "/report?format=markdown" } { (render_icon(Icon::Download)) "Markdown" }
    };
    PageHeader {
        crumbs: vec![
            Crumb { href: "/incidents".into(), text: "Incidents".into() },
            Crumb { href: path, text: sanitize_text(&incident.id) },
        ],
        pills: html! { (render_severity(incident)) (render_state(incident.state)) span.mono.muted { (incident.id) } },
        headline: "Incident report",
        lead: html! { b { (incident_summary(incident)) } },
        actions,
        ..PageHeader::default()
    }
    .render()
}

/// Renders the parts of the report. The title is the head of the page.
fn render_document(parts: &[ReportPart]) -> Markup {
    html! {
        article.card.report-document { @for part in parts { (render_part(part)) } }
    }
}

fn render_part(part: &ReportPart) -> Markup {
    html! {
        @match part {
            ReportPart::Title(_) => {},
            ReportPart::Heading(heading) => h2.h2 { (heading) },
            ReportPart::Facts(facts) => dl.defs {
                @for (name, value) in facts { dt { (name) } dd { (render_text(value)) } }
            },
            ReportPart::Table(header, rows) => div.table-wrap tabindex="0" role="group" aria-label="Timeline" {
                table.table.report-table {
                    thead { tr { @for name in header { th scope="col" { (name) } } } }
                    tbody {
                        @for [at, actor, what] in rows {
                            tr {
                                td { time { (at) } }
                                td { (sanitize_text(actor)) }
                                td.wrap { (sanitize_text(what)) }
                            }
                        }
                    }
                }
            },
            ReportPart::List(items) => ul.bullets { @for item in items { li { (render_text(item)) } } },
            ReportPart::Text(text) => p { (render_text(text)) },
        }
    }
}

/// Renders a text. A section that nobody has written yet stands out, and words in backticks are code.
fn render_text(text: &str) -> Markup {
    if text == BLANK_PLACEHOLDER {
        return html! { mark { (text) } };
    }
    let text = sanitize_text(text);
    // An odd number of backticks is not markup.
    if text.matches('`').count() % 2 == 1 {
        return html! { (text) };
    }
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_backticks_are_code_and_markup_is_escaped() {
        assert_eq!(render_text("`watch` was <b>").into_string(), "<code>watch</code> was &lt;b&gt;");
        assert_eq!(render_text("a ` b").into_string(), "a ` b");
        assert_eq!(render_text(BLANK_PLACEHOLDER).into_string(), "<mark>(to be completed)</mark>");
    }
}
