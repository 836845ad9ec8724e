//! Accounts of the dashboard: made, changed and deleted, with their passwords.

use std::sync::Arc;

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{StoreError, accounts, audit, transaction::Tx};

use super::{Actor, AppError, AppState, LiveEvent, hash_password};

pub use sessionwatch_store::accounts::{AccountRecord, AccountRole};

/// The most letters of an account's name.
pub const MAX_ACCOUNT_NAME_LENGTH: usize = 64;

/// What an account may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// If nothing can be called so.
    pub fn parse(name: &str) -> Result<Self, AppError> {
        if is_valid_account_name(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(AppError::Invalid("A name has up to 64 letters, digits, and . _ @ + -".into()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns `true` if an account may be called so.
#[must_use]
pub fn is_valid_account_name(name: &str) -> bool {
    let plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '@' | '+' | '-');
    (1..=MAX_ACCOUNT_NAME_LENGTH).contains(&name.len()) && name.chars().all(plain)
}

/// The hash of a password that is good enough.
#[derive(Clone, Debug)]
pub struct PasswordHash(Secret);

impl PasswordHash {
    /// Hashes a password, which takes a while.
    ///
    /// # Errors
    ///
    /// If it is too short or too long.
    pub fn from_password(password: &Secret) -> Result<Self, AppError> {
        hash_password(password.expose()).map(Self).map_err(AppError::Invalid)
    }

    /// Hashes a password, once few enough others are hashed.
    ///
    /// # Errors
    ///
    /// If it is too short or too long, or too many wait already.
    pub async fn from_password_queued(app: &AppState, password: Secret) -> Result<Self, AppError> {
        app.auth.passwords.hash(password).await.map(Self)
    }
}

/// An account to make.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// What it is called.
    pub name: AccountName,
    /// The hash of its password.
    pub password: PasswordHash,
    /// What it may do.
    pub role: AccountRole,
}

impl NewAccount {
    fn into_account(self, now: UtcTimestamp) -> AccountRecord {
        let (name, password) = (self.name.0, self.password.0);
        AccountRecord {
            name,
            role: self.role,
            password_hash: password,
            oidc_subject: String::new(),
            created_at: now,
        }
    }
}

/// An account to make, or to change.
#[derive(Clone, Debug)]
pub struct AccountUpdate {
    /// What it is called.
    pub name: AccountName,
    /// The hash of its new password.
    pub password: PasswordHash,
    /// What it may do from now on; `None` for its present role, or viewer if it is new.
    pub role: Option<AccountRole>,
}

/// A password to change.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The account.
    pub account: String,
    /// The hash of the login that asks for it, which goes on.
    pub login_hash: String,
    /// The present password.
    pub current_password: Secret,
    /// The new one.
    pub new_password: Secret,
}

/// Every account, by name.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_accounts(app: &Arc<AppState>) -> Result<Vec<AccountRecord>, AppError> {
    app.read_store(accounts::list_accounts).await
}

/// Makes an account.
///
/// # Errors
///
/// If there is one of that name.
pub async fn create_account(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewAccount,
) -> Result<AccountRecord, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let account = new.into_account(now);
    let created = account.clone();
    let is_new = app.write_store(move |db| {
        if accounts::find_account(db, &account.name)?.is_some() {
            return Ok(false);
        }
        upsert_account_audited(db, &account, &by, now)?;
        Ok(true)
    });
    if is_new.await? {
        Ok(created)
    } else {
        Err(AppError::Conflict("There is an account of that name.".into()))
    }
}

/// Makes an account, or gives it another password, and a role where one is given: its role now. Whoever knew the old
/// password is logged out.
///
/// # Errors
///
/// If the store does not answer.
pub async fn upsert_account(
    app: &Arc<AppState>,
    actor: &Actor,
    change: AccountUpdate,
) -> Result<AccountRole, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write_store(move |db| {
        let AccountUpdate { name, password, role } = change.clone();
        let present = accounts::find_account(db, &name.0)?.map(|account| account.role);
        let role = role.or(present).unwrap_or(AccountRole::Viewer);
        let account = NewAccount { name, password, role }.into_account(now);
        accounts::delete_login_sessions(db, &account.name)?;
        upsert_account_audited(db, &account, &by, now)?;
        Ok(role)
    })
    .await
}

/// Deletes an account, its logins and its tokens; nobody deletes their own.
///
/// # Errors
///
/// If it is the actor's own, or there is none of that name.
pub async fn delete_account(app: &Arc<AppState>, actor: &Actor, name: String) -> Result<(), AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    if actor.account() == Some(name.as_str()) {
        return Err(AppError::Conflict("Another admin has to remove your account.".into()));
    }
    let deleted = app.write_store(move |db| {
        if !accounts::delete_account(db, &name)? {
            return Ok(false);
        }
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry {
                actor: &by,
                action: "account.deleted",
                detail: &json!({ "account": name }).to_string(),
            },
            now,
        )?;
        Ok(true)
    });
    if !deleted.await? {
        return Err(AppError::NotFound("There is no such account.".into()));
    }
    app.publish(LiveEvent::LoginsEnded);
    Ok(())
}

