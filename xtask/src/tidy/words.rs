//! Rule: no words that the glossary replaced, and no plurals in brackets, in code, comments, messages and
//! documentation.

use proc_macro2::TokenTree;

use super::{
    TidyFinding, TidyRule,
    documents::Document,
    source::{self, SourceFile},
};

/// This file, which is exempt because its list contains the words.
const THIS_FILE: &str = "xtask/src/tidy/words.rs";

/// Replaced words in lower case, each with its replacement. Words with a hyphen match only with it: `log-in` is
/// replaced, the verb `log in` is correct.
const REPLACED_WORDS: [Replaced; 131] = [
    Replaced { words: "a look", by: "a check run" },
    Replaced { words: "act role", by: "write role" },
    Replaced { words: "act url", by: "write URL" },
    Replaced { words: "acting connection", by: "write connection" },
    Replaced { words: "acting role", by: "write role" },
    Replaced { words: "acting session", by: "write session" },
    Replaced { words: "after this page", by: "after reading this page" },
    Replaced { words: "all the same", by: "still, anyway" },
    Replaced { words: "anew", by: "again, new" },
    Replaced { words: "another database than", by: "a different database than" },
    Replaced { words: "another one than", by: "a different one than" },
    Replaced { words: "another table than", by: "a different table than" },
    Replaced { words: "another unit than", by: "a different unit than" },
    Replaced { words: "another user than", by: "a different user than, a user other than" },
    Replaced { words: "between looks", by: "between check runs" },
    Replaced { words: "blind", by: "unreachable, failed run" },
    Replaced { words: "brake", by: "safety limit" },
    Replaced { words: "braked", by: "over the safety limit" },
    Replaced { words: "carried it out", by: "applied it" },
    Replaced { words: "carried out", by: "applied" },
    Replaced { words: "carries it out", by: "applies it" },
    Replaced { words: "carries out", by: "applies" },
    Replaced { words: "carry it out", by: "apply it" },
    Replaced { words: "carry out", by: "apply" },
    Replaced { words: "carrying out", by: "applying" },
    Replaced { words: "census", by: "session stats" },
    Replaced { words: "censuses", by: "session stats" },
    Replaced { words: "clean-up", by: "cleanup" },
    Replaced { words: "clean-ups", by: "cleanups" },
    Replaced { words: "clear looks", by: "success threshold" },
    Replaced { words: "deed", by: "action" },
    Replaced { words: "deeds", by: "actions" },
    Replaced { words: "door", by: "listener" },
    Replaced { words: "doors", by: "listeners" },
    Replaced { words: "each look", by: "each check run" },
    Replaced { words: "emergencies", by: "incidents" },
    Replaced { words: "emergency", by: "incident" },
    Replaced { words: "every look", by: "every check run" },
    Replaced { words: "farewell", by: "shutdown" },
    Replaced { words: "first look", by: "first check run" },
    Replaced { words: "found out", by: "detected" },
    Replaced { words: "ghosts", by: "missing users" },
    Replaced { words: "go on with", by: "resume" },
    Replaced { words: "goes on with", by: "resumes" },
    Replaced { words: "going on with", by: "resuming" },
    Replaced { words: "gone on with", by: "resumed" },
    Replaced { words: "heard", by: "received, last line" },
    Replaced { words: "holdings", by: "user totals" },
    Replaced { words: "hush", by: "silence" },
    Replaced { words: "intake", by: "ingest, builder" },
    Replaced { words: "interface for programs", by: "API" },
    Replaced { words: "judge", by: "evaluate" },
    Replaced { words: "judged", by: "evaluated" },
    Replaced { words: "judges", by: "evaluates" },
    Replaced { words: "judging", by: "evaluating" },
    Replaced { words: "judgment", by: "evaluation" },
    Replaced { words: "last look", by: "last check run" },
    Replaced { words: "latest look", by: "latest check run" },
    Replaced { words: "ledger", by: "session snapshot" },
    Replaced { words: "ledgers", by: "session snapshots" },
    Replaced { words: "log ins", by: "logins" },
    Replaced { words: "log signal", by: "log event" },
    Replaced { words: "log signals", by: "log events" },
    Replaced { words: "log-in", by: "login" },
    Replaced { words: "log-out", by: "logout" },
    Replaced { words: "look after", by: "acknowledge" },
    Replaced { words: "look at", by: "check" },
    Replaced { words: "looked after", by: "acknowledged" },
    Replaced { words: "looked at", by: "checked" },
    Replaced { words: "looking after", by: "acknowledging" },
    Replaced { words: "looking at", by: "checking" },
    Replaced { words: "looks after", by: "acknowledges" },
    Replaced { words: "looks at", by: "checks" },
    Replaced { words: "mark of a row", by: "row hash" },
    Replaced { words: "marks of rows", by: "row hashes" },
    Replaced { words: "mend", by: "fix" },
    Replaced { words: "mended", by: "fixed" },
    Replaced { words: "mending", by: "fixing" },
    Replaced { words: "mends", by: "fixes" },
    Replaced { words: "mightiest", by: "highest" },
    Replaced { words: "next look", by: "next check run" },
    Replaced { words: "one look", by: "one check run" },
    Replaced { words: "passed over", by: "skipped" },
    Replaced { words: "patience", by: "timeout" },
    Replaced { words: "pending looks", by: "failure threshold" },
    Replaced { words: "provider of identities", by: "identity provider" },
    Replaced { words: "providers of identities", by: "identity providers" },
    Replaced { words: "put back", by: "restore" },
    Replaced { words: "put right", by: "fix" },
    Replaced { words: "puts back", by: "restores" },
    Replaced { words: "puts right", by: "fixes" },
    Replaced { words: "putting back", by: "restoring" },
    Replaced { words: "putting right", by: "fixing" },
    Replaced { words: "reach far", by: "exceed the safety limit" },
    Replaced { words: "reaches far", by: "exceeds the safety limit" },
    Replaced { words: "rebind", by: "reassign" },
    Replaced { words: "rebinds", by: "reassigns" },
    Replaced { words: "rebound", by: "reassigned" },
    Replaced { words: "revival", by: "reappearance" },
    Replaced { words: "revive", by: "reappear, requeue" },
    Replaced { words: "revived", by: "reappeared" },
    Replaced { words: "revives", by: "reappears, requeues" },
    Replaced { words: "rhythm", by: "schedule, interval" },
    Replaced { words: "rhythms", by: "schedules" },
    Replaced { words: "shelter", by: "memory fallback" },
    Replaced { words: "sheltered", by: "in memory" },
    Replaced { words: "shelves", by: "radix buckets" },
    Replaced { words: "takes leave", by: "closes" },
    Replaced { words: "tell", by: "notify, report" },
    Replaced { words: "telling", by: "notifying" },
    Replaced { words: "tells", by: "notifies" },
    Replaced { words: "the guide", by: "the operator guide" },
    Replaced { words: "the look", by: "the check run" },
    Replaced { words: "the looks", by: "the check runs" },
    Replaced { words: "the watch", by: "the daemon" },
    Replaced { words: "these looks", by: "these check runs" },
    Replaced { words: "this look", by: "this check run" },
    Replaced { words: "told", by: "notified" },
    Replaced { words: "two looks", by: "two check runs" },
    Replaced { words: "unheard", by: "idle" },
    Replaced { words: "unhush", by: "expire" },
    Replaced { words: "voice", by: "activity" },
    Replaced { words: "voices", by: "activities" },
    Replaced { words: "vouch", by: "attest" },
    Replaced { words: "vouched", by: "attested" },
    Replaced { words: "vouches", by: "attests" },
    Replaced { words: "vouching", by: "attesting" },
    Replaced { words: "went on with", by: "resumed" },
    Replaced { words: "whoever", by: "the person or program" },
    Replaced { words: "whole row", by: "full row" },
    Replaced { words: "whole rows", by: "full rows" },
];

