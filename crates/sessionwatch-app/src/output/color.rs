//! Terminal colors.

/// Colors the results at the beginning of lines.
#[must_use]
pub fn colorize_statuses(text: &str) -> String {
    const ANSI_GREEN: &str = "32";
    const ANSI_YELLOW: &str = "33";
    const ANSI_RED: &str = "31";
    const STATUS_COLORS: [(&str, &str); 19] = [
        // The headline of a report, and the first column of its table.
        ("passing: ", ANSI_GREEN),
        ("unknown: ", ANSI_YELLOW),
        ("failing: ", ANSI_RED),
        (" passing ", ANSI_GREEN),
        (" unknown ", ANSI_YELLOW),
        (" notice ", ANSI_YELLOW),
        (" failing ", ANSI_RED),
        // The checklist and the doctor.
        (" ok ", ANSI_GREEN),
        (" ?  ", ANSI_YELLOW),
        (" FAIL ", ANSI_RED),
        (" out ", ANSI_RED),
        ("pass ", ANSI_GREEN),
        ("warn ", ANSI_YELLOW),
        ("fail ", ANSI_RED),
        ("Verdict: healthy", ANSI_GREEN),
        ("Verdict: unknown", ANSI_YELLOW),
        ("Verdict: failing", ANSI_RED),
        ("Verdict: pass", ANSI_GREEN),
        ("Verdict: fail", ANSI_RED),
    ];
    let line = |line: &str| match STATUS_COLORS.iter().find(|(word, _)| line.starts_with(word)) {
        Some((word, color)) => format!("\x1b[{color}m{word}\x1b[0m{}", &line[word.len()..]),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}
