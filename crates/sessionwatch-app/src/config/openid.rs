//! `[openid]` as used.

use std::path::Path;

use super::{
    channels,
    reader::{Node, Reader},
};
use crate::{environment, secret::Secret};

/// A provider of identities by which people log in (OpenID Connect Core 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenId {
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
    pub authorities: Option<Vec<u8>>,
}

/// What is written, or why it cannot be used at present.
pub(super) fn read(reader: &mut Reader<'_>, root: &Node, folder: &Path) -> Option<Result<OpenId, String>> {
    let node = root.below("openid").first()?;
    let issuer = node.text("issuer")?.trim_end_matches('/').to_owned();
    if !is_safe(&issuer) {
        let message = "must begin with https://; http:// is for providers on this machine";
        reader.problem(node.at("issuer"), "openid.issuer", message.into());
    }
    if root.below("serve").first().is_none_or(|serve| serve.text("public_url").is_none()) {
        let message = "the provider has to know where to send people back to: write `public_url` in [serve]";
        reader.problem(node.at, "openid", message.into());
    }
    let [admins, responders, viewers] = ["admins", "responders", "viewers"].map(|key| node.texts(key));
    if [&admins, &responders, &viewers].iter().all(|values| values.is_empty()) {
        let message = "nobody may log in: name groups under `viewers`, `responders` or `admins`";
        reader.problem(node.at, "openid", message.into());
    }
    let file = node.text("client_secret_file").map(|file| folder.join(file));
    let secret = node.text("client_secret").map(Ok).or(file.map(Err)).map(environment::secret).transpose();
    let authorities = node.text("ca_file").map(|file| channels::certificates(&folder.join(file))).transpose();
    let text = |key: &str, usual: &str| node.text(key).unwrap_or(usual).to_owned();
    let scopes = node.texts("scopes");
    let client_id = node.text("client_id")?.to_owned();
    Some(secret.and_then(|client_secret| {
        Ok(OpenId {
            issuer,
            client_id,
            client_secret,
            name_claim: text("name_claim", "email"),
            role_claim: text("role_claim", "groups"),
            admins,
            responders,
            viewers,
            scopes: if scopes.is_empty() {
                ["openid", "profile", "email"].map(str::to_owned).into()
            } else {
                scopes
            },
            label: text("label", "single sign-on"),
            authorities: authorities?,
        })
    }))
}

/// Whether nobody on the way can read what is sent to an address.
#[must_use]
pub fn is_safe(url: &str) -> bool {
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
            assert!(is_safe(safe), "{safe}");
        }
        for other in [
            "http://a.example",
            "http://127.0.0.1@a.example/",
            "http://localhost.example",
            "ftp://localhost",
            "",
        ] {
            assert!(!is_safe(other), "{other}");
        }
    }
}
