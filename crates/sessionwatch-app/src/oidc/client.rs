//! A provider of identities: what it says of itself, its keys, and who comes with a code.
//!
//! OpenID Connect Core 1.0 with Discovery 1.0, the authorization code flow with PKCE (RFC 7636), and the issuer in the
//! answer (RFC 9207).

use std::{
    sync::Arc,
    time::{Duration, Instant as Monotonic},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, header};
use serde::Deserialize;
use sessionwatch_core::timestamp::UtcTimestamp;
use sha2::{Digest as _, Sha256};

use super::{
    OidcError,
    id_token::{ExpectedClaims, TokenClaims, UNKNOWN_KEY_ERROR, find_claim, verify_id_token},
};
use crate::config::oidc::{OidcConfig, is_secure_url};

/// How long the provider may take, and the largest answer.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// How long it is believed what the provider says of itself, and how soon unknown keys are asked for again.
const PROVIDER_METADATA_TTL: Duration = Duration::from_secs(3_600);
const KEY_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// How long a provider is left alone that could not be asked.
const PROVIDER_RETRY_DELAY: Duration = Duration::from_secs(5);

/// What a provider says of itself.
#[derive(Clone, Debug, Deserialize)]
struct ProviderMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// A provider that was asked about itself.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    config: OidcConfig,
    client: Client,
    metadata: ProviderMetadata,
    fetched_at: Monotonic,
    keys: tokio::sync::Mutex<(Arc<JwkSet>, Monotonic)>,
}

/// What is known of the provider that is configured.
#[derive(Debug, Default)]
pub struct ProviderCache(tokio::sync::Mutex<CachedProvider>);

#[derive(Debug, Default)]
struct CachedProvider {
    provider: Option<Arc<OidcProvider>>,
    /// Why it could not be asked last, and when.
    last_error: Option<(OidcError, Monotonic)>,
}

/// What a log-in keeps until the provider answers.
#[derive(Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    /// Shows that the answer is to this question.
    pub(crate) state: String,
    /// Shows that the token was made for this log-in.
    pub(crate) nonce: String,
    /// Shows that whoever comes with the code is who asked for it.
    pub(crate) verifier: String,
    /// Where to go on to.
    pub(crate) next: String,
}

impl std::fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingLogin").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The tokens that a code is exchanged for.
#[derive(Deserialize)]
struct TokenResponse {
    id_token: String,
    access_token: Option<String>,
}

impl ProviderCache {
    /// The provider, asked about itself if that is too long ago.
    pub(crate) async fn get_or_discover(&self, config: &OidcConfig) -> Result<Arc<OidcProvider>, OidcError> {
        let mut known = self.0.lock().await;
        if let Some(provider) = known.provider.as_ref().filter(|provider| provider.config == *config)
            && provider.fetched_at.elapsed() < PROVIDER_METADATA_TTL
        {
            return Ok(Arc::clone(provider));
        }
        // Whoever asks again and again does not make us do so.
        if let Some((error, _)) = known.last_error.filter(|(_, at)| at.elapsed() < PROVIDER_RETRY_DELAY) {
            return Err(error);
        }
        let asked = OidcProvider::discover(config).await;
        known.last_error = asked.as_ref().err().map(|error| (*error, Monotonic::now()));
        let provider = Arc::new(asked?);
        known.provider = Some(Arc::clone(&provider));
        Ok(provider)
    }
}

/// Why a provider that is configured so could not even be asked, if that is so.
#[must_use]
pub fn find_config_problem(config: &OidcConfig) -> Option<String> {
    let asked = build_client(config).and_then(|client| {
        client.get(discovery_url(config)).build().map(drop).map_err(|_| "`issuer` is not a URL")
    });
    asked.err().map(str::to_owned)
}

/// What speaks to a provider.
fn build_client(config: &OidcConfig) -> Result<Client, &'static str> {
    // It fails only where one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    let mut client =
        Client::builder().timeout(PROVIDER_TIMEOUT).redirect(redirects).user_agent("sessionwatch");
    if let Some(pem) = &config.ca_pem {
        let authorities = reqwest::Certificate::from_pem_bundle(pem);
        client = client.tls_certs_merge(authorities.map_err(|_| "`ca_file` holds no certificate")?);
    }
    client.build().map_err(|_| "TLS cannot be set up: is `ca_file` a PEM file of certificates?")
}

/// Where a provider describes itself.
fn discovery_url(config: &OidcConfig) -> String {
    format!("{}/.well-known/openid-configuration", config.issuer)
}

