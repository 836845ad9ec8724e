//! Reads a configuration file into checked values, and collects everything that is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use sessionwatch_core::{decoder::Decoder, zone::LOCAL};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::keys::{DECODERS, Key, Kind, Otherwise, SECTIONS, Section};
use crate::suggest::nearest;

/// Something wrong in a configuration file. Holds no value from the file, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, from 1.
    pub position: (usize, usize),
    /// The dotted path of the key.
    pub path: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

/// A checked value. A text may be a secret.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Whole(u64),
    Decimal(f64),
    Texts(Vec<String>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) | Self::Texts(_) => f.write_str("***"),
            Self::Flag(flag) => flag.fmt(f),
            Self::Whole(number) => number.fmt(f),
            Self::Decimal(number) => number.fmt(f),
        }
    }
}

/// A section as written, checked.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: usize,
    /// Keys that are written, with a good value or not.
    written: BTreeSet<&'static str>,
    values: BTreeMap<&'static str, (usize, Value)>,
    below: BTreeMap<&'static str, Vec<Node>>,
}

/// Collects problems while reading.
pub(super) struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// The whole file.
    pub(super) fn read(&mut self) -> Node {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            self.problem(at, "", format!("this is not TOML: {}", error.message()));
        }
        if !errors.is_empty() {
            // What was made of the rest is a guess, and so would be what is wrong with it.
            return Node::default();
        }
        let root = Section::find("").unwrap_or(&SECTIONS[0]);
        self.section(root, root.path, (0, document.get_ref()))
    }

    /// Everything that is wrong, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.position);
        self.problems
    }

    pub(super) fn problem(&mut self, at: usize, path: &str, message: String) {
        let problem = self.describe(at, path, message);
        self.problems.push(problem);
    }

    /// A problem, without counting it among those of the file.
    pub(super) fn describe(&self, at: usize, path: &str, message: String) -> Problem {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Problem { position: (line, column), path: path.to_owned(), message }
    }

    fn section(&mut self, section: &'static Section, path: &str, (at, table): (usize, &DeTable<'_>)) -> Node {
        let mut node = Node { at, ..Node::default() };
        for (name, value) in table {
            let (span, name) = (name.span(), name.get_ref().as_ref());
            let path = join(path, name);
            if let Some(key) = section.keys.iter().find(|key| key.name == name) {
                node.written.insert(key.name);
                if let Some(read) = self.value(key, &path, value) {
                    node.values.insert(key.name, (value.span().start, read));
                }
            } else if let Some(nodes) = self.between(section, name, value) {
                node.below.extend(nodes);
            } else if let Some(below) = section.below().find(|below| *below == name) {
                let nodes = self.sections(section, below, (&path, value));
                node.below.insert(below, nodes);
            } else {
                self.unknown(section, &path, (span, name));
            }
        }
        let required = |key: &&Key| matches!(key.otherwise, Otherwise::Required(_));
        for key in section.keys.iter().filter(required).filter(|key| !node.written.contains(key.name)) {
            self.problem(at, path, format!("the key `{}` is missing ({})", key.name, lower(key.about)));
        }
        node
    }

    /// `checks` is no section itself, but has sections below it.
    fn between(
        &mut self,
        parent: &Section,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Vec<(&'static str, Vec<Node>)>> {
        let prefix = format!("{}.", join(parent.path, name));
        let sections: Vec<&'static Section> =
            SECTIONS.iter().filter(|section| section.path.starts_with(&prefix)).collect();
        if sections.is_empty() || Section::find(prefix.trim_end_matches('.')).is_some() {
            return None;
        }
        let Some(table) = value.get_ref().as_table() else {
            self.problem(
                value.span().start,
                name,
                format!("`{name}` holds sections, such as [{}]", sections[0].path),
            );
            return Some(vec![]);
        };
        let known: Vec<&'static str> =
            sections.iter().filter_map(|section| section.path.strip_prefix(&prefix)).collect();
        let mut nodes = Vec::new();
        for (child, value) in table {
            let path = format!("{prefix}{}", child.get_ref());
            match sections.iter().find(|section| section.path == path) {
                Some(section) => {
                    let below = section.path;
                    nodes.push((below, self.nodes(section, &path, value)));
                }
                None => {
                    let hint = nearest(child.get_ref(), known.iter().copied());
                    self.problem(child.span().start, &path, format!("there is no such section{hint}"));
                }
            }
        }
        Some(nodes)
    }

    fn sections(
        &mut self,
        parent: &Section,
        name: &str,
        (path, value): (&str, &Spanned<DeValue<'_>>),
    ) -> Vec<Node> {
        let section = Section::find(&join(parent.path, name));
        section.map_or_else(Vec::new, |section| self.nodes(section, path, value))
    }

    fn nodes(&mut self, section: &'static Section, path: &str, value: &Spanned<DeValue<'_>>) -> Vec<Node> {
        let at = value.span().start;
        match (value.get_ref(), section.repeated) {
            (DeValue::Table(table), false) => vec![self.section(section, path, (at, table))],
            (DeValue::Array(items), true) if items.iter().all(|item| item.get_ref().is_table()) => {
                let tables =
                    items.iter().filter_map(|item| Some((item.span().start, item.get_ref().as_table()?)));
                tables.map(|(at, table)| self.section(section, path, (at, table))).collect()
            }
            (_, true) => {
                self.problem(at, path, format!("write it as [[{path}]], once for each"));
                vec![]
            }
            (_, false) => {
                self.problem(at, path, format!("write it as [{path}], once"));
                vec![]
            }
        }
    }

    fn unknown(&mut self, section: &Section, path: &str, (span, name): (Range<usize>, &str)) {
        let known = section.keys.iter().map(|key| key.name).chain(section.below());
        let hint = nearest(name, known);
        self.problem(span.start, path, format!("there is no such key{hint}"));
    }

    fn value(&mut self, key: &Key, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let read = read(key.kind, value.get_ref());
        let is_misplaced = match &read {
            Some(Value::Text(text)) => !key.holds_address() && credentials::is_in(text),
            Some(Value::Texts(texts)) => texts.iter().any(|text| credentials::is_in(text)),
            _ => false,
        };
        if is_misplaced {
            let message =
                "holds an address with a password, and would be shown: only `url` keys take addresses";
            self.problem(value.span().start, path, message.into());
            return None;
        }
        if read.is_none() {
            let hint = match (key.kind, value.get_ref()) {
                (Kind::Choice(words), DeValue::String(word)) => nearest(word, words.iter().copied()),
                (Kind::Decoder, DeValue::String(word)) if word.starts_with(LOCAL) => {
                    "; no time zone of that name is known".to_owned()
                }
                (Kind::Decoder, DeValue::String(word)) => nearest(word, DECODERS.iter().copied()),
                _ => String::new(),
            };
            self.problem(value.span().start, path, format!("must be {}{hint}", key.kind));
        }
        read
    }
}

impl Node {
    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        if let Some((_, Value::Text(text))) = self.values.get(key) { Some(text) } else { None }
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        if let Some((_, Value::Flag(flag))) = self.values.get(key) { Some(*flag) } else { None }
    }

    pub(super) fn whole(&self, key: &str) -> Option<u64> {
        if let Some((_, Value::Whole(number))) = self.values.get(key) { Some(*number) } else { None }
    }

    pub(super) fn decimal(&self, key: &str) -> Option<f64> {
        if let Some((_, Value::Decimal(number))) = self.values.get(key) { Some(*number) } else { None }
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        if let Some((_, Value::Texts(texts))) = self.values.get(key) { texts.clone() } else { vec![] }
    }

    /// Whether the key is written, with a good value or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.written.contains(key)
    }

    /// Where a key stands; the section where it does not.
    pub(super) fn at(&self, key: &str) -> usize {
        self.values.get(key).map_or(self.at, |(at, _)| *at)
    }

    /// The sections of that name below this one.
    pub(super) fn below(&self, name: &str) -> &[Self] {
        self.below.get(name).map_or(&[], Vec::as_slice)
    }
}

