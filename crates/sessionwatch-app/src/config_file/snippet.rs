//! Terminal output of problems, each with the affected line.

use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::ConfigProblem;

/// Renders a problem with its line, underlined at the affected part.
#[must_use]
pub fn render_problem(problem: &ConfigProblem, file: &Path, is_colored: bool) -> String {
    let title = match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    let file = file.display().to_string();
    let (line, column) = problem.position;
    let title = Level::ERROR.primary_title(&title);
    let report = [match &problem.excerpt {
        Some(excerpt) => title.element(
            Snippet::source(&excerpt.line)
                .line_start(line)
                .path(&file)
                .annotation(AnnotationKind::Primary.span(excerpt.highlighted.clone())),
        ),
        None => title.element(Origin::path(&file).line(line).char_column(column)),
    }];
    let renderer = if is_colored { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&report)
}
