//! Verification of ID tokens, and the claims in them.

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde_json::{Map, Value};
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::accounts::AccountRole;

use super::OidcError;
use crate::config::oidc::OidcConfig;

/// Tolerated difference between the clocks of the provider and this machine.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// Accepted algorithms: asymmetric ones only, since HMAC keys would be shared with the client.
const ALLOWED_ALGORITHMS: [Algorithm; 9] = [
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

/// Claims of a token.
pub(crate) type TokenClaims = Map<String, Value>;

/// Claims that a token of this login must have.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedClaims<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

pub(super) const UNKNOWN_KEY_ERROR: OidcError =
    OidcError::Untrusted("the ID token is signed with a key that the provider does not publish");

/// Verifies a token by the rules of OpenID Connect Core 1.0, 3.1.3.7, and returns its claims.
pub(super) fn verify_id_token(
    token: &str,
    keys: &JwkSet,
    expected: ExpectedClaims<'_>,
    now: UtcTimestamp,
) -> Result<TokenClaims, OidcError> {
    let header = decode_header(token).map_err(|_| OidcError::Untrusted("the ID token is malformed"))?;
    if !ALLOWED_ALGORITHMS.contains(&header.alg) {
        return Err(OidcError::Untrusted("the ID token is signed with an algorithm that is not accepted"));
    }
    let fits = |key: &&Jwk| {
        let common = &key.common;
        header.kid.is_none()
            || common.key_id == header.kid && common.public_key_use != Some(PublicKeyUse::Encryption)
    };
    let mut validation = Validation::new(header.alg);
    // The library compares with the system clock; `validate_claims` uses the given time.
    validation.validate_exp = false;
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let believed = keys.keys.iter().filter(fits).filter_map(|key| DecodingKey::from_jwk(key).ok());
    let mut refused = UNKNOWN_KEY_ERROR;
    for key in believed {
        match decode::<TokenClaims>(token, &key, &validation) {
            Ok(found) => return validate_claims(found.claims, expected, now),
            Err(error) => refused = jwt_error(error.kind()),
        }
    }
    Err(refused)
}

fn jwt_error(kind: &jsonwebtoken::errors::ErrorKind) -> OidcError {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidIssuer => OidcError::Untrusted("the ID token is from another issuer"),
        ErrorKind::InvalidAudience => OidcError::Untrusted("the ID token is for another client"),
        ErrorKind::MissingRequiredClaim(_) => OidcError::Untrusted("the ID token lacks a required claim"),
        ErrorKind::InvalidSignature => OidcError::Untrusted("the signature of the ID token is invalid"),
        _ => UNKNOWN_KEY_ERROR,
    }
}

/// Verifies times, nonce and authorized party of claims whose signature is valid.
fn validate_claims(
    claims: TokenClaims,
    expected: ExpectedClaims<'_>,
    now: UtcTimestamp,
) -> Result<TokenClaims, OidcError> {
    let at = |name: &str| -> Option<UtcTimestamp> {
        let seconds = claims.get(name).and_then(Value::as_f64)?;
        #[expect(clippy::cast_possible_truncation, reason = "it is an instant in seconds, or refused")]
        Timestamp::from_second(seconds as i64).ok()?.try_into().ok()
    };
    if at("exp").is_none_or(|end| now >= end + CLOCK_LEEWAY) {
        return Err(OidcError::Untrusted("the ID token has expired"));
    }
    if at("nbf").is_some_and(|begin| now < begin - CLOCK_LEEWAY)
        || at("iat").is_some_and(|made| now < made - CLOCK_LEEWAY)
    {
        return Err(OidcError::Untrusted("the ID token is not valid yet: check the clocks"));
    }
    if claims.get("nonce").and_then(Value::as_str) != Some(expected.nonce) {
        return Err(OidcError::Untrusted("the ID token was issued for another login"));
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|list| list.len() > 1);
    let party = claims.get("azp").and_then(Value::as_str);
    if party.is_some_and(|party| party != expected.client_id) || several && party.is_none() {
        return Err(OidcError::Untrusted("the ID token was issued to another party"));
    }
    Ok(claims)
}

/// Returns a claim by name. Without an exact match, dots in the name address nested objects.
pub(crate) fn find_claim<'a>(claims: &'a TokenClaims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
    })
}

