//! Initials of a person, beside the name.

use maud::{Markup, html};

use crate::format::sanitize_text;

/// Size of an avatar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AvatarSize {
    /// 20 px, for table rows.
    Small,
    /// 28 px, for the top bar and panels.
    Medium,
    /// 48 px, for a user's page.
    Large,
}

/// Renders initials. They are hidden from screen readers, because the name is always beside them.
pub(crate) fn render_avatar(name: &str, size: AvatarSize) -> Markup {
    let class = match size {
        AvatarSize::Small => "avatar",
        AvatarSize::Medium => "avatar avatar-m",
        AvatarSize::Large => "avatar avatar-l",
    };
    // Drawn by the stylesheet: as text, the initials would be read and copied with every name.
    html! { span class=(class) data-initials=(derive_initials(name)) aria-hidden="true" {} }
}

/// Renders a user with initials: the name, and a detail such as the email address after it.
pub(crate) fn render_user(name: &str, detail: Option<&str>, link: Option<&str>) -> Markup {
    let shown = sanitize_text(name);
    html! {
        span.who {
            (render_avatar(&shown, AvatarSize::Small))
            span.truncate {
                @match link { Some(link) => a href=(link) { (shown) }, None => (shown), }
                @if let Some(detail) = detail { " " span.muted { (sanitize_text(detail)) } }
            }
        }
    }
}

/// Returns the initials of the first and the last word, or the first two letters of a single word.
fn derive_initials(name: &str) -> String {
    // The domain of an email address says nothing about the person.
    let name = name.split('@').next().unwrap_or_default();
    let words: Vec<&str> =
        name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let letters: String = match words.as_slice() {
        [] => return "?".into(),
        [only] => only.chars().take(2).collect(),
        [first, .., last] => first.chars().take(1).chain(last.chars().take(1)).collect(),
    };
    letters.to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_come_from_the_first_and_the_last_word() {
        for (name, expected) in [
            ("Leila Jansen", "LJ"),
            ("Nguyễn Thị Lan", "NL"),
            ("ada", "AD"),
            ("leila.jansen@example.org", "LJ"),
            ("u_1042", "U1"),
            ("…", "?"),
            ("", "?"),
        ] {
            assert_eq!(derive_initials(name), expected, "{name}");
        }
    }
}
