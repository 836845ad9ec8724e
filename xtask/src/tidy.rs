//! `cargo xtask tidy`: rules that neither the compiler nor Clippy checks, one file per rule. [`ratchet::DEBT_FILE`]
//! counts known violations.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::{Context, Result, bail};

mod documents;
mod duplicates;
mod import_circles;
mod lengths;
pub(crate) mod links;
mod names;
mod ratchet;
mod sleeps;
mod source;
mod sql;
mod test_ratio;
mod tuple_parameters;
mod words;
mod workspace_shares;

use documents::Document;
use source::SourceFile;

/// The root of the repository.
pub(crate) const REPOSITORY_ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A rule that a finding violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TidyRule {
    BracketPlural,
    BrokenLink,
    DisguisedSleep,
    Duplicate,
    FileLength,
    FunctionLength,
    ImportCircle,
    LineLength,
    OneWordConst,
    OneWordFunction,
    ReplacedWord,
    SharedTypeName,
    SqlOutsideTargets,
    TupleParameter,
}

impl TidyRule {
    const ALL: [Self; 14] = [
        Self::BracketPlural,
        Self::BrokenLink,
        Self::DisguisedSleep,
        Self::Duplicate,
        Self::FileLength,
        Self::FunctionLength,
        Self::ImportCircle,
        Self::LineLength,
        Self::OneWordConst,
        Self::OneWordFunction,
        Self::ReplacedWord,
        Self::SharedTypeName,
        Self::SqlOutsideTargets,
        Self::TupleParameter,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BracketPlural => "bracket-plural",
            Self::BrokenLink => "broken-link",
            Self::DisguisedSleep => "disguised-sleep",
            Self::Duplicate => "duplicate",
            Self::FileLength => "file-length",
            Self::FunctionLength => "function-length",
            Self::ImportCircle => "import-circle",
            Self::LineLength => "line-length",
            Self::OneWordConst => "one-word-const",
            Self::OneWordFunction => "one-word-function",
            Self::ReplacedWord => "replaced-word",
            Self::SharedTypeName => "shared-type-name",
            Self::SqlOutsideTargets => "sql-outside-targets",
            Self::TupleParameter => "tuple-parameter",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// One violation of a rule.
#[derive(Clone, Debug)]
pub(crate) struct TidyFinding {
    rule: TidyRule,
    /// Path of the file, relative to the root of the repository.
    path: String,
    /// Line number, starting at 1.
    line: usize,
    /// The problem and its fix.
    message: String,
    /// Key of the debt count: the file, or the crate for a finding that concerns several files.
    counted_by: String,
}

impl TidyFinding {
    fn new(rule: TidyRule, source: &SourceFile, line: usize, message: String) -> Self {
        Self::at(rule, &source.path, line, message)
    }

    fn at(rule: TidyRule, path: &str, line: usize, message: String) -> Self {
        Self { rule, path: path.to_owned(), line, message, counted_by: path.to_owned() }
    }
}

impl fmt::Display for TidyFinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, path, line, message, .. } = self;
        write!(formatter, "{path}:{line}: {message} [{}]", rule.name())
    }
}

/// Checks the repository against every rule, and compares the findings with the known debt.
///
/// # Errors
///
/// Fails if a count differs from the known debt in either direction, or a file cannot be read or parsed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    std::env::set_current_dir(REPOSITORY_ROOT)
        .with_context(|| format!("{REPOSITORY_ROOT} does not exist"))?;
    let sources = source::read_all(Path::new("."))?;
    let findings = check(&sources, &documents::read_all(Path::new("."))?);
    let noted = ratchet::read()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["--list"] => return list(&findings),
        ["--write"] => return ratchet::write(&findings, &noted),
        _ => bail!("usage: cargo xtask tidy [--list | --write]"),
    }
    let problems = ratchet::compare(&findings, &noted.entries()?);
    if problems.is_empty() {
        test_ratio::LineCounts::count(&sources).check()?;
        return workspace_shares::Shares::count(&sources).check();
    }
    for problem in &problems {
        super::print_message(problem);
    }
    bail!("tidy found violations")
}

fn check(sources: &[SourceFile], documents: &[Document]) -> Vec<TidyFinding> {
    let mut findings = Vec::new();
    for source in sources {
        tuple_parameters::check(source, &mut findings);
        lengths::check(source, &mut findings);
        sleeps::check(source, &mut findings);
        sql::check(source, &mut findings);
        names::check(source, &mut findings);
        words::check(source, &mut findings);
    }
    for document in documents {
        lengths::check_document(document, &mut findings);
        words::check_document(document, &mut findings);
    }
    links::check(documents, &mut findings);
    names::check_types(sources, &mut findings);
    import_circles::check(sources, &mut findings);
    duplicates::check(sources, &mut findings);
    findings.sort_by(|one, other| {
        (one.rule, &one.path, one.line, &one.message).cmp(&(
            other.rule,
            &other.path,
            other.line,
            &other.message,
        ))
    });
    findings
}

fn list(findings: &[TidyFinding]) -> Result<()> {
    let mut totals = BTreeMap::<TidyRule, usize>::new();
    for finding in findings {
        super::print_message(&finding.to_string());
        *totals.entry(finding.rule).or_default() += 1;
    }
    for (rule, total) in totals {
        super::print_message(&format!("{}: {total}", rule.name()));
    }
    Ok(())
}

/// Returns the findings of a rule in one file.
#[cfg(test)]
fn findings_of(rule: TidyRule, path: &str, text: &str) -> Vec<TidyFinding> {
    let found = check(&[SourceFile::parse(path, text).unwrap()], &[]);
    found.into_iter().filter(|finding| finding.rule == rule).collect()
}
