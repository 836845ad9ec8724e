//! Login sessions of the dashboard itself: started, found, and ended.

use std::sync::Arc;

use credentials::Secret;
use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{
    accounts::{self, Account, LoginNetwork, LoginUse, Role},
    audit,
};

use super::{
    Actor, AppError, AppState, LiveEvent,
    client::{ClientInfo, network_of},
    login_attempts::Applicant,
    secrets::{random_token, sha256_hex},
};

pub use sessionwatch_store::accounts::Login;

/// How long a login is valid at most.
pub(super) const MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The same where a provider of identities vouches for it: then it is asked again, also about the role.
pub(super) const EXTERNAL_MAX_AGE: SignedDuration = SignedDuration::from_hours(12);
/// How long a login is valid without being used.
const IDLE_TIMEOUT: SignedDuration = SignedDuration::from_hours(12);
/// How often it is noted that a login is used.
const LAST_SEEN_UPDATE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// Characters of a login's token.
const TOKEN_LENGTH: usize = 64;
/// Letters of a name that are looked up: a longer one is nobody's, and would only fill the record.
const NAME_LENGTH: usize = 64;

/// Who is logged in.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// The account.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The hash of the login.
    pub login: String,
    /// What forms carry to show that they are ours.
    pub csrf_token: Secret,
}

impl CurrentUser {
    /// The same as whoever does something.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::of_account(&self.name)
    }
}

/// A login that was started.
#[derive(Clone, Debug)]
pub struct StartedLogin {
    /// The token by which the browser is known.
    pub token: Secret,
    /// For how many seconds it is valid at most.
    pub max_age_seconds: i64,
}

/// A name and a password, as somebody typed them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Who sends a request with that token, if their login is valid.
///
/// # Errors
///
/// If the store does not answer.
pub async fn find_user(app: &Arc<AppState>, token: &str) -> Result<Option<CurrentUser>, AppError> {
    if token.len() != TOKEN_LENGTH {
        return Ok(None);
    }
    let (hash, now) = (sha256_hex(token), app.clock.now());
    let found = app.read(move |db| accounts::login_of(db, &hash)).await?;
    let Some((login, account)) = found.filter(|(login, _)| login.is_valid(now)) else { return Ok(None) };
    if now.duration_since(login.seen_at) >= LAST_SEEN_UPDATE_INTERVAL {
        let hash = login.hash.clone();
        let ends_at = session_expiry(max_session_age(&account), login.created_at, now);
        app.write(move |db| accounts::seen(db, &hash, LoginUse { at: now, ends_at })).await?;
    }
    let csrf_token = sha256_hex(format!("form {token}")).into();
    Ok(Some(CurrentUser { name: account.name, role: account.role, login: login.hash, csrf_token }))
}

/// Returns `true` if the login of that hash is valid. Where the store does not answer, it is not known to be.
pub async fn is_login_valid(app: &Arc<AppState>, hash: &str) -> bool {
    let (hash, now) = (hash.to_owned(), app.clock.now());
    let found = app.read(move |db| accounts::login_of(db, &hash)).await;
    found.is_ok_and(|found| found.is_some_and(|(login, _)| login.is_valid(now)))
}

/// When a login ends that is used for the last time.
fn session_expiry(max_age: SignedDuration, created_at: Instant, seen_at: Instant) -> Instant {
    (created_at + max_age).min(seen_at + IDLE_TIMEOUT)
}

/// How long a login of an account is valid at most.
fn max_session_age(account: &Account) -> SignedDuration {
    if account.subject.is_empty() { MAX_AGE } else { EXTERNAL_MAX_AGE }
}

/// Returns `true` if nobody can log in yet.
///
/// # Errors
///
/// If the store does not answer.
pub async fn is_nobody_known(app: &Arc<AppState>) -> Result<bool, AppError> {
    let is_empty = app.read(|db| Ok(accounts::list(db)?.is_empty())).await?;
    Ok(is_empty && app.config().openid.is_none())
}

