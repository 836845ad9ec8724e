//! The index of the book for language models, `llms.txt` (<https://llmstxt.org>): every page with its first sentence.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context, Result};

const INDEX_HEAD: &str = "# sessionwatch\n\n> Monitors the login sessions that a web application keeps in its \
    database, from outside and read-only: it finds shared, leaked, orphaned and hoarded sessions, alerts, and removes \
    them with an undo.\n\n";

/// Writes the index beside the pages of the book.
///
/// # Errors
///
/// Fails if the summary or a page cannot be read.
pub(super) fn write_llms_index(sources: &Path, book: &Path) -> Result<()> {
    let summary = std::fs::read_to_string(sources.join("SUMMARY.md"))?;
    let mut index = INDEX_HEAD.to_owned();
    for line in summary.lines() {
        if let Some(part) = line.strip_prefix("# ").filter(|part| *part != "Summary") {
            let _ = write!(index, "\n## {part}\n\n");
        }
        let Some((title, path)) = parse_chapter(line) else { continue };
        let source = sources.join(path.replace("README.md", "index.md"));
        let page =
            std::fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
        let html = path.replace("README.md", "index.html").replace(".md", ".html");
        let sentence = first_sentence(&page).map(|sentence| format!(": {sentence}")).unwrap_or_default();
        let _ = writeln!(index, "- [{title}]({html}){sentence}");
    }
    std::fs::write(book.join("llms.txt"), index)?;
    Ok(())
}

/// Returns title and path of a chapter: `- [Title](path.md)`.
fn parse_chapter(line: &str) -> Option<(&str, &str)> {
    let (title, path) = line.trim_start().trim_start_matches("- ").strip_prefix('[')?.split_once("](")?;
    Some((title, path.strip_suffix(')')?)).filter(|(_, path)| !path.is_empty())
}

/// Returns the first sentence of a page, below its title.
fn first_sentence(page: &str) -> Option<String> {
    let paragraph = page
        .split("\n\n")
        .map(str::trim)
        .find(|part| part.starts_with(|letter: char| letter.is_alphabetic()))?;
    let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    Some(text[..end].trim_end_matches(':').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_are_read_from_the_summary() {
        assert_eq!(
            parse_chapter("  - [Kubernetes](hosting/kubernetes.md)"),
            Some(("Kubernetes", "hosting/kubernetes.md"))
        );
        assert_eq!(parse_chapter("[Documentation](README.md)"), Some(("Documentation", "README.md")));
        assert_eq!((parse_chapter("- [Draft]()"), parse_chapter("# Part")), (None, None));
    }

    #[test]
    fn the_first_sentence_is_below_the_title() {
        let page = "# Title\n\n![picture](x.png)\n\nRun it, or\nread it. Then stop.\n";
        assert_eq!(first_sentence(page).unwrap(), "Run it, or read it.");
        assert_eq!(first_sentence("# Title\n"), None);
    }
}
