//! Client of an identity provider: discovery, signing keys, and the exchange of an authorization code for claims.

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

/// Time limit for a request, and size limit of a response.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// Lifetime of cached metadata, and minimum time between two fetches of the keys.
const PROVIDER_METADATA_TTL: Duration = Duration::from_secs(3_600);
const KEY_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Time for which a failed discovery is not repeated.
const PROVIDER_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Discovery document of a provider.
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

/// Discovered provider.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    config: OidcConfig,
    client: Client,
    metadata: ProviderMetadata,
    fetched_at: Monotonic,
    keys: tokio::sync::Mutex<(Arc<JwkSet>, Monotonic)>,
}

/// Cache of the configured provider.
#[derive(Debug, Default)]
pub struct ProviderCache(tokio::sync::Mutex<CachedProvider>);

#[derive(Debug, Default)]
struct CachedProvider {
    provider: Option<Arc<OidcProvider>>,
    /// Latest failure, with its time.
    last_error: Option<(OidcError, Monotonic)>,
}

/// State of a login until the provider redirects back.
#[derive(Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    /// Binds the response to this request (CSRF protection).
    pub(crate) state: String,
    /// Binds the ID token to this login (replay protection).
    pub(crate) nonce: String,
    /// PKCE code verifier.
    pub(crate) verifier: String,
    /// Page to open after the login.
    pub(crate) next: String,
}

impl std::fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingLogin").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Response of the token endpoint.
#[derive(Deserialize)]
struct TokenResponse {
    id_token: String,
    access_token: Option<String>,
}

impl ProviderCache {
    /// Returns the provider, discovered again if the cached metadata is too old or the configuration changed.
    pub(crate) async fn get_or_discover(&self, config: &OidcConfig) -> Result<Arc<OidcProvider>, OidcError> {
        let mut known = self.0.lock().await;
        if let Some(provider) = known.provider.as_ref().filter(|provider| provider.config == *config)
            && provider.fetched_at.elapsed() < PROVIDER_METADATA_TTL
        {
            return Ok(Arc::clone(provider));
        }
        // Repeated logins must not make every one of them query a failing provider.
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

/// Returns a problem of the configuration that prevents every request; `None` if there is none.
#[must_use]
pub fn find_config_problem(config: &OidcConfig) -> Option<String> {
    let asked = build_client(config).and_then(|client| {
        client.get(discovery_url(config)).build().map(drop).map_err(|_| "`issuer` is not a URL")
    });
    asked.err().map(str::to_owned)
}

fn build_client(config: &OidcConfig) -> Result<Client, &'static str> {
    // Fails only if a crypto provider is installed already, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    // Logins are rare, so a kept connection would often be one that the provider is just closing. A request on it would
    // fail, and a code can be exchanged only once, so it would not be repeated.
    let mut client = Client::builder()
        .timeout(PROVIDER_TIMEOUT)
        .redirect(redirects)
        .pool_max_idle_per_host(0)
        .user_agent("sessionwatch");
    if let Some(pem) = &config.ca_pem {
        let authorities = reqwest::Certificate::from_pem_bundle(pem);
        client = client.tls_certs_merge(authorities.map_err(|_| "`ca_file` contains no PEM certificate")?);
    }
    client.build().map_err(|_| "cannot set up TLS: check that `ca_file` is a PEM file of certificates")
}

fn discovery_url(config: &OidcConfig) -> String {
    format!("{}/.well-known/openid-configuration", config.issuer)
}

impl OidcProvider {
    async fn discover(config: &OidcConfig) -> Result<Self, OidcError> {
        let client = build_client(config).map_err(OidcError::Unavailable)?;
        let metadata: ProviderMetadata = fetch_json(client.get(discovery_url(config))).await?;
        if metadata.issuer.trim_end_matches('/') != config.issuer {
            return Err(OidcError::Untrusted("the issuer in the provider's metadata differs from `issuer`"));
        }
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            Some(&metadata.jwks_uri),
            metadata.userinfo_endpoint.as_ref(),
        ];
        if endpoints.into_iter().flatten().any(|url| !is_secure_url(url)) {
            return Err(OidcError::Untrusted("the provider's metadata has URLs without HTTPS"));
        }
        let keys = fetch_json(client.get(&metadata.jwks_uri)).await?;
        let fetched_at = Monotonic::now();
        let keys = tokio::sync::Mutex::new((Arc::new(keys), fetched_at));
        Ok(Self { config: config.clone(), client, metadata, fetched_at, keys })
    }

