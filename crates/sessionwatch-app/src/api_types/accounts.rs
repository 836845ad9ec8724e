//! JSON types of accounts and API tokens.

use serde::Serialize;
use sessionwatch_store::{accounts, api_tokens};
use utoipa::ToSchema;

use super::Rfc3339;
use crate::roles_and_scopes::{RoleName, ScopeName};

/// Dashboard account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountDto {
    name: String,
    #[schema(value_type = RoleName)]
    role: accounts::AccountRole,
    created_at: Rfc3339,
    /// True for an account of the identity provider, which has no password.
    external: bool,
}

impl AccountDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(account: &accounts::AccountRecord) -> Self {
        Self {
            name: account.name.clone(),
            role: account.role,
            created_at: Rfc3339(account.created_at),
            external: !account.oidc_subject.is_empty(),
        }
    }
}

/// API token, without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenDto {
    id: String,
    account: String,
    label: String,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<api_tokens::TokenScope>,
    created_at: Rfc3339,
    expires_at: Rfc3339,
    last_used_at: Option<Rfc3339>,
}

impl TokenDto {
    /// Creates the JSON type from a stored record.
    #[must_use]
    pub fn from_record(token: &api_tokens::ApiToken) -> Self {
        let token = token.clone();
        Self {
            id: token.id,
            account: token.account,
            label: token.label,
            scopes: token.scopes,
            created_at: Rfc3339(token.created_at),
            expires_at: Rfc3339(token.expires_at),
            last_used_at: token.last_used_at.map(Rfc3339),
        }
    }
}
