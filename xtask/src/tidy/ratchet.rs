//! Known debt: how often a rule is broken in a file. The numbers only shrink, and the file is empty in the end.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{Finding, Rule};

/// One line for each rule and file, sorted: rule, file, count.
pub(crate) const FILE: &str = "xtask/tidy-debt.txt";

/// How often a rule is broken, by rule and by what it is counted by.
pub(crate) type Counts = BTreeMap<(Rule, String), usize>;

/// The lines of [`FILE`].
#[derive(Debug)]
pub(crate) struct Noted(String);

/// Reads what is noted.
///
/// # Errors
///
/// The file cannot be read.
pub(crate) fn read() -> Result<Noted> {
    Ok(Noted(std::fs::read_to_string(FILE).with_context(|| format!("{FILE} cannot be read"))?))
}

impl Noted {
    /// The counts.
    ///
    /// # Errors
    ///
    /// A line is of another form, or is there twice after a merge.
    pub(crate) fn entries(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for line in self.0.lines() {
            let (key, count) =
                parse(line).with_context(|| format!("{FILE}: {line:?} is not `rule file count`; {MEND}"))?;
            if counts.insert(key, count).is_some() {
                bail!("{FILE}: {line:?} is about what another line is about as well; {MEND}");
            }
        }
        Ok(counts)
    }

    /// How much of each rule is noted at most, whatever a merge left behind.
    fn totals(&self) -> BTreeMap<Rule, usize> {
        let mut most = Counts::new();
        for (key, count) in self.0.lines().filter_map(parse) {
            let known = most.entry(key).or_default();
            *known = count.max(*known);
        }
        totals(&most)
    }
}

/// Findings of one rule in one file that are shown.
const MAX_SHOWN: usize = 10;

const MEND: &str = "`cargo xtask tidy --write` writes it anew";

fn parse(line: &str) -> Option<((Rule, String), usize)> {
    let mut parts = line.split(' ');
    let (rule, file, count) = (parts.next()?, parts.next()?, parts.next()?);
    let count = count.parse().ok().filter(|_| parts.next().is_none())?;
    Some(((Rule::named(rule)?, file.to_owned()), count))
}

fn counts(findings: &[Finding]) -> Counts {
    let mut counts = Counts::new();
    for finding in findings {
        *counts.entry((finding.rule, finding.counted_by.clone())).or_default() += 1;
    }
    counts
}

fn totals(counts: &Counts) -> BTreeMap<Rule, usize> {
    let mut totals = BTreeMap::new();
    for ((rule, _), count) in counts {
        *totals.entry(*rule).or_default() += count;
    }
    totals
}

/// What is to be said about findings: those of rules that are broken more often than noted, and numbers to lower.
pub(crate) fn compare(findings: &[Finding], noted: &Counts) -> Vec<String> {
    let counts = counts(findings);
    let mut problems = Vec::new();
    for (key, count) in &counts {
        let known = noted.get(key).copied().unwrap_or_default();
        if *count > known {
            let of_key = |finding: &&Finding| finding.rule == key.0 && finding.counted_by == key.1;
            problems.extend(findings.iter().filter(of_key).take(MAX_SHOWN).map(ToString::to_string));
            if *count > MAX_SHOWN {
                problems.push(format!("… and {} more: `cargo xtask tidy --list`", count - MAX_SHOWN));
            }
            if known > 0 {
                problems.push(format!(
                    "{}: {count} findings of {}, of which {known} are known debt",
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
                "{FILE}: {} {} {known}: lower it to {count} (`cargo xtask tidy --write` does)",
                key.0.name(),
                key.1
            ));
        }
    }
    problems
}

/// Writes the debt anew, unless a rule is broken more often than before, all files together: what moves may take its debt
/// along, but there is no new debt.
///
/// # Errors
///
/// There is more, or the file cannot be written.
pub(crate) fn write(findings: &[Finding], noted: &Noted) -> Result<()> {
    let counts = counts(findings);
    let before = noted.totals();
    for (rule, total) in totals(&counts) {
        let known = before.get(&rule).copied().unwrap_or_default();
        if total > known {
            for problem in compare(findings, &noted.entries().unwrap_or_default()) {
                crate::say(&problem);
            }
            bail!("{} findings of {}, {known} are known debt: mend the new ones first", total, rule.name());
        }
    }
    std::fs::write(FILE, render(&counts)).with_context(|| format!("{FILE} cannot be written"))
}

fn render(counts: &Counts) -> String {
    let line = |((rule, file), count): (&(Rule, String), &usize)| format!("{} {file} {count}\n", rule.name());
    counts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(file: &str) -> Finding {
        let source = super::super::Source::parse(file, "").unwrap();
        Finding::new(Rule::TupleParameter, &source, 1, "a tuple".to_owned())
    }

    fn noted(text: &str) -> Counts {
        Noted(text.to_owned()).entries().unwrap()
    }

    #[test]
    fn more_than_noted_fails_and_fewer_is_to_be_lowered() {
        let findings = [finding("a.rs"), finding("a.rs"), finding("b.rs")];
        assert!(compare(&findings, &noted("tuple-parameter a.rs 2\ntuple-parameter b.rs 1\n")).is_empty());
        let more = compare(&findings, &noted("tuple-parameter a.rs 1\ntuple-parameter b.rs 1\n"));
        assert_eq!(more.len(), 3);
        assert_eq!(more[2], "a.rs: 2 findings of tuple-parameter, of which 1 are known debt");
        let fewer = compare(&findings, &noted("tuple-parameter a.rs 3\ntuple-parameter b.rs 1\n"));
        let expected =
            "xtask/tidy-debt.txt: tuple-parameter a.rs 3: lower it to 2 (`cargo xtask tidy --write` does)";
        assert_eq!(fewer, [expected]);
    }

    #[test]
    fn a_line_of_another_form_or_one_that_is_there_twice_is_refused() {
        for text in
            ["tuple-parameter a.rs\n", "tuple a.rs 1\n", "tuple-parameter a.rs 1\ntuple-parameter a.rs 2\n"]
        {
            assert!(Noted(text.to_owned()).entries().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_sorted_and_read_again() {
        let counts = counts(&[finding("b.rs"), finding("a.rs"), finding("b.rs")]);
        let text = render(&counts);
        assert_eq!(text, "tuple-parameter a.rs 1\ntuple-parameter b.rs 2\n");
        assert_eq!(noted(&text), counts);
    }
}
