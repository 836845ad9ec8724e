//! A provider of identities: what it says of itself, its keys, and what its tokens are worth.
//!
//! OpenID Connect Core 1.0 with Discovery 1.0, the authorization code flow with PKCE (RFC 7636), and the issuer in the
//! answer (RFC 9207).

use std::{
    sync::Arc,
    time::{Duration, Instant as Monotonic},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use sessionwatch_core::instant::{Instant, SECOND};
use sha2::{Digest as _, Sha256};

use crate::{
    config::openid::{OpenId, is_safe},
    store::accounts::Role,
};

/// How long the provider may take, and the largest answer.
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: usize = 1 << 20;
/// How long it is believed what the provider says of itself, and how soon unknown keys are asked for again.
const FRESH: Duration = Duration::from_secs(3_600);
const AGAIN: Duration = Duration::from_secs(60);
/// How long a provider is left alone that could not be asked.
const PAUSE: Duration = Duration::from_secs(5);
/// How far clocks may be apart, in microseconds.
const LEEWAY: i64 = 60 * SECOND;
/// Signatures that are believed: those that only the provider can make.
const BELIEVED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// What a token claims.
pub(super) type Claims = Map<String, Value>;

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The provider cannot be asked, or its answer makes no sense.
    Away(&'static str),
    /// Its answer is not to be believed.
    Unbelievable(&'static str),
}

/// What a provider says of itself.
#[derive(Clone, Debug, Deserialize)]
struct Metadata {
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
pub(super) struct Provider {
    config: OpenId,
    client: Client,
    metadata: Metadata,
    asked: Monotonic,
    keys: tokio::sync::Mutex<(Arc<JwkSet>, Monotonic)>,
}

/// What is known of the provider that is configured.
#[derive(Debug, Default)]
pub struct Cache(tokio::sync::Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    provider: Option<Arc<Provider>>,
    /// Why it could not be asked last, and when.
    doubt: Option<(Doubt, Monotonic)>,
}

/// What a log-in keeps until the provider answers.
#[derive(Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub(super) struct Pending {
    /// Shows that the answer is to this question.
    pub(super) state: String,
    /// Shows that the token was made for this log-in.
    pub(super) nonce: String,
    /// Shows that whoever comes with the code is who asked for it.
    pub(super) verifier: String,
    /// Where to go on to.
    pub(super) next: String,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The tokens that a code is exchanged for.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

impl Cache {
    /// The provider, asked about itself if that is too long ago.
    pub(super) async fn provider(&self, config: &OpenId) -> Result<Arc<Provider>, Doubt> {
        let mut known = self.0.lock().await;
        if let Some(provider) = known.provider.as_ref().filter(|provider| provider.config == *config)
            && provider.asked.elapsed() < FRESH
        {
            return Ok(Arc::clone(provider));
        }
        // Whoever asks again and again does not make us do so.
        if let Some((doubt, _)) = known.doubt.filter(|(_, at)| at.elapsed() < PAUSE) {
            return Err(doubt);
        }
        let asked = Provider::ask(config).await;
        known.doubt = asked.as_ref().err().map(|doubt| (*doubt, Monotonic::now()));
        let provider = Arc::new(asked?);
        known.provider = Some(Arc::clone(&provider));
        Ok(provider)
    }
}

/// Why a provider that is configured so could not even be asked, if that is so.
#[must_use]
pub fn problem(config: &OpenId) -> Option<String> {
    let asked = client(config).and_then(|client| {
        client.get(description(config)).build().map(drop).map_err(|_| "`issuer` is not a URL")
    });
    asked.err().map(str::to_owned)
}

/// What speaks to a provider.
fn client(config: &OpenId) -> Result<Client, &'static str> {
    // It fails only where one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    let mut client = Client::builder().timeout(PATIENCE).redirect(redirects).user_agent("sessionwatch");
    if let Some(pem) = &config.authorities {
        let authorities = reqwest::Certificate::from_pem_bundle(pem);
        client = client.tls_certs_merge(authorities.map_err(|_| "`ca_file` holds no certificate")?);
    }
    client.build().map_err(|_| "TLS cannot be set up: is `ca_file` a PEM file of certificates?")
}

/// Where a provider describes itself.
fn description(config: &OpenId) -> String {
    format!("{}/.well-known/openid-configuration", config.issuer)
}

impl Provider {
    async fn ask(config: &OpenId) -> Result<Self, Doubt> {
        let client = client(config).map_err(Doubt::Away)?;
        let metadata: Metadata = answer(client.get(description(config))).await?;
        if metadata.issuer.trim_end_matches('/') != config.issuer {
            return Err(Doubt::Unbelievable("the provider calls itself otherwise than `issuer` does"));
        }
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            Some(&metadata.jwks_uri),
            metadata.userinfo_endpoint.as_ref(),
        ];
        if endpoints.into_iter().flatten().any(|url| !is_safe(url)) {
            return Err(Doubt::Unbelievable("the provider has addresses that are not encrypted"));
        }
        let keys = answer(client.get(&metadata.jwks_uri)).await?;
        let asked = Monotonic::now();
        let keys = tokio::sync::Mutex::new((Arc::new(keys), asked));
        Ok(Self { config: config.clone(), client, metadata, asked, keys })
    }

    /// Where a browser is sent to log in.
    pub(super) fn question(&self, pending: &Pending, back: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
        let scopes = self.config.scopes.join(" ");
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.config.client_id),
            ("redirect_uri", back),
            ("scope", &scopes),
            ("state", &pending.state),
            ("nonce", &pending.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let address = &self.metadata.authorization_endpoint;
        let joint = if address.contains('?') { '&' } else { '?' };
        format!("{address}{joint}{}", form(&pairs))
    }

    /// Whether an answer may be of this provider, by the issuer that it names.
    pub(super) fn is_of(&self, issuer: Option<&str>) -> bool {
        match issuer {
            Some(issuer) => issuer == self.metadata.issuer,
            None => !self.metadata.authorization_response_iss_parameter_supported,
        }
    }

    /// Who it is that comes with a code.
    pub(super) async fn identify(
        &self,
        (code, back): (&str, &str),
        pending: &Pending,
        now: Instant,
    ) -> Result<Claims, Doubt> {
        let tokens = self.exchange((code, back), &pending.verifier).await?;
        let mut claims = self.believed(&tokens.id_token, &pending.nonce, now).await?;
        let wanted = [&self.config.name_claim, &self.config.role_claim];
        let lacks = wanted.iter().any(|name| claim(&claims, name).is_none());
        if let (true, Some(address), Some(token)) =
            (lacks, &self.metadata.userinfo_endpoint, &tokens.access_token)
        {
            let more: Claims = answer(self.client.get(address).bearer_auth(token)).await?;
            // OpenID Connect Core 1.0, 5.3.2: it must be about the same person.
            if more.get("sub") != claims.get("sub") {
                return Err(Doubt::Unbelievable("the provider tells of somebody else"));
            }
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(claims)
    }

    async fn exchange(&self, (code, back): (&str, &str), verifier: &str) -> Result<Tokens, Doubt> {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", back),
            ("code_verifier", verifier),
        ];
        let mut request = self.client.post(&self.metadata.token_endpoint);
        let methods = &self.metadata.token_endpoint_auth_methods_supported;
        let posted = !methods.is_empty() && !methods.iter().any(|method| method == "client_secret_basic");
        match &self.config.client_secret {
            Some(secret) if !posted => {
                // RFC 6749, 2.3.1: both are encoded as in forms first.
                let [id, secret] = [&self.config.client_id, secret.expose()].map(encoded);
                request = request.basic_auth(id, Some(secret));
            }
            Some(secret) => pairs
                .extend([("client_id", self.config.client_id.as_str()), ("client_secret", secret.expose())]),
            None => pairs.push(("client_id", &self.config.client_id)),
        }
        let kind = "application/x-www-form-urlencoded";
        answer(request.header(header::CONTENT_TYPE, kind).body(form(&pairs))).await
    }

    /// What an identity token claims, if it is to be believed. Keys that are not known yet are asked for.
    async fn believed(&self, token: &str, nonce: &str, now: Instant) -> Result<Claims, Doubt> {
        let expected = Expected { issuer: &self.metadata.issuer, client: &self.config.client_id, nonce };
        let mut keys = self.keys.lock().await;
        let first = verify(token, &keys.0, expected, now);
        if first != Err(UNKNOWN_KEY) || keys.1.elapsed() < AGAIN {
            return first;
        }
        *keys = (Arc::new(answer(self.client.get(&self.metadata.jwks_uri)).await?), Monotonic::now());
        verify(token, &keys.0, expected, now)
    }
}

/// What a token must say to be one for this log-in.
#[derive(Clone, Copy, Debug)]
struct Expected<'a> {
    issuer: &'a str,
    client: &'a str,
    nonce: &'a str,
}

