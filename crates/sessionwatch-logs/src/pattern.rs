//! Patterns of the operator's.

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use sessionwatch_core::severity::Severity;

/// The shortest literal that is looked for: shorter ones are everywhere.
const MIN_LITERAL_BYTES: usize = 3;
/// Literals that one regular expression may be found by.
const MAX_REGEX_LITERALS: usize = 16;
/// Bytes that a regular expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither a literal nor a regular expression.
    #[error("must have a literal, a regex, or both")]
    Empty,
    /// The literal is too short.
    #[error("the literal must have at least {MIN_LITERAL_BYTES} bytes: every line would be looked at")]
    LiteralTooShort,
    /// The regular expression is none.
    #[error("the regex cannot be read: {0}")]
    InvalidRegex(String),
    /// Nothing that every match contains.
    #[error(
        "every line would have to be matched against the regex: add a `literal` that every such line contains"
    )]
    NoLiteral,
}

/// A pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Its name.
    pub name: String,
    /// How bad a match is.
    pub severity: Severity,
    literals: Vec<Vec<u8>>,
    regex: Option<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        let text = |pattern: &Self| pattern.regex.as_ref().map(|regex| regex.as_str().to_owned());
        (&self.name, self.severity, &self.literals, text(self))
            == (&other.name, other.severity, &other.literals, text(other))
    }
}

impl Pattern {
    /// Lines with that literal, those that match the regular expression, or those that do both. Its groups `user`,
    /// `other`, `token`, `request` and `reason` are what their names say.
    ///
    /// # Errors
    ///
    /// If there is nothing to look for.
    pub fn new(
        name: &str,
        severity: Severity,
        literal: Option<&str>,
        regex: Option<&str>,
    ) -> Result<Self, PatternError> {
        let compiled = regex.map(|text| {
            RegexBuilder::new(text)
                .size_limit(MAX_REGEX_BYTES)
                .dfa_size_limit(MAX_REGEX_BYTES)
                .build()
                .map_err(|error| PatternError::InvalidRegex(last_error_line(&error.to_string())))
        });
        let compiled = compiled.transpose()?;
        let literals = match (literal, regex) {
            (Some(literal), _) if literal.len() < MIN_LITERAL_BYTES => {
                return Err(PatternError::LiteralTooShort);
            }
            (Some(literal), _) => vec![literal.as_bytes().to_vec()],
            (None, Some(regex)) => extract_literals(regex).ok_or(PatternError::NoLiteral)?,
            (None, None) => return Err(PatternError::Empty),
        };
        Ok(Self { name: name.to_owned(), severity, literals, regex: compiled })
    }

    pub(crate) fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.literals.iter().map(Vec::as_slice)
    }

    /// Whether a message matches, and what the groups of the regular expression are in it.
    pub(crate) fn match_message<'a>(&self, message: &'a [u8]) -> Option<Option<Captures<'a>>> {
        if !self.literals.iter().any(|literal| memchr::memmem::find(message, literal).is_some()) {
            return None;
        }
        match &self.regex {
            None => Some(None),
            Some(regex) => regex.captures(message).map(Some),
        }
    }
}

fn last_error_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Literals of which every match has one.
fn extract_literals(regex: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(regex).ok()?;
    let usable = |seq: &Seq| {
        seq.literals().is_some_and(|all| {
            !all.is_empty()
                && all.len() <= MAX_REGEX_LITERALS
                && all.iter().all(|one| one.len() >= MIN_LITERAL_BYTES)
        })
    };
    [ExtractKind::Prefix, ExtractKind::Suffix]
        .into_iter()
        .map(|kind| Extractor::new().kind(kind).extract(&hir))
        .find(usable)
        .and_then(|seq| Some(seq.literals()?.iter().map(|one| one.as_bytes().to_vec()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_taken_out_of_regular_expressions() {
        let made = |literal, regex| Pattern::new("x", Severity::Low, literal, regex);
        let words = |pattern: Pattern| -> Vec<String> {
            pattern.literals.iter().map(|one| String::from_utf8_lossy(one).into_owned()).collect()
        };
        assert_eq!(words(made(None, Some("login failed for .*")).unwrap()), ["login failed for "]);
        assert_eq!(words(made(None, Some(r"\d+ attempts$")).unwrap()), [" attempts"]);
        assert_eq!(words(made(None, Some("(?:foo|bar)baz")).unwrap()), ["foobaz", "barbaz"]);
        assert_eq!(made(None, Some(r"\d+")), Err(PatternError::NoLiteral));
        assert_eq!(words(made(Some("abc"), Some(r"\d+")).unwrap()), ["abc"]);
        assert_eq!(made(Some("ab"), None), Err(PatternError::LiteralTooShort));
        assert_eq!(made(None, None), Err(PatternError::Empty));
        assert!(matches!(made(None, Some("(")), Err(PatternError::InvalidRegex(_))));
    }
}
