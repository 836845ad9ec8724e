//! Rule: limits on the shares of one-word names, shared type names and kinds of comments in the whole workspace.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::{
    names::{self, Declaration, ItemKind},
    source::SourceFile,
};

/// Maximum share of one-word names among constants, in percent.
const MAX_ONE_WORD_CONSTANTS: usize = 20;
/// Maximum share of one-word names among functions and methods, in percent.
const MAX_ONE_WORD_FUNCTIONS: usize = 40;
/// Maximum share of types whose name another type of the workspace has too, in percent.
const MAX_SHARED_TYPE_NAMES: usize = 12;
/// Maximum share of doc comments that open with a question word, in percent.
const MAX_QUESTION_OPENINGS: usize = 4;
/// Allowed share of plain comments among non-empty lines, in tenths of a percent.
const PLAIN_COMMENTS: std::ops::RangeInclusive<usize> = 15..=40;

/// Openings that describe instead of naming.
const QUESTION_WORDS: [&str; 5] = ["How", "What", "When", "Whether", "Who"];

/// A count out of a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    part: usize,
    whole: usize,
}

impl Share {
    fn count(all: impl Iterator<Item = bool>) -> Self {
        all.fold(Self::default(), |share, is_part| Self {
            part: share.part + usize::from(is_part),
            whole: share.whole + 1,
        })
    }

    fn per_mille(self) -> usize {
        self.part * 1_000 / self.whole.max(1)
    }
}

/// The shares of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    one_word_constants: Share,
    one_word_functions: Share,
    shared_type_names: Share,
    question_openings: Share,
    plain_comments: Share,
}

impl Shares {
    /// Computes the shares of production code.
    pub(crate) fn count(sources: &[SourceFile]) -> Self {
        let production = || sources.iter().filter(|source| !source.is_test(0));
        let declarations: Vec<Declaration> = production().flat_map(names::list_declarations).collect();
        let one_word = |kinds: &[ItemKind]| {
            let some = declarations.iter().filter(|declaration| kinds.contains(&declaration.kind));
            Share::count(some.map(Declaration::is_one_word))
        };
        let mut types = BTreeMap::<&str, usize>::new();
        for declaration in declarations.iter().filter(|declaration| declaration.kind == ItemKind::Type) {
            *types.entry(&declaration.name).or_default() += 1;
        }
        let shared = types.values().filter(|count| **count > 1).sum();
        Self {
            one_word_constants: one_word(&[ItemKind::Constant]),
            one_word_functions: one_word(&[ItemKind::FreeFunction, ItemKind::Method]),
            shared_type_names: Share { part: shared, whole: types.values().sum() },
            question_openings: Share::count(production().flat_map(opening_lines).map(is_question)),
            plain_comments: Share::count(
                production().flat_map(production_lines).filter(|line| !line.is_empty()).map(is_plain_comment),
            ),
        }
    }

    /// Prints the shares.
    ///
    /// # Errors
    ///
    /// Fails if a share is outside of its limits.
    pub(crate) fn check(self) -> Result<()> {
        let limits = [
            ("one-word constants", self.one_word_constants, 0..=MAX_ONE_WORD_CONSTANTS * 10),
            ("one-word functions", self.one_word_functions, 0..=MAX_ONE_WORD_FUNCTIONS * 10),
            ("types that share a name", self.shared_type_names, 0..=MAX_SHARED_TYPE_NAMES * 10),
            (
                "doc comments that open with a question word",
                self.question_openings,
                0..=MAX_QUESTION_OPENINGS * 10,
            ),
            ("plain comments", self.plain_comments, PLAIN_COMMENTS),
        ];
        let mut outside = Vec::new();
        for (name, share, limit) in limits {
            let percent = |tenths: usize| format!("{}.{} %", tenths / 10, tenths % 10);
            let actual = percent(share.per_mille());
            crate::print_message(&format!("{name}: {actual} ({} of {})", share.part, share.whole));
            if !limit.contains(&share.per_mille()) {
                outside.push(format!(
                    "{name}: {actual}, allowed are {} to {}",
                    percent(*limit.start()),
                    percent(*limit.end())
                ));
            }
        }
        if outside.is_empty() { Ok(()) } else { bail!("tidy: {}", outside.join("; ")) }
    }
}

fn production_lines(source: &SourceFile) -> impl Iterator<Item = &str> {
    let lines = (1..).zip(source.text.lines());
    lines.filter(|(at, _)| !source.is_test(*at)).map(|(_, line)| line.trim())
}

fn is_plain_comment(line: &str) -> bool {
    line.starts_with("//") && !is_documentation(line)
}

fn is_documentation(line: &str) -> bool {
    line.starts_with("///") || line.starts_with("//!")
}

/// Yields the first line of each doc comment, without its slashes.
fn opening_lines(source: &SourceFile) -> impl Iterator<Item = &str> {
    let mut was_documentation = false;
    production_lines(source).filter_map(move |line| {
        let opens = is_documentation(line) && !was_documentation;
        was_documentation = is_documentation(line);
        opens.then(|| line[3..].trim_start())
    })
}

fn is_question(opening: &str) -> bool {
    let first = opening.split(|character: char| !character.is_alphabetic()).next().unwrap_or_default();
    QUESTION_WORDS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(text: &str) -> Shares {
        Shares::count(&[SourceFile::parse("crates/a/src/b.rs", text).unwrap()])
    }

    #[test]
    fn names_are_counted_except_those_of_tests_and_trait_methods() {
        let shares = shares(
            "const FEW: u8 = 1;\nconst MAX_ROWS: u8 = 1;\nfn sent() {}\nstruct A;\nimpl A {\n    fn list_all() {}\n}\n\
             impl Drop for A {\n    fn drop(&mut self) {}\n}\nmod b {\n    pub struct A;\n    struct B;\n}\n\
             #[cfg(test)]\nmod tests {\n    fn helper() {}\n}",
        );
        assert_eq!(shares.one_word_constants, Share { part: 1, whole: 2 });
        assert_eq!(shares.one_word_functions, Share { part: 1, whole: 2 });
        assert_eq!(shares.shared_type_names, Share { part: 2, whole: 3 });
    }

    #[test]
    fn openings_and_plain_comments_are_counted() {
        let shares = shares(
            "//! What it is.\n\n/// Holds one.\n/// What else.\nstruct A;\n// Why.\nstruct B; // not counted\n",
        );
        assert_eq!(shares.question_openings, Share { part: 1, whole: 2 });
        assert_eq!(shares.plain_comments, Share { part: 1, whole: 6 });
    }

    #[test]
    fn too_many_one_word_names_are_rejected() {
        let error = shares("const FEW: u8 = 1;\nfn sent() {}").check().unwrap_err().to_string();
        assert!(error.contains("one-word constants: 100.0 %, allowed are 0.0 % to 20.0 %"), "{error}");
        assert!(error.contains("one-word functions: 100.0 %"), "{error}");
        assert!(error.contains("plain comments: 0.0 %, allowed are 1.5 % to 4.0 %"), "{error}");
    }
}
