//! Accounts, tokens and the audit trail, as programs read them.

use serde::Serialize;
use sessionwatch_store::{accounts, audit, tokens};
use utoipa::ToSchema;

use super::At;
use crate::access_names::{RoleName, ScopeName};

/// Who may use the dashboard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Account {
    name: String,
    #[schema(value_type = RoleName)]
    role: accounts::Role,
    created_at: At,
    /// Whether a provider of identities vouches for it, and it has no password.
    external: bool,
}

impl Account {
    /// The document.
    #[must_use]
    pub fn of(account: &accounts::Account) -> Self {
        Self {
            name: account.name.clone(),
            role: account.role,
            created_at: At(account.created_at),
            external: !account.subject.is_empty(),
        }
    }
}

/// What a program may do, in whose name, and until when.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Token {
    id: String,
    account: String,
    label: String,
    #[schema(value_type = Vec<ScopeName>)]
    scopes: Vec<tokens::Scope>,
    created_at: At,
    expires_at: At,
    seen_at: Option<At>,
}

impl Token {
    /// The document; nothing secret is in it.
    #[must_use]
    pub fn of(token: &tokens::Token) -> Self {
        let token = token.clone();
        Self {
            id: token.id,
            account: token.account,
            label: token.label,
            scopes: token.scopes,
            created_at: At(token.created_at),
            expires_at: At(token.expires_at),
            seen_at: token.seen_at.map(At),
        }
    }
}
/// Something in the audit trail.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Deed {
    at: At,
    actor: String,
    action: String,
    /// The rest, as JSON in text: its hash is of this text.
    detail: String,
}

impl Deed {
    /// The document.
    #[must_use]
    pub fn of(entry: &audit::Entry) -> Self {
        let entry = entry.clone();
        Self { at: At(entry.at), actor: entry.actor, action: entry.action, detail: entry.detail }
    }
}
