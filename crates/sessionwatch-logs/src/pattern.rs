//! Custom log patterns.

use regex::bytes::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::literal::{ExtractKind, Extractor, Seq};
use sessionwatch_core::severity::Severity;

/// Minimum length of a literal, in bytes. Shorter ones match almost everywhere.
const MIN_LITERAL_BYTES: usize = 3;
/// Maximum number of literals extracted from a regular expression.
const MAX_REGEX_LITERALS: usize = 16;
/// Maximum size of a compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Reasons why a pattern is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern has neither a literal nor a regular expression.
    #[error("must have a literal, a regex, or both")]
    Empty,
    /// The literal is too short.
    #[error("the literal must have at least {MIN_LITERAL_BYTES} bytes: a shorter one matches too many lines")]
    LiteralTooShort,
    /// The regular expression is invalid.
    #[error("invalid regex: {0}")]
    InvalidRegex(String),
    /// The regular expression has no literal text to search for.
    #[error("the regex has no fixed text to search for: add a `literal` that every matching line contains")]
    NoLiteral,
}

/// Custom pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Name.
    pub name: String,
    /// Severity of a match.
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
    /// Creates a pattern for lines that contain the literal, match the regular expression, or both. The named groups
    /// `user`, `other`, `token`, `request` and `reason` become fields of the log event.
    ///
    /// # Errors
    ///
    /// If the pattern is invalid.
    pub fn new(
        name: &str,
        severity: Severity,
        literal: Option<&str>,
        regex: Option<&str>,
    ) -> Result<Self, PatternError> {
        let compiled = regex.map(|text| {
            RegexBuilder::new(text)
                // Limits the memory of expressions such as nested repetitions.
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

    /// Matches a message. Returns the captures if the pattern has a regular expression.
    pub(crate) fn match_message<'a>(&self, message: &'a [u8]) -> Option<Option<Captures<'a>>> {
        // The literals are a cheaper test than the expression, and reject most messages.
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

/// Extracts literals of which every match contains at least one.
fn extract_literals(regex: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(regex).ok()?;
    let usable = |seq: &Seq| {
        seq.literals().is_some_and(|all| {
            !all.is_empty()
                && all.len() <= MAX_REGEX_LITERALS
                && all.iter().all(|one| one.len() >= MIN_LITERAL_BYTES)
        })
    };
    // An expression without fixed text would have to run on every line.
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
    fn literals_are_extracted_from_regular_expressions() {
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
