//! Names of roles and scopes, as used in command line arguments and in the API.

use sessionwatch_store::{accounts::AccountRole, api_tokens::TokenScope};
use utoipa::ToSchema;

/// Role of an account. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, clap::ValueEnum, ToSchema)]
#[schema(as = Role, rename_all = "lowercase")]
pub enum RoleName {
    /// Read everything
    Viewer,
    /// Also act on alerts, plans and incidents
    Responder,
    /// Also manage accounts and channels
    Admin,
}

/// Scope of an API token.
#[derive(Clone, Copy, Debug, clap::ValueEnum, ToSchema)]
#[schema(as = Scope, rename_all = "lowercase")]
pub enum ScopeName {
    /// Read everything
    Read,
    /// Acknowledge, resolve, comment on and silence alerts; attest checklist items
    Alerts,
    /// Create and apply plans, and restore archived rows
    Actions,
    /// Work on incidents
    Incidents,
    /// Manage the account's own login sessions and tokens
    Account,
    /// Manage accounts and channels
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
