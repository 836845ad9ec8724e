//! Actors: users and programs that invoke use cases.

/// User or program that invokes a use case. The name is recorded in the audit log, plans, incidents and alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    account: Option<String>,
}

impl Actor {
    /// Creates an actor for a user of the command line.
    #[must_use]
    pub fn from_command_line(name: impl Into<String>) -> Self {
        Self { name: name.into(), account: None }
    }

    /// Creates an actor for a user who is logged in to the dashboard.
    #[must_use]
    pub fn from_account(account: impl Into<String>) -> Self {
        let account = account.into();
        Self { name: account.clone(), account: Some(account) }
    }

    /// Creates an actor for a program that uses the account's API token with that label.
    #[must_use]
    pub fn from_token(account: &str, label: &str) -> Self {
        Self { name: format!("{account} ({label})"), account: Some(account.to_owned()) }
    }

    /// Returns the name to record.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the dashboard account; `None` for the command line.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}