/// Logs somebody in by their password. `None` if the name or the password is wrong.
///
/// # Errors
///
/// If too many were tried, or too much is under way.
pub async fn log_in(
    app: &Arc<AppState>,
    credentials: Credentials,
    client: &ClientInfo,
) -> Result<Option<StartedLogin>, AppError> {
    let name: String = credentials.name.chars().take(NAME_LENGTH).collect();
    let (now, network) = (app.clock.now(), client.network());
    let _place = app.auth.passwords.place(network)?;
    let (wanted, from) = (name.clone(), network.to_string());
    let (account, is_known) = app
        .read(move |db| {
            let is_known = accounts::is_known_network(db, LoginNetwork { account: &wanted, network: &from })?;
            Ok((accounts::get(db, &wanted)?, is_known))
        })
        .await?;
    let applicant = Applicant { account: &name, network, is_known };
    let attempt = app.auth.attempts.log_in(&applicant, now).ok_or(AppError::TooManyAttempts)?;
    // Whoever has no password takes as long as nobody.
    let hash = account.as_ref().map(|account| account.password.clone()).unwrap_or_default();
    let is_right = match app.auth.passwords.verify(credentials.password, hash).await {
        Ok(is_right) => is_right,
        Err(error) => {
            attempt.take_back();
            return Err(error);
        }
    };
    let Some(account) = account.filter(|_| is_right) else {
        let detail = json!({ "address": client.address.to_string() }).to_string();
        app.write(move |db| {
            audit::add(db, audit::NewEntry { actor: &name, action: "login-failed", detail: &detail }, now)
        })
        .await?;
        return Ok(None);
    };
    attempt.take_back();
    start_login_session(app, account.name, client).await.map(Some)
}

/// Starts a login of an account with a password, under a new token. What has passed its time ends.
///
/// # Errors
///
/// If the store does not answer.
pub async fn start_login_session(
    app: &Arc<AppState>,
    account: String,
    client: &ClientInfo,
) -> Result<StartedLogin, AppError> {
    start_for(app, account, MAX_AGE, client).await
}

/// Starts a login that lasts at most that long.
pub(super) async fn start_for(
    app: &Arc<AppState>,
    account: String,
    max_age: SignedDuration,
    client: &ClientInfo,
) -> Result<StartedLogin, AppError> {
    let (token, now) = (random_token(), app.clock.now());
    let (hash, ends_at) = (sha256_hex(&token), session_expiry(max_age, now, now));
    let network = network_of(client.address).to_string();
    let (address, agent) = (client.address.to_string(), client.agent.clone());
    let login = Login { hash, account, created_at: now, seen_at: now, ends_at, address, agent };
    app.write(move |db| {
        accounts::expire(db, now)?;
        accounts::begin(db, &login)?;
        accounts::note_network(db, LoginNetwork { account: &login.account, network: &network }, now)?;
        let detail = json!({ "address": login.address }).to_string();
        audit::add(db, audit::NewEntry { actor: &login.account, action: "login", detail: &detail }, now)
    })
    .await?;
    Ok(StartedLogin { token: token.into(), max_age_seconds: max_age.as_secs() })
}

/// The logins of an account, the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_logins(app: &Arc<AppState>, account: &str) -> Result<Vec<Login>, AppError> {
    let account = account.to_owned();
    app.read(move |db| accounts::logins(db, &account)).await
}

/// Logs somebody out.
///
/// # Errors
///
/// If the store does not answer.
pub async fn log_out(app: &Arc<AppState>, user: CurrentUser) -> Result<(), AppError> {
    let now = app.clock.now();
    app.write(move |db| {
        if accounts::end(db, &user.name, &user.login)? {
            audit::add(db, audit::NewEntry { actor: &user.name, action: "logout", detail: "{}" }, now)?;
        }
        Ok(())
    })
    .await?;
    app.publish(LiveEvent::LoginsEnded);
    Ok(())
}

/// Ends a login of the actor's account, by its hash.
///
/// # Errors
///
/// If there is none.
pub async fn revoke_login(app: &Arc<AppState>, actor: &Actor, login: String) -> Result<(), AppError> {
    let over = || AppError::NotFound("There is no such log-in, or it has ended already.".into());
    let account = actor.account().ok_or_else(over)?.to_owned();
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let ended = app.write(move |db| {
        if !accounts::end(db, &account, &login)? {
            return Ok(false);
        }
        audit::add(db, audit::NewEntry { actor: &by, action: "login-ended", detail: "{}" }, now)?;
        Ok(true)
    });
    if !ended.await? {
        return Err(over());
    }
    app.publish(LiveEvent::LoginsEnded);
    Ok(())
}

#[cfg(test)]
mod tests;
