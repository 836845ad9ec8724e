//! The page frame, and helpers that all pages use.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use sessionwatch_app::app::{AppError, login_sessions::CurrentUser};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    duration::{DAY, HOUR, SECOND},
    timestamp::UtcTimestamp,
};

use super::WebError;

const APP_STYLESHEET: &str = include_str!("assets/app.css");
const APP_SCRIPT: &str = include_str!("assets/app.js");

/// The navigation: path and name of each entry.
const NAV_ITEMS: [(&str, &str); 8] = [
    ("/", "Overview"),
    ("/alerts", "Alerts"),
    ("/logs", "Logs"),
    ("/incidents", "Incidents"),
    ("/cleanup", "Cleanup"),
    ("/report", "Checklist"),
    ("/audit", "Audit"),
    ("/settings", "Settings"),
];

/// Title and behavior of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageHead<'a> {
    /// The title.
    pub(super) title: &'a str,
    /// The path of its navigation entry.
    pub(super) path: &'a str,
    /// `true` if the page refreshes itself.
    pub(super) live: bool,
}

/// Renders a page for a logged-in user.
pub(super) fn render_page(person: &CurrentUser, page: PageHead<'_>, body: &Markup) -> Markup {
    let PageHead { title, path, live } = page;
    let here = |place: &str| place == path || place.len() > 1 && path.starts_with(place);
    html! {
        (DOCTYPE)
        html lang="en" {
            (render_head(title))
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { "sessionwatch" }
                    nav aria-label="Pages" {
                        @for (place, name) in NAV_ITEMS {
                            a href=(place) aria-current=[here(place).then_some("page")] { (name) }
                        }
                    }
                    form.who method="post" action="/logout" {
                        (render_csrf_field(person))
                        span { (person.name) " · " (person.role.name()) }
                        button.quiet { "Log out" }
                    }
                }
                main id="main" data-live=[live.then_some("yes")] {
                    h1 { (title) }
                    (body)
                }
                footer.foot { span id="live" role="status" {} " Times are UTC." }
            }
        }
    }
}

/// Renders a page for users who are not logged in.
pub(super) fn render_public_page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (render_head(title))
            body.bare { main id="main" { p.brand { "sessionwatch" } h1 { (title) } (body) } }
        }
    }
}

fn render_head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · sessionwatch" }
            link rel="stylesheet" href="/assets/app.css";
            link rel="icon" href="/assets/icon.svg";
            script src="/assets/app.js" defer {}
        }
    }
}

/// Renders the hidden CSRF token of a form.
pub(super) fn render_csrf_field(person: &CurrentUser) -> Markup {
    html! { input type="hidden" name="form" value=(person.csrf_token.expose()); }
}

const ICON_SVG: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#175e54"/><path d="M6 17h5l3-8 4 14 3-6h5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" stroke-linejoin="round"/></svg>"##;

pub(super) async fn serve_asset(Path(file): Path<String>) -> Response {
    let (kind, text) = match file.as_str() {
        "app.css" => ("text/css; charset=utf-8", APP_STYLESHEET),
        "app.js" => ("text/javascript; charset=utf-8", APP_SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON_SVG),
        _ => return WebError::from(AppError::NotFound("File not found.".into())).into_response(),
    };
    // Short, because the files have no version in their names.
    let kept = "max-age=300";
    (StatusCode::OK, [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, kept)], text).into_response()
}

/// Renders a state by shape, word and color.
pub(super) fn render_status_badge(state: &str) -> Markup {
    let shape = match state {
        "failing" | "firing" => "▲",
        "pending" | "warn" => "△",
        "unknown" | "stale" => "?",
        "acknowledged" | "silenced" => "◐",
        "skipped" => "»",
        "open" => "○",
        _ => "●",
    };
    html! { span class={ "mark " (state) } { span aria-hidden="true" { (shape) } " " (state) } }
}

/// Renders a severity by shape, word and color.
pub(super) fn render_severity_badge(name: &str) -> Markup {
    let bars = match name {
        "critical" => "▮▮▮▮",
        "high" => "▮▮▮▯",
        "medium" => "▮▮▯▯",
        _ => "▮▯▯▯",
    };
    html! { span class={ "severity " (name) } { span aria-hidden="true" { (bars) } " " (name) } }
}

