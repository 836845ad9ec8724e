//! Forms, and whether they come from a page of ours.

use std::{collections::BTreeMap, time::Duration};

use axum::extract::{FromRequest, Request};
use credentials::{Secret, mask_credentials};
use sessionwatch_app::app::{AppError, AppState};

use super::{MAX_BODY_BYTES, WebError, auth::LoggedIn};

/// How long a form may take to arrive.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// Fields of forms that hold passwords.
const PASSWORD_FIELDS: [&str; 2] = ["password", "new"];

/// Whether a request that changes something comes from a page of ours, as browsers say.
pub(super) fn is_same_origin(app: &AppState, request: &Request) -> bool {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    // Older browsers say at least where they come from; programs say nothing, and have no form.
    let Some(origin) = text("origin") else { return true };
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let public = app.config().serve.public_url.clone().unwrap_or_default();
    // By HTTP/2 the host is part of the address.
    let asked = text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    Some(host) == asked || origin == public.trim_end_matches('/')
}

/// The fields of a form.
pub(super) struct FormFields {
    texts: BTreeMap<String, String>,
    /// As they were typed: nothing takes a password for a text, which is trimmed and shown.
    passwords: BTreeMap<String, Secret>,
}

impl std::fmt::Debug for FormFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A value may be a password that somebody typed into the wrong field.
        f.debug_set().entries(self.texts.keys().chain(self.passwords.keys())).finish()
    }
}

impl FormFields {
    /// Reads them from the body of a request.
    pub(super) async fn read(request: Request) -> Result<Self, AppError> {
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES);
        let body = tokio::time::timeout(FORM_TIMEOUT, body).await;
        let body = body.map_err(|_| AppError::Invalid("The form did not arrive in time.".into()))?;
        let body = body.map_err(|_| AppError::Invalid("The form is too large.".into()))?;
        Ok(Self::parse(&body))
    }

    fn parse(body: &[u8]) -> Self {
        let mut fields = Self { texts: BTreeMap::new(), passwords: BTreeMap::new() };
        for (name, value) in form_urlencoded::parse(body) {
            if PASSWORD_FIELDS.contains(&&*name) {
                fields.passwords.insert(name.into_owned(), value.into_owned().into());
            } else {
                // Text is kept and shown to others.
                fields.texts.insert(name.into_owned(), mask_credentials(&value).into_owned());
            }
        }
        fields
    }

    /// A field; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", |value| value.trim())
    }

    /// A field of at most so many letters; empty where there is none.
    pub(super) fn capped_text(&self, name: &str, limit: usize) -> String {
        self.text(name).chars().take(limit).collect()
    }

    /// A text that a person wrote; there has to be one.
    pub(super) fn required_text(&self, name: &str, limit: usize, ask: &str) -> Result<String, AppError> {
        Some(self.capped_text(name, limit))
            .filter(|text| !text.is_empty())
            .ok_or_else(|| AppError::Invalid(ask.to_owned()))
    }

    /// A password, as it was typed.
    pub(super) fn password(&self, name: &str) -> Secret {
        self.passwords.get(name).cloned().unwrap_or_default()
    }
}

/// A form of whoever is logged in, which shows that it is ours.
#[derive(Debug)]
pub(super) struct CsrfForm(pub(super) FormFields);

impl std::ops::Deref for CsrfForm {
    type Target = FormFields;

    fn deref(&self) -> &FormFields {
        &self.0
    }
}

impl<S: Sync> FromRequest<S> for CsrfForm {
    type Rejection = WebError;

    async fn from_request(request: Request, _: &S) -> Result<Self, WebError> {
        let LoggedIn(user) = request.extensions().get().cloned().ok_or(AppError::NotLoggedIn)?;
        let fields = FormFields::read(request).await?;
        if fields.text("form") != user.csrf_token.expose() {
            let why = "The form is of an earlier log-in, or not one of ours.";
            return Err(AppError::Invalid(why.into()).into());
        }
        Ok(Self(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_as_typed_and_texts_without_blanks_at_their_ends() {
        let fields = FormFields::parse(b"name=+ada+&password=+a+sentence+&new=%09x%09");
        assert_eq!(fields.text("name"), "ada");
        assert_eq!(fields.password("password").expose(), " a sentence ");
        assert_eq!(fields.password("new").expose(), "\tx\t");
        assert!(fields.text("password").is_empty() && fields.password("name").expose().is_empty());
    }

    #[test]
    fn what_is_shown_for_debugging_are_the_names_of_fields_only() {
        let shown = format!("{:?}", FormFields::parse(b"name=ada&password=sentence"));
        assert_eq!(shown, r#"{"name", "password"}"#);
    }
}
