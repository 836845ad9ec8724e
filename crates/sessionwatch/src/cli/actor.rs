//! Who runs a command: the name that the audit log, plans, incidents and alerts keep.

use sessionwatch_app::app::Actor;

/// Who runs a command.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ActorArgs {
    /// Your name, for the audit log [default: $USER, else the name of the system account]
    #[arg(long, visible_alias = "as", env = "USER", value_name = "NAME", hide_env = true)]
    owner: Option<String>,
}

impl ActorArgs {
    /// Returns who runs the command, by [`ActorArgs::name`].
    pub(super) fn actor(&self) -> Actor {
        Actor::from_command_line(self.name())
    }

    /// Returns the name to keep. Where none is given, as in containers and cron jobs, that is the system account, which is
    /// said on standard error.
    pub(super) fn name(&self) -> String {
        self.given_name().unwrap_or_else(|| {
            let account = system_account();
            super::print_note(&format!(
                "USER is not set: what this command does is recorded as done by `{account}`; --as NAME gives another name"
            ));
            account
        })
    }

    /// The same for a command that only reads, and records nothing.
    pub(super) fn name_unrecorded(&self) -> String {
        self.given_name().unwrap_or_else(system_account)
    }

    fn given_name(&self) -> Option<String> {
        self.owner.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned)
    }
}

/// The name of the account that this process runs as; its number where the system knows no name.
fn system_account() -> String {
    let name = whoami::username().ok().filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_name_is_none() {
        let given = |owner: &str| ActorArgs { owner: Some(owner.to_owned()) }.given_name();
        assert_eq!((given("ada"), given(" "), given("")), (Some("ada".into()), None, None));
        assert!(!system_account().is_empty());
    }
}
