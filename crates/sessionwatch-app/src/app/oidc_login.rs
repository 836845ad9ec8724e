//! Logging in by a provider of identities (OpenID Connect): there and back. Everything that has to be known on the way
//! back is kept by the browser that asked, so that any daemon can take the answer.

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
    AppError, AppState,
    accounts::{is_valid_account_name, upsert_account_audited},
    client::ClientInfo,
    login_sessions::{OIDC_LOGIN_MAX_AGE, StartedLogin, start_login_with_max_age},
    secrets::random_token,
};
use crate::{
    config::oidc::OidcConfig,
    oidc::{
        OidcError,
        client::PendingLogin,
        id_token::{self, TokenClaims, find_claim},
    },
};

/// How long one may take to log in at the provider, in seconds.
pub const LOGIN_STATE_TTL_SECONDS: i64 = 600;
/// Letters of the address that one goes on to.
const MAX_NEXT_PATH_LENGTH: usize = 500;
/// Letters of an error that the provider tells.
const MAX_PROVIDER_ERROR_LENGTH: usize = 60;

impl From<OidcError> for AppError {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::Unavailable(why) => {
                Self::Unavailable(format!("Nobody can be logged in by the provider now: {why}."))
            }
            OidcError::Untrusted(why) => Self::Invalid(format!("Nobody is logged in: {why}.")),
        }
    }
}

/// A login that is to go on at the provider.
#[derive(Clone, Debug)]
pub struct StartedOidcLogin {
    /// Where the browser is sent.
    pub redirect_to: String,
    /// What the browser keeps until it comes back.
    pub state_cookie: Secret,
}

/// What the provider sends people back with.
#[derive(Clone, Debug, Default)]
pub struct OidcCallback {
    /// What the tokens are exchanged for.
    pub code: String,
    /// What shows that the answer is to the question.
    pub state: String,
    /// Why there is no code; empty if there is one.
    pub error: String,
    /// Who answers.
    pub issuer: Option<String>,
    /// What the browser kept.
    pub state_cookie: Option<Secret>,
}

/// A login that came back from the provider.
#[derive(Clone, Debug)]
pub struct CompletedOidcLogin {
    /// The login.
    pub login: StartedLogin,
    /// Where to go on to.
    pub next_path: String,
}

/// The account of who came back, and where they go on to.
struct IdentifiedUser {
    account: String,
    next_path: String,
}

/// What the store says to an account that a provider vouches for.
enum AccountUpsert {
    Saved(String),
    NameTaken,
    NoRole,
}

/// Starts a login at the provider; afterwards one goes on to `next`.
///
/// # Errors
///
/// If no provider is configured, or it does not answer.
pub async fn start_oidc_login(app: &AppState, next_path: &str) -> Result<StartedOidcLogin, AppError> {
    let settings = require_oidc_config(app)?;
    let provider = app.auth.oidc.get_or_discover(&settings).await?;
    let [state, nonce, verifier] = [(); 3].map(|()| random_token());
    let pending =
        PendingLogin { state, nonce, verifier, next: next_path.chars().take(MAX_NEXT_PATH_LENGTH).collect() };
    let unwritable = |_| AppError::Internal("what a login has to remember cannot be written as JSON");
    let kept = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&pending).map_err(unwritable)?);
    let location = provider.authorization_url(&pending, &redirect_uri(app));
    Ok(StartedOidcLogin { redirect_to: location, state_cookie: kept.into() })
}

