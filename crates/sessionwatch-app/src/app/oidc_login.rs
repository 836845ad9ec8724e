//! Login through an identity provider (OpenID Connect): redirect and callback. The state of a pending login is kept
//! in a cookie of the browser, so that any daemon can handle the callback.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentials::Secret;
use serde_json::{Value, json};
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    accounts::{self, AccountRecord, AccountRole},
    audit,
};

use super::{
    AppError, AppState, LiveEvent,
    accounts::{is_valid_account_name, upsert_account_audited},
    error::ErrorKind,
    login_sessions::{OIDC_LOGIN_MAX_AGE, StartedLogin, start_login_with_max_age},
    random_tokens::random_token,
    request_client::ClientInfo,
};
use crate::{
    config::oidc::OidcConfig,
    oidc::{
        OidcError,
        client::PendingLogin,
        id_token::{self, TokenClaims, find_claim},
    },
};

/// Time limit for logging in at the provider, in seconds.
pub const LOGIN_STATE_TTL_SECONDS: i64 = 600;
// Leaves room for the rest of the state in a cookie of 4 KB.
const MAX_NEXT_PATH_LENGTH: usize = 500;
const MAX_PROVIDER_ERROR_LENGTH: usize = 60;

impl From<OidcError> for AppError {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::Unavailable(why) => Self::ProviderUnavailable(why),
            OidcError::Untrusted(why) => Self::Invalid(format!("Login failed: {why}.")),
        }
    }
}

/// Login that continues at the provider.
#[derive(Clone, Debug)]
pub struct StartedOidcLogin {
    /// Authorization URL for the redirect.
    pub redirect_to: String,
    /// Cookie with the state of the pending login.
    pub state_cookie: Secret,
}

/// Parameters of the provider's callback.
#[derive(Clone, Debug, Default)]
pub struct OidcCallback {
    /// Authorization code; empty after an error.
    pub code: String,
    /// State parameter, which must match the pending login.
    pub state: String,
    /// Error code of the provider; empty on success.
    pub error: String,
    /// Issuer parameter (RFC 9207), if the provider sends one.
    pub issuer: Option<String>,
    /// Cookie with the state of the pending login.
    pub state_cookie: Option<Secret>,
}

/// Completed login.
#[derive(Clone, Debug)]
pub struct CompletedOidcLogin {
    /// Login session.
    pub login: StartedLogin,
    /// Path of the page to open.
    pub next_path: String,
}

struct IdentifiedUser {
    account: String,
    next_path: String,
}

/// Result of creating or updating the account of an identity provider's user.
enum AccountUpsert {
    /// Holds the account name.
    Saved(String),
    NameTaken,
    NoRole {
        /// `true` if an account was deleted.
        is_deleted: bool,
    },
}

/// Starts a login at the provider, after which the browser opens `next_path`.
///
/// # Errors
///
/// If no provider is configured, or the provider is unavailable.
pub async fn start_oidc_login(app: &AppState, next_path: &str) -> Result<StartedOidcLogin, AppError> {
    let settings = require_oidc_config(app)?;
    let provider = app.auth.oidc.get_or_discover(&settings).await?;
    // All three are independent secrets: the state travels in the URL, the verifier only to the token
    // endpoint.
    let [state, nonce, verifier] = [(); 3].map(|()| random_token());
    let pending =
        PendingLogin { state, nonce, verifier, next: next_path.chars().take(MAX_NEXT_PATH_LENGTH).collect() };
    let unwritable = |_| AppError::Internal("cannot encode the login state as JSON");
    // Base64, because a cookie value cannot contain the quotes and commas of JSON.
    let state_cookie = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&pending).map_err(unwritable)?);
    let redirect_to = provider.authorization_url(&pending, &redirect_uri(app));
    Ok(StartedOidcLogin { redirect_to, state_cookie: state_cookie.into() })
}

