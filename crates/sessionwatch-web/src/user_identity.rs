//! Identity of a user, as shown: name and email address where the users table has them, otherwise the ID.

use maud::Markup;

use super::{
    components::render_user,
    format::{percent_encode, sanitize_text},
};

/// A user as people know them. All texts are sanitized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserIdentity {
    /// User ID.
    pub(super) id: String,
    /// Name, otherwise email address, otherwise ID.
    pub(super) name: String,
    /// What else is known, such as the email address.
    pub(super) details: Vec<String>,
}

impl UserIdentity {
    /// Creates the identity from an ID and the values of the display columns.
    pub(super) fn new(id: &str, display: &[Option<String>]) -> Self {
        let mut texts: Vec<String> = display
            .iter()
            .flatten()
            .map(|text| sanitize_text(text.trim()))
            .filter(|text| !text.is_empty())
            .collect();
        texts.dedup();
        let id = sanitize_text(id);
        // A name is better than an email address, whatever the order of the columns.
        let best = texts.iter().position(|text| !text.contains('@')).unwrap_or(0);
        let name = if texts.is_empty() { id.clone() } else { texts.remove(best) };
        Self { id, name, details: texts }
    }

    /// Returns the first detail: the email address, otherwise the handle.
    pub(super) fn detail(&self) -> Option<&str> {
        self.details.first().map(String::as_str)
    }

    /// Renders initials and name.
    pub(super) fn render(&self, link: Option<&str>) -> Markup {
        render_user(&self.name, self.detail(), link)
    }
}

/// Returns the path of the page of a user.
pub(super) fn user_path(target: &str, user: &str) -> String {
    format!("/targets/{}/users/{}", percent_encode(target), percent_encode(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_preferred_to_an_email_address_and_that_to_an_id() {
        let identity = |display: &[&str]| {
            let display: Vec<Option<String>> = display.iter().map(|text| Some((*text).to_owned())).collect();
            let user = UserIdentity::new("u1", &display);
            (user.name.clone(), user.detail().map(str::to_owned))
        };
        let email = || "ada@example.org".to_owned();
        assert_eq!(identity(&["ada@example.org", "Ada"]), ("Ada".into(), Some(email())));
        assert_eq!(identity(&["ada@example.org", ""]), (email(), None));
        assert_eq!(identity(&[]), ("u1".into(), None));
        assert_eq!(UserIdentity::new("u1", &[None]).name, "u1");
    }
}
