//! Dashboard accounts and their passwords: create, update, delete.

use std::sync::Arc;

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::timestamp::UtcTimestamp;
use sessionwatch_store::{StoreError, accounts, audit, transaction::Tx};

use super::{Actor, AppError, AppState, LiveEvent, hash_password};

pub use sessionwatch_store::accounts::{AccountRecord, AccountRole};

/// Maximum length of an account name.
pub const MAX_ACCOUNT_NAME_LENGTH: usize = 64;

/// Valid account name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// Validates a name.
    ///
    /// # Errors
    ///
    /// If the name is empty, too long, or contains other characters than letters, digits and `. _ @ + -`.
    pub fn parse(name: &str) -> Result<Self, AppError> {
        if is_valid_account_name(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(AppError::Invalid("Invalid account name: use 1 to 64 letters, digits and . _ @ + -".into()))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns `true` if the name is valid for an account.
#[must_use]
pub fn is_valid_account_name(name: &str) -> bool {
    // ASCII only, so that no letter of another script can imitate the name of somebody else.
    let plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '@' | '+' | '-');
    (1..=MAX_ACCOUNT_NAME_LENGTH).contains(&name.len()) && name.chars().all(plain)
}

/// Hash of a password of acceptable length.
#[derive(Clone, Debug)]
pub struct PasswordHash(Secret);

impl PasswordHash {
    /// Hashes a password on the calling thread, which takes tens of milliseconds.
    ///
    /// # Errors
    ///
    /// If the password is too short or too long.
    pub fn from_password(password: &Secret) -> Result<Self, AppError> {
        hash_password(password.expose()).map(Self).map_err(AppError::Invalid)
    }

    /// Hashes a password in the queue of the password workers.
    ///
    /// # Errors
    ///
    /// If the password is too short or too long, or the queue is full.
    pub async fn from_password_queued(app: &AppState, password: Secret) -> Result<Self, AppError> {
        app.auth.passwords.hash(password).await.map(Self)
    }
}

/// Account to create.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Account name.
    pub name: AccountName,
    /// Password hash.
    pub password: PasswordHash,
    /// Role.
    pub role: AccountRole,
}

impl NewAccount {
    fn into_account(self, now: UtcTimestamp) -> AccountRecord {
        let (name, password_hash) = (self.name.0, self.password.0);
        AccountRecord {
            name,
            role: self.role,
            password_hash,
            oidc_subject: String::new(),
            // Never copied from the input: a new account starts its own history.
            created_at: now,
        }
    }
}

/// Account to create or update.
#[derive(Clone, Debug)]
pub struct AccountUpdate {
    /// Account name.
    pub name: AccountName,
    /// Hash of the new password.
    pub password: PasswordHash,
    /// New role; `None` keeps the current role, or means viewer for a new account.
    pub role: Option<AccountRole>,
}

/// Password change by the owner of the account.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// Account name.
    pub account: String,
    /// Token hash of the login session that requests the change and stays valid.
    pub login_hash: String,
    /// Current password.
    pub current_password: Secret,
    /// New password.
    pub new_password: Secret,
}

/// Lists all accounts, by name.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn list_accounts(app: &Arc<AppState>) -> Result<Vec<AccountRecord>, AppError> {
    app.read_store(accounts::list_accounts).await
}

/// Creates an account.
///
/// # Errors
///
/// If an account with that name exists.
pub async fn create_account(
    app: &Arc<AppState>,
    actor: &Actor,
    new: NewAccount,
) -> Result<AccountRecord, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let account = new.into_account(now);
    let created = account.clone();
    let is_new = app.write_store(move |db| {
        // Checked in the transaction that inserts: two admins may create the same name at the same time.
        if accounts::find_account(db, &account.name)?.is_some() {
            return Ok(false);
        }
        upsert_account_audited(db, &account, &by, now)?;
        Ok(true)
    });
    if is_new.await? {
        Ok(created)
    } else {
        Err(AppError::Conflict(format!("Account “{}” already exists.", created.name)))
    }
}

/// Creates an account, or sets the password and, if given, the role of an existing one. Returns the resulting role.
///
/// # Errors
///
/// If the state store is unavailable.
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
        // The reset may be the answer to a stolen password: log out everyone who used the old one.
        accounts::delete_login_sessions(db, &account.name)?;
        upsert_account_audited(db, &account, &by, now)?;
        Ok(role)
    })
    .await
}

/// Deletes an account with its login sessions and tokens.
///
/// # Errors
///
/// If the account does not exist, or is the actor's own: otherwise the last admin could lock everyone out.
pub async fn delete_account(app: &Arc<AppState>, actor: &Actor, name: String) -> Result<(), AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    // Compared by account, not by recorded name: the name of a token's actor also contains the label.
    if actor.account() == Some(name.as_str()) {
        return Err(AppError::Conflict("You cannot delete your own account. Ask another admin.".into()));
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
        return Err(AppError::NotFound("Account not found.".into()));
    }
    // Open event streams of the account must end now, not at their next request.
    app.publish(LiveEvent::LoginsEnded);
    Ok(())
}

