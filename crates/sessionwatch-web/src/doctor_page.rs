//! The diagnostics of a target, each problem with its fix.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use sessionwatch_app::app::{
    AppState,
    targets::{self, Diagnostic, DiagnosticLevel},
};
use sessionwatch_core::plural::format_count;

use super::{
    components::{Card, Crumb, Icon, PageHeader, PillTone, render_code_block, render_pill},
    format::{capitalize_first, percent_encode, render_sentence, sanitize_lines},
    params::PagePath,
    shell::{NavSection, PageHead, Shell},
    web_error::PageResult,
};

pub(super) async fn show_doctor(
    State(app): State<Arc<AppState>>,
    PagePath(name): PagePath<String>,
    shell: Shell,
) -> PageResult {
    let mut findings = targets::run_doctor(&app, &name).await?;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let (passed, problems): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| finding.level == DiagnosticLevel::Pass);
    let path = format!("/targets/{}", percent_encode(&name));
    let headline = describe_findings(&name, &findings);
    let header = PageHeader {
        crumbs: vec![Crumb { href: path.clone(), text: name.clone() }],
        headline: &headline,
        lead: html! { "Schema, role, TLS and clock of " (name) ", examined just now. Nothing is changed." },
        actions: html! { a.btn href={ (path) "/doctor" } { "Run again" } },
        ..PageHeader::default()
    };
    let body = html! {
        (header.render())
        (render_findings("problems", "Problems", &problems))
        (render_findings("passed", "Passed", &passed))
    };
    let title = format!("Doctor: {name}");
    let page = PageHead { title: &title, section: NavSection::Settings, target: Some(&name), live: false };
    Ok(shell.render_page(page, &body))
}

/// Returns the result in one sentence.
fn describe_findings(target: &str, findings: &[Diagnostic]) -> String {
    let count =
        |level: DiagnosticLevel| findings.iter().filter(|finding| finding.level == level).count() as u64;
    let (errors, warnings) = (count(DiagnosticLevel::Fail), count(DiagnosticLevel::Warn));
    let errors_text = format_count(errors, "error", "errors");
    let warnings_text = format_count(warnings, "warning", "warnings");
    match (errors, warnings) {
        (0, 0) => format!("{target} is set up well"),
        (0, _) => format!("{warnings_text} on {target}"),
        (_, 0) => format!("{errors_text} on {target}"),
        (_, _) => format!("{errors_text} and {warnings_text} on {target}"),
    }
}

fn render_findings(id: &str, title: &str, findings: &[&Diagnostic]) -> Markup {
    let count = findings.len().to_string();
    let body = html! { ul.findings { @for finding in findings { (render_finding(finding)) } } };
    html! { @if !findings.is_empty() { (Card { id, title, note: &count, end: html! {}, body }.render()) } }
}

fn render_finding(finding: &Diagnostic) -> Markup {
    let pill = match finding.level {
        DiagnosticLevel::Pass => render_pill(PillTone::Passing, Icon::CircleCheck, "Passed"),
        DiagnosticLevel::Warn => render_pill(PillTone::Stale, Icon::TriangleAlert, "Warning"),
        DiagnosticLevel::Fail => render_pill(PillTone::Failing, Icon::CircleX, "Error"),
    };
    html! {
        li {
            span { (pill) }
            div.stack-s {
                p { (render_sentence(&capitalize_first(&finding.summary))) " " code.mono.muted { (finding.id) } }
                @if let Some(fix) = &finding.fix { (render_code_block("fix", &sanitize_lines(fix))) }
                @if let Some(fix) = &finding.schema_fix {
                    p.muted { (render_sentence(&capitalize_first(fix))) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_app::app::accounts::AccountRole;

    use super::*;
    use crate::test_dashboard::{HOSTILE_TEXT, TestDashboard};

    fn finding(level: DiagnosticLevel) -> Diagnostic {
        Diagnostic {
            id: "token-index",
            level,
            summary: HOSTILE_TEXT.into(),
            fix: Some(HOSTILE_TEXT.into()),
            schema_fix: Some(HOSTILE_TEXT.into()),
        }
    }

    #[test]
    fn the_headline_counts_errors_and_warnings() {
        use DiagnosticLevel::{Fail, Pass, Warn};
        for (levels, expected) in [
            (vec![Pass], "app is set up well"),
            (vec![Warn, Pass], "1 warning on app"),
            (vec![Fail, Fail], "2 errors on app"),
            (vec![Fail, Warn], "1 error and 1 warning on app"),
        ] {
            let findings: Vec<Diagnostic> = levels.into_iter().map(finding).collect();
            assert_eq!(describe_findings("app", &findings), expected);
        }
    }

    #[test]
    fn findings_are_text() {
        let item = render_finding(&finding(DiagnosticLevel::Fail)).into_string();
        assert!(item.contains("Error") && !item.contains("<script>") && item.contains("data-copy"), "{item}");
    }

    #[tokio::test]
    async fn an_unreachable_target_is_an_error_page() {
        let dashboard = TestDashboard::new();
        let page = dashboard.log_in_as(AccountRole::Viewer).await.get("/targets/app/doctor").await;
        assert!(page.status.is_server_error(), "{}", page.status);
    }
}
