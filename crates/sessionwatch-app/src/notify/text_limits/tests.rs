use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[test]
fn a_text_is_cut_between_characters_and_marked() {
    for (text, most, cut) in [
        ("", 1, ""),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("abcd", 1, "…"),
        // A crab takes two units, and half of one is no character.
        ("🦀🦀", 4, "🦀🦀"),
        ("🦀🦀🦀", 4, "🦀…"),
        ("🦀🦀🦀", 5, "🦀🦀…"),
        ("🦀🦀", 2, "…"),
        // What follows a character that did not fit is not pulled forward.
        ("🦀ab", 3, "🦀…"),
        ("a🦀b", 3, "a…"),
    ] {
        assert_eq!(truncate_utf16(text, most), cut, "{text} {most}");
    }
}

#[test]
fn a_long_name_is_shortened_and_stays_unique() {
    let long = |end: &str| format!("{}{end}", "x".repeat(600));
    let names = [long("a"), long("b"), long("a "), long("…"), long("……"), long("")];
    let keys: BTreeSet<String> = names.iter().map(|name| bounded_key(name, 500)).collect();
    assert_eq!(keys.len(), names.len());
    for key in keys {
        assert_eq!(units(&key), 500, "{key}");
        assert!(key.starts_with("xxx") && key.as_bytes()[483] == b'~', "{key}");
    }
    let fitting = "y".repeat(500);
    assert_eq!(bounded_key(&fitting, 500), fitting);
    assert_eq!(bounded_key(&long("a"), 500), bounded_key(&long("a"), 500), "every attempt has the same key");
}

#[test]
fn a_body_fits_even_if_every_character_is_escaped() {
    let body = |text: &str| serde_json::json!({ "text": text }).to_string();
    for text in ["\u{1}".repeat(50_000), "🦀".repeat(50_000), "\"".repeat(50_000), "a".repeat(50_000)] {
        let fitted = fit_to_bytes(&text, 3_000, body);
        assert!(fitted.len() <= 3_000 && fitted.len() > 1_500, "{}", fitted.len());
        assert!(fitted.ends_with("…\"}"), "a cut is marked");
    }
    assert_eq!(fit_to_bytes("short", 3_000, body), r#"{"text":"short"}"#);
    // A frame that does not fit on its own ends the search.
    assert_eq!(fit_to_bytes("long", 3, body), r#"{"text":"…"}"#);
}

#[test]
fn markup_is_escaped_character_by_character() {
    assert_eq!(escape_markdown("*a_b* [x](y) \\", "*_[]\\"), "\\*a\\_b\\* \\[x\\](y) \\\\");
    assert_eq!(escape_markdown("ä🦀*", ""), "ä🦀*");
}

proptest! {
    #[test]
    fn a_cut_text_is_within_its_limit_and_a_start_of_the_text(text: String, most in 1_usize..40) {
        let cut = truncate_utf16(&text, most);
        prop_assert!(units(&cut) <= most);
        if cut != text {
            let start = cut.strip_suffix('…');
            prop_assert!(start.is_some_and(|start| text.starts_with(start)), "{}", cut);
        }
    }

    #[test]
    fn a_bounded_key_is_within_its_limit(name in ".{0,80}", most in 20_usize..60) {
        let key = bounded_key(&name, most);
        prop_assert!(units(&key) <= most);
        prop_assert_eq!(key == name, units(&name) <= most);
    }
}
