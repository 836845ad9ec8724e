//! API tokens: create, authenticate, list and revoke. The secret is shown once.

use std::sync::Arc;

use credentials::Secret;
use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_core::{duration, timestamp::UtcTimestamp};
use sessionwatch_store::{
    StoreError,
    accounts::{self, AccountRole},
    api_tokens, audit,
    transaction::Tx,
};

use super::{
    Actor, AppError, AppState,
    random_tokens::{random_token, sha256_hex},
};

pub use sessionwatch_store::api_tokens::{ApiToken, TokenScope};

/// Maximum validity of a token, in days.
pub const MAX_TOKEN_DAYS: u32 = 366;
/// Default validity of a token, in days.
pub const DEFAULT_TOKEN_DAYS: u32 = 90;
// At most one write per minute and token, however many requests a program sends.
const LAST_SEEN_UPDATE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// Maximum length of a token label, in characters.
pub const MAX_LABEL_LENGTH: usize = 64;
/// Prefix of all tokens, so that secret scanners recognize a leaked one.
pub const API_TOKEN_PREFIX: &str = "swt_";

/// API token to create.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Account that the token acts for.
    pub account: String,
    /// Label.
    pub label: String,
    /// Permitted scopes.
    pub scopes: Vec<TokenScope>,
    /// Validity, in days.
    pub valid_days: u32,
}

/// Newly created API token.
#[derive(Clone, Debug)]
pub struct CreatedToken {
    /// Stored token record.
    pub token: ApiToken,
    /// Token itself, which is not stored and cannot be shown again.
    pub secret: Secret,
}

/// Restricts which tokens may be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOwner {
    /// Tokens of all accounts.
    Anybody,
    /// Tokens of this account.
    Account(String),
}

/// Error of [`create_token`].
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// The account does not exist.
    #[error("Account not found.")]
    NoAccount,
    /// The role of the account does not permit a scope. Such a token would gain rights as soon as the role is raised.
    #[error("Your role does not permit this action.")]
    BeyondRole {
        /// Role of the account.
        role: AccountRole,
        /// Scope that the role does not permit.
        scope: TokenScope,
    },
    /// The state store is unavailable.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<CreateTokenError> for AppError {
    fn from(error: CreateTokenError) -> Self {
        match error {
            CreateTokenError::NoAccount => Self::NotFound("Account not found.".into()),
            CreateTokenError::BeyondRole { .. } => Self::Forbidden,
            CreateTokenError::App(error) => error,
        }
    }
}

/// Returns `true` if the label is valid for a token.
#[must_use]
pub fn is_valid_label(label: &str) -> bool {
    (1..=MAX_LABEL_LENGTH).contains(&label.chars().count())
        && !label.contains(char::is_control)
        && label.trim() == label
}

/// Lists the tokens of one account, or of all, the latest first.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_tokens(app: &Arc<AppState>, account: Option<&str>) -> Result<Vec<ApiToken>, AppError> {
    let account = account.map(str::to_owned);
    app.read_store(move |db| api_tokens::list_tokens(db, account.as_deref())).await
}

/// Valid token with the role of its account.
#[derive(Clone, Debug)]
pub struct AuthenticatedToken {
    /// The token.
    pub token: ApiToken,
    /// Current role of the account.
    pub role: AccountRole,
}

/// Authenticates a program by its token. Returns `None` if the token is unknown or expired.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn authenticate_token(
    app: &Arc<AppState>,
    secret: &str,
) -> Result<Option<AuthenticatedToken>, AppError> {
    // Looked up by hash, so the comparison leaks nothing about the token through its timing.
    let (hash, now) = (sha256_hex(secret), app.clock.now());
    let found = app.read_store(move |db| api_tokens::find_token_by_hash(db, &hash)).await?;
    let Some((token, account)) = found.filter(|(token, _)| now < token.expires_at) else { return Ok(None) };
    if token.last_used_at.is_none_or(|seen| now.duration_since(seen) >= LAST_SEEN_UPDATE_INTERVAL) {
        let id = token.id.clone();
        app.write_store(move |db| api_tokens::touch_token(db, &id, now)).await?;
    }
    Ok(Some(AuthenticatedToken { token, role: account.role }))
}

/// Creates a token.
///
/// # Errors
///
/// If the account does not exist or its role does not permit a scope, or the state store is unavailable.
pub async fn create_token(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewToken,
) -> Result<CreatedToken, CreateTokenError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let created = generate_token(new, now);
    let token = created.token.clone();
    let added = app.write_store(move |db| insert_token(db, &token, &by, now)).await?;
    added.map(|()| created)
}

