//! Makes untrusted text (from databases, logs and people) safe to print.

/// Replaces control and format characters: those that could steer a terminal, change the writing direction, or make
/// two names look alike because they are invisible.
#[must_use]
pub fn sanitize_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut before, mut letters) = (None, text.chars().peekable());
    while let Some(letter) = letters.next() {
        let joins = matches!(letter, '\u{200c}' | '\u{200d}')
            && before.is_some_and(can_join)
            && letters.peek().copied().is_some_and(can_join);
        plain.push(if joins || is_printable_char(letter) { letter } else { '\u{fffd}' });
        before = Some(letter);
    }
    plain
}

/// Sanitizes text and escapes it for HTML.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let text = sanitize_text(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Sanitizes text for a cell of a Markdown table. Other markup stays: use [`escape_markdown`] for untrusted text.
#[must_use]
pub fn escape_markdown_cell(text: &str) -> String {
    sanitize_text(text).replace('|', "\\|")
}

/// Sanitizes text and escapes what Markdown would render as markup, a link or a new table cell.
#[must_use]
pub fn escape_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in sanitize_text(text).chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Sanitizes text and escapes it for XML, in elements and in attributes.
#[must_use]
pub fn escape_xml(text: &str) -> String {
    // XML 1.0 has no way to write these two, not even escaped.
    escape_html(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

fn can_join(letter: char) -> bool {
    // Persian, Hindi and emoji need the invisible joiners; ASCII never does.
    !letter.is_ascii() && is_printable_char(letter)
}

/// Returns `false` for control characters, format characters, and others without a visible shape.
fn is_printable_char(letter: char) -> bool {
    let is_format = matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !letter.is_control() && !is_format
}

/// Returns a text as one word of a POSIX shell, quoted only if necessary.
#[must_use]
pub fn quote_for_shell(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    // A word that begins with a dash would be an option, and without quotes an empty one would be none.
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_replaced() {
        assert_eq!(sanitize_text("a\u{1b}[31m\r\nb"), "a\u{fffd}[31m\u{fffd}\u{fffd}b");
        assert_eq!(sanitize_text("ad\u{200b}min\u{202e}"), "ad\u{fffd}min\u{fffd}");
    }

    #[test]
    fn joiners_stay_between_letters_that_need_them() {
        let persian = "\u{645}\u{6cc}\u{200c}\u{62e}";
        assert_eq!(sanitize_text(persian), persian);
        assert_eq!(sanitize_text("a\u{200c}b"), "a\u{fffd}b");
    }

    #[test]
    fn markup_is_escaped_in_every_format() {
        assert_eq!(escape_html("<b a='1'>&\"\u{1b}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{fffd}");
        assert_eq!(escape_markdown_cell("a|b"), "a\\|b");
        assert_eq!(escape_markdown("[a](b) <i> *c* `d`|&"), "\\[a\\](b) &lt;i> \\*c\\* \\`d\\`\\|&amp;");
        assert_eq!(escape_xml("<a>&\u{1}\u{ffff}'"), "&lt;a&gt;&amp;\u{fffd}\u{fffd}&#39;");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote_for_shell("sqlite:app.db"), "sqlite:app.db");
        assert_eq!(quote_for_shell("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!((quote_for_shell(""), quote_for_shell("-x")), ("''".into(), "'-x'".into()));
    }
}