/// Renders a documentation page as part of a page: without its title, with headings one level deeper, and with links as
/// plain text.
pub(super) fn render_markdown(text: &str) -> Markup {
    let mut title = false;
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(|event| match event {
        Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => {
            title = true;
            None
        }
        Event::End(TagEnd::Heading(HeadingLevel::H1)) => {
            title = false;
            None
        }
        _ if title => None,
        Event::Start(Tag::Heading { .. }) => Some(Event::Html("<h3>".into())),
        Event::End(TagEnd::Heading(_)) => Some(Event::Html("</h3>".into())),
        Event::Start(Tag::CodeBlock(_)) => Some(Event::Html("<pre class=\"draft\" tabindex=\"0\">".into())),
        Event::End(TagEnd::CodeBlock) => Some(Event::Html("</pre>".into())),
        Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock)
        | Event::End(TagEnd::Link | TagEnd::Image | TagEnd::HtmlBlock)
        | Event::Html(_)
        // Links point to other Markdown files, which are no pages here; raw HTML is dropped on principle.
        | Event::InlineHtml(_) => None,
        other => Some(other),
    });
    let mut page = String::new();
    pulldown_cmark::html::push_html(&mut page, events);
    PreEscaped(page)
}

/// Renders an instant as a relative time, with the exact time on hover.
pub(super) fn render_relative_time(at: UtcTimestamp, now: UtcTimestamp) -> Markup {
    html! { time datetime=(clock::format_rfc3339(at)) title=(clock::format_utc(at)) { (format_relative_time(at, now)) } }
}

/// Formats a relative time, such as `90 s ago` or `in 3 days`.
pub(super) fn format_relative_time(at: UtcTimestamp, now: UtcTimestamp) -> String {
    let passed = now.duration_since(at);
    let span = passed.abs();
    let (number, unit) = match span {
        _ if span < 2 * SECOND => return "now".into(),
        _ if span < 120 * SECOND => (span.as_secs(), "s"),
        _ if span < 2 * HOUR => (span.as_mins(), "min"),
        _ if span < 2 * DAY => (span.as_hours(), "h"),
        _ => (span.as_hours() / 24, "days"),
    };
    if passed.is_negative() { format!("in {number} {unit}") } else { format!("{number} {unit} ago") }
}

/// Percent-encodes a text for use as one segment of a URL.
pub(super) fn percent_encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Removes misleading characters, such as bidirectional controls, from foreign text. The template escapes HTML.
pub(super) fn sanitize_text(text: &str) -> String {
    sessionwatch_app::sanitize::sanitize_text(text)
}

/// Sanitizes text line by line.
pub(super) fn sanitize_lines(text: &str) -> String {
    text.lines().map(sanitize_text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn relative_times_use_a_natural_unit() {
        let now = UtcTimestamp::UNIX_EPOCH + 100 * DAY;
        for (passed, said) in [
            (SignedDuration::ZERO, "now"),
            (SECOND, "now"),
            (90 * SECOND, "90 s ago"),
            (HOUR, "60 min ago"),
            (30 * HOUR, "30 h ago"),
            (3 * DAY, "3 days ago"),
            (-30 * HOUR, "in 30 h"),
        ] {
            assert_eq!(format_relative_time(now - passed, now), said);
        }
    }

    #[test]
    fn documentation_is_embedded_without_title_links_and_raw_html() {
        let text = "# Title\n\n## Why\n\nSee [here](https://example.org). <script>x</script>\n\n```sql\nSELECT 1\n```\n";
        let page = render_markdown(text).into_string();
        assert!(page.contains("<h3>Why</h3>") && page.contains("See here."), "{page}");
        assert!(page.contains("<pre class=\"draft\" tabindex=\"0\">SELECT 1"), "{page}");
        for part in ["Title", "href", "<script>"] {
            assert!(!page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn states_and_severities_have_a_shape_and_a_word_besides_the_color() {
        let shown = |markup: Markup| {
            scraper::Html::parse_fragment(&markup.into_string()).root_element().text().collect::<String>()
        };
        assert_eq!(shown(render_status_badge("failing")), "▲ failing");
        assert_eq!(shown(render_status_badge("passing")), "● healthy");
        assert_eq!(shown(render_severity_badge("critical")), "▮▮▮▮ critical");
        assert_eq!(percent_encode("a b/c"), "a%20b%2Fc");
        assert_eq!(sanitize_lines("a\u{202e}\nb").lines().count(), 2);
    }
}