/// Completes a login after the provider's callback.
///
/// # Errors
///
/// If the response cannot be trusted, or the provider grants no role.
pub async fn complete_oidc_login(
    app: &Arc<AppState>,
    callback: OidcCallback,
    client: &ClientInfo,
) -> Result<CompletedOidcLogin, AppError> {
    let settings = require_oidc_config(app)?;
    let now = app.clock.now();
    let attempt = app.auth.login_attempts.count_oidc_login(client.network(), now);
    let attempt = attempt.ok_or(AppError::TooManyAttempts)?;
    let arrived = match identify_user(app, &settings, callback).await {
        Ok(arrived) => arrived,
        Err(error) => {
            // An outage is not a failed attempt, and must not lock out the client's network.
            if matches!(
                error.kind(),
                ErrorKind::Unavailable | ErrorKind::ProviderUnavailable | ErrorKind::Store
            ) {
                attempt.remove_from_counts();
            }
            // The error text names no code, token or secret, so it may go to the audit log.
            let address = client.address.to_string();
            let detail = json!({ "ip": address, "by": settings.issuer, "why": error.to_string() });
            let detail = detail.to_string();
            app.write_store(move |db| {
                audit::insert_audit_entry(
                    db,
                    // The user is not known before the provider has confirmed one.
                    audit::NewAuditEntry { actor: "somebody", action: "login.failed", detail: &detail },
                    now,
                )
            })
            .await?;
            return Err(error);
        }
    };
    attempt.remove_from_counts();
    let login = start_login_with_max_age(app, arrived.account, OIDC_LOGIN_MAX_AGE, client).await?;
    Ok(CompletedOidcLogin { login, next_path: arrived.next_path })
}

fn require_oidc_config(app: &AppState) -> Result<OidcConfig, AppError> {
    let found = app.config().oidc.clone();
    found.ok_or_else(|| {
        AppError::NotFound("No identity provider is configured. Log in with a password.".into())
    })
}

fn redirect_uri(app: &AppState) -> String {
    // From the configuration, never from the `Host` header, which the client chooses.
    let public = app.config().serve.public_url.clone().unwrap_or_default();
    format!("{}/oidc/callback", public.trim_end_matches('/'))
}

/// Verifies the callback and updates the account. Returns the account and the page to open.
async fn identify_user(
    app: &Arc<AppState>,
    settings: &OidcConfig,
    callback: OidcCallback,
) -> Result<IdentifiedUser, AppError> {
    // A damaged cookie is treated as a missing one: both come from another login.
    let cookie = callback.state_cookie.and_then(|cookie| URL_SAFE_NO_PAD.decode(cookie.expose()).ok());
    let pending: Option<PendingLogin> = cookie.and_then(|cookie| serde_json::from_slice(&cookie).ok());
    let foreign = || {
        AppError::Invalid("This login was started in another browser or took too long. Start again.".into())
    };
    // Two empty values must not match: a callback without state is not one of ours.
    let pending = pending.filter(|pending| pending.state == callback.state && !callback.state.is_empty());
    // A callback with another state is a forged request (login CSRF).
    let pending = pending.ok_or_else(foreign)?;
    let provider = app.auth.oidc.get_or_discover(settings).await?;
    // Checked before the code is sent anywhere (mix-up attack, RFC 9207).
    if !provider.issuer_matches(callback.issuer.as_deref()) {
        return Err(OidcError::Untrusted("the response comes from another provider").into());
    }
    if !callback.error.is_empty() {
        // Anyone can call this URL: only harmless characters reach the page and the audit log.
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
        let error: String = callback.error.chars().filter(plain).take(MAX_PROVIDER_ERROR_LENGTH).collect();
        return Err(AppError::Invalid(format!("The identity provider returned the error {error}.")));
    }
    let now = app.clock.now();
    let claims = provider.exchange_code(&callback.code, &redirect_uri(app), &pending, now).await?;
    let account = account_from_claims(settings, &claims, now)?;
    let account = upsert_oidc_account(app, account, id_token::role_from_claims(settings, &claims)).await?;
    Ok(IdentifiedUser { account, next_path: pending.next })
}

