//! Problems of a configuration file with their position; secrets are masked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use crate::sanitize::sanitize_text;

/// Problem in a configuration file. Contains no value of the file that may be a secret, and is safe to print except
/// for its excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Line and column, from 1.
    pub position: (usize, usize),
    /// Dotted path of the key; empty for the whole file, and for unknown keys, which the message names.
    pub path: String,
    /// Problem and fix.
    pub message: String,
    /// Affected line; `None` if all of it may be secret.
    pub excerpt: Option<SourceExcerpt>,
}

/// Section that is valid, but refers to a variable that is not set, or to a file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnresolvedSection {
    /// Name of the target, channel or log source.
    pub name: String,
    /// The missing variable or file.
    pub problem: ConfigProblem,
}

/// Line of a file, with `…` in place of every value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceExcerpt {
    /// The line, without its line break.
    pub line: String,
    /// Bytes of `line` to underline.
    pub highlighted: Range<usize>,
}

/// Collects the problems of a file.
#[derive(Debug)]
pub struct ProblemCollector<'a> {
    text: &'a str,
    reported: Vec<(Range<usize>, String)>,
    /// Paths of keys and sections, by the offset at which their value starts.
    paths: BTreeMap<usize, String>,
    hidden: Vec<Range<usize>>,
    /// Keys with an invalid value, each with the offset of its section.
    invalid_keys: BTreeSet<(usize, String)>,
}

impl<'a> ProblemCollector<'a> {
    /// Creates a collector for a file with that text.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self {
            text,
            reported: Vec::new(),
            paths: BTreeMap::new(),
            hidden: Vec::new(),
            invalid_keys: BTreeSet::new(),
        }
    }

    /// Adds a problem of the key or section at `span`, in bytes of the file.
    pub fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.reported.push((span, message.into()));
    }

    /// Number of reported problems.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.reported.len()
    }

    /// Returns `true` if any of these keys of a section has an invalid value, which has been reported.
    #[must_use]
    pub fn has_invalid_key(&self, section: &Range<usize>, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.invalid_keys.contains(&(section.start, (*key).to_owned())))
    }

    /// Records that a key of the section at that offset has an invalid value.
    pub(super) fn mark_invalid(&mut self, section: usize, key: &str) {
        self.invalid_keys.insert((section, key.to_owned()));
    }

    /// Records the path of the key or section that starts at that offset.
    pub(super) fn record_path(&mut self, start: usize, path: &str) {
        // The first path wins: a table and its first key can start at the same offset.
        self.paths.entry(start).or_insert_with(|| path.to_owned());
    }

    /// Masks that part of the file in excerpts.
    pub(super) fn hide_span(&mut self, span: Range<usize>) {
        self.hidden.push(span);
    }

    /// Builds a problem without adding it to those of the file.
    #[must_use]
    pub fn build_problem(&self, span: &Range<usize>, message: &str) -> ConfigProblem {
        // The span may be past the end after a recovered syntax error.
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        // Characters and not bytes, as editors count them.
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigProblem {
            position: (line, column),
            // Both may repeat names and values of the file, which could steer a terminal.
            path: self.paths.get(&span.start).map(|path| sanitize_text(path)).unwrap_or_default(),
            message: sanitize_text(message),
            excerpt: self.build_excerpt(span),
        }
    }

    /// Returns all problems, in the order of the file.
    #[must_use]
    pub fn into_problems(self) -> Vec<ConfigProblem> {
        let described = self.reported.iter().map(|(span, message)| self.build_problem(span, message));
        let mut problems: Vec<ConfigProblem> = described.collect();
        // By position, because the schema and later checks report independently of each other.
        problems.sort_by_key(|problem| problem.position);
        problems
    }

    /// Returns the line at `span`, with `…` for hidden parts.
    fn build_excerpt(&self, span: &Range<usize>) -> Option<SourceExcerpt> {
        let before = self.text.get(..span.start)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[span.start..].find('\n').map_or(self.text.len(), |at| span.start + at);
        let mut hidden: Vec<Range<usize>> = self
            .hidden
            .iter()
            .map(|range| range.start.max(start)..range.end.min(end))
            .filter(|range| range.start < range.end)
            .collect();
        hidden.sort_by_key(|range| range.start);
        // Replacing hidden parts shifts the rest of the line, so the start of the highlight is computed along with it.
        let (mut line, mut at, mut mark) = (String::new(), start, None);
        for range in hidden {
            // Hidden parts may overlap, such as a table within another.
            if range.start < at {
                at = at.max(range.end);
                continue;
            }
            if mark.is_none() && span.start < range.end {
                mark = Some(line.len() + span.start.clamp(at, range.start) - at);
            }
            line.push_str(&self.text[at..range.start]);
            line.push('…');
            at = range.end;
        }
        let mark = mark.unwrap_or(line.len() + span.start.saturating_sub(at));
        line.push_str(&self.text[at..end]);
        let line = line.trim_end().to_owned();
        if line.trim_matches([' ', '…']).is_empty() {
            return None;
        }
        // The length of the highlight is that in the file; a shorter mask can move its end into a multi-byte character.
        let last = (mark + span.end.min(end).saturating_sub(span.start)).clamp(mark, line.len());
        let last = (mark..=last).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(mark);
        let highlighted =
            if line.is_char_boundary(mark.min(line.len())) { mark.min(line.len())..last } else { 0..0 };
        Some(SourceExcerpt { line, highlighted })
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position;
        write!(f, "{line}:{column}: ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
