//! What is wrong with a file, with the place of each problem, and without a secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

/// Something wrong in a configuration file. Holds no value from the file that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Line and column, from 1.
    pub position: (usize, usize),
    /// The dotted path of the key; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and how to fix it.
    pub message: String,
    /// The line that it is about; nothing where none of it may be shown.
    pub excerpt: Option<SourceExcerpt>,
}

/// A line of a file, with every value left out that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceExcerpt {
    /// The line.
    pub line: String,
    /// The bytes of the line that the problem is about.
    pub highlighted: Range<usize>,
}

/// Collects what is wrong with a file.
#[derive(Debug)]
pub struct ProblemCollector<'a> {
    text: &'a str,
    reported: Vec<(Range<usize>, String)>,
    /// The paths of keys and sections, by where their value begins.
    paths: BTreeMap<usize, String>,
    hidden: Vec<Range<usize>>,
    /// Keys that are written with a wrong value, by where their section begins.
    invalid_keys: BTreeSet<(usize, String)>,
}

impl<'a> ProblemCollector<'a> {
    /// Starts without a problem.
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

    /// Adds a problem of the key or section whose value, or whose name, stands there.
    pub fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.reported.push((span, message.into()));
    }

    /// How much is wrong.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.reported.len()
    }

    /// Whether any of these keys of a section is written with a wrong value, which has been reported.
    #[must_use]
    pub fn has_invalid_key(&self, section: &Range<usize>, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.invalid_keys.contains(&(section.start, (*key).to_owned())))
    }

    /// Remembers that a key of a section is written with a wrong value.
    pub(super) fn mark_invalid(&mut self, section: usize, key: &str) {
        self.invalid_keys.insert((section, key.to_owned()));
    }

    /// Remembers which key or section begins there.
    pub(super) fn record_path(&mut self, start: usize, path: &str) {
        self.paths.entry(start).or_insert_with(|| path.to_owned());
    }

    /// Never shows what stands there.
    pub(super) fn hide_span(&mut self, span: Range<usize>) {
        self.hidden.push(span);
    }

    /// A problem, without counting it among those of the file.
    #[must_use]
    pub fn build_problem(&self, span: &Range<usize>, message: &str) -> ConfigProblem {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigProblem {
            position: (line, column),
            path: self.paths.get(&span.start).cloned().unwrap_or_default(),
            message: message.to_owned(),
            excerpt: self.build_excerpt(span),
        }
    }

    /// Everything that is wrong, in the order of the file.
    #[must_use]
    pub fn into_problems(self) -> Vec<ConfigProblem> {
        let described = self.reported.iter().map(|(span, message)| self.build_problem(span, message));
        let mut problems: Vec<ConfigProblem> = described.collect();
        problems.sort_by_key(|problem| problem.position);
        problems
    }

    /// The line of a place, with `…` for what may be a secret.
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
        let (mut line, mut at, mut mark) = (String::new(), start, None);
        for range in hidden {
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
        let last = (mark + span.end.min(end).saturating_sub(span.start)).clamp(mark, line.len());
        let last = (mark..=last).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(mark);
        let marked =
            if line.is_char_boundary(mark.min(line.len())) { mark.min(line.len())..last } else { 0..0 };
        Some(SourceExcerpt { line, highlighted: marked })
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
