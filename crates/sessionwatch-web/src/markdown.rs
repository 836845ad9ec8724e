//! Documentation pages as parts of a page.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Renders a documentation page as part of a page: without its title, with headings one level deeper, and with links as
/// plain text.
pub(crate) fn render_markdown(text: &str) -> Markup {
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
        Event::Start(Tag::CodeBlock(_)) => Some(Event::Html("<div class=\"code\"><pre tabindex=\"0\">".into())),
        Event::End(TagEnd::CodeBlock) => Some(Event::Html("</pre></div>".into())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_is_embedded_without_title_links_and_raw_html() {
        let text = "# Title\n\n## Why\n\nSee [here](https://example.org). <script>x</script>\n\n\
                    ```sql\nSELECT 1\n```\n";
        let page = render_markdown(text).into_string();
        assert!(page.contains("<h3>Why</h3>") && page.contains("See here."), "{page}");
        assert!(page.contains("<pre tabindex=\"0\">SELECT 1"), "{page}");
        for part in ["Title", "href", "<script>"] {
            assert!(!page.contains(part), "{part}: {page}");
        }
    }
}
