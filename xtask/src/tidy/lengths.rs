//! Rule: at most 500 lines per file, 60 lines of code per function body, 120 characters per line.

use syn::spanned::Spanned;

use super::{TidyFinding, TidyRule, documents::Document, source::SourceFile};

const MAX_FILE_LINES: usize = 500;
/// In characters. Table rows and single words, such as URLs, are exempt: they cannot be broken.
const MAX_LINE_LENGTH: usize = 120;
/// Excluding empty lines and comments, as Clippy counts.
const MAX_FUNCTION_LINES: usize = 60;

pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    if lines.len() > MAX_FILE_LINES {
        let message = format!(
            "the file has {} lines, {MAX_FILE_LINES} are allowed: move a topic to its own file",
            lines.len()
        );
        findings.push(TidyFinding::new(TidyRule::FileLength, source, MAX_FILE_LINES + 1, message));
    }
    check_lines(&source.path, &source.text, findings);
    for function in source.functions(true) {
        let span = function.body.span();
        let inside = lines.get(span.start().line..span.end().line.saturating_sub(1)).unwrap_or_default();
        let count = inside.iter().filter(|line| is_code(line)).count();
        if count > MAX_FUNCTION_LINES {
            let message = format!(
                "`{}` has {count} lines of code, {MAX_FUNCTION_LINES} are allowed: extract a step as a function",
                function.name
            );
            findings.push(TidyFinding::new(TidyRule::FunctionLength, source, function.line, message));
        }
    }
}

/// Reports lines that are too long.
pub(crate) fn check_lines(path: &str, text: &str, findings: &mut Vec<TidyFinding>) {
    for (number, line) in (1..).zip(text.lines()) {
        let length = line.chars().count();
        let can_be_broken = line.trim().contains(' ') && !(path.ends_with(".md") && line.starts_with('|'));
        if length > MAX_LINE_LENGTH && can_be_broken {
            let message =
                format!("the line has {length} characters, {MAX_LINE_LENGTH} are allowed: break it");
            findings.push(TidyFinding::at(TidyRule::LineLength, path, number, message));
        }
    }
}

/// Reports lines of a text file that are too long.
pub(crate) fn check_document(document: &Document, findings: &mut Vec<TidyFinding>) {
    check_lines(&document.path, &document.text, findings);
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TidyRule, documents::Document, findings_of},
        check_document,
    };

    fn count(rule: TidyRule, text: &str) -> usize {
        findings_of(rule, "crates/a/src/b.rs", text).len()
    }

    #[test]
    fn a_file_of_501_lines_is_too_long() {
        assert_eq!(count(TidyRule::FileLength, &"// x\n".repeat(501)), 1);
        assert_eq!(count(TidyRule::FileLength, &"// x\n".repeat(500)), 0);
    }

    #[test]
    fn a_function_of_61_lines_is_too_long_not_counting_comments() {
        let function = |lines: &str| format!("impl A {{\n    fn f() {{\n{lines}    }}\n}}");
        assert_eq!(count(TidyRule::FunctionLength, &function(&"        g();\n".repeat(61))), 1);
        assert_eq!(
            count(TidyRule::FunctionLength, &function(&"        g();\n\n        // x\n".repeat(60))),
            0
        );
    }

    #[test]
    fn a_line_of_121_characters_is_too_long_unless_it_cannot_be_broken() {
        let line = |length: usize| format!("// {}", "x ".repeat(length))[..length].to_owned();
        assert_eq!(count(TidyRule::LineLength, &line(121)), 1);
        assert_eq!(count(TidyRule::LineLength, &line(120)), 0);
        let mut findings = Vec::new();
        let text = format!("{}\n| {}\n", "x".repeat(200), line(200));
        check_document(&Document { path: "docs/a.md".to_owned(), text }, &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
    }
}
