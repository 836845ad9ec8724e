//! Tokens of programs: created, shown once, and deleted.

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
    secrets::{random_token, sha256_hex},
};

pub use sessionwatch_store::api_tokens::{ApiToken, TokenScope};

/// The most days for which a token is valid.
pub const MAX_TOKEN_DAYS: u32 = 366;
/// For how many days a token is usually valid.
pub const DEFAULT_TOKEN_DAYS: u32 = 90;
/// How often it is noted that a token is used.
const LAST_SEEN_UPDATE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// The most letters of a token's label.
pub const MAX_LABEL_LENGTH: usize = 64;
/// What every token begins with, so that one that leaked is recognized.
pub const API_TOKEN_PREFIX: &str = "swt_";

/// A token to create.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The account that it acts for.
    pub account: String,
    /// What it is called.
    pub label: String,
    /// What it is for.
    pub scopes: Vec<TokenScope>,
    /// For how many days it is valid.
    pub valid_days: u32,
}

/// A token that was created.
#[derive(Clone, Debug)]
pub struct CreatedToken {
    /// What is known of it.
    pub token: ApiToken,
    /// The token itself, which nobody is told again.
    pub secret: Secret,
}

/// Whose token is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOwner {
    /// Anybody's.
    Anybody,
    /// One of this account.
    Account(String),
}

/// Why no token was created.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// There is no such account.
    #[error("There is no such account.")]
    NoAccount,
    /// The role of the account is too low for a scope. A token that held nothing now would hold more once the role is
    /// raised.
    #[error("Your role may not do that.")]
    BeyondRole {
        /// The role of the account.
        role: AccountRole,
        /// The scope that it is too low for.
        scope: TokenScope,
    },
    /// The store does not answer.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<CreateTokenError> for AppError {
    fn from(error: CreateTokenError) -> Self {
        match error {
            CreateTokenError::NoAccount => Self::NotFound("There is no such account.".into()),
            CreateTokenError::BeyondRole { .. } => Self::Forbidden,
            CreateTokenError::App(error) => error,
        }
    }
}

/// Returns `true` if a token may be called so.
#[must_use]
pub fn is_valid_label(label: &str) -> bool {
    (1..=MAX_LABEL_LENGTH).contains(&label.chars().count())
        && !label.contains(char::is_control)
        && label.trim() == label
}

/// The tokens of an account, or of all; the latest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_tokens(app: &Arc<AppState>, account: Option<&str>) -> Result<Vec<ApiToken>, AppError> {
    let account = account.map(str::to_owned);
    app.read_store(move |db| api_tokens::list_tokens(db, account.as_deref())).await
}

/// A token that is valid, and what the account may do that it acts for.
#[derive(Clone, Debug)]
pub struct AuthenticatedToken {
    /// The token.
    pub token: ApiToken,
    /// The role of its account.
    pub role: AccountRole,
}

/// The token that a program sends, if it is valid.
///
/// # Errors
///
/// If the store does not answer.
pub async fn authenticate_token(
    app: &Arc<AppState>,
    secret: &str,
) -> Result<Option<AuthenticatedToken>, AppError> {
    let (hash, now) = (sha256_hex(secret), app.clock.now());
    let found = app.read_store(move |db| api_tokens::find_token_by_hash(db, &hash)).await?;
    let Some((token, account)) = found.filter(|(token, _)| now < token.expires_at) else { return Ok(None) };
    if token.last_used_at.is_none_or(|seen| now.duration_since(seen) >= LAST_SEEN_UPDATE_INTERVAL) {
        let id = token.id.clone();
        app.write_store(move |db| api_tokens::touch_token(db, &id, now)).await?;
    }
    Ok(Some(AuthenticatedToken { token, role: account.role }))
}

/// Creates a token, unless its account is missing or may do less than its scopes.
///
/// # Errors
///
/// If that is so, or the store does not answer.
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

/// A new token, and what nobody is told again.
fn generate_token(new: NewToken, now: UtcTimestamp) -> CreatedToken {
    let secret = format!("{API_TOKEN_PREFIX}{}", random_token());
    let hash = sha256_hex(&secret);
    let NewToken { account, label, mut scopes, valid_days: days } = new;
    scopes.sort_unstable();
    scopes.dedup();
    let (id, expires_at) = (hash[..12].to_owned(), now + duration::from_days(days.into()));
    let token = ApiToken {
        id,
        token_hash: hash,
        account,
        label,
        scopes,
        created_at: now,
        expires_at,
        last_used_at: None,
    };
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

/// Deletes a token.
///
/// # Errors
///
/// If there is none of that id and owner.
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
        Err(AppError::NotFound("There is no such token, or it was removed already.".into()))
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
    async fn a_token_is_valid_until_just_before_its_end() {
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
    async fn the_use_of_a_token_is_noted_once_a_minute() {
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
    async fn a_token_acts_by_the_present_role_of_its_account_and_goes_with_it() {
        let scene = TestApp::with_config("");
        scene.add_account("ada", AccountRole::Admin, "");
        let scopes = [TokenScope::Admin, TokenScope::Read, TokenScope::Admin];
        let token =
            create_token(&scene, &Actor::from_account("ada"), new_token("script", &scopes)).await.unwrap();
        assert_eq!(token.token.scopes, [TokenScope::Read, TokenScope::Admin], "each once, the least first");
        let found = async || authenticate_token(&scene, token.secret.expose()).await.unwrap();
        assert_eq!(found().await.unwrap().role, AccountRole::Admin);
        scene.add_account("ada", AccountRole::Viewer, "");
        assert_eq!(found().await.unwrap().role, AccountRole::Viewer, "what it was made for does not count");
        scene.store.write(|db| accounts::delete_account(db, "ada")).unwrap();
        assert!(found().await.is_none());
    }

    #[tokio::test]
    async fn neither_the_store_nor_the_trail_holds_a_token() {
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
    async fn a_token_is_valid_within_the_role_of_its_account_until_it_is_deleted() {
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