/// Returns the highest role that the claims grant; `None` if they grant none.
pub(crate) fn role_from_claims(config: &OidcConfig, claims: &TokenClaims) -> Option<AccountRole> {
    let given = find_claim(claims, &config.role_claim)?;
    let has = |wanted: &String| match given {
        Value::String(text) => text == wanted,
        Value::Array(list) => list.iter().any(|value| value.as_str() == Some(wanted)),
        _ => false,
    };
    // Highest role first.
    let roles = [
        (AccountRole::Admin, &config.admins),
        (AccountRole::Responder, &config.responders),
        (AccountRole::Viewer, &config.viewers),
    ];
    roles.into_iter().find(|(_, values)| values.iter().any(has)).map(|(role, _)| role)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    const EXPECTED: ExpectedClaims<'_> =
        ExpectedClaims { issuer: "https://id.example", client_id: "watch", nonce: "n" };

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

    fn now() -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000)
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
    fn a_token_is_accepted_only_if_every_claim_is_valid() {
        let signer = Signer::new();
        let keys = signer.keys("a");
        let verified =
            |changed: Value| verify_id_token(&signer.token("a", &claims(changed)), &keys, EXPECTED, now());
        assert!(verified(json!({})).is_ok());
        assert!(verified(json!({ "aud": ["watch", "other"], "azp": "watch" })).is_ok());
        assert!(verified(json!({ "exp": 999_941 })).is_ok());
        for (changed, part) in [
            (json!({ "iss": "https://evil.example" }), "another issuer"),
            (json!({ "aud": "other" }), "for another client"),
            (json!({ "aud": ["watch", "other"] }), "another party"),
            (json!({ "azp": "other" }), "another party"),
            (json!({ "nonce": "m" }), "another login"),
            (json!({ "nonce": null }), "another login"),
            (json!({ "exp": 999_940 }), "has expired"),
            (json!({ "exp": null }), "lacks"),
            (json!({ "sub": null }), "lacks"),
            (json!({ "iat": 1_000_061 }), "not valid yet"),
            (json!({ "nbf": 1_000_061 }), "not valid yet"),
        ] {
            let error = verified(changed.clone());
            assert!(
                matches!(error, Err(OidcError::Untrusted(why)) if why.contains(part)),
                "{changed}: {error:?}"
            );
        }
    }

    #[test]
    fn only_keys_of_the_provider_are_accepted() {
        let (signer, other) = (Signer::new(), Signer::new());
        let good = claims(json!({}));
        let verified = |token: &str, keys: &JwkSet| verify_id_token(token, keys, EXPECTED, now());
        assert_eq!(verified(&other.token("b", &good), &signer.keys("a")), Err(UNKNOWN_KEY_ERROR));
        let forged = verified(&other.token("a", &good), &signer.keys("a"));
        assert!(matches!(forged, Err(OidcError::Untrusted(why)) if why.contains("signature")), "{forged:?}");
        // Neither `none` nor a public key used as an HMAC secret is accepted.
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for header in [json!({ "alg": "none" }), json!({ "alg": "HS256", "kid": "a" }), json!({ "kid": "a" })]
        {
            for signature in ["", "AAAA"] {
                let token = format!("{}.{}.{signature}", part(&header), part(&good));
                assert!(verified(&token, &signer.keys("a")).is_err(), "{token}");
            }
        }
        for nonsense in ["", ".", "..", "a.b.c", "💥"] {
            assert!(verified(nonsense, &signer.keys("a")).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_highest_granted_role_applies() {
        let mut config = OidcConfig {
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
            ca_pem: None,
        };
        let of = |config: &OidcConfig, claims: Value| role_from_claims(config, claims.as_object().unwrap());
        assert_eq!(of(&config, json!({ "groups": ["all", "ops"] })), Some(AccountRole::Admin));
        assert_eq!(of(&config, json!({ "groups": "on-call" })), Some(AccountRole::Responder));
        for none in [
            json!({}),
            json!({ "groups": [] }),
            json!({ "groups": ["OPS"] }),
            json!({ "groups": { "ops": true } }),
        ] {
            assert_eq!(of(&config, none), None);
        }
        config.role_claim = "realm_access.roles".into();
        assert_eq!(of(&config, json!({ "realm_access": { "roles": ["all"] } })), Some(AccountRole::Viewer));
        assert_eq!(of(&config, json!({ "realm_access.roles": ["ops"] })), Some(AccountRole::Admin));
    }
}
