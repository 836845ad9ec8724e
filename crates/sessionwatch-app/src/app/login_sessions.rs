//! Login sessions of the dashboard: start, look up, list and revoke.

use std::sync::Arc;

use credentials::Secret;
use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{
    accounts::{self, AccountRecord, AccountRole, LoginNetwork, LoginSessionUse},
    audit,
};

use super::{
    Actor, AppError, AppState, LiveEvent,
    login_rate_limit::LoginCandidate,
    random_tokens::{random_token, sha256_hex},
    request_client::{ClientInfo, network_for},
};

pub use sessionwatch_store::accounts::LoginSession;

/// Maximum lifetime of a login session.
pub(super) const LOGIN_MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Maximum lifetime of a login session through the identity provider, after which the provider confirms the user and
/// the role again.
pub(super) const OIDC_LOGIN_MAX_AGE: SignedDuration = SignedDuration::from_hours(12);
/// Lifetime of a login session without activity.
const LOGIN_IDLE_TIMEOUT: SignedDuration = SignedDuration::from_hours(12);
// At most one write per minute and session, however many requests a page sends.
const LAST_SEEN_UPDATE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
const LOGIN_TOKEN_LENGTH: usize = 64;
// No account has a longer name, and the rest would only fill the audit log.
const MAX_LOGIN_NAME_LENGTH: usize = 64;

/// Logged-in user.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// Account name.
    pub name: String,
    /// Current role of the account.
    pub role: AccountRole,
    /// Token hash of the login session.
    pub login_hash: String,
    /// CSRF token expected in this login session's forms.
    pub csrf_token: Secret,
}

impl CurrentUser {
    /// Returns the user as an actor.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::from_account(&self.name)
    }
}

/// Newly started login session.
#[derive(Clone, Debug)]
pub struct StartedLogin {
    /// Token for the browser's cookie.
    pub token: Secret,
    /// Maximum lifetime, in seconds.
    pub max_age_seconds: i64,
}

/// Account name and password entered by a user.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Account name.
    pub name: String,
    /// Password.
    pub password: Secret,
}

/// Returns the user of the login session with that token; `None` if the session does not exist or has expired.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn find_current_user(app: &Arc<AppState>, token: &str) -> Result<Option<CurrentUser>, AppError> {
    // Rejects garbage cookies before they cost a hash and a query.
    if token.len() != LOGIN_TOKEN_LENGTH {
        return Ok(None);
    }
    let (hash, now) = (sha256_hex(token), app.clock.now());
    let found = app.read_store(move |db| accounts::find_login_session(db, &hash)).await?;
    let Some((login, account)) = found.filter(|(login, _)| login.is_valid(now)) else { return Ok(None) };
    if now.duration_since(login.last_used_at) >= LAST_SEEN_UPDATE_INTERVAL {
        let hash = login.token_hash.clone();
        // Extended by activity, but never beyond the maximum age from the start.
        let expires_at = login_expiry(max_login_age(&account), login.created_at, now);
        app.write_store(move |db| {
            accounts::touch_login_session(db, &hash, LoginSessionUse { used_at: now, expires_at })
        })
        .await?;
    }
    // Derived from the login token, so that nothing more has to be stored, and any daemon can verify a form.
    let csrf_token = sha256_hex(format!("form {token}")).into();
    Ok(Some(CurrentUser { name: account.name, role: account.role, login_hash: login.token_hash, csrf_token }))
}

/// Returns `true` if the login session with that token hash is valid, and `false` if the state store is unavailable.
pub async fn is_login_valid(app: &Arc<AppState>, hash: &str) -> bool {
    let (hash, now) = (hash.to_owned(), app.clock.now());
    let found = app.read_store(move |db| accounts::find_login_session(db, &hash)).await;
    // Fails closed: an event stream ends if its login can no longer be verified.
    found.is_ok_and(|found| found.is_some_and(|(login, _)| login.is_valid(now)))
}

/// Returns the expiry of a login session: maximum lifetime or idle timeout, whichever ends first.
fn login_expiry(max_age: SignedDuration, created_at: UtcTimestamp, seen_at: UtcTimestamp) -> UtcTimestamp {
    (created_at + max_age).min(seen_at + LOGIN_IDLE_TIMEOUT)
}

fn max_login_age(account: &AccountRecord) -> SignedDuration {
    // The provider is the authority on these accounts, so it is asked again sooner.
    if account.oidc_subject.is_empty() { LOGIN_MAX_AGE } else { OIDC_LOGIN_MAX_AGE }
}

/// Returns `true` if there is no account and no identity provider, so that nobody can log in yet.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn is_setup_needed(app: &Arc<AppState>) -> Result<bool, AppError> {
    let is_empty = app.read_store(|db| Ok(accounts::list_accounts(db)?.is_empty())).await?;
    Ok(is_empty && app.config().oidc.is_none())
}

