//! Known debt: the number of violations per rule and file. The numbers may only shrink.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{TidyFinding, TidyRule};

/// File of known debt. Each line is a rule, a file and a count; lines are sorted.
pub(crate) const DEBT_FILE: &str = "xtask/tidy-debt.txt";

/// Number of findings by rule and by [`TidyFinding::counted_by`].
pub(crate) type FindingCounts = BTreeMap<(TidyRule, String), usize>;

/// The text of [`DEBT_FILE`].
#[derive(Debug)]
pub(crate) struct NotedDebt(String);

/// Reads the known debt.
///
/// # Errors
///
/// Fails if the file cannot be read.
pub(crate) fn read() -> Result<NotedDebt> {
    Ok(NotedDebt(std::fs::read_to_string(DEBT_FILE).with_context(|| format!("cannot read {DEBT_FILE}"))?))
}

impl NotedDebt {
    /// Parses the counts.
    ///
    /// # Errors
    ///
    /// Fails if a line is malformed, or two lines have the same key, as after a merge.
    pub(crate) fn entries(&self) -> Result<FindingCounts> {
        let mut counts = FindingCounts::new();
        for line in self.0.lines() {
            let (key, count) = parse(line)
                .with_context(|| format!("{DEBT_FILE}: {line:?} is not `rule file count`; {REWRITE_HINT}"))?;
            if counts.insert(key, count).is_some() {
                bail!("{DEBT_FILE}: {line:?} repeats the rule and file of another line; {REWRITE_HINT}");
            }
        }
        Ok(counts)
    }

    /// Sums the counts by rule. Of duplicate lines, as a merge leaves them, the highest count is used.
    fn totals(&self) -> BTreeMap<TidyRule, usize> {
        let mut counts = FindingCounts::new();
        for (key, count) in self.0.lines().filter_map(parse) {
            let known = counts.entry(key).or_default();
            *known = count.max(*known);
        }
        count_by_rule(&counts)
    }
}

/// Maximum number of findings printed per rule and file.
const MAX_SHOWN: usize = 10;

const REWRITE_HINT: &str = "`cargo xtask tidy --write` rewrites the file";

fn parse(line: &str) -> Option<((TidyRule, String), usize)> {
    let mut parts = line.split(' ');
    let (rule, file, count) = (parts.next()?, parts.next()?, parts.next()?);
    let count = count.parse().ok().filter(|_| parts.next().is_none())?;
    Some(((TidyRule::named(rule)?, file.to_owned()), count))
}

fn count_by_file(findings: &[TidyFinding]) -> FindingCounts {
    let mut counts = FindingCounts::new();
    for finding in findings {
        *counts.entry((finding.rule, finding.counted_by.clone())).or_default() += 1;
    }
    counts
}

fn count_by_rule(counts: &FindingCounts) -> BTreeMap<TidyRule, usize> {
    let mut totals = BTreeMap::new();
    for ((rule, _), count) in counts {
        *totals.entry(*rule).or_default() += count;
    }
    totals
}

/// Compares findings with the known debt. Returns the findings of counts that rose, and a message for counts to lower.
pub(crate) fn compare(findings: &[TidyFinding], noted: &FindingCounts) -> Vec<String> {
    let counts = count_by_file(findings);
    let mut problems = Vec::new();
    for (key, count) in &counts {
        let known = noted.get(key).copied().unwrap_or_default();
        if *count > known {
            let of_key = |finding: &&TidyFinding| finding.rule == key.0 && finding.counted_by == key.1;
            problems.extend(findings.iter().filter(of_key).take(MAX_SHOWN).map(ToString::to_string));
            if *count > MAX_SHOWN {
                problems.push(format!("… and {} more: `cargo xtask tidy --list`", count - MAX_SHOWN));
            }
            if known > 0 {
                problems.push(format!(
                    "{}: {count} findings of {}, known debt is {known}",
                    key.1,
                    key.0.name()
                ));
            }
        }
    }
    for (key, known) in noted {
        let count = counts.get(key).copied().unwrap_or_default();
        if count < *known {
            problems.push(format!(
                "{DEBT_FILE}: {} {} {known}: lower it to {count} with `cargo xtask tidy --write`",
                key.0.name(),
                key.1
            ));
        }
    }
    problems
}

/// Rewrites the debt file, unless a rule's total over all files rose: code that moves may take its debt along, but no
/// debt is added.
///
/// # Errors
///
/// Fails if a total rose, or the file cannot be written.
pub(crate) fn write(findings: &[TidyFinding], noted: &NotedDebt) -> Result<()> {
    let counts = count_by_file(findings);
    let before = noted.totals();
    for (rule, total) in count_by_rule(&counts) {
        let known = before.get(&rule).copied().unwrap_or_default();
        if total > known {
            for problem in compare(findings, &noted.entries().unwrap_or_default()) {
                crate::print_message(&problem);
            }
            bail!("{total} findings of {}, known debt is {known}: fix the new ones first", rule.name());
        }
    }
    std::fs::write(DEBT_FILE, render(&counts)).with_context(|| format!("cannot write {DEBT_FILE}"))
}

fn render(counts: &FindingCounts) -> String {
    let line =
        |((rule, file), count): (&(TidyRule, String), &usize)| format!("{} {file} {count}\n", rule.name());
    counts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(file: &str) -> TidyFinding {
        let source = super::super::SourceFile::parse(file, "").unwrap();
        TidyFinding::new(TidyRule::TupleParameter, &source, 1, "a tuple".to_owned())
    }

    fn noted(text: &str) -> FindingCounts {
        NotedDebt(text.to_owned()).entries().unwrap()
    }

    #[test]
    fn a_count_above_the_debt_fails_and_one_below_must_be_lowered() {
        let findings = [finding("a.rs"), finding("a.rs"), finding("b.rs")];
        assert!(compare(&findings, &noted("tuple-parameter a.rs 2\ntuple-parameter b.rs 1\n")).is_empty());
        let more = compare(&findings, &noted("tuple-parameter a.rs 1\ntuple-parameter b.rs 1\n"));
        assert_eq!(more.len(), 3);
        assert_eq!(more[2], "a.rs: 2 findings of tuple-parameter, known debt is 1");
        let fewer = compare(&findings, &noted("tuple-parameter a.rs 3\ntuple-parameter b.rs 1\n"));
        let expected =
            "xtask/tidy-debt.txt: tuple-parameter a.rs 3: lower it to 2 with `cargo xtask tidy --write`";
        assert_eq!(fewer, [expected]);
    }

    #[test]
    fn malformed_and_duplicate_lines_are_rejected() {
        for text in
            ["tuple-parameter a.rs\n", "tuple a.rs 1\n", "tuple-parameter a.rs 1\ntuple-parameter a.rs 2\n"]
        {
            assert!(NotedDebt(text.to_owned()).entries().is_err(), "{text}");
        }
    }

    #[test]
    fn written_debt_is_sorted_and_readable() {
        let counts = count_by_file(&[finding("b.rs"), finding("a.rs"), finding("b.rs")]);
        let text = render(&counts);
        assert_eq!(text, "tuple-parameter a.rs 1\ntuple-parameter b.rs 2\n");
        assert_eq!(noted(&text), counts);
    }
}
