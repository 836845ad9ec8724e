//! OpenID Connect: login with an identity provider.
//!
//! Implements OpenID Connect Core 1.0 with Discovery 1.0, the authorization code flow with PKCE (RFC 7636), and issuer
//! identification (RFC 9207).

pub mod client;

pub(crate) mod id_token;

/// Reason for a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OidcError {
    /// The provider is unreachable, or its response is unusable.
    Unavailable(&'static str),
    /// The response of the provider failed verification.
    Untrusted(&'static str),
}
