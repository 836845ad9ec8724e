//! `accounts`: who may use the dashboard.

use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
};

use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Failure,
    actor::ActorArgs,
    opening::{self, Opening},
    target::ConfigArgs,
};
use crate::{
    clock, documents,
    report::{Format, Sheet},
    secret::Secret,
    store::{
        accounts::{self, Account, Role},
        audit,
    },
    web::access,
};

/// Say who may use the dashboard
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Add an account, or change its role and password; the password is asked for, or read from standard input
    Add {
        /// Its name: letters, digits and . _ @ + -
        name: String,
        /// What the account may do: look, also act, or also decide who may [default: its present role; viewer if it is new]
        #[arg(long, value_enum)]
        role: Option<Role>,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List the accounts
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Remove an account, and end its log-ins
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match args {
        Args::Add { name, role, actor, config } => {
            if !access::is_name(name) {
                return Err(Failure::Usage("a name has up to 64 letters, digits, and . _ @ + -".into()));
            }
            let password = access::hashed(password()?.expose()).map_err(Failure::Usage)?;
            let config = super::preflight::load(config.config.as_deref())?;
            let owner = actor.name();
            let store = opening::open(&config, Opening::OrCreated)?;
            let now = store.now()?;
            let role = store.write(|db| {
                let present = accounts::get(db, name)?.map(|account| account.role);
                let role = role.or(present).unwrap_or(Role::Viewer);
                let (name, subject) = (name.clone(), String::new());
                let account = Account { name, role, password: password.clone(), subject, created_at: now };
                // Whoever knew the old password is out.
                accounts::end_all(db, &account.name)?;
                access::add(db, &account, (&owner, now))?;
                Ok(role)
            })?;
            format!("{name} may use the dashboard as {}\n", role.name())
        }
        Args::List { config, format } => {
            sheet(&opening::existing(config)?.1.read(accounts::list)?).render(*format)
        }
        Args::Remove { name, actor, config } => {
            let owner = actor.name();
            let (_, store) = opening::existing(config)?;
            let now = store.now()?;
            let removed = store.write(|db| {
                let removed = accounts::remove(db, name)?;
                if removed {
                    let detail = json!({ "account": name }).to_string();
                    audit::add(db, (&owner, "account-removed"), &detail, now)?;
                }
                Ok(removed)
            })?;
            if !removed {
                return Err(Failure::Usage(format!("there is no account `{name}`")));
            }
            format!("{name} may not use the dashboard any more\n")
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the password: twice from a terminal, which does not show it, or a line of standard input.
fn password() -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        let mut line = Zeroizing::new(String::new());
        std::io::stdin().lock().read_line(&mut line)?;
        return Ok(Secret::new(line.trim_end_matches(['\r', '\n'])));
    }
    let typed = Secret::new(rpassword::prompt_password("New password: ")?);
    if Secret::new(rpassword::prompt_password("Repeat the password: ")?) != typed {
        return Err(Failure::Usage("the passwords do not match: nothing was changed".into()));
    }
    Ok(typed)
}

fn sheet(all: &[Account]) -> Sheet {
    let row = |account: &Account| {
        vec![account.name.clone(), account.role.name().to_owned(), clock::readable(account.created_at)]
    };
    let document = |account: &Account| documents::json(documents::Account::of(account));
    Sheet {
        kind: "accounts",
        header: ["name", "role", "since"].map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
        documents: all.iter().map(document).collect(),
    }
}