/// Changes one's own password, and ends every other login.
///
/// # Errors
///
/// If the present password is another one, the new one is not good enough, or too many were tried.
pub async fn change_password(app: &Arc<AppState>, change: PasswordChange) -> Result<(), AppError> {
    let PasswordChange { account, login_hash: login, current_password: current, new_password: new } = change;
    let account =
        app.read_store(move |db| accounts::find_account(db, &account)).await?.ok_or(AppError::NotLoggedIn)?;
    let (now, auth) = (app.clock.now(), &app.auth);
    let attempt =
        auth.login_attempts.count_password_change(&account.name, now).ok_or(AppError::TooManyAttempts)?;
    if !auth.passwords.verify(current, account.password_hash.clone()).await? {
        return Err(AppError::Invalid("The present password is another one.".into()));
    }
    attempt.remove_from_counts();
    let password = auth.passwords.hash(new).await?;
    let changed = app.write_store(move |db| {
        // Somebody may have removed the account meanwhile, or changed its role.
        let Some(account) = accounts::find_account(db, &account.name)? else { return Ok(false) };
        let account = AccountRecord { password_hash: password.clone(), ..account };
        accounts::upsert_account(db, &account)?;
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry { actor: &account.name, action: "account.password_changed", detail: "{}" },
            now,
        )?;
        for other in
            accounts::list_login_sessions(db, &account.name)?.iter().filter(|other| other.token_hash != login)
        {
            accounts::delete_login_session(db, &account.name, &other.token_hash)?;
        }
        Ok(true)
    });
    let is_changed = changed.await?;
    app.publish(LiveEvent::LoginsEnded);
    if is_changed { Ok(()) } else { Err(AppError::NotLoggedIn) }
}

/// Returns `true` while a link makes the first account: it is the one that was printed, and nobody has had an account since.
///
/// # Errors
///
/// If the store does not answer.
pub async fn is_valid_setup_link(app: &Arc<AppState>, token: &str) -> Result<bool, AppError> {
    let Some(offered_at) = app.auth.setup_link_created_at(token) else { return Ok(false) };
    app.read_store(move |db| accounts::has_or_had_account(db, offered_at)).await.map(|was_any| !was_any)
}

/// Makes the first account, by the link that was printed: its name.
///
/// # Errors
///
/// If the link was used, or somebody has an account.
pub async fn create_first_account(
    app: &Arc<AppState>,
    token: &str,
    new: NewAccount,
) -> Result<String, AppError> {
    let now = app.clock.now();
    let account = new.into_account(now);
    let name = account.name.clone();
    let offered_at = app.auth.consume_setup_link(token).ok_or_else(setup_link_expired)?;
    let is_first = app.write_store(move |db| {
        // Another process may have made one meanwhile.
        let is_first = !accounts::has_or_had_account(db, offered_at)?;
        if is_first {
            upsert_account_audited(db, &account, &account.name, now)?;
        }
        Ok(is_first)
    });
    if is_first.await? { Ok(name) } else { Err(setup_link_expired()) }
}

/// Why a setup link does nothing any more.
#[must_use]
pub fn setup_link_expired() -> AppError {
    AppError::NotFound("This link was used, or is of an earlier start: there is a new one at the next start while nobody has an account.".into())
}

/// Keeps an account, and records who made it.
pub(super) fn upsert_account_audited(
    db: Tx<'_>,
    account: &AccountRecord,
    actor: &str,
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    accounts::upsert_account(db, account)?;
    let detail = json!({ "account": account.name, "role": account.role.name() }).to_string();
    audit::insert_audit_entry(
        db,
        audit::NewAuditEntry { actor, action: "account.created", detail: &detail },
        now,
    )
}

#[cfg(test)]
mod tests {
    use sessionwatch_store::Store;

    use super::*;
    use crate::{
        app::{
            client::ClientInfo,
            login_sessions::{find_current_user, start_login_session},
            test_app::TestApp,
        },
        config::Config,
    };

    fn app() -> Arc<AppState> {
        AppState::for_command(Store::open_in_memory().unwrap(), Config::default()).unwrap()
    }

    fn new_account(name: &str, role: AccountRole) -> NewAccount {
        let password = PasswordHash::from_password(&"a sentence is a good one".into()).unwrap();
        NewAccount { name: AccountName::parse(name).unwrap(), password, role }
    }

