//! Rule: no two functions share more than ten consecutive lines. Lines are compared token by token, without comments
//! and layout; lines of punctuation alone do not count.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::Block;

use super::{
    TidyFinding, TidyRule,
    source::{SourceFile, flatten},
};

/// Minimum number of consecutive equal lines that count as a duplicate.
const MIN_DUPLICATE_LINES: usize = 11;

struct FunctionBody<'a> {
    source: &'a SourceFile,
    name: String,
    lines: Vec<NumberedLine>,
}

struct NumberedLine {
    number: usize,
    text: String,
}

/// A position: indexes of a function body and of one of its lines.
#[derive(Clone, Copy)]
struct BodyPosition {
    body: usize,
    line: usize,
}

pub(crate) fn check(sources: &[SourceFile], findings: &mut Vec<TidyFinding>) {
    let bodies: Vec<FunctionBody<'_>> = sources.iter().flat_map(bodies_of).collect();
    let mut seen = HashMap::<u64, Vec<BodyPosition>>::new();
    for (index, body) in bodies.iter().enumerate() {
        let mut line = 0;
        // Added to `seen` only after the loop, so that repeated lines within one function do not count.
        let mut own = Vec::new();
        while line + MIN_DUPLICATE_LINES <= body.lines.len() {
            let here = BodyPosition { body: index, line };
            let hash = hash_of(&body.lines[line..line + MIN_DUPLICATE_LINES]);
            let longest = seen.get(&hash).into_iter().flatten().copied();
            let longest = longest
                .map(|there| (count_common_lines(&bodies, here, there), there))
                .max_by_key(|found| found.0);
            let step = match longest {
                Some((length, there)) if length >= MIN_DUPLICATE_LINES => {
                    findings.push(build_finding(&bodies, here, there, length));
                    length
                }
                _ => 1,
            };
            own.push((hash, here));
            line += step;
        }
        for (hash, place) in own {
            seen.entry(hash).or_default().push(place);
        }
    }
}

fn bodies_of(source: &SourceFile) -> Vec<FunctionBody<'_>> {
    let functions = source.functions(false);
    let body = |name, block| FunctionBody { source, name, lines: lines_of(block) };
    functions.into_iter().map(|function| body(function.name, function.body)).collect()
}

fn lines_of(block: &Block) -> Vec<NumberedLine> {
    let mut tokens = Vec::new();
    flatten(block.to_token_stream(), &mut tokens);
    let mut lines: Vec<NumberedLine> = Vec::new();
    let mut counts = false;
    for token in tokens {
        let number = token.span().start().line;
        if lines.last().is_none_or(|last| last.number != number) {
            if !counts {
                lines.pop();
            }
            lines.push(NumberedLine { number, text: String::new() });
            counts = false;
        }
        let Some(line) = lines.last_mut() else { continue };
        match token {
            TokenTree::Group(group) => line.text.push_str(&format!("{:?} ", group.delimiter())),
            TokenTree::Punct(punct) => line.text.push(punct.as_char()),
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                counts = true;
                line.text.push_str(&format!("{token} "));
            }
        }
    }
    if !counts {
        lines.pop();
    }
    lines
}

fn hash_of(lines: &[NumberedLine]) -> u64 {
    let mut hasher = DefaultHasher::new();
    lines.iter().for_each(|line| line.text.hash(&mut hasher));
    hasher.finish()
}

/// Returns the number of equal lines that start at two positions.
fn count_common_lines(bodies: &[FunctionBody<'_>], one: BodyPosition, other: BodyPosition) -> usize {
    let one = &bodies[one.body].lines[one.line..];
    let other = &bodies[other.body].lines[other.line..];
    one.iter().zip(other).take_while(|(one, other)| one.text == other.text).count()
}

fn build_finding(
    bodies: &[FunctionBody<'_>],
    here: BodyPosition,
    there: BodyPosition,
    length: usize,
) -> TidyFinding {
    let (body, other) = (&bodies[here.body], &bodies[there.body]);
    let message = format!(
        "{length} lines of `{}` repeat those of `{}` ({}:{}): extract a shared function",
        body.name, other.name, other.source.path, other.lines[there.line].number
    );
    TidyFinding::new(TidyRule::Duplicate, body.source, body.lines[here.line].number, message)
}

#[cfg(test)]
mod tests {
    use super::super::{TidyRule, findings_of};

    fn messages(text: &str) -> Vec<String> {
        let found = findings_of(TidyRule::Duplicate, "crates/a/src/b.rs", text);
        found.iter().map(ToString::to_string).collect()
    }

    fn statements(numbers: std::ops::Range<usize>) -> String {
        numbers.map(|number| format!("    step_{number}(a,\n);\n")).collect()
    }

    #[test]
    fn eleven_shared_lines_are_one_duplicate_regardless_of_layout() {
        let one = statements(0..11);
        let other = one.replace("(a", "( a").replace("    ", "  // step\n      ");
        let found = messages(&format!("fn f() {{\n    first();\n{one}}}\nfn g() {{\n{other}    last();\n}}"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains("11 lines of `g` repeat those of `f` (crates/a/src/b.rs:3)"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn ten_shared_lines_and_repeated_lines_of_one_function_pass() {
        let lines = statements(0..10);
        assert!(messages(&format!("fn f() {{\n{lines}x();\n}}\nfn g() {{\n{lines}y();\n}}")).is_empty());
        let lines = statements(0..11);
        assert!(messages(&format!("fn f() {{\n{lines}{lines}\n}}")).is_empty());
    }
}