/// Logs in who came back from the provider.
///
/// # Errors
///
/// If the answer is not to be believed, or the provider gives no role.
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
            // That the provider is away is nobody's fault.
            if matches!(error, AppError::Unavailable(_) | AppError::Store(_) | AppError::Internal(_)) {
                attempt.remove_from_counts();
            }
            let address = client.address.to_string();
            let detail = json!({ "ip": address, "by": settings.issuer, "why": error.to_string() });
            let detail = detail.to_string();
            app.write_store(move |db| {
                audit::insert_audit_entry(
                    db,
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

/// The provider that is configured.
fn require_oidc_config(app: &AppState) -> Result<OidcConfig, AppError> {
    let found = app.config().oidc.clone();
    found.ok_or_else(|| {
        AppError::NotFound("No provider of identities is configured: log in with a password.".into())
    })
}

/// Where the provider sends people back to.
fn redirect_uri(app: &AppState) -> String {
    let public = app.config().serve.public_url.clone().unwrap_or_default();
    format!("{}/oidc/callback", public.trim_end_matches('/'))
}

/// Who came back from the provider.
async fn identify_user(
    app: &Arc<AppState>,
    settings: &OidcConfig,
    callback: OidcCallback,
) -> Result<IdentifiedUser, AppError> {
    let kept = callback.state_cookie.and_then(|kept| URL_SAFE_NO_PAD.decode(kept.expose()).ok());
    let pending: Option<PendingLogin> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
    let foreign = || {
        AppError::Invalid("This log-in was not begun in this browser, or took too long: begin anew.".into())
    };
    let pending = pending.filter(|pending| pending.state == callback.state && !callback.state.is_empty());
    let pending = pending.ok_or_else(foreign)?;
    let provider = app.auth.oidc.get_or_discover(settings).await?;
    if !provider.issuer_matches(callback.issuer.as_deref()) {
        return Err(OidcError::Untrusted("the answer is of another provider").into());
    }
    if !callback.error.is_empty() {
        let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
        let error: String = callback.error.chars().filter(plain).take(MAX_PROVIDER_ERROR_LENGTH).collect();
        return Err(AppError::Invalid(format!("The provider says: {error}.")));
    }
    let now = app.clock.now();
    let claims = provider.exchange_code(&callback.code, &redirect_uri(app), &pending, now).await?;
    let account = account_from_claims(settings, &claims, now)?;
    let account = upsert_oidc_account(app, account, id_token::role_from_claims(settings, &claims)).await?;
    Ok(IdentifiedUser { account, next_path: pending.next })
}

/// The account that claims are of, with the least role.
fn account_from_claims(
    settings: &OidcConfig,
    claims: &TokenClaims,
    now: UtcTimestamp,
) -> Result<AccountRecord, AppError> {
    let text = |name: &str| find_claim(claims, name).and_then(Value::as_str);
    let subject = text("sub").filter(|subject| !subject.is_empty());
    let subject =
        subject.ok_or_else(|| AppError::Invalid("The provider does not say who that is.".into()))?;
    let name = text(&settings.name_claim).filter(|name| is_valid_account_name(name));
    let name = name.ok_or_else(|| {
        let claim = &settings.name_claim;
        AppError::Invalid(format!(
            "The claim `{claim}` holds no name of up to 64 letters, digits, and . _ @ + -"
        ))
    })?;
    let unsure = claims.get("email_verified") == Some(&Value::Bool(false));
    if settings.name_claim == "email" && unsure {
        return Err(AppError::Invalid("The provider has not verified that address.".into()));
    }
    let subject = format!("{} {subject}", settings.issuer);
    let (name, password) = (name.to_owned(), Secret::default());
    Ok(AccountRecord {
        name,
        role: AccountRole::Viewer,
        password_hash: password,
        oidc_subject: subject,
        created_at: now,
    })
}

/// Makes the account of who logged in, or gives it the role that the provider says: its name. Whoever has no role any more
/// has no account any more.
async fn upsert_oidc_account(
    app: &Arc<AppState>,
    account: AccountRecord,
    role: Option<AccountRole>,
) -> Result<String, AppError> {
    let now = app.clock.now();
    let kept = app.write_store(move |db| {
        let known = accounts::find_account_by_oidc_subject(db, &account.oidc_subject)?;
        let Some(role) = role else {
            if let Some(known) = known {
                let detail =
                    json!({ "account": known.name, "why": "the provider gives no role" }).to_string();
                accounts::delete_account(db, &known.name)?;
                audit::insert_audit_entry(
                    db,
                    audit::NewAuditEntry { actor: &known.name, action: "account.deleted", detail: &detail },
                    now,
                )?;
            }
            return Ok(AccountUpsert::NoRole);
        };
        if known.is_none() && accounts::find_account(db, &account.name)?.is_some() {
            return Ok(AccountUpsert::NameTaken);
        }
        let before = known.as_ref().map(|known| known.role);
        // Whoever is called otherwise now stays who they were.
        let account = AccountRecord { role, ..known.unwrap_or_else(|| account.clone()) };
        if before != Some(role) {
            upsert_account_audited(db, &account, &account.name, now)?;
        }
        Ok(AccountUpsert::Saved(account.name))
    });
    match kept.await? {
        AccountUpsert::Saved(name) => Ok(name),
        AccountUpsert::NoRole => Err(AppError::Forbidden),
        AccountUpsert::NameTaken => Err(AppError::Conflict(
            "There is an account of that name already, which belongs to somebody else or has a password: an admin can remove it.".into(),
        )),
    }
}