const UNKNOWN_KEY: Doubt =
    Doubt::Unbelievable("the token is signed with a key that the provider does not name");

/// What a token claims, if everything holds that OpenID Connect Core 1.0 asks for (3.1.3.7).
fn verify(token: &str, keys: &JwkSet, expected: Expected<'_>, now: Instant) -> Result<Claims, Doubt> {
    let header = decode_header(token).map_err(|_| Doubt::Unbelievable("the token cannot be read"))?;
    if !BELIEVED.contains(&header.alg) {
        return Err(Doubt::Unbelievable("the token is signed in a way that is not believed"));
    }
    let fits = |key: &&Jwk| {
        let common = &key.common;
        header.kid.is_none()
            || common.key_id == header.kid && common.public_key_use != Some(PublicKeyUse::Encryption)
    };
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let believed = keys.keys.iter().filter(fits).filter_map(|key| DecodingKey::from_jwk(key).ok());
    let mut refused = UNKNOWN_KEY;
    for key in believed {
        match decode::<Claims>(token, &key, &validation) {
            Ok(found) => return holds(found.claims, expected, now),
            Err(error) => refused = why(error.kind()),
        }
    }
    Err(refused)
}

fn why(kind: &jsonwebtoken::errors::ErrorKind) -> Doubt {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidIssuer => Doubt::Unbelievable("the token is of another issuer"),
        ErrorKind::InvalidAudience => Doubt::Unbelievable("the token is for somebody else"),
        ErrorKind::MissingRequiredClaim(_) => Doubt::Unbelievable("the token lacks what it has to say"),
        ErrorKind::InvalidSignature => Doubt::Unbelievable("the signature of the token is wrong"),
        _ => UNKNOWN_KEY,
    }
}