/// Builds an account from the claims, with the role viewer.
fn account_from_claims(
    settings: &OidcConfig,
    claims: &TokenClaims,
    now: UtcTimestamp,
) -> Result<AccountRecord, AppError> {
    let text = |name: &str| find_claim(claims, name).and_then(Value::as_str);
    // An empty subject would make all such users share one account.
    let subject = text("sub").filter(|subject| !subject.is_empty());
    let subject =
        subject.ok_or_else(|| AppError::Invalid("The identity provider sent no `sub` claim.".into()))?;
    let name = text(&settings.name_claim).filter(|name| is_valid_account_name(name));
    let name = name.ok_or_else(|| {
        let claim = &settings.name_claim;
        AppError::Invalid(format!(
            "The claim `{claim}` is missing, or is not a valid account name \
             (1 to 64 ASCII letters, digits and . _ @ + -)."
        ))
    })?;
    // With an unverified address, anyone could claim the account name of somebody else.
    let is_unverified = claims.get("email_verified") == Some(&Value::Bool(false));
    if settings.name_claim == "email" && is_unverified {
        return Err(AppError::Invalid("The identity provider has not verified this email address.".into()));
    }
    // A subject is unique only within its issuer.
    let subject = format!("{} {subject}", settings.issuer);
    // An empty hash matches no password, so the account can be used only through the provider.
    let (name, password_hash) = (name.to_owned(), Secret::default());
    Ok(AccountRecord {
        name,
        role: AccountRole::Viewer,
        password_hash,
        oidc_subject: subject,
        created_at: now,
    })
}

/// Creates the account, or updates its role. Returns the account name. An account without a role is deleted.
async fn upsert_oidc_account(
    app: &Arc<AppState>,
    account: AccountRecord,
    role: Option<AccountRole>,
) -> Result<String, AppError> {
    let now = app.clock.now();
    let upsert = app.write_store(move |db| {
        let known = accounts::find_account_by_oidc_subject(db, &account.oidc_subject)?;
        // Without a role, the provider has withdrawn access: old sessions and tokens must end with it.
        let Some(role) = role else {
            let is_deleted = known.is_some();
            if let Some(known) = known {
                let detail = json!({ "account": known.name, "why": "the identity provider grants no role" })
                    .to_string();
                accounts::delete_account(db, &known.name)?;
                audit::insert_audit_entry(
                    db,
                    audit::NewAuditEntry { actor: &known.name, action: "account.deleted", detail: &detail },
                    now,
                )?;
            }
            return Ok(AccountUpsert::NoRole { is_deleted });
        };
        // Never linked by name alone: the provider's user could take over a local account that way.
        if known.is_none() && accounts::find_account(db, &account.name)?.is_some() {
            return Ok(AccountUpsert::NameTaken);
        }
        let before = known.as_ref().map(|known| known.role);
        // The subject identifies the account: a changed name claim does not rename the account.
        let account = AccountRecord { role, ..known.unwrap_or_else(|| account.clone()) };
        // Most logins change nothing, and the audit log should show only changes.
        if before != Some(role) {
            upsert_account_audited(db, &account, &account.name, now)?;
        }
        Ok(AccountUpsert::Saved(account.name))
    });
    match upsert.await? {
        AccountUpsert::Saved(name) => Ok(name),
        AccountUpsert::NoRole { is_deleted } => {
            if is_deleted {
                // Open event streams of the account must end now, not at their next request.
                app.publish(LiveEvent::LoginsEnded);
            }
            Err(AppError::Forbidden)
        }
        AccountUpsert::NameTaken => Err(AppError::Conflict(
            "An account with this name already exists, for another user or with a password. An admin can \
             delete the account."
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::test_app::TestApp;

    #[tokio::test]
    async fn a_user_without_a_role_is_deleted_and_logged_out_at_once() {
        let scene = TestApp::with_config("");
        let account = || AccountRecord {
            name: "vic".into(),
            role: AccountRole::Viewer,
            password_hash: Secret::default(),
            oidc_subject: "https://login.example.org 17".into(),
            created_at: scene.clock.now(),
        };
        let mut events = scene.events.subscribe();
        // Nobody is logged out where there is no account.
        let unknown = upsert_oidc_account(&scene, account(), None).await;
        assert!(matches!(unknown, Err(AppError::Forbidden)) && events.try_recv().is_err());
        upsert_oidc_account(&scene, account(), Some(AccountRole::Viewer)).await.unwrap();
        while events.try_recv().is_ok() {}
        let refused = upsert_oidc_account(&scene, account(), None).await;
        assert!(matches!(refused, Err(AppError::Forbidden)));
        assert_eq!(events.try_recv().unwrap(), LiveEvent::LoginsEnded);
        assert!(scene.store.read(|db| accounts::find_account(db, "vic")).unwrap().is_none());
    }
}