    /// Returns the URL that starts the login at the provider.
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

    /// Returns whether the `iss` parameter of a response matches this provider. It may be missing only if the provider
    /// does not announce it (RFC 9207).
    pub(crate) fn issuer_matches(&self, issuer: Option<&str>) -> bool {
        match issuer {
            Some(issuer) => issuer == self.metadata.issuer,
            None => !self.metadata.authorization_response_iss_parameter_supported,
        }
    }

    /// Exchanges an authorization code for verified claims.
    pub(crate) async fn exchange_code(
        &self,
        code: &str,
        redirect_uri: &str,
        pending: &PendingLogin,
        now: UtcTimestamp,
    ) -> Result<TokenClaims, OidcError> {
        let tokens = self.fetch_tokens(code, redirect_uri, &pending.verifier).await?;
        let mut claims = self.verify_id_token(&tokens.id_token, &pending.nonce, now).await?;
        // Many providers put groups and email addresses only into the userinfo response.
        let wanted = [&self.config.name_claim, &self.config.role_claim];
        let lacks = wanted.iter().any(|name| find_claim(&claims, name).is_none());
        if let (true, Some(address), Some(token)) =
            (lacks, &self.metadata.userinfo_endpoint, &tokens.access_token)
        {
            let more: TokenClaims = fetch_json(self.client.get(address).bearer_auth(token)).await?;
            // OpenID Connect Core 1.0, 5.3.2: both must be about the same subject.
            if more.get("sub") != claims.get("sub") {
                return Err(OidcError::Untrusted("the userinfo response is about another user"));
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
                // RFC 6749, 2.3.1: both are form-encoded before they are joined.
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

    /// Verifies an ID token and returns its claims. Fetches the keys again if the signing key is unknown.
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

/// Sends a request and decodes the JSON response. Fails on error statuses and oversized responses.
async fn fetch_json<T: for<'a> Deserialize<'a>>(request: reqwest::RequestBuilder) -> Result<T, OidcError> {
    let away = |_| OidcError::Unavailable("cannot reach the identity provider");
    let mut response = request.header(header::ACCEPT, "application/json").send().await.map_err(away)?;
    if !response.status().is_success() {
        return Err(OidcError::Unavailable("the identity provider returned an error"));
    }
    let mut body = vec![];
    while let Some(piece) = response.chunk().await.map_err(away)? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_RESPONSE_BYTES {
            return Err(OidcError::Unavailable("the identity provider's response is too large"));
        }
    }
    serde_json::from_slice(&body)
        .map_err(|_| OidcError::Unavailable("cannot decode the identity provider's response"))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// Answers the first request on a connection with all metadata, and closes the connection after the second one.
    async fn answer_once(mut stream: TcpStream, issuer: String) {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let body = serde_json::json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "keys": [],
        });
        let body = body.to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        let _ = stream.read(&mut request).await;
    }

    #[test]
    fn no_request_is_sent_on_a_connection_that_the_provider_may_be_closing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let issuer = format!("http://{}", listener.local_addr().unwrap());
            let config = OidcConfig {
                issuer: issuer.clone(),
                client_id: "sessionwatch".into(),
                client_secret: None,
                name_claim: "email".into(),
                role_claim: "groups".into(),
                admins: vec![],
                responders: vec![],
                viewers: vec![],
                scopes: vec!["openid".into()],
                label: "single sign-on".into(),
                ca_pem: None,
            };
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer_once(stream, issuer.clone()));
                }
            });
            let found = OidcProvider::discover(&config).await;
            assert!(found.is_ok(), "{:?}", found.err());
        });
    }
}