/// Claims whose signature is right, if they hold now and for this log-in.
fn holds(claims: Claims, expected: Expected<'_>, now: Instant) -> Result<Claims, Doubt> {
    let at = |name: &str| {
        let seconds = claims.get(name).and_then(Value::as_f64)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is an instant in seconds, or refused")]
        Instant::from_micros((seconds as i64).checked_mul(SECOND)?)
    };
    if at("exp").is_none_or(|end| now >= end.plus(LEEWAY)) {
        return Err(Doubt::Unbelievable("the token has ended"));
    }
    if at("nbf").is_some_and(|begin| now < begin.plus(-LEEWAY))
        || at("iat").is_some_and(|made| now < made.plus(-LEEWAY))
    {
        return Err(Doubt::Unbelievable("the token holds only later: are the clocks right?"));
    }
    if claims.get("nonce").and_then(Value::as_str) != Some(expected.nonce) {
        return Err(Doubt::Unbelievable("the token was made for another log-in"));
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
    let party = claims.get("azp").and_then(Value::as_str);
    if party.is_some_and(|party| party != expected.client) || several && party.is_none() {
        return Err(Doubt::Unbelievable("the token was made for somebody else"));
    }
    Ok(claims)
}

/// A claim by its name; where there is none, dots lead into objects.
pub(super) fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
    })
}