/// Phrases that may contain a replaced word, such as `the watch role`, which is in the glossary.
const ALLOWED_PHRASES: [&str; 2] = ["the watch channel", "the watch role"];

struct Replaced {
    words: &'static str,
    by: &'static str,
}

/// Reports replaced words and plurals in brackets in a Rust file.
pub(crate) fn check(source: &SourceFile, findings: &mut Vec<TidyFinding>) {
    if source.path == THIS_FILE {
        return;
    }
    check_words(&source.path, &source.text, findings);
    let mut tokens = Vec::new();
    source::flatten(source.tokens.clone(), &mut tokens);
    // Doc comments are literal tokens too.
    for token in tokens {
        if let TokenTree::Literal(literal) = token
            && has_bracket_plural(&literal.to_string())
        {
            findings.push(bracket_plural(&source.path, literal.span().start().line));
        }
    }
}

/// Reports replaced words in a text file, and plurals in brackets in Markdown.
pub(crate) fn check_document(document: &Document, findings: &mut Vec<TidyFinding>) {
    check_words(&document.path, &document.text, findings);
    for (number, line) in (1..).zip(document.text.lines()) {
        if document.path.ends_with(".md") && has_bracket_plural(line) {
            findings.push(bracket_plural(&document.path, number));
        }
    }
}