/// Changes the password of the current user, and revokes all other login sessions of the account.
///
/// # Errors
///
/// If the current password is incorrect, the new one is too short or too long, or there were too many attempts.
pub async fn change_password(app: &Arc<AppState>, change: PasswordChange) -> Result<(), AppError> {
    let PasswordChange { account, login_hash, current_password, new_password } = change;
    let account =
        app.read_store(move |db| accounts::find_account(db, &account)).await?.ok_or(AppError::NotLoggedIn)?;
    let (now, auth) = (app.clock.now(), &app.auth);
    // Counted before the password is checked, so that parallel requests cannot exceed the limit.
    let attempt =
        auth.login_attempts.count_password_change(&account.name, now).ok_or(AppError::TooManyAttempts)?;
    if !auth.passwords.verify(current_password, account.password_hash.clone()).await? {
        return Err(AppError::Invalid("The current password is incorrect.".into()));
    }
    // Only wrong passwords count: the right one must not lock the owner out.
    attempt.remove_from_counts();
    let password = auth.passwords.hash(new_password).await?;
    let changed = app.write_store(move |db| {
        // Read again: while the password was hashed, the account may have been deleted or its role changed.
        let Some(account) = accounts::find_account(db, &account.name)? else { return Ok(false) };
        let account = AccountRecord { password_hash: password.clone(), ..account };
        accounts::upsert_account(db, &account)?;
        audit::insert_audit_entry(
            db,
            audit::NewAuditEntry { actor: &account.name, action: "account.password_changed", detail: "{}" },
            now,
        )?;
        // A stolen cookie must not survive the change, but the user who made it stays logged in.
        for other in accounts::list_login_sessions(db, &account.name)?
            .iter()
            .filter(|other| other.token_hash != login_hash)
        {
            accounts::delete_login_session(db, &account.name, &other.token_hash)?;
        }
        Ok(true)
    });
    let is_changed = changed.await?;
    app.publish(LiveEvent::LoginsEnded);
    if is_changed { Ok(()) } else { Err(AppError::NotLoggedIn) }
}

/// Returns `true` if the token belongs to the current setup link, and no account has existed since the link was
/// created.
///
/// # Errors
///
/// If the state store is unavailable.
pub async fn is_valid_setup_link(app: &Arc<AppState>, token: &str) -> Result<bool, AppError> {
    let Some(offered_at) = app.auth.setup_link_created_at(token) else { return Ok(false) };
    app.read_store(move |db| accounts::has_or_had_account(db, offered_at)).await.map(|was_any| !was_any)
}

/// Creates the first account by the setup link. Returns the account name.
///
/// # Errors
///
/// If the link has been used, or there is an account already.
pub async fn create_first_account(
    app: &Arc<AppState>,
    token: &str,
    new: NewAccount,
) -> Result<String, AppError> {
    let now = app.clock.now();
    let account = new.into_account(now);
    let name = account.name.clone();
    // Consumed before the write, so that two requests with the same link cannot both create an account.
    let offered_at = app.auth.consume_setup_link(token).ok_or_else(setup_link_expired)?;
    let is_first = app.write_store(move |db| {
        // Checked in the transaction: another process that shares the store may have created an account.
        let is_first = !accounts::has_or_had_account(db, offered_at)?;
        if is_first {
            upsert_account_audited(db, &account, &account.name, now)?;
        }
        Ok(is_first)
    });
    if is_first.await? { Ok(name) } else { Err(setup_link_expired()) }
}

/// Returns the error for a setup link that is no longer valid.
#[must_use]
pub fn setup_link_expired() -> AppError {
    AppError::NotFound(
        "This setup link has expired. Restart `sessionwatch serve` for a new one, or run `sessionwatch accounts add`."
            .into(),
    )
}

/// Writes an account and an audit entry for it.
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
            login_sessions::{find_current_user, start_login_session},
            request_client::ClientInfo,
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
    async fn names_are_unique_and_nobody_deletes_their_own_account() {
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
    async fn a_setup_link_creates_one_account() {
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
    async fn a_new_password_revokes_all_other_login_sessions() {
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
            matches!(wrong, Err(AppError::Invalid(text)) if text == "The current password is incorrect.")
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
    async fn resetting_or_deleting_an_account_logs_it_out() {
        let scene = TestApp::with_config("");
        let ops = Actor::from_command_line("ops");
        create_account(&scene, &ops, new_account("ada", AccountRole::Viewer)).await.unwrap();
        let token = logged_in(&scene, "ada").await;
        let NewAccount { name, password, .. } = new_account("ada", AccountRole::Viewer);
        upsert_account(&scene, &ops, AccountUpdate { name, password, role: None }).await.unwrap();
        assert!(!is_known(&scene, &token).await);
        let token = logged_in(&scene, "ada").await;
        let mut events = scene.events.subscribe();
        delete_account(&scene, &ops, "ada".into()).await.unwrap();
        assert!(!is_known(&scene, &token).await);
        assert_eq!(events.try_recv().unwrap(), LiveEvent::LoginsEnded);
        let again = delete_account(&scene, &ops, "ada".into()).await;
        assert!(matches!(again, Err(AppError::NotFound(text)) if text == "Account not found."));
    }
}
