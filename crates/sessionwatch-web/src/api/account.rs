//! The caller, login sessions, tokens and accounts; channels, configuration and audit log.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use sessionwatch_app::{
    api_types::{AccountDto, AuditEntryDto, Rfc3339, TokenDto},
    app::{
        AppError, AppState, MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH,
        accounts::{self as app_accounts, AccountName, AccountRole, PasswordHash},
        audit as audit_trail, channels as app_channels,
        login_sessions::{self, LoginSession as StoredLogin},
        tokens::{self as app_tokens, DEFAULT_TOKEN_DAYS, MAX_TOKEN_DAYS, TokenOwner, TokenScope},
    },
    roles_and_scopes::{RoleName, ScopeName},
};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type},
};

use super::{
    ApiCaller, ApiResult,
    extractors::{BoundedInt, BoundedText, JsonBody, ListCursor, ListPage, PathParams, QueryParams},
    problem::ProblemDetails,
};

/// The caller.
#[derive(Serialize, ToSchema)]
pub(super) struct CallerInfo {
    account: String,
    #[schema(value_type = RoleName)]
    role: AccountRole,
    token: TokenDto,
}

/// Get the caller's token and account
#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "account",
    responses((status = 200, description = "The caller", body = CallerInfo))
)]
pub(super) async fn get_caller(caller: ApiCaller) -> ApiResult<CallerInfo> {
    let token = TokenDto::from_record(&caller.token);
    Ok(Json(CallerInfo { account: caller.token.account, role: caller.role, token }))
}

/// A login session of the dashboard.
#[derive(Serialize, ToSchema)]
pub(super) struct LoginSessionInfo {
    /// The ID, which is not a secret.
    id: String,
    ip: String,
    user_agent: String,
    created_at: Rfc3339,
    last_seen_at: Rfc3339,
    /// Time of expiry unless used again.
    expires_at: Rfc3339,
}

/// List the account's login sessions
#[utoipa::path(
    get,
    path = "/api/v1/login-sessions",
    tag = "account",
    responses(
        (status = 200, description = "The login sessions, last used first", body = ListPage<LoginSessionInfo>)
    )
)]
pub(super) async fn list_login_sessions(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
) -> ApiResult<ListPage<LoginSessionInfo>> {
    let all = login_sessions::list_login_sessions(&app, &caller.token.account).await?;
    let login = |login: StoredLogin| LoginSessionInfo {
        // The hash identifies the session without being usable as a token.
        id: login.token_hash,
        ip: login.client_address,
        user_agent: login.user_agent,
        created_at: Rfc3339(login.created_at),
        last_seen_at: Rfc3339(login.last_used_at),
        expires_at: Rfc3339(login.expires_at),
    };
    Ok(Json(ListPage::from_all(all.into_iter().map(login).collect())))
}

/// The ID of an object.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct IdPath {
    /// ID
    #[param(inline)]
    id: BoundedText<100>,
}

/// The name of an object.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct NamePath {
    /// Name
    #[param(inline)]
    name: BoundedText<200>,
}

/// Revoke a login session of the account
#[utoipa::path(
    delete,
    path = "/api/v1/login-sessions/{id}",
    tag = "account",
    params(IdPath),
    responses((status = 204, description = "The login session was revoked"))
)]
pub(super) async fn revoke_login_session(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IdPath>,
) -> Result<StatusCode, ProblemDetails> {
    login_sessions::revoke_login_session(&app, &caller.actor(), of.id.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the account's tokens
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "account",
    responses((status = 200, description = "The tokens, latest first", body = ListPage<TokenDto>))
)]
pub(super) async fn list_tokens(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
) -> ApiResult<ListPage<TokenDto>> {
    let all = app_tokens::list_tokens(&app, Some(&caller.token.account)).await?;
    Ok(Json(ListPage::from_all(all.iter().map(TokenDto::from_record).collect())))
}

/// A token to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTokenRequest {
    /// The label.
    label: BoundedText<64>,
    /// The scopes, a subset of those of the caller's token.
    #[schema(value_type = Vec<ScopeName>, min_items = 1, max_items = 6)]
    scopes: Vec<TokenScope>,
    /// Days until the token expires, 90 by default; limited by the expiry of the caller's token.
    days: Option<BoundedInt<{ MAX_TOKEN_DAYS }>>,
}

/// A created token.
#[derive(Serialize, ToSchema)]
pub(super) struct CreateTokenResponse {
    #[serde(flatten)]
    token: TokenDto,
    /// The token itself, shown only once.
    secret: String,
}

