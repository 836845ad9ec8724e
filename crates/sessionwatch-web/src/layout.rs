//! The frame of pages in their former shape.

use maud::{Markup, html};
use sessionwatch_core::severity::Severity;

use super::{
    components::{PageHeader, render_severity_pill, render_state_pill},
    shell::{self, NavSection, Shell},
};
pub(super) use super::{
    format::{percent_encode, render_relative_time, sanitize_text},
    shell::render_csrf_field,
};

/// Title and behavior of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageHead<'a> {
    pub(super) title: &'a str,
    pub(super) path: &'a str,
    pub(super) live: bool,
}

/// Renders a page for a logged-in user.
pub(super) fn render_page(shell: &Shell, page: PageHead<'_>, body: &Markup) -> Markup {
    let section = match page.path {
        "/alerts" => NavSection::Alerts,
        "/logs" => NavSection::Logs,
        "/incidents" => NavSection::Incidents,
        "/cleanup" => NavSection::Cleanup,
        "/report" => NavSection::Reports,
        "/audit" => NavSection::Audit,
        "/settings" => NavSection::Settings,
        _ => NavSection::Overview,
    };
    let header = PageHeader { headline: page.title, ..PageHeader::default() };
    let body = html! { (header.render()) (body) };
    shell.render_page(shell::PageHead { title: page.title, section, target: None, live: page.live }, &body)
}
