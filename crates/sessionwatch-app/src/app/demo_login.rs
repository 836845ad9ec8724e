//! Login to the dashboard of `demo` by its link, without a password.

use std::sync::Arc;

use sessionwatch_store::accounts::{self, AccountRecord, AccountRole};

use super::{
    AppError, AppState,
    accounts::upsert_account_audited,
    auth_state::DemoLinkUse,
    login_sessions::{StartedLogin, start_login_session},
    request_client::ClientInfo,
};

/// Account of the visitor. It has no password, so the link is the only way in.
pub const DEMO_ACCOUNT: &str = "demo";

/// Logs in by the link of the demo, and creates the account with the admin role if it is missing. Returns `None` if the
/// token does not belong to such a link; only `demo` creates one.
///
/// # Errors
///
/// If the link was used or has expired, or the client is on another machine.
pub async fn log_in_by_demo_link(
    app: &Arc<AppState>,
    token: &str,
    client: &ClientInfo,
) -> Result<Option<StartedLogin>, AppError> {
    let now = app.clock.now();
    match app.auth.consume_demo_link(token, now) {
        DemoLinkUse::Unknown => return Ok(None),
        // The demo listens on this machine only; a proxy may still forward to it.
        DemoLinkUse::Accepted if client.address.to_canonical().is_loopback() => {}
        DemoLinkUse::Accepted | DemoLinkUse::Expired => return Err(demo_link_expired()),
    }
    app.write_store(move |db| {
        if accounts::find_account(db, DEMO_ACCOUNT)?.is_some() {
            return Ok(());
        }
        let account = AccountRecord {
            name: DEMO_ACCOUNT.into(),
            role: AccountRole::Admin,
            // No password matches an empty hash.
            password_hash: String::new().into(),
            oidc_subject: String::new(),
            created_at: now,
        };
        upsert_account_audited(db, &account, DEMO_ACCOUNT, now)
    })
    .await?;
    start_login_session(app, DEMO_ACCOUNT.into(), client).await.map(Some)
}

fn demo_link_expired() -> AppError {
    AppError::NotFound(
        "This link works once, within an hour, on the machine that runs the demo. Restart `sessionwatch demo` for a \
         new one."
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{login_sessions::find_current_user, test_app::TestApp};

    #[tokio::test]
    async fn the_link_logs_in_one_visitor_of_this_machine_as_admin() {
        let app = TestApp::with_config("");
        let client =
            |address: &str| ClientInfo { address: address.parse().unwrap(), user_agent: String::new() };
        let (here, there) = (client("127.0.0.1"), client("192.0.2.7"));
        assert!(log_in_by_demo_link(&app, "x", &here).await.unwrap().is_none());
        let link = app.auth.create_demo_link(app.clock.now());
        let login = log_in_by_demo_link(&app, &link, &here).await.unwrap().unwrap();
        let user = find_current_user(&app, login.token.expose()).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.role), (DEMO_ACCOUNT, AccountRole::Admin));
        let again = log_in_by_demo_link(&app, &link, &here).await;
        assert!(matches!(again, Err(AppError::NotFound(text)) if text.contains("once")));
        let link = app.auth.create_demo_link(app.clock.now());
        assert!(matches!(log_in_by_demo_link(&app, &link, &there).await, Err(AppError::NotFound(_))));
    }
}
