//! Roles and scopes as people and programs name them: the values of arguments, and those of the interface.

use sessionwatch_store::{accounts::AccountRole, api_tokens::TokenScope};
use utoipa::ToSchema;

/// What an account may do.
#[derive(Clone, Copy, Debug, clap::ValueEnum, ToSchema)]
#[schema(as = Role, rename_all = "lowercase")]
pub enum RoleName {
    /// Look at everything.
    Viewer,
    /// Also act on alerts, sessions and incidents.
    Responder,
    /// Also decide who may.
    Admin,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, clap::ValueEnum, ToSchema)]
#[schema(as = Scope, rename_all = "lowercase")]
pub enum ScopeName {
    /// Look at everything
    Read,
    /// Acknowledge, resolve, comment on and silence alerts, and vouch for the checklist
    Alerts,
    /// Make plans, carry them out, and put back
    Actions,
    /// Work on incidents
    Incidents,
    /// The account's own log-ins and tokens
    Account,
    /// Accounts and channels
    Admin,
}

impl From<RoleName> for AccountRole {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Responder => Self::Responder,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl From<ScopeName> for TokenScope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Read => Self::Read,
            ScopeName::Alerts => Self::Alerts,
            ScopeName::Actions => Self::Actions,
            ScopeName::Incidents => Self::Incidents,
            ScopeName::Account => Self::Account,
            ScopeName::Admin => Self::Admin,
        }
    }
}
