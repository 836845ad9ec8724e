//! Who does something.

/// Who does something: the audit trail, plans, incidents and alerts keep the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    account: Option<String>,
}

impl Actor {
    /// A person at the command line.
    #[must_use]
    pub fn from_command_line(name: impl Into<String>) -> Self {
        Self { name: name.into(), account: None }
    }

    /// A person who is logged in to the dashboard.
    #[must_use]
    pub fn from_account(account: impl Into<String>) -> Self {
        let account = account.into();
        Self { name: account.clone(), account: Some(account) }
    }

    /// A program that acts for an account, with the token of that label.
    #[must_use]
    pub fn from_token(account: &str, label: &str) -> Self {
        Self { name: format!("{account} ({label})"), account: Some(account.to_owned()) }
    }

    /// The name to keep.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The account of the dashboard that they use; `None` at the command line.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}