fn bracket_plural(path: &str, line: usize) -> TidyFinding {
    let message = "`(s)` is not a plural: use the helper that counts nouns".to_owned();
    TidyFinding::at(TidyRule::BracketPlural, path, line, message)
}

fn has_bracket_plural(text: &str) -> bool {
    text.match_indices("(s)").any(|(at, _)| text[..at].ends_with(|before: char| before.is_ascii_lowercase()))
}

fn check_words(path: &str, text: &str, findings: &mut Vec<TidyFinding>) {
    for (number, line) in (1..).zip(text.lines()) {
        let (hyphenated, line) = (split_words(line, true), split_words(line, false));
        for replaced in &REPLACED_WORDS {
            let text = if replaced.words.contains('-') { &hyphenated } else { &line };
            let found = text.matches(&format!(" {} ", replaced.words)).count();
            let of_allowed = ALLOWED_PHRASES.iter().filter(|allowed| allowed.contains(replaced.words));
            let allowed: usize =
                of_allowed.map(|allowed| line.matches(&format!(" {allowed} ")).count()).sum();
            if found > allowed {
                let message = format!("the glossary replaced `{}`: use {}", replaced.words, replaced.by);
                findings.push(TidyFinding::at(TidyRule::ReplacedWord, path, number, message));
            }
        }
    }
}

/// Returns the words of a line in lower case, with a space around each. Identifiers are split into their words, and so
/// are words with hyphens unless `keeps_hyphens` is set.
fn split_words(line: &str, keeps_hyphens: bool) -> String {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_lower = false;
    for character in line.chars() {
        let is_part = character.is_alphabetic() || (keeps_hyphens && character == '-');
        if !is_part || (character.is_uppercase() && was_lower) {
            words.push(std::mem::take(&mut word));
        }
        if is_part {
            word.extend(character.to_lowercase());
        }
        was_lower = character.is_lowercase();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    format!(" {} ", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{TidyRule, findings_of},
        *,
    };

    fn lines(rule: TidyRule, text: &str) -> Vec<usize> {
        findings_of(rule, "crates/a/src/b.rs", text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn replaced_words_are_found_in_names_comments_and_texts() {
        assert_eq!(lines(TidyRule::ReplacedWord, "struct LedgerRow;"), [1]);
        assert_eq!(lines(TidyRule::ReplacedWord, "fn last_look() {}"), [1]);
        assert_eq!(lines(TidyRule::ReplacedWord, "\n/// Is looked at\nconst REBOUND_ROWS: u8 = 1;"), [2, 3]);
        assert_eq!(lines(TidyRule::ReplacedWord, "fn f() { g(\"Carry out this plan\") }"), [1]);
        assert_eq!(lines(TidyRule::ReplacedWord, "// Every log-in\n\n// To log in"), [1]);
        assert!(
            lines(TidyRule::ReplacedWord, "/// Looks up the watch role, which watchdogs lack.\nfn f() {}")
                .is_empty()
        );
    }

    #[test]
    fn plurals_in_brackets_are_found_in_texts_only() {
        assert_eq!(lines(TidyRule::BracketPlural, "fn f() { g(\"1 alert(s)\") }"), [1]);
        assert_eq!(lines(TidyRule::BracketPlural, "\n/// The row(s).\nfn f() {}"), [2]);
        assert!(lines(TidyRule::BracketPlural, "fn f() { g(s) } // g(s)").is_empty());
    }

    #[test]
    fn every_replaced_word_is_found_once() {
        for replaced in &REPLACED_WORDS {
            let mut findings = Vec::new();
            check_words("a.md", replaced.words, &mut findings);
            assert!(
                findings.iter().any(|found| found.message.contains(replaced.words)),
                "{}",
                replaced.words
            );
        }
        assert!(REPLACED_WORDS.is_sorted_by(|one, other| one.words < other.words));
    }
}
