//! Who may what: the token itself, log-ins, tokens, accounts; channels, the configuration, and the audit trail.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    access_names::{RoleName, ScopeName},
    api_types::{Account, At, Deed, Token},
    app::{
        AppError, AppState,
        accounts::{self as app_accounts, AccountName, PasswordHash, Role},
        audit as audit_trail, channels as app_channels,
        login_sessions::{self, Login as StoredLogin},
        tokens::{self as app_tokens, DEFAULT_DAYS, MAX_DAYS, Scope, TokenOwner},
    },
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Caller,
    given::{Asked, Body, Count, Cursor, In, Page, Text},
    problem::Problem,
};

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    account: String,
    #[schema(value_type = RoleName)]
    role: Role,
    token: Token,
}

/// The token that is used, and its account
#[utoipa::path(get, path = "/api/v1/me", tag = "account", responses((status = 200, description = "Who asks", body = Me)))]
pub(super) async fn me(caller: Caller) -> Answer<Me> {
    let token = Token::of(&caller.token);
    Ok(Json(Me { account: caller.token.account, role: caller.role, token }))
}

/// A log-in to the dashboard.
#[derive(Serialize, ToSchema)]
pub(super) struct Login {
    /// Its id, which lets nobody in.
    id: String,
    address: String,
    agent: String,
    created_at: At,
    seen_at: At,
    /// When it ends if it is not used any more.
    ends_at: At,
}

/// The account's log-ins to the dashboard
#[utoipa::path(get, path = "/api/v1/logins", tag = "account", responses((status = 200, description = "The latest first", body = Page<Login>)))]
pub(super) async fn logins(State(app): State<Arc<AppState>>, caller: Caller) -> Answer<Page<Login>> {
    let all = login_sessions::list_logins(&app, &caller.token.account).await?;
    let login = |login: StoredLogin| Login {
        id: login.hash,
        address: login.address,
        agent: login.agent,
        created_at: At(login.created_at),
        seen_at: At(login.seen_at),
        ends_at: At(login.ends_at),
    };
    Ok(Json(Page::all(all.into_iter().map(login).collect())))
}

/// Something with an id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfId {
    /// Its id
    #[param(inline)]
    id: Text<100>,
}

/// Something with a name.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfName {
    /// Its name
    #[param(inline)]
    name: Text<200>,
}

