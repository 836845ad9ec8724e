//! OpenID Connect: a provider of identities by which people log in.
//!
//! OpenID Connect Core 1.0 with Discovery 1.0, the authorization code flow with PKCE (RFC 7636), and the issuer in the
//! answer (RFC 9207).

pub mod client;

pub(crate) mod id_token;

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OidcError {
    /// The provider cannot be asked, or its answer makes no sense.
    Unavailable(&'static str),
    /// Its answer is not to be believed.
    Untrusted(&'static str),
}
