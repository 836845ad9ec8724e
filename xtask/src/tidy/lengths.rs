//! Files have 500 lines at most, bodies of functions 60 lines of code.

use syn::spanned::Spanned;

use super::{TidyFinding, TidyRule, source::SourceFile};

const MAX_FILE_LINES: usize = 500;
/// Without empty lines and comments, as Clippy counts.
const MAX_FUNCTION_LINES: usize = 60;

pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    if lines.len() > MAX_FILE_LINES {
        let message = format!(
            "the file has {} lines, {MAX_FILE_LINES} are allowed: move one of the things that it holds into a file of its own",
            lines.len()
        );
        findings.push(TidyFinding::new(TidyRule::FileLength, source, MAX_FILE_LINES + 1, message));
    }
    for function in source.functions(true) {
        let span = function.body.span();
        let inside = lines.get(span.start().line..span.end().line.saturating_sub(1)).unwrap_or_default();
        let count = inside.iter().filter(|line| is_code(line)).count();
        if count > MAX_FUNCTION_LINES {
            let message = format!(
                "`{}` has {count} lines of code, {MAX_FUNCTION_LINES} are allowed: take a step of it out as a function",
                function.name
            );
            findings.push(TidyFinding::new(TidyRule::FunctionLength, source, function.line, message));
        }
    }
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::super::{TidyRule, findings_of};

    fn count(rule: TidyRule, text: &str) -> usize {
        findings_of(rule, "crates/a/src/b.rs", text).len()
    }

    #[test]
    fn a_file_of_501_lines_is_too_long() {
        assert_eq!(count(TidyRule::FileLength, &"// x\n".repeat(501)), 1);
        assert_eq!(count(TidyRule::FileLength, &"// x\n".repeat(500)), 0);
    }

    #[test]
    fn a_function_of_61_lines_is_too_long_and_comments_do_not_count() {
        let function = |lines: &str| format!("impl A {{\n    fn f() {{\n{lines}    }}\n}}");
        assert_eq!(count(TidyRule::FunctionLength, &function(&"        g();\n".repeat(61))), 1);
        assert_eq!(
            count(TidyRule::FunctionLength, &function(&"        g();\n\n        // x\n".repeat(60))),
            0
        );
    }
}
