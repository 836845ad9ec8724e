//! Accounts of the dashboard: made, changed and deleted, with their passwords.

use std::sync::Arc;

use credentials::Secret;
use serde_json::json;
use sessionwatch_core::instant::Instant;
use sessionwatch_store::{StoreError, accounts, audit, db::Db};

use super::{Actor, AppError, AppState, LiveEvent, hash_password};

pub use sessionwatch_store::accounts::{Account, Role};

/// The most letters of an account's name.
pub const NAME_LENGTH: usize = 64;

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
        if is_account_name(name) {
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
pub fn is_account_name(name: &str) -> bool {
    let plain =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '@' | '+' | '-');
    (1..=NAME_LENGTH).contains(&name.len()) && name.chars().all(plain)
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
    pub fn of(password: &Secret) -> Result<Self, AppError> {
        hash_password(password.expose()).map(Self).map_err(AppError::Invalid)
    }

    /// Hashes a password, once few enough others are hashed.
    ///
    /// # Errors
    ///
    /// If it is too short or too long, or too many wait already.
    pub async fn queued(app: &AppState, password: Secret) -> Result<Self, AppError> {
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
    pub role: Role,
}

impl NewAccount {
    fn into_account(self, now: Instant) -> Account {
        let (name, password) = (self.name.0, self.password.0);
        Account { name, role: self.role, password, subject: String::new(), created_at: now }
    }
}

/// An account to make, or to change.
#[derive(Clone, Debug)]
pub struct AccountChange {
    /// What it is called.
    pub name: AccountName,
    /// The hash of its new password.
    pub password: PasswordHash,
    /// What it may do from now on; `None` for its present role, or viewer if it is new.
    pub role: Option<Role>,
}

/// A password to change.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The account.
    pub account: String,
    /// The hash of the login that asks for it, which goes on.
    pub login: String,
    /// The present password.
    pub current: Secret,
    /// The new one.
    pub new: Secret,
}

