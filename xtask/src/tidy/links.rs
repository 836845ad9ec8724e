//! Rule: relative links in Markdown lead to existing files and headings.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{TidyFinding, TidyRule, documents::Document};

/// Markdown files outside of [`DOCS_FOLDER`] whose links are checked.
const ROOT_PAGES: [&str; 4] = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"];
const DOCS_FOLDER: &str = "docs/";

/// Reports links to missing files and missing headings.
pub(crate) fn check(documents: &[Document], findings: &mut Vec<TidyFinding>) {
    // Links may lead to images and folders, which are not among the documents, so the file system is asked.
    check_links(documents, |path| Path::new(path).exists(), findings);
}

fn check_links(documents: &[Document], exists: impl Fn(&str) -> bool, findings: &mut Vec<TidyFinding>) {
    let anchors: BTreeMap<&str, BTreeSet<String>> = documents
        .iter()
        .filter(|document| document.path.ends_with(".md"))
        .map(|document| (document.path.as_str(), list_anchors(&document.text)))
        .collect();
    for document in documents.iter().filter(|document| is_checked(&document.path)) {
        for (line, target) in list_links(&document.text) {
            let Some((path, fragment)) = resolve_link(&document.path, &target) else { continue };
            let is_in_docs = |path: &str| path.starts_with(DOCS_FOLDER);
            let problem = if !exists(&path) {
                format!("link to `{target}`: `{path}` does not exist")
            } else if is_in_docs(&document.path) && !is_in_docs(&path) && path.ends_with(".md") {
                format!("link to `{target}`: the book has no page `{path}`")
            } else if let (Some(known), false) = (anchors.get(path.as_str()), fragment.is_empty())
                && !known.contains(&fragment)
            {
                format!("link to `{target}`: `{path}` has no heading `#{fragment}`")
            } else {
                continue;
            };
            findings.push(TidyFinding::at(TidyRule::BrokenLink, &document.path, line, problem));
        }
    }
}

fn is_checked(path: &str) -> bool {
    ROOT_PAGES.contains(&path) || path.starts_with(DOCS_FOLDER) && path.ends_with(".md")
}

/// Returns the path of a link's target, relative to the root, and its fragment. `None` for links to other sites, and
/// for an empty target, which marks a draft chapter in mdBook's summary.
pub(crate) fn resolve_link(page: &str, target: &str) -> Option<(String, String)> {
    let has_scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
    });
    if target.is_empty() || target.starts_with('/') || has_scheme {
        return None;
    }
    let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() {
        return Some((page.to_owned(), fragment.to_owned()));
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    Some((parts.join("/"), fragment.to_owned()))
}

/// Lists the links of a page outside of code, each with its line number, starting at 1.
fn list_links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose_lines(text) {
        let line = remove_code_spans(line);
        // Reference definitions: `[name]: target`.
        if let Some((name, rest)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            links.extend(rest.split_whitespace().next().map(|target| (number, target.to_owned())));
        }
        for (at, opening) in line.match_indices("](") {
            let rest = &line[at + opening.len()..];
            let target = rest.split(')').next().unwrap_or_default();
            // A title may follow the target: `(page.md "Title")`.
            let target = target.split(' ').next().unwrap_or_default();
            links.push((number, target.trim_matches(['<', '>']).to_owned()));
        }
    }
    links
}

/// Lists valid fragments: headings, by GitHub's rules, and elements with an `id`.
fn list_anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose_lines(text) {
        for (at, opening) in line.match_indices("id=\"") {
            anchors.extend(line[at + opening.len()..].split('"').next().map(str::to_owned));
        }
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let slug = to_slug(title.trim());
        // A repeated heading gets the suffix `-1`, the next one `-2`.
        let mut numbered = slug.clone();
        for number in 1.. {
            if anchors.insert(numbered) {
                break;
            }
            numbered = format!("{slug}-{number}");
        }
    }
    anchors
}

/// Turns a heading into its fragment: letters, digits, hyphens and underscores stay, spaces become hyphens.
fn to_slug(title: &str) -> String {
    let mut visible = String::new();
    let mut rest = title;
    // Only the text of a link belongs to the heading.
    while let Some((before, after)) = rest.split_once("](") {
        visible.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    visible.push_str(rest);
    let kept = |character: char| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    };
    visible.to_lowercase().chars().filter_map(kept).collect()
}

/// Yields the lines outside of fenced code, each with its number, starting at 1.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let trimmed = line.trim_start();
        match fence {
            Some(mark) => {
                if trimmed.starts_with(mark) {
                    fence = None;
                }
                false
            }
            None => {
                fence = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
                fence.is_none()
            }
        }
    })
}

/// Removes code spans.
fn remove_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(pages: &[(&str, &str)]) -> Vec<String> {
        let document = |&(path, text): &(&str, &str)| Document { path: path.into(), text: text.into() };
        let documents: Vec<Document> = pages.iter().map(document).collect();
        let mut findings = Vec::new();
        let exists = |path: &str| path == "docs/shot.png" || pages.iter().any(|(page, _)| *page == path);
        check_links(&documents, exists, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        let found = findings(&[("docs/a.md", "# A\n\n[b](b.md), ![shot](shot.png), [c](../docs/c.md#x)\n")]);
        assert_eq!(
            found,
            [
                "docs/a.md:3: link to `b.md`: `docs/b.md` does not exist [broken-link]",
                "docs/a.md:3: link to `../docs/c.md#x`: `docs/c.md` does not exist [broken-link]",
            ]
        );
    }

    #[test]
    fn a_link_to_a_missing_heading_is_found() {
        let there =
            "# One\n\n## `serve` & its [store](x.md)\n\n## Two\n\n## Two\n\n```sh\n# no heading\n```\n";
        let links = "[1](b.md#one) [2](b.md#serve--its-store) [3](b.md#two-1) [4](b.md#no-heading) [5](#x)\n";
        let found =
            findings(&[("README.md", "[b](docs/b.md#two)\n"), ("docs/a.md", links), ("docs/b.md", there)]);
        assert_eq!(
            found,
            [
                "docs/a.md:1: link to `b.md#no-heading`: `docs/b.md` has no heading `#no-heading` [broken-link]",
                "docs/a.md:1: link to `#x`: `docs/a.md` has no heading `#x` [broken-link]",
                "docs/b.md:3: link to `x.md`: `docs/x.md` does not exist [broken-link]",
            ]
        );
    }

    #[test]
    fn a_link_out_of_the_book_to_another_page_is_found() {
        let found = findings(&[("README.md", "# A\n"), ("docs/a.md", "[a](../README.md#a)\n")]);
        let problem = "link to `../README.md#a`: the book has no page `README.md`";
        assert_eq!(found, [format!("docs/a.md:1: {problem} [broken-link]")]);
    }

    #[test]
    fn reference_definitions_are_links() {
        let found = findings(&[("CHANGELOG.md", "See [this].\n\n[this]: gone.md\n")]);
        assert_eq!(found, ["CHANGELOG.md:3: link to `gone.md`: `gone.md` does not exist [broken-link]"]);
    }

    #[test]
    fn code_other_sites_and_other_files_are_not_checked() {
        let text = "`[a](gone.md)` [b](https://example.org/gone.md) [c](mailto:a@example.org) [d]()\n\n\
            ```md\n[e](gone.md)\n```\n";
        assert!(findings(&[("docs/a.md", text), ("fuzz/a.md", "[a](gone.md)")]).is_empty());
    }
}
