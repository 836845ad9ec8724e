//! Colors on a terminal.

/// Colors the words at the start of a line that say how something is.
#[must_use]
pub fn paint(text: &str) -> String {
    const GREEN: &str = "32";
    const YELLOW: &str = "33";
    const RED: &str = "31";
    const WORDS: [(&str, &str); 12] = [
        (" ok ", GREEN),
        (" ?  ", YELLOW),
        (" FAIL ", RED),
        (" out ", RED),
        ("pass ", GREEN),
        ("warn ", YELLOW),
        ("fail ", RED),
        ("Verdict: healthy", GREEN),
        ("Verdict: unknown", YELLOW),
        ("Verdict: failing", RED),
        ("Verdict: pass", GREEN),
        ("Verdict: fail", RED),
    ];
    let line = |line: &str| match WORDS.iter().find(|(word, _)| line.starts_with(word)) {
        Some((word, color)) => format!("\x1b[{color}m{word}\x1b[0m{}", &line[word.len()..]),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}