fn generate_token(new: NewToken, now: UtcTimestamp) -> CreatedToken {
    let secret = format!("{API_TOKEN_PREFIX}{}", random_token());
    let token_hash = sha256_hex(&secret);
    let NewToken { account, label, mut scopes, valid_days } = new;
    // Sorted, so that two tokens with the same scopes look the same in lists and in the audit log.
    scopes.sort_unstable();
    scopes.dedup();
    // The id only has to be unique; twelve digits of the hash do not help to guess the token.
    let (id, expires_at) = (token_hash[..12].to_owned(), now + duration::from_days(valid_days.into()));
    let token =
        ApiToken { id, token_hash, account, label, scopes, created_at: now, expires_at, last_used_at: None };
    CreatedToken { token, secret: secret.into() }
}

fn insert_token(
    db: Tx<'_>,
    token: &ApiToken,
    actor: &str,
    now: UtcTimestamp,
) -> Result<Result<(), CreateTokenError>, StoreError> {
    let Some(account) = accounts::find_account(db, &token.account)? else {
        return Ok(Err(CreateTokenError::NoAccount));
    };
    // Checked in the transaction: the role may be lowered while the token is created.
    if let Some(scope) = token.scopes.iter().find(|scope| scope.required_role() > account.role) {
        return Ok(Err(CreateTokenError::BeyondRole { role: account.role, scope: *scope }));
    }
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.name()).collect();
    let detail =
        json!({ "token": token.id, "account": token.account, "label": token.label, "scopes": scopes });
    api_tokens::insert_token(db, token)?;
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor, action: "token.created", detail: &detail.to_string() },
        now,
    )?;
    Ok(Ok(()))
}

