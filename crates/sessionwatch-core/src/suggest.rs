//! Suggestions for misspelled words.

/// Returns ` (did you mean …?)` if a known word is similar, else an empty string.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let ranked = known.map(|known| (strsim::damerau_levenshtein(word, known), known));
    match ranked.min() {
        // One edit for every three characters, plus one, accepts typos but not other words.
        Some((distance, known)) if distance <= known.len() / 3 + 1 => format!(" (did you mean `{known}`?)"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_similar_words_only() {
        assert_eq!(did_you_mean("sesions", ["users", "sessions"].into_iter()), " (did you mean `sessions`?)");
        assert_eq!(did_you_mean("color", ["url", "max"].into_iter()), "");
        assert_eq!(did_you_mean("x", std::iter::empty()), "");
    }
}