/// Every account, by name.
///
/// # Errors
///
/// If the store does not answer.
pub async fn list_accounts(app: &Arc<AppState>) -> Result<Vec<Account>, AppError> {
    app.read(accounts::list).await
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
) -> Result<Account, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    let account = new.into_account(now);
    let created = account.clone();
    let is_new = app.write(move |db| {
        if accounts::get(db, &account.name)?.is_some() {
            return Ok(false);
        }
        put_account(db, &account, &by, now)?;
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
pub async fn set_account(
    app: &Arc<AppState>,
    actor: &Actor,
    change: AccountChange,
) -> Result<Role, AppError> {
    let (now, by) = (app.clock.now(), actor.name().to_owned());
    app.write(move |db| {
        let AccountChange { name, password, role } = change.clone();
        let present = accounts::get(db, &name.0)?.map(|account| account.role);
        let role = role.or(present).unwrap_or(Role::Viewer);
        let account = NewAccount { name, password, role }.into_account(now);
        accounts::end_all(db, &account.name)?;
        put_account(db, &account, &by, now)?;
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
    let deleted = app.write(move |db| {
        if !accounts::remove(db, &name)? {
            return Ok(false);
        }
        audit::add(
            db,
            audit::NewEntry {
                actor: &by,
                action: "account-removed",
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
    let PasswordChange { account, login, current, new } = change;
    let account = app.read(move |db| accounts::get(db, &account)).await?.ok_or(AppError::NotLoggedIn)?;
    let (now, auth) = (app.clock.now(), &app.auth);
    let attempt = auth.attempts.change_password(&account.name, now).ok_or(AppError::TooManyAttempts)?;
    if !auth.passwords.verify(current, account.password.clone()).await? {
        return Err(AppError::Invalid("The present password is another one.".into()));
    }
    attempt.take_back();
    let password = auth.passwords.hash(new).await?;
    let changed = app.write(move |db| {
        // Somebody may have removed the account meanwhile, or changed its role.
        let Some(account) = accounts::get(db, &account.name)? else { return Ok(false) };
        let account = Account { password: password.clone(), ..account };
        accounts::put(db, &account)?;
        audit::add(db, audit::NewEntry { actor: &account.name, action: "password", detail: "{}" }, now)?;
        for other in accounts::logins(db, &account.name)?.iter().filter(|other| other.hash != login) {
            accounts::end(db, &account.name, &other.hash)?;
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
    let Some(offered_at) = app.auth.setup_link_offered_at(token) else { return Ok(false) };
    app.read(move |db| accounts::was_any(db, offered_at)).await.map(|was_any| !was_any)
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
    let offered_at = app.auth.consume_setup_link(token).ok_or_else(link_expired)?;
    let is_first = app.write(move |db| {
        // Another process may have made one meanwhile.
        let is_first = !accounts::was_any(db, offered_at)?;
        if is_first {
            put_account(db, &account, &account.name, now)?;
        }
        Ok(is_first)
    });
    if is_first.await? { Ok(name) } else { Err(link_expired()) }
}

/// Why a setup link does nothing any more.
#[must_use]
pub fn link_expired() -> AppError {
    AppError::NotFound("This link was used, or is of an earlier start: there is a new one at the next start while nobody has an account.".into())
}

/// Keeps an account, and records who made it.
pub(super) fn put_account(db: Db<'_>, account: &Account, by: &str, now: Instant) -> Result<(), StoreError> {
    accounts::put(db, account)?;
    let detail = json!({ "account": account.name, "role": account.role.name() }).to_string();
    audit::add(db, audit::NewEntry { actor: by, action: "account-added", detail: &detail }, now)
}

#[cfg(test)]
mod tests {
    use sessionwatch_store::Store;

    use super::*;
    use crate::{
        app::{
            client::ClientInfo,
            login_sessions::{find_user, start_login_session},
            scene::Scene,
        },
        config::Config,
    };

    fn app() -> Arc<AppState> {
        AppState::for_command(Store::in_memory().unwrap(), Config::default()).unwrap()
    }

    fn new_account(name: &str, role: Role) -> NewAccount {
        let password = PasswordHash::of(&"a sentence is a good one".into()).unwrap();
        NewAccount { name: AccountName::parse(name).unwrap(), password, role }
    }

    #[test]
    fn names_are_plain_and_short() {
        assert!(is_account_name("ada.l+2@example-1.org") && is_account_name(&"a".repeat(64)));
        assert!(!is_account_name("") && !is_account_name("a b") && !is_account_name(&"a".repeat(65)));
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_nobody_deletes_their_own_account() {
        let (app, ada) = (app(), Actor::of_account("ada"));
        create_account(&app, &ada, new_account("ada", Role::Admin)).await.unwrap();
        let again = create_account(&app, &ada, new_account("ada", Role::Viewer)).await;
        assert!(matches!(again, Err(AppError::Conflict(_))));
        assert!(matches!(delete_account(&app, &ada, "ada".into()).await, Err(AppError::Conflict(_))));
        let program = Actor::of_token("ada", "script");
        assert!(matches!(delete_account(&app, &program, "ada".into()).await, Err(AppError::Conflict(_))));
        delete_account(&app, &Actor::of_command("ada"), "ada".into()).await.unwrap();
        assert!(list_accounts(&app).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_changed_account_keeps_its_role_unless_another_is_given() {
        let (app, actor) = (app(), Actor::of_command("ada"));
        let change = |role| {
            let NewAccount { name, password, .. } = new_account("bob", Role::Viewer);
            AccountChange { name, password, role }
        };
        assert_eq!(set_account(&app, &actor, change(None)).await.unwrap(), Role::Viewer);
        assert_eq!(set_account(&app, &actor, change(Some(Role::Admin))).await.unwrap(), Role::Admin);
        assert_eq!(set_account(&app, &actor, change(None)).await.unwrap(), Role::Admin);
    }

    #[tokio::test]
    async fn a_setup_link_makes_one_account() {
        let app = app();
        let token = app.auth.create_setup_link(app.clock.now());
        assert!(is_valid_setup_link(&app, &token).await.unwrap());
        let name = create_first_account(&app, &token, new_account("ada", Role::Admin)).await.unwrap();
        assert_eq!(name, "ada");
        assert!(!is_valid_setup_link(&app, &token).await.unwrap());
        let again = create_first_account(&app, &token, new_account("eve", Role::Admin)).await;
        assert!(matches!(again, Err(AppError::NotFound(_))));
    }

    async fn logged_in(scene: &Scene, account: &str) -> String {
        let client = ClientInfo { address: "192.0.2.7".parse().unwrap(), agent: String::new() };
        let started = start_login_session(scene, account.into(), &client).await.unwrap();
        started.token.expose().to_owned()
    }

    async fn is_known(scene: &Scene, token: &str) -> bool {
        find_user(scene, token).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_new_password_ends_every_login_but_the_one_that_asks_for_it() {
        let scene = Scene::of("");
        create_account(&scene, &Actor::of_command("ops"), new_account("ada", Role::Viewer)).await.unwrap();
        let (own, other) = (logged_in(&scene, "ada").await, logged_in(&scene, "ada").await);
        let login = find_user(&scene, &own).await.unwrap().unwrap().login;
        let change = |current: &str, new: &str| PasswordChange {
            account: "ada".into(),
            login: login.clone(),
            current: current.into(),
            new: new.into(),
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
        let scene = Scene::of("");
        let ops = Actor::of_command("ops");
        create_account(&scene, &ops, new_account("ada", Role::Viewer)).await.unwrap();
        let token = logged_in(&scene, "ada").await;
        let NewAccount { name, password, .. } = new_account("ada", Role::Viewer);
        set_account(&scene, &ops, AccountChange { name, password, role: None }).await.unwrap();
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
