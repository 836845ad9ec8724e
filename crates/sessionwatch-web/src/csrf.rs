//! Form parsing, and protection against cross-site request forgery (CSRF).

use std::{collections::BTreeMap, time::Duration};

use axum::extract::{FromRequest, Request};
use credentials::{Secret, mask_credentials};
use sessionwatch_app::app::{AppError, AppState};

use super::{MAX_BODY_BYTES, auth::LoggedIn, web_error::WebError};

/// Time limit for receiving a form.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// Form fields that hold passwords.
const PASSWORD_FIELDS: [&str; 2] = ["password", "new"];

/// Returns `true` if a request comes from this origin, according to the browser's headers.
pub(super) fn is_same_origin(app: &AppState, request: &Request) -> bool {
    // A header that is not text is not missing: it matches nothing.
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    // Set by the browser itself, and not changeable by scripts.
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    // Older browsers send at least `Origin`. Other clients send neither header, and have no CSRF token.
    let Some(origin) = text("origin") else { return true };
    // An origin without a host matches nothing, not even a missing host or public URL.
    let host = origin.split_once("://").map(|(_, host)| host).filter(|host| !host.is_empty());
    let Some(host) = host else { return false };
    let config = app.config();
    let public = config.serve.public_url.as_deref().map(|url| url.trim_end_matches('/'));
    // HTTP/2 requests carry the host in the URI instead of a header.
    let asked = text("host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    asked == Some(host) || public == Some(origin)
}

/// The fields of a form.
pub(super) struct FormFields {
    texts: BTreeMap<String, Vec<String>>,
    /// Passwords exactly as typed, kept apart from texts, which are trimmed and shown.
    passwords: BTreeMap<String, Secret>,
}

impl std::fmt::Debug for FormFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values are left out: one may be a password typed into the wrong field.
        f.debug_set().entries(self.texts.keys().chain(self.passwords.keys())).finish()
    }
}

impl FormFields {
    /// Reads the fields from the body of a request.
    pub(super) async fn read(request: Request) -> Result<Self, AppError> {
        // Limited by size and by time: a slow form must not hold a connection for long.
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES);
        let body = tokio::time::timeout(FORM_TIMEOUT, body).await;
        let body = body.map_err(|_| AppError::Invalid("Receiving the form timed out. Try again.".into()))?;
        let body = body.map_err(|_| AppError::Invalid("The form is too large.".into()))?;
        Ok(Self::parse(&body))
    }

    /// Parses the fields of a URL-encoded form.
    pub(super) fn parse(body: &[u8]) -> Self {
        let mut fields = Self { texts: BTreeMap::new(), passwords: BTreeMap::new() };
        for (name, value) in form_urlencoded::parse(body) {
            // Apart from all other fields, as passwords must be neither trimmed nor masked.
            if PASSWORD_FIELDS.contains(&&*name) {
                fields.passwords.insert(name.into_owned(), value.into_owned().into());
            } else {
                // Texts are stored and shown to others, so credentials in them are masked.
                let values = fields.texts.entry(name.into_owned()).or_default();
                values.push(mask_credentials(&value).into_owned());
            }
        }
        fields
    }

    /// Returns a field, trimmed, or an empty text. Of several values, the last one counts.
    pub(super) fn text(&self, name: &str) -> &str {
        self.texts.get(name).and_then(|values| values.last()).map_or("", |value| value.trim())
    }

    /// Returns every value of a field, such as the checked boxes of a list, as they were sent.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.texts.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Returns the first `limit` characters of a field, or an empty text.
    pub(super) fn capped_text(&self, name: &str, limit: usize) -> String {
        self.text(name).chars().take(limit).collect()
    }

    /// Returns the first `limit` characters of a required field. If the field is empty, fails with the message `ask`.
    pub(super) fn required_text(&self, name: &str, limit: usize, ask: &str) -> Result<String, AppError> {
        Some(self.capped_text(name, limit))
            .filter(|text| !text.is_empty())
            .ok_or_else(|| AppError::Invalid(ask.to_owned()))
    }

    /// Returns a password exactly as typed.
    pub(super) fn password(&self, name: &str) -> Secret {
        self.passwords.get(name).cloned().unwrap_or_default()
    }
}

/// A form of a logged-in user with a valid CSRF token.
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
        // Set by the access check, which runs before any extractor.
        let LoggedIn(user) = request.extensions().get().cloned().ok_or(AppError::NotLoggedIn)?;
        let fields = FormFields::read(request).await?;
        if fields.text("form") != user.csrf_token.expose() {
            let why = "This form has expired. Reload the page and try again.";
            return Err(AppError::Invalid(why.into()).into());
        }
        Ok(Self(fields))
    }
}

#[cfg(test)]
mod tests;