/// Create a token for the same account
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "account",
    request_body = CreateTokenRequest,
    responses((status = 201, description = "The token", body = CreateTokenResponse))
)]
pub(super) async fn create_token(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    JsonBody(new): JsonBody<CreateTokenRequest>,
) -> Result<(StatusCode, Json<CreateTokenResponse>), ProblemDetails> {
    // Not in the type: an empty list is valid JSON, and deserves a clear message.
    if new.scopes.is_empty() {
        return Err(ProblemDetails::bad_request("at least one scope is required"));
    }
    if let Some(scope) = new.scopes.iter().find(|scope| !caller.has_scope(**scope)) {
        let why = format!("the caller’s token lacks the scope `{}` itself", scope.name());
        return Err(ProblemDetails::new(StatusCode::FORBIDDEN, why));
    }
    // A leaked token must not be able to create one that outlives it.
    let left = caller.token.expires_at.duration_since(app.clock.now()).as_hours() / 24;
    let left = u32::try_from(left).unwrap_or(0);
    if left == 0 {
        return Err(ProblemDetails::conflict("the caller’s token expires within a day"));
    }
    // Shortened silently: the response shows the actual expiry.
    let valid_days = new.days.map_or(DEFAULT_TOKEN_DAYS, |BoundedInt(valid_days)| valid_days).min(left);
    let actor = caller.actor();
    let (account, label) = (caller.token.account, new.label.trim().to_owned());
    let new = app_tokens::NewToken { account, label, scopes: new.scopes, valid_days };
    let created = app_tokens::create_token(&app, &actor, new).await.map_err(AppError::from)?;
    let secret = created.secret.expose().to_owned();
    Ok((
        StatusCode::CREATED,
        Json(CreateTokenResponse { token: TokenDto::from_record(&created.token), secret }),
    ))
}

/// Revoke a token of the account
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    tag = "account",
    params(IdPath),
    responses((status = 204, description = "The token was revoked"))
)]
pub(super) async fn delete_token(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<IdPath>,
) -> Result<StatusCode, ProblemDetails> {
    // Restricted to the caller's own account, whatever the role.
    let owner = TokenOwner::Account(caller.token.account.clone());
    app_tokens::delete_token(&app, &caller.actor(), of.id.to_string(), owner).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List all accounts
#[utoipa::path(
    get,
    path = "/api/v1/accounts",
    tag = "admin",
    responses((status = 200, description = "The accounts, by name", body = ListPage<AccountDto>))
)]
pub(super) async fn list_accounts(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<AccountDto>> {
    let all = app_accounts::list_accounts(&app).await?;
    Ok(Json(ListPage::from_all(all.iter().map(AccountDto::from_record).collect())))
}

/// An account to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAccountRequest {
    #[schema(pattern = "^[A-Za-z0-9._@+-]{1,64}$")]
    name: String,
    #[schema(value_type = RoleName)]
    role: AccountRole,
    #[schema(schema_with = password_schema)]
    password: String,
}

fn password_schema() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .min_length(Some(MIN_PASSWORD_LENGTH))
        .max_length(Some(MAX_PASSWORD_LENGTH))
        .build()
}

/// Create an account
#[utoipa::path(
    post,
    path = "/api/v1/accounts",
    tag = "admin",
    request_body = CreateAccountRequest,
    responses((status = 201, description = "The account", body = AccountDto))
)]
pub(super) async fn create_account(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    JsonBody(new): JsonBody<CreateAccountRequest>,
) -> Result<(StatusCode, Json<AccountDto>), ProblemDetails> {
    let name = AccountName::parse(&new.name)?;
    // Queued like a login, so that creating accounts cannot starve the daemon of memory.
    let password = PasswordHash::from_password_queued(&app, new.password.into()).await?;
    let new = app_accounts::NewAccount { name, password, role: new.role };
    let account = app_accounts::create_account(&app, &caller.actor(), new).await?;
    Ok((StatusCode::CREATED, Json(AccountDto::from_record(&account))))
}