    #[test]
    fn names_are_plain_and_short() {
        assert!(is_valid_account_name("ada.l+2@example-1.org") && is_valid_account_name(&"a".repeat(64)));
        assert!(
            !is_valid_account_name("")
                && !is_valid_account_name("a b")
                && !is_valid_account_name(&"a".repeat(65))
        );
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_nobody_deletes_their_own_account() {
        let (app, ada) = (app(), Actor::from_account("ada"));
        create_account(&app, &ada, new_account("ada", AccountRole::Admin)).await.unwrap();
        let again = create_account(&app, &ada, new_account("ada", AccountRole::Viewer)).await;
        assert!(matches!(again, Err(AppError::Conflict(_))));
        assert!(matches!(delete_account(&app, &ada, "ada".into()).await, Err(AppError::Conflict(_))));
        let program = Actor::from_token("ada", "script");
        assert!(matches!(delete_account(&app, &program, "ada".into()).await, Err(AppError::Conflict(_))));
        delete_account(&app, &Actor::from_command_line("ada"), "ada".into()).await.unwrap();
        assert!(list_accounts(&app).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_changed_account_keeps_its_role_unless_another_is_given() {
        let (app, actor) = (app(), Actor::from_command_line("ada"));
        let change = |role| {
            let NewAccount { name, password, .. } = new_account("bob", AccountRole::Viewer);
            AccountUpdate { name, password, role }
        };
        assert_eq!(upsert_account(&app, &actor, change(None)).await.unwrap(), AccountRole::Viewer);
        assert_eq!(
            upsert_account(&app, &actor, change(Some(AccountRole::Admin))).await.unwrap(),
            AccountRole::Admin
        );
        assert_eq!(upsert_account(&app, &actor, change(None)).await.unwrap(), AccountRole::Admin);
    }

    #[tokio::test]
    async fn a_setup_link_makes_one_account() {
        let app = app();
        let token = app.auth.create_setup_link(app.clock.now());
        assert!(is_valid_setup_link(&app, &token).await.unwrap());
        let name = create_first_account(&app, &token, new_account("ada", AccountRole::Admin)).await.unwrap();
        assert_eq!(name, "ada");
        assert!(!is_valid_setup_link(&app, &token).await.unwrap());
        let again = create_first_account(&app, &token, new_account("eve", AccountRole::Admin)).await;
        assert!(matches!(again, Err(AppError::NotFound(_))));
    }

    async fn logged_in(scene: &TestApp, account: &str) -> String {
        let client = ClientInfo { address: "192.0.2.7".parse().unwrap(), user_agent: String::new() };
        let started = start_login_session(scene, account.into(), &client).await.unwrap();
        started.token.expose().to_owned()
    }

    async fn is_known(scene: &TestApp, token: &str) -> bool {
        find_current_user(scene, token).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_new_password_ends_every_login_but_the_one_that_asks_for_it() {
        let scene = TestApp::with_config("");
        create_account(&scene, &Actor::from_command_line("ops"), new_account("ada", AccountRole::Viewer))
            .await
            .unwrap();
        let (own, other) = (logged_in(&scene, "ada").await, logged_in(&scene, "ada").await);
        let login = find_current_user(&scene, &own).await.unwrap().unwrap().login_hash;
        let change = |current: &str, new: &str| PasswordChange {
            account: "ada".into(),
            login_hash: login.clone(),
            current_password: current.into(),
            new_password: new.into(),
        };
        let wrong = change_password(&scene, change("not that one at all", "an even better sentence")).await;
        assert!(
            matches!(wrong, Err(AppError::Invalid(text)) if text == "The present password is another one.")
        );
        let weak = change_password(&scene, change("a sentence is a good one", "short")).await;
        assert!(matches!(weak, Err(AppError::Invalid(_))));
        assert!(is_known(&scene, &own).await && is_known(&scene, &other).await);
        change_password(&scene, change("a sentence is a good one", "an even better sentence")).await.unwrap();
        assert!(is_known(&scene, &own).await && !is_known(&scene, &other).await);
        let old = change_password(&scene, change("a sentence is a good one", "yet another sentence")).await;
        assert!(matches!(old, Err(AppError::Invalid(_))));
    }

    #[tokio::test]
    async fn an_account_that_is_reset_or_deleted_is_logged_out() {
        let scene = TestApp::with_config("");
        let ops = Actor::from_command_line("ops");
        create_account(&scene, &ops, new_account("ada", AccountRole::Viewer)).await.unwrap();
        let token = logged_in(&scene, "ada").await;
        let NewAccount { name, password, .. } = new_account("ada", AccountRole::Viewer);
        upsert_account(&scene, &ops, AccountUpdate { name, password, role: None }).await.unwrap();
        assert!(!is_known(&scene, &token).await);
        let token = logged_in(&scene, "ada").await;
        let mut heard = scene.events.subscribe();
        delete_account(&scene, &ops, "ada".into()).await.unwrap();
        assert!(!is_known(&scene, &token).await);
        assert_eq!(heard.try_recv().unwrap(), LiveEvent::LoginsEnded);
        let again = delete_account(&scene, &ops, "ada".into()).await;
        assert!(matches!(again, Err(AppError::NotFound(text)) if text == "There is no such account."));
    }
}
