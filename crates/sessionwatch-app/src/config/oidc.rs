//! `[oidc]`: a provider of identities by which people log in to the dashboard.

use credentials::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::section_reader::SectionReader;
use crate::config_file::{SecretKeys, SecretLookup, SecretText, WithSpan, read_certificates};

/// A provider of identities by which people log in to the dashboard (OpenID Connect).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OidcSection {
    /// Who issues identities; `/.well-known/openid-configuration` below it describes the provider.
    #[schemars(extend("x-required" = true), example = &"https://id.example.org/realms/main")]
    issuer: Option<WithSpan<String>>,
    /// What the provider calls the dashboard.
    #[schemars(extend("x-required" = true), example = &"sessionwatch")]
    client_id: Option<String>,
    /// What shows the provider that it is asked by the dashboard.
    #[schemars(extend("x-otherwise" = "a public client"), example = &"${OIDC_SECRET}")]
    client_secret: Option<WithSpan<SecretText>>,
    /// A file that holds nothing but that secret.
    #[schemars(extend("x-otherwise" = "client_secret"), example = &"/run/secrets/oidc")]
    client_secret_file: Option<WithSpan<String>>,
    /// The claim that holds a person's name here.
    name_claim: String,
    /// The claim that decides about the role, a text or a list of texts; dots lead into objects: `realm_access.roles`.
    role_claim: String,
    /// Values of that claim that let people look.
    #[schemars(extend("x-otherwise" = "nobody"), example = ["engineering"])]
    viewers: Option<Vec<String>>,
    /// Values that let people act.
    #[schemars(extend("x-otherwise" = "nobody"), example = ["on-call"])]
    responders: Option<Vec<String>>,
    /// Values that let people decide who may.
    #[schemars(extend("x-otherwise" = "nobody"), example = ["platform"])]
    admins: Option<Vec<String>>,
    /// What the provider is asked for; some give groups only with a scope of their own.
    scopes: Vec<String>,
    /// What people call the provider: "Log in with …".
    label: String,
    /// A PEM file with certificate authorities to trust besides those of the system.
    #[schemars(extend("x-otherwise" = "those of the system"), example = &"/etc/ssl/company-ca.pem")]
    ca_file: Option<String>,
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

/// A provider of identities by which people log in (OpenID Connect Core 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Who issues identities: where the provider describes itself.
    pub issuer: String,
    /// What the provider calls the dashboard.
    pub client_id: String,
    /// What shows the provider that it is asked by the dashboard; nothing for public clients.
    pub client_secret: Option<Secret>,
    /// The claim that holds a person's name.
    pub name_claim: String,
    /// The claim that holds what decides about the role; dots lead into objects.
    pub role_claim: String,
    /// Values of that claim that let people decide who may.
    pub admins: Vec<String>,
    /// Values that let people act.
    pub responders: Vec<String>,
    /// Values that let people look.
    pub viewers: Vec<String>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// What people call it.
    pub label: String,
    /// Certificate authorities to trust besides those of the system, as PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// The section as used, or why it cannot be used at present; nothing if it is wrong.
pub(super) fn validate_oidc(
    section: &WithSpan<OidcSection>,
    has_public_url: bool,
    reader: &mut SectionReader<'_, '_>,
) -> Option<Result<OidcConfig, String>> {
    let issuer = section.issuer.as_ref()?;
    if !is_secure_url(issuer) {
        let message = "must begin with https://; http:// is for providers on this machine";
        reader.report_problem(issuer.span(), message);
    }
    if !has_public_url {
        let message = "the provider has to know where to send people back to: write `public_url` in [serve]";
        reader.report_problem(section.span(), message);
    }
    let listed = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
    let (admins, responders, viewers) =
        (listed(&section.admins), listed(&section.responders), listed(&section.viewers));
    if admins.is_empty() && responders.is_empty() && viewers.is_empty() {
        let message = "nobody may log in: name groups under `viewers`, `responders` or `admins`";
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
        SecretLookup::Unresolved(missing) => return Some(Err(missing.into_inner())),
    };
    let authorities = section.ca_file.as_ref().map(|file| read_certificates(&reader.folder.join(file)));
    let client_id = section.client_id.clone()?;
    Some(authorities.transpose().map(|authorities| OidcConfig {
        issuer: issuer.trim_end_matches('/').to_owned(),
        client_id,
        client_secret,
        name_claim: section.name_claim.clone(),
        role_claim: section.role_claim.clone(),
        admins,
        responders,
        viewers,
        scopes: if section.scopes.is_empty() {
            OidcSection::default().scopes
        } else {
            section.scopes.clone()
        },
        label: section.label.clone(),
        ca_pem: authorities,
    }))
}

/// Whether nobody on the way can read what is sent to an address.
#[must_use]
pub fn is_secure_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return url.starts_with("https://") };
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
    fn only_this_machine_is_asked_in_the_clear() {
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