/// Logs in with a password. Returns `None` if the account name or the password is incorrect.
///
/// # Errors
///
/// If there were too many attempts, or there are too many concurrent logins.
pub async fn log_in(
    app: &Arc<AppState>,
    credentials: Credentials,
    client: &ClientInfo,
) -> Result<Option<StartedLogin>, AppError> {
    // Cut by characters, because the name is arbitrary input.
    let name: String = credentials.name.chars().take(MAX_LOGIN_NAME_LENGTH).collect();
    let (now, network) = (app.clock.now(), client.network());
    // Before the query: a flood must not occupy the state store either.
    let _permit = app.auth.passwords.acquire_login_permit(network)?;
    let (wanted, from) = (name.clone(), network.to_string());
    let (account, is_known_network) = app
        .read_store(move |db| {
            let is_known_network =
                accounts::is_known_login_network(db, LoginNetwork { account: &wanted, network: &from })?;
            Ok((accounts::find_account(db, &wanted)?, is_known_network))
        })
        .await?;
    let applicant = LoginCandidate { account: &name, network, is_known_network };
    let attempt =
        app.auth.login_attempts.count_password_login(&applicant, now).ok_or(AppError::TooManyAttempts)?;
    // An empty hash is verified against a dummy hash, so the login time does not reveal whether the account exists.
    let hash = account.as_ref().map(|account| account.password_hash.clone()).unwrap_or_default();
    let is_right = match app.auth.passwords.verify(credentials.password, hash).await {
        Ok(is_right) => is_right,
        // The queue was full, so the password was not checked, and the attempt must not count.
        Err(error) => {
            attempt.remove_from_counts();
            return Err(error);
        }
    };
    let Some(account) = account.filter(|_| is_right) else {
        // The entry names the account even if it does not exist: a typo and an attack look alike.
        let detail = json!({ "ip": client.address.to_string() }).to_string();
        app.write_store(move |db| {
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry { actor: &name, action: "login.failed", detail: &detail },
                now,
            )
        })
        .await?;
        return Ok(None);
    };
    attempt.remove_from_counts();
    start_login_session(app, account.name, client).await.map(Some)
}

/// Starts a login session with [`LOGIN_MAX_AGE`] for an account. Deletes expired login sessions.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn start_login_session(
    app: &Arc<AppState>,
    account: String,
    client: &ClientInfo,
) -> Result<StartedLogin, AppError> {
    start_login_with_max_age(app, account, LOGIN_MAX_AGE, client).await
}

/// Starts a login session with that maximum lifetime.
pub(super) async fn start_login_with_max_age(
    app: &Arc<AppState>,
    account: String,
    max_age: SignedDuration,
    client: &ClientInfo,
) -> Result<StartedLogin, AppError> {
    // A new token at each login, never one from the request: this prevents session fixation.
    let (token, now) = (random_token(), app.clock.now());
    let (token_hash, expires_at) = (sha256_hex(&token), login_expiry(max_age, now, now));
    let network = network_for(client.address).to_string();
    let (client_address, user_agent) = (client.address.to_string(), client.user_agent.clone());
    let login = LoginSession {
        token_hash,
        account,
        created_at: now,
        last_used_at: now,
        expires_at,
        client_address,
        user_agent,
    };
    app.write_store(move |db| {
        // Logins are rare and write anyway, so no separate job is needed.
        accounts::prune_login_sessions(db, now)?;
        accounts::insert_login_session(db, &login)?;
        accounts::upsert_login_network(db, LoginNetwork { account: &login.account, network: &network }, now)?;
        let detail = json!({ "ip": login.client_address }).to_string();
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry { actor: &login.account, action: "login.succeeded", detail: &detail },
            now,
        )
    })
    .await?;
    Ok(StartedLogin { token: token.into(), max_age_seconds: max_age.as_secs() })
}

/// Lists the login sessions of an account, the latest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_login_sessions(app: &Arc<AppState>, account: &str) -> Result<Vec<LoginSession>, AppError> {
    let account = account.to_owned();
    app.read_store(move |db| accounts::list_login_sessions(db, &account)).await
}

/// Logs a user out.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn log_out(app: &Arc<AppState>, user: CurrentUser) -> Result<(), AppError> {
    let now = app.clock.now();
    app.write_store(move |db| {
        // Only the first of two clicks is recorded.
        if accounts::delete_login_session(db, &user.name, &user.login_hash)? {
            audit::insert_audit_entry(
                db,
                audit::NewAuditEntry { actor: &user.name, action: "login.ended", detail: "{}" },
                now,
            )?;
        }
        Ok(())
    })
    .await?;
    app.publish(LiveEvent::LoginsEnded);
    Ok(())
}

/// Revokes a login session of the actor's account, by its token hash.
///
/// # Errors
///
/// If the account has no such login session.
pub async fn revoke_login_session(
    app: &Arc<AppState>,
    actor: &Actor,
    login_hash: String,
) -> Result<(), AppError> {
    let not_found = || AppError::NotFound("This login session does not exist or has already ended.".into());
    // A command-line actor has no account, and thus no login sessions to revoke.
    let account = actor.account().ok_or_else(not_found)?.to_owned();
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let ended = app.write_store(move |db| {
        if !accounts::delete_login_session(db, &account, &login_hash)? {
            return Ok(false);
        }
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry { actor: &by, action: "login.revoked", detail: "{}" },
            now,
        )?;
        Ok(true)
    });
    if !ended.await? {
        return Err(not_found());
    }
    app.publish(LiveEvent::LoginsEnded);
    Ok(())
}

#[cfg(test)]
mod tests;