/// Revokes a token.
///
/// # Errors
///
/// If no token has that id and owner.
pub async fn delete_token(
    app: &Arc<AppState>,
    actor: &Actor,
    id: String,
    owner: TokenOwner,
) -> Result<(), AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let deleted = app.write_store(move |db| {
        let account = match &owner {
            TokenOwner::Anybody => None,
            // In the query, not before: another account's token looks like one that does not exist.
            TokenOwner::Account(account) => Some(account.as_str()),
        };
        if !api_tokens::delete_token(db, account, &id)? {
            return Ok(false);
        }
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry {
                actor: &by,
                action: "token.revoked",
                detail: &json!({ "token": id }).to_string(),
            },
            now,
        )?;
        Ok(true)
    });
    if deleted.await? {
        Ok(())
    } else {
        Err(AppError::NotFound("This token does not exist or was already revoked.".into()))
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_store::Store;

    use super::*;
    use crate::{
        app::{
            accounts::{AccountName, NewAccount, PasswordHash, create_account},
            test_app::TestApp,
        },
        config::Config,
    };

    fn new_token(label: &str, scopes: &[TokenScope]) -> NewToken {
        NewToken { account: "ada".into(), label: label.into(), scopes: scopes.to_vec(), valid_days: 1 }
    }

    async fn created(scene: &TestApp, label: &str) -> CreatedToken {
        create_token(scene, &Actor::from_account("ada"), new_token(label, &[TokenScope::Read])).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_is_valid_until_just_before_its_expiry() {
        let scene = TestApp::with_config("");
        scene.add_account("ada", AccountRole::Viewer, "");
        let token = created(&scene, "script").await;
        assert_eq!(token.token.expires_at, scene.clock.now() + duration::from_days(1));
        let is_valid = async || authenticate_token(&scene, token.secret.expose()).await.unwrap().is_some();
        scene.advance_clock(duration::from_days(1) - SignedDuration::from_micros(1));
        assert!(is_valid().await);
        scene.advance_clock(SignedDuration::from_micros(1));
        assert!(!is_valid().await);
    }

    #[tokio::test]
    async fn the_use_of_a_token_is_recorded_once_a_minute() {
        let scene = TestApp::with_config("");
        scene.add_account("ada", AccountRole::Viewer, "");
        let (token, first) = (created(&scene, "script").await, scene.clock.now());
        let used = async || {
            authenticate_token(&scene, token.secret.expose()).await.unwrap().unwrap();
            list_tokens(&scene, None).await.unwrap()[0].last_used_at.unwrap()
        };
        assert_eq!(used().await, first);
        scene.advance_clock(SignedDuration::from_secs(59));
        assert_eq!(used().await, first);
        scene.advance_clock(SignedDuration::from_secs(1));
        assert_eq!(used().await, first + LAST_SEEN_UPDATE_INTERVAL);
    }

    #[tokio::test]
    async fn a_token_has_the_current_role_of_its_account_and_is_deleted_with_it() {
        let scene = TestApp::with_config("");
        scene.add_account("ada", AccountRole::Admin, "");
        let scopes = [TokenScope::Admin, TokenScope::Read, TokenScope::Admin];
        let token =
            create_token(&scene, &Actor::from_account("ada"), new_token("script", &scopes)).await.unwrap();
        assert_eq!(token.token.scopes, [TokenScope::Read, TokenScope::Admin], "sorted, without duplicates");
        let found = async || authenticate_token(&scene, token.secret.expose()).await.unwrap();
        assert_eq!(found().await.unwrap().role, AccountRole::Admin);
        scene.add_account("ada", AccountRole::Viewer, "");
        assert_eq!(
            found().await.unwrap().role,
            AccountRole::Viewer,
            "the role at the time of creation does not matter"
        );
        scene.store.write(|db| accounts::delete_account(db, "ada")).unwrap();
        assert!(found().await.is_none());
    }

    #[tokio::test]
    async fn neither_the_store_nor_the_audit_log_contains_a_token() {
        let scene = TestApp::with_config("");
        scene.add_account("ada", AccountRole::Viewer, "");
        let token = created(&scene, "script").await;
        let secret = token.secret.expose();
        assert!(secret.starts_with(API_TOKEN_PREFIX) && !format!("{token:?}").contains(secret));
        assert_eq!(token.token.token_hash, sha256_hex(secret));
        let id = &token.token.id;
        let detail = format!(r#"{{"token":"{id}","account":"ada","label":"script","scopes":["read"]}}"#);
        assert_eq!(scene.audit_trail(), [["ada".into(), "token.created".into(), detail]]);
        for other in [&secret[1..], &token.token.token_hash, id, ""] {
            assert!(authenticate_token(&scene, other).await.unwrap().is_none(), "{other}");
        }
    }

    #[test]
    fn a_label_is_one_line_without_spaces_around_it() {
        for label in ["a", "deploy bot", "größer", &"ä".repeat(MAX_LABEL_LENGTH)] {
            assert!(is_valid_label(label), "{label}");
        }
        for label in ["", " ", " a", "a ", "a\nb", "a\u{1b}b", &"ä".repeat(MAX_LABEL_LENGTH + 1)] {
            assert!(!is_valid_label(label), "{label}");
        }
    }

    #[tokio::test]
    async fn a_token_is_limited_by_the_role_of_its_account_and_valid_until_deleted() {
        let app = AppState::for_command(Store::open_in_memory().unwrap(), Config::default()).unwrap();
        let ada = Actor::from_account("ada");
        let new = |scopes: &[TokenScope]| NewToken {
            account: "ada".into(),
            label: "script".into(),
            scopes: scopes.to_vec(),
            valid_days: 1,
        };
        let nobody = create_token(&app, &ada, new(&[TokenScope::Read])).await;
        assert!(matches!(nobody, Err(CreateTokenError::NoAccount)));
        let password = PasswordHash::from_password(&"a sentence is a good one".into()).unwrap();
        let name = AccountName::parse("ada").unwrap();
        create_account(&app, &ada, NewAccount { name, password, role: AccountRole::Viewer }).await.unwrap();
        let beyond = create_token(&app, &ada, new(&[TokenScope::Read, TokenScope::Admin])).await;
        assert!(matches!(beyond, Err(CreateTokenError::BeyondRole { scope: TokenScope::Admin, .. })));
        let created = create_token(&app, &ada, new(&[TokenScope::Read])).await.unwrap();
        let secret = created.secret.expose();
        assert_eq!(authenticate_token(&app, secret).await.unwrap().unwrap().token.id, created.token.id);
        let other = TokenOwner::Account("eve".into());
        let id = created.token.id.clone();
        assert!(matches!(delete_token(&app, &ada, id.clone(), other).await, Err(AppError::NotFound(_))));
        delete_token(&app, &ada, id, TokenOwner::Account("ada".into())).await.unwrap();
        assert!(authenticate_token(&app, secret).await.unwrap().is_none());
    }
}