/// Delete an account, its login sessions and its tokens
#[utoipa::path(
    delete,
    path = "/api/v1/accounts/{name}",
    tag = "admin",
    params(NamePath),
    responses((status = 204, description = "The account was deleted"))
)]
pub(super) async fn delete_account(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<NamePath>,
) -> Result<StatusCode, ProblemDetails> {
    app_accounts::delete_account(&app, &caller.actor(), of.name.to_string()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A notification channel.
#[derive(Serialize, ToSchema)]
pub(super) struct ChannelInfo {
    name: String,
    /// The kind of channel.
    kind: &'static str,
}

/// List channels, without their addresses
#[utoipa::path(
    get,
    path = "/api/v1/channels",
    tag = "admin",
    responses((status = 200, description = "The channels", body = ListPage<ChannelInfo>))
)]
pub(super) async fn list_channels(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<ListPage<ChannelInfo>> {
    let config = app.config();
    let channel = |channel: &app_channels::NotificationChannel| ChannelInfo {
        name: channel.name.clone(),
        kind: channel.kind.name(),
    };
    Ok(Json(ListPage::from_all(config.serve.channels.iter().map(channel).collect())))
}

/// The result of a test message.
#[derive(Serialize, ToSchema)]
pub(super) struct ChannelTestResult {
    accepted: bool,
    /// The errors, if any.
    problems: Vec<String>,
}

/// Send a test message to a channel
#[utoipa::path(
    post,
    path = "/api/v1/channels/{name}/test",
    tag = "admin",
    params(NamePath),
    responses((status = 200, description = "The result", body = ChannelTestResult))
)]
pub(super) async fn test_channel(
    State(app): State<Arc<AppState>>,
    caller: ApiCaller,
    PathParams(of): PathParams<NamePath>,
) -> ApiResult<ChannelTestResult> {
    let problems = app_channels::send_test_message(&app, &caller.actor(), &of.name).await?;
    Ok(Json(ChannelTestResult { accepted: problems.is_empty(), problems }))
}

/// A page of the audit log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAuditQuery {
    /// Page size; 100 by default
    #[param(inline)]
    limit: Option<BoundedInt<1_000>>,
    /// `next` from the previous page
    #[param(inline)]
    cursor: Option<ListCursor>,
}

/// List audit log entries, latest first
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "admin",
    params(ListAuditQuery),
    responses((status = 200, description = "A page of audit log entries", body = ListPage<AuditEntryDto>))
)]
pub(super) async fn list_audit_entries(
    State(app): State<Arc<AppState>>,
    QueryParams(wanted): QueryParams<ListAuditQuery>,
) -> ApiResult<ListPage<AuditEntryDto>> {
    let limit = wanted.limit.map_or(100, |BoundedInt(limit)| limit);
    let before = wanted.cursor.map(|ListCursor(before)| before);
    // One more than shown, to learn whether there is a next page.
    let found = audit_trail::list_audit_entries_before(&app, before, limit + 1).await?;
    Ok(Json(ListPage::from_rows(found, limit as usize, AuditEntryDto::from_record, |entry| {
        entry.id.to_string()
    })))
}

/// The configuration in use, without secrets.
#[derive(Serialize, ToSchema)]
pub(super) struct EffectiveConfig {
    /// The configuration file; null if the defaults are used.
    file: Option<String>,
    targets: Vec<ConfiguredTarget>,
    /// Days for which history is retained.
    retention_days: i64,
    /// The IDs of enabled checks.
    checks: Vec<String>,
    /// The names of log sources.
    sources: Vec<String>,
}

/// A configured target.
#[derive(Serialize, ToSchema)]
pub(super) struct ConfiguredTarget {
    name: String,
    /// The address, without a password.
    address: String,
}

/// Get the configuration in use
#[utoipa::path(
    get,
    path = "/api/v1/config",
    tag = "admin",
    responses((status = 200, description = "The configuration, without secrets", body = EffectiveConfig))
)]
pub(super) async fn get_config(
    State(app): State<Arc<AppState>>,
    _caller: ApiCaller,
) -> ApiResult<EffectiveConfig> {
    let config = app.config();
    let target = |target: &sessionwatch_app::config::Target| ConfiguredTarget {
        name: target.name.clone(),
        // Displayed addresses leave out the password.
        address: target.address.to_string(),
    };
    Ok(Json(EffectiveConfig {
        file: config.file.as_ref().map(|file| file.display().to_string()),
        targets: config.targets.iter().map(target).collect(),
        retention_days: config.serve.history_retention.as_hours() / 24,
        checks: config.enabled_check_ids().into_iter().map(str::to_owned).collect(),
        sources: config.logs.sources.iter().map(|source| source.name.clone()).collect(),
    }))
}

#[cfg(test)]
mod tests;