/// The role that claims give.
pub(super) fn role(config: &OpenId, claims: &Claims) -> Option<Role> {
    let given = claim(claims, &config.role_claim)?;
    let has = |wanted: &String| match given {
        Value::String(text) => text == wanted,
        Value::Array(list) => list.iter().any(|value| value.as_str() == Some(wanted)),
        _ => false,
    };
    // The mightiest first.
    let roles = [
        (Role::Admin, &config.admins),
        (Role::Responder, &config.responders),
        (Role::Viewer, &config.viewers),
    ];
    roles.into_iter().find(|(_, values)| values.iter().any(has)).map(|(role, _)| role)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

/// The answer to a request, if it is a good one and not too large.
async fn answer<T: for<'a> Deserialize<'a>>(request: reqwest::RequestBuilder) -> Result<T, Doubt> {
    let away = |_| Doubt::Away("the provider cannot be reached");
    let mut response = request.header(header::ACCEPT, "application/json").send().await.map_err(away)?;
    if !response.status().is_success() {
        return Err(Doubt::Away("the provider refuses"));
    }
    let mut body = vec![];
    while let Some(piece) = response.chunk().await.map_err(away)? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST {
            return Err(Doubt::Away("the provider's answer is too large"));
        }
    }
    serde_json::from_slice(&body).map_err(|_| Doubt::Away("the provider's answer cannot be read"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::json;

    use super::*;

    const EXPECTED: Expected<'_> = Expected { issuer: "https://id.example", client: "watch", nonce: "n" };

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn keys(&self, id: &str) -> JwkSet {
            let point = self.0.public_key().as_ref();
            let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
            serde_json::from_value(
                json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y }] }),
            )
            .unwrap()
        }

        fn token(&self, id: &str, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": id })), part(claims));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        }
    }

    fn now() -> Instant {
        Instant::from_micros(1_000_000 * SECOND).unwrap()
    }

    fn claims(changed: Value) -> Value {
        let mut claims = json!({
            "iss": "https://id.example", "aud": "watch", "sub": "1", "nonce": "n", "iat": 999_999, "exp": 1_000_100,
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    #[test]
    fn a_token_is_believed_only_if_everything_holds() {
        let signer = Signer::new();
        let keys = signer.keys("a");
        let judged = |changed: Value| verify(&signer.token("a", &claims(changed)), &keys, EXPECTED, now());
        assert!(judged(json!({})).is_ok());
        assert!(judged(json!({ "aud": ["watch", "other"], "azp": "watch" })).is_ok());
        assert!(judged(json!({ "exp": 999_941 })).is_ok());
        for (changed, part) in [
            (json!({ "iss": "https://evil.example" }), "another issuer"),
            (json!({ "aud": "other" }), "for somebody else"),
            (json!({ "aud": ["watch", "other"] }), "made for somebody else"),
            (json!({ "azp": "other" }), "made for somebody else"),
            (json!({ "nonce": "m" }), "another log-in"),
            (json!({ "nonce": null }), "another log-in"),
            (json!({ "exp": 999_940 }), "has ended"),
            (json!({ "exp": null }), "lacks"),
            (json!({ "sub": null }), "lacks"),
            (json!({ "iat": 1_000_061 }), "only later"),
            (json!({ "nbf": 1_000_061 }), "only later"),
        ] {
            let doubt = judged(changed.clone());
            assert!(
                matches!(doubt, Err(Doubt::Unbelievable(why)) if why.contains(part)),
                "{changed}: {doubt:?}"
            );
        }
    }

    #[test]
    fn a_signature_is_of_a_key_of_the_provider_and_of_nobody_else() {
        let (signer, other) = (Signer::new(), Signer::new());
        let good = claims(json!({}));
        let judged = |token: &str, keys: &JwkSet| verify(token, keys, EXPECTED, now());
        assert_eq!(judged(&other.token("b", &good), &signer.keys("a")), Err(UNKNOWN_KEY));
        let forged = judged(&other.token("a", &good), &signer.keys("a"));
        assert!(matches!(forged, Err(Doubt::Unbelievable(why)) if why.contains("signature")), "{forged:?}");
        // Neither nothing, nor what everybody knows, signs.
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for header in [json!({ "alg": "none" }), json!({ "alg": "HS256", "kid": "a" }), json!({ "kid": "a" })]
        {
            for signature in ["", "AAAA"] {
                let token = format!("{}.{}.{signature}", part(&header), part(&good));
                assert!(judged(&token, &signer.keys("a")).is_err(), "{token}");
            }
        }
        for nonsense in ["", ".", "..", "a.b.c", "💥"] {
            assert!(judged(nonsense, &signer.keys("a")).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_role_is_the_mightiest_that_a_claim_gives() {
        let mut config = OpenId {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            name_claim: "email".into(),
            role_claim: "groups".into(),
            admins: vec!["ops".into()],
            responders: vec!["on-call".into()],
            viewers: vec!["all".into()],
            scopes: vec![],
            label: String::new(),
            authorities: None,
        };
        let of = |config: &OpenId, claims: Value| role(config, claims.as_object().unwrap());
        assert_eq!(of(&config, json!({ "groups": ["all", "ops"] })), Some(Role::Admin));
        assert_eq!(of(&config, json!({ "groups": "on-call" })), Some(Role::Responder));
        for none in [
            json!({}),
            json!({ "groups": [] }),
            json!({ "groups": ["OPS"] }),
            json!({ "groups": { "ops": true } }),
        ] {
            assert_eq!(of(&config, none), None);
        }
        config.role_claim = "realm_access.roles".into();
        assert_eq!(of(&config, json!({ "realm_access": { "roles": ["all"] } })), Some(Role::Viewer));
        assert_eq!(of(&config, json!({ "realm_access.roles": ["ops"] })), Some(Role::Admin));
    }
}
