//! `[oidc]`: identity provider for dashboard logins.

use credentials::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::section_reader::SectionReader;
use crate::config_file::{ConfigProblem, SecretKeys, SecretLookup, SecretText, WithSpan, read_authorities};

/// Identity provider for dashboard logins (OpenID Connect).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OidcSection {
    /// Issuer URL; the provider's metadata is at `/.well-known/openid-configuration` under this URL.
    #[schemars(extend("x-required" = true), example = &"https://id.example.org/realms/main")]
    issuer: Option<WithSpan<String>>,
    /// Client ID of the dashboard at the provider.
    #[schemars(extend("x-required" = true), example = &"sessionwatch")]
    client_id: Option<String>,
    /// Client secret of the dashboard at the provider.
    #[schemars(extend("x-otherwise" = "none: public client"), example = &"${OIDC_SECRET}")]
    client_secret: Option<WithSpan<SecretText>>,
    /// File that contains only the client secret, instead of `client_secret`.
    #[schemars(extend("x-otherwise" = "none"), example = &"/run/secrets/openid")]
    client_secret_file: Option<WithSpan<String>>,
    /// Claim that becomes the account name.
    name_claim: String,
    /// Claim that selects the role, a string or a list of strings; dots access nested objects, as in
    /// `realm_access.roles`.
    role_claim: String,
    /// Values of `role_claim` that grant the role viewer.
    #[schemars(extend("x-otherwise" = "none"), example = ["engineering"])]
    viewers: Option<Vec<String>>,
    /// Values of `role_claim` that grant the role responder.
    #[schemars(extend("x-otherwise" = "none"), example = ["on-call"])]
    responders: Option<Vec<String>>,
    /// Values of `role_claim` that grant the role admin.
    #[schemars(extend("x-otherwise" = "none"), example = ["platform"])]
    admins: Option<Vec<String>>,
    /// OAuth scopes to request; some providers return groups only for an additional scope.
    scopes: Vec<String>,
    /// Provider name on the login button: "Log in with …".
    label: String,
    /// PEM file with additional certificate authorities to trust.
    #[schemars(extend("x-otherwise" = "system CAs only"), example = &"/etc/ssl/company-ca.pem")]
    ca_file: Option<WithSpan<String>>,
}

impl Default for OidcSection {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            name_claim: "email".into(),
            role_claim: "groups".into(),
            viewers: None,
            responders: None,
            admins: None,
            scopes: ["openid", "profile", "email"].map(str::to_owned).into(),
            label: "single sign-on".into(),
            ca_file: None,
        }
    }
}

/// Identity provider for logins (OpenID Connect Core 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Issuer URL, without a trailing slash.
    pub issuer: String,
    /// Client ID of the dashboard.
    pub client_id: String,
    /// Client secret; `None` for public clients.
    pub client_secret: Option<Secret>,
    /// Claim that becomes the account name.
    pub name_claim: String,
    /// Claim that selects the role; dots access nested objects.
    pub role_claim: String,
    /// Values of `role_claim` that grant the role admin.
    pub admins: Vec<String>,
    /// Values of `role_claim` that grant the role responder.
    pub responders: Vec<String>,
    /// Values of `role_claim` that grant the role viewer.
    pub viewers: Vec<String>,
    /// OAuth scopes to request.
    pub scopes: Vec<String>,
    /// Provider name on the login button.
    pub label: String,
    /// Additional certificate authorities to trust, as PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// Validates the section. Returns `None` if it is invalid, and an error if a variable or file is missing.
pub(super) fn validate_oidc(
    section: &WithSpan<OidcSection>,
    has_public_url: bool,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<OidcConfig, ConfigProblem>> {
    let issuer = section.issuer.as_ref()?;
    if !is_secure_url(issuer) {
        let message = "must start with https:// (http:// is allowed only for a provider on this machine)";
        reader.report_problem(issuer.span(), message);
    }
    if !has_public_url {
        let message =
            "requires `public_url` in [serve]: the provider redirects users to this URL after login";
        reader.report_problem(section.span(), message);
    }
    let listed = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
    let (admins, responders, viewers) =
        (listed(&section.admins), listed(&section.responders), listed(&section.viewers));
    if admins.is_empty() && responders.is_empty() && viewers.is_empty() {
        let message = "no user can log in: list claim values in `viewers`, `responders` or `admins`";
        reader.report_problem(section.span(), message);
    }
    let secret = SecretKeys {
        name: "client_secret",
        text: section.client_secret.as_ref(),
        file: section.client_secret_file.as_ref(),
    };
    let client_secret = match secret.read_secret(reader.folder, &mut reader.problems) {
        SecretLookup::Found(secret) => Some(secret.into_inner()),
        SecretLookup::Absent | SecretLookup::Invalid => None,
        SecretLookup::Unresolved(missing) => return Some(Err(missing)),
    };
    let ca_pem = read_authorities(section.ca_file.as_ref(), reader.folder, &reader.problems);
    let client_id = section.client_id.clone()?;
    Some(ca_pem.map(|ca_pem| OidcConfig {
        issuer: issuer.trim_end_matches('/').to_owned(),
        client_id,
        client_secret,
        name_claim: section.name_claim.clone(),
        role_claim: section.role_claim.clone(),
        admins,
        responders,
        viewers,
        // Without the scope `openid`, a provider returns no ID token.
        scopes: if section.scopes.is_empty() {
            OidcSection::default().scopes
        } else {
            section.scopes.clone()
        },
        label: section.label.clone(),
        ca_pem,
    }))
}

/// Returns `true` for https:// URLs, and for http:// URLs of the loopback interface, which no network carries.
#[must_use]
pub fn is_secure_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return url.starts_with("https://") };
    // `localhost@a.example` fails both tests below, so user information cannot disguise another host.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_secure_only_for_this_machine() {
        for safe in ["https://a.example/x", "http://127.0.0.1:80/", "http://localhost", "http://[::1]:9/x"] {
            assert!(is_secure_url(safe), "{safe}");
        }
        for other in [
            "http://a.example",
            "http://127.0.0.1@a.example/",
            "http://localhost.example",
            "ftp://localhost",
            "",
        ] {
            assert!(!is_secure_url(other), "{other}");
        }
    }
}
