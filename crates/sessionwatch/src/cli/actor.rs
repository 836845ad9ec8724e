//! The person who runs a command: the name in the audit log, and of plans, incidents and alerts.

use sessionwatch_app::app::Actor;

/// The person who runs a command.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ActorArgs {
    /// Your name for the audit log [default: $USER, else the system account]
    #[arg(long = "as", env = "USER", value_name = "NAME", hide_env = true)]
    actor: Option<String>,
}

impl ActorArgs {
    /// Returns the person with the name of [`ActorArgs::name`].
    pub(super) fn actor(&self) -> Actor {
        Actor::from_command_line(self.name())
    }

    /// Returns the name to record. Containers and cron jobs set no `USER`: the system account is recorded then, with a
    /// note on stderr.
    pub(super) fn name(&self) -> String {
        // Noted and not refused: containers and cron jobs set no `USER`.
        self.given_name().unwrap_or_else(|| {
            let account = system_account();
            super::print_note(&format!(
                "USER is not set: recording this command as run by `{account}`; set another name with --as NAME"
            ));
            account
        })
    }

    fn given_name(&self) -> Option<String> {
        self.actor.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned)
    }
}

/// Returns the name of the account that this process runs as; its number if it has no name.
pub(super) fn system_account() -> String {
    let name = whoami::username().ok().filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_name_counts_as_none() {
        let given = |name: &str| ActorArgs { actor: Some(name.to_owned()) }.given_name();
        assert_eq!((given("ada"), given(" "), given("")), (Some("ada".into()), None, None));
        assert!(!system_account().is_empty());
    }
}