impl OidcProvider {
    async fn discover(config: &OidcConfig) -> Result<Self, OidcError> {
        let client = build_client(config).map_err(OidcError::Unavailable)?;
        let metadata: ProviderMetadata = fetch_json(client.get(discovery_url(config))).await?;
        if metadata.issuer.trim_end_matches('/') != config.issuer {
            return Err(OidcError::Untrusted("the provider calls itself otherwise than `issuer` does"));
        }
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            Some(&metadata.jwks_uri),
            metadata.userinfo_endpoint.as_ref(),
        ];
        if endpoints.into_iter().flatten().any(|url| !is_secure_url(url)) {
            return Err(OidcError::Untrusted("the provider has addresses that are not encrypted"));
        }
        let keys = fetch_json(client.get(&metadata.jwks_uri)).await?;
        let asked = Monotonic::now();
        let keys = tokio::sync::Mutex::new((Arc::new(keys), asked));
        Ok(Self { config: config.clone(), client, metadata, fetched_at: asked, keys })
    }

    /// Where a browser is sent to log in.
    pub(crate) fn authorization_url(&self, pending: &PendingLogin, redirect_uri: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
        let scopes = self.config.scopes.join(" ");
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.config.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scopes),
            ("state", &pending.state),
            ("nonce", &pending.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let address = &self.metadata.authorization_endpoint;
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}{}", encode_form(&pairs))
    }

    /// Whether an answer may be of this provider, by the issuer that it names.
    pub(crate) fn issuer_matches(&self, issuer: Option<&str>) -> bool {
        match issuer {
            Some(issuer) => issuer == self.metadata.issuer,
            None => !self.metadata.authorization_response_iss_parameter_supported,
        }
    }

    /// Who it is that comes with a code.
    pub(crate) async fn exchange_code(
        &self,
        code: &str,
        redirect_uri: &str,
        pending: &PendingLogin,
        now: UtcTimestamp,
    ) -> Result<TokenClaims, OidcError> {
        let tokens = self.fetch_tokens(code, redirect_uri, &pending.verifier).await?;
        let mut claims = self.verify_id_token(&tokens.id_token, &pending.nonce, now).await?;
        let wanted = [&self.config.name_claim, &self.config.role_claim];
        let lacks = wanted.iter().any(|name| find_claim(&claims, name).is_none());
        if let (true, Some(address), Some(token)) =
            (lacks, &self.metadata.userinfo_endpoint, &tokens.access_token)
        {
            let more: TokenClaims = fetch_json(self.client.get(address).bearer_auth(token)).await?;
            // OpenID Connect Core 1.0, 5.3.2: it must be about the same person.
            if more.get("sub") != claims.get("sub") {
                return Err(OidcError::Untrusted("the provider tells of somebody else"));
            }
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(claims)
    }

    async fn fetch_tokens(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<TokenResponse, OidcError> {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let mut request = self.client.post(&self.metadata.token_endpoint);
        let methods = &self.metadata.token_endpoint_auth_methods_supported;
        let posted = !methods.is_empty() && !methods.iter().any(|method| method == "client_secret_basic");
        match &self.config.client_secret {
            Some(secret) if !posted => {
                // RFC 6749, 2.3.1: both are encoded as in forms first.
                let [id, secret] = [&self.config.client_id, secret.expose()].map(percent_encode);
                request = request.basic_auth(id, Some(secret));
            }
            Some(secret) => pairs
                .extend([("client_id", self.config.client_id.as_str()), ("client_secret", secret.expose())]),
            None => pairs.push(("client_id", &self.config.client_id)),
        }
        let kind = "application/x-www-form-urlencoded";
        fetch_json(request.header(header::CONTENT_TYPE, kind).body(encode_form(&pairs))).await
    }

    /// What an identity token claims, if it is to be believed. Keys that are not known yet are asked for.
    async fn verify_id_token(
        &self,
        token: &str,
        nonce: &str,
        now: UtcTimestamp,
    ) -> Result<TokenClaims, OidcError> {
        let expected =
            ExpectedClaims { issuer: &self.metadata.issuer, client_id: &self.config.client_id, nonce };
        let mut keys = self.keys.lock().await;
        let first = verify_id_token(token, &keys.0, expected, now);
        if first != Err(UNKNOWN_KEY_ERROR) || keys.1.elapsed() < KEY_REFRESH_INTERVAL {
            return first;
        }
        *keys = (Arc::new(fetch_json(self.client.get(&self.metadata.jwks_uri)).await?), Monotonic::now());
        verify_id_token(token, &keys.0, expected, now)
    }
}

fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn encode_form(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// The answer to a request, if it is a good one and not too large.
async fn fetch_json<T: for<'a> Deserialize<'a>>(request: reqwest::RequestBuilder) -> Result<T, OidcError> {
    let away = |_| OidcError::Unavailable("the provider cannot be reached");
    let mut response = request.header(header::ACCEPT, "application/json").send().await.map_err(away)?;
    if !response.status().is_success() {
        return Err(OidcError::Unavailable("the provider refuses"));
    }
    let mut body = vec![];
    while let Some(piece) = response.chunk().await.map_err(away)? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(OidcError::Unavailable("the provider's answer is too large"));
        }
    }
    serde_json::from_slice(&body).map_err(|_| OidcError::Unavailable("the provider's answer cannot be read"))
}