fn read(kind: Kind, value: &DeValue<'_>) -> Option<Value> {
    match (kind, value) {
        (Kind::Text, DeValue::String(text)) => Some(Value::Text(text.to_string())),
        (Kind::Choice(words), DeValue::String(text)) => {
            words.contains(&text.as_ref()).then(|| Value::Text(text.to_string()))
        }
        (Kind::Decoder, DeValue::String(text)) => {
            Decoder::parse(text).map(|decoder| Value::Text(decoder.name().to_owned()))
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
        (Kind::Whole(min, max), DeValue::Integer(number)) => {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
            (min..=max).contains(&number).then_some(Value::Whole(number))
        }
        (Kind::Span(min, max), DeValue::Integer(_) | DeValue::String(_)) => {
            let seconds = match value {
                DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok()?,
                DeValue::String(text) => span(text)?,
                _ => return None,
            };
            (min..=max).contains(&seconds).then_some(Value::Whole(seconds))
        }
        (Kind::Decimal(min, max), DeValue::Integer(_) | DeValue::Float(_)) => {
            let text = match value {
                DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
                DeValue::Float(number) => number.as_str(),
                _ => return None,
            };
            let number: f64 = text.parse().ok()?;
            (min..=max).contains(&number).then_some(Value::Decimal(number))
        }
        (Kind::Texts, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Value::Texts)
        }
        _ => None,
    }
}

/// Seconds of a time as a person writes it: `90s`, `15m`, `24h`, `7d`.
///
/// # Errors
///
/// If it is none.
pub fn seconds(text: &str) -> Result<u64, String> {
    span(text).ok_or_else(|| "a time is meant, like 90s, 15m, 24h or 7d".into())
}

fn span(text: &str) -> Option<u64> {
    let (number, unit) = text.trim().split_at_checked(text.trim().len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.trim_end().parse::<u64>().ok()?.checked_mul(seconds)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text in quotes"),
            Self::Flag => f.write_str("true or false"),
            Self::Whole(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Decimal(min, max) => write!(f, "a number from {min} to {max}"),
            Self::Span(min, max) => {
                write!(f, "a time such as \"90s\", \"5m\", \"6h\" or \"1d\", from {min} to {max} seconds")
            }
            Self::Choice(words) => write!(f, "one of \"{}\"", words.join("\", \"")),
            Self::Decoder => write!(
                f,
                "one of \"{}\", or \"{LOCAL}ZONE\" with a time zone such as America/New_York",
                DECODERS.join("\", \"")
            ),
            Self::Texts => f.write_str("a list of texts, such as [\"one\", \"other\"]"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position;
        write!(f, "{line}:{column}: ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn lower(about: &str) -> String {
    let mut letters = about.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