/// End a log-in of the account
#[utoipa::path(delete, path = "/api/v1/logins/{id}", tag = "account", params(OfId), responses((status = 204, description = "It has ended")))]
pub(super) async fn end_login(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfId>,
) -> Result<StatusCode, Problem> {
    login_sessions::revoke_login(&app, &caller.actor(), of.id.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The account's tokens
#[utoipa::path(get, path = "/api/v1/tokens", tag = "account", responses((status = 200, description = "The latest first", body = Page<Token>)))]
pub(super) async fn tokens(State(app): State<Arc<AppState>>, caller: Caller) -> Answer<Page<Token>> {
    let all = app_tokens::list_tokens(&app, Some(&caller.token.account)).await?;
    Ok(Json(Page::all(all.iter().map(Token::of).collect())))
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is called.
    label: Text<64>,
    /// What it is for: no more than the token that asks for it.
    #[schema(value_type = Vec<ScopeName>, min_items = 1, max_items = 6)]
    scopes: Vec<Scope>,
    /// For how many days it holds; 90, unless it is given, and no longer than the token that asks for it.
    days: Option<Count<{ MAX_DAYS }>>,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct Secret {
    #[serde(flatten)]
    token: Token,
    /// The token itself, which is not told again.
    secret: String,
}

/// Make a token for the same account
#[utoipa::path(post, path = "/api/v1/tokens", tag = "account", request_body = NewToken, responses((status = 201, description = "The token", body = Secret)))]
pub(super) async fn add_token(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<Secret>), Problem> {
    if new.scopes.is_empty() {
        return Err(Problem::bad("say what the token is for"));
    }
    if let Some(scope) = new.scopes.iter().find(|scope| !caller.may(**scope)) {
        let why = format!("the token that asks is not for `{}` itself", scope.name());
        return Err(Problem::new(StatusCode::FORBIDDEN, why));
    }
    // A token that leaks must not be able to outlive itself.
    let left = caller.token.expires_at.duration_since(app.clock.now()).as_hours() / 24;
    let left = u32::try_from(left).unwrap_or(0);
    if left == 0 {
        return Err(Problem::conflict("the token that asks ends within a day"));
    }
    let days = new.days.map_or(DEFAULT_DAYS, |Count(days)| days).min(left);
    let actor = caller.actor();
    let (account, label) = (caller.token.account, new.label.trim().to_owned());
    let new = app_tokens::NewToken { account, label, scopes: new.scopes, days };
    let created = app_tokens::create_token(&app, &actor, new).await.map_err(AppError::from)?;
    let secret = created.secret.expose().to_owned();
    Ok((StatusCode::CREATED, Json(Secret { token: Token::of(&created.token), secret })))
}

/// End a token of the account
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "account", params(OfId), responses((status = 204, description = "It holds no longer")))]
pub(super) async fn remove_token(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfId>,
) -> Result<StatusCode, Problem> {
    let owner = TokenOwner::Account(caller.token.account.clone());
    app_tokens::delete_token(&app, &caller.actor(), of.id.to_string(), owner).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every account
#[utoipa::path(get, path = "/api/v1/accounts", tag = "admin", responses((status = 200, description = "By name", body = Page<Account>)))]
pub(super) async fn accounts(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Account>> {
    let all = app_accounts::list_accounts(&app).await?;
    Ok(Json(Page::all(all.iter().map(Account::of).collect())))
}

/// An account to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    #[schema(pattern = "^[A-Za-z0-9._@+-]{1,64}$")]
    name: String,
    #[schema(value_type = RoleName)]
    role: Role,
    #[schema(min_length = 15, max_length = 256, format = Password)]
    password: String,
}

/// Make an account
#[utoipa::path(post, path = "/api/v1/accounts", tag = "admin", request_body = NewAccount, responses((status = 201, description = "The account", body = Account)))]
pub(super) async fn add_account(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, Json<Account>), Problem> {
    let name = AccountName::parse(&new.name)?;
    let password = PasswordHash::queued(&app, new.password.into()).await?;
    let new = app_accounts::NewAccount { name, password, role: new.role };
    let account = app_accounts::create_account(&app, &caller.actor(), new).await?;
    Ok((StatusCode::CREATED, Json(Account::of(&account))))
}

/// Remove an account, its log-ins and its tokens
#[utoipa::path(delete, path = "/api/v1/accounts/{name}", tag = "admin", params(OfName), responses((status = 204, description = "It is removed")))]
pub(super) async fn remove_account(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfName>,
) -> Result<StatusCode, Problem> {
    app_accounts::delete_account(&app, &caller.actor(), of.name.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A way to tell people.
#[derive(Serialize, ToSchema)]
pub(super) struct Channel {
    name: String,
    /// What is sent.
    kind: &'static str,
}

/// The channels, without their addresses
#[utoipa::path(get, path = "/api/v1/channels", tag = "admin", responses((status = 200, description = "The channels", body = Page<Channel>)))]
pub(super) async fn channels(State(app): State<Arc<AppState>>, _caller: Caller) -> Answer<Page<Channel>> {
    let config = app.config();
    let channel =
        |channel: &app_channels::Channel| Channel { name: channel.name.clone(), kind: channel.kind.name() };
    Ok(Json(Page::all(config.serve.channels.iter().map(channel).collect())))
}

/// What came of a test message.
#[derive(Serialize, ToSchema)]
pub(super) struct Trial {
    accepted: bool,
    /// What went wrong.
    problems: Vec<String>,
}

/// Send a test message over a channel
#[utoipa::path(post, path = "/api/v1/channels/{name}/test", tag = "admin", params(OfName), responses((status = 200, description = "What came of it", body = Trial)))]
pub(super) async fn test_channel(
    State(app): State<Arc<AppState>>,
    caller: Caller,
    In(of): In<OfName>,
) -> Answer<Trial> {
    let problems = app_channels::send_test_message(&app, &caller.actor(), &of.name).await?;
    Ok(Json(Trial { accepted: problems.is_empty(), problems }))
}

/// Which part of the trail.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The most on a page; 100, unless it is given
    #[param(inline)]
    limit: Option<Count<1_000>>,
    /// What `next` of the page before was
    #[param(inline)]
    cursor: Option<Cursor>,
}

/// Who did what, the latest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "admin", params(Wanted), responses((status = 200, description = "A page of the trail", body = Page<Deed>)))]
pub(super) async fn audit(
    State(app): State<Arc<AppState>>,
    Asked(wanted): Asked<Wanted>,
) -> Answer<Page<Deed>> {
    let limit = wanted.limit.map_or(100, |Count(limit)| limit);
    let before = wanted.cursor.map(|Cursor(before)| before);
    let found = audit_trail::list_entries_before(&app, before, limit + 1).await?;
    Ok(Json(Page::of(found, limit as usize, Deed::of, |deed| deed.id.to_string())))
}

/// The configuration as it is used, without anything secret.
#[derive(Serialize, ToSchema)]
pub(super) struct Configuration {
    /// The file; nothing where the defaults are used.
    file: Option<String>,
    targets: Vec<Configured>,
    /// For how many days history is kept.
    history_days: i64,
    /// Checks that are made.
    checks: Vec<String>,
    /// Sources of log lines.
    sources: Vec<String>,
}

/// A target, as it is configured.
#[derive(Serialize, ToSchema)]
pub(super) struct Configured {
    name: String,
    /// Where it is, without a password.
    address: String,
}

/// The configuration as it is used
#[utoipa::path(get, path = "/api/v1/configuration", tag = "admin", responses((status = 200, description = "Nothing secret is in it", body = Configuration)))]
pub(super) async fn configuration(
    State(app): State<Arc<AppState>>,
    _caller: Caller,
) -> Answer<Configuration> {
    let config = app.config();
    let target = |target: &sessionwatch_app::config::Target| Configured {
        name: target.name.clone(),
        address: target.address.to_string(),
    };
    Ok(Json(Configuration {
        file: config.file.as_ref().map(|file| file.display().to_string()),
        targets: config.targets.iter().map(target).collect(),
        history_days: config.serve.keep.as_hours() / 24,
        checks: config.rules.ids().filter(|id| config.rules.enabled(id)).map(str::to_owned).collect(),
        sources: config.logs.sources.iter().map(|source| source.name.clone()).collect(),
    }))
}
