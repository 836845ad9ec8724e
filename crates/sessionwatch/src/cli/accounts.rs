//! `accounts`: the accounts of the dashboard.

use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
};

use credentials::Secret;
use sessionwatch_app::{
    api_types,
    app::{
        AppError,
        accounts::{self, AccountName, AccountRecord, AccountRole, AccountUpdate, PasswordHash},
        error::StoreError,
        state_store::StoreRequirement,
    },
    output::{OutputFormat, table::OutputTable},
    preflight,
    roles_and_scopes::RoleName,
};
use sessionwatch_clock as clock;
use zeroize::Zeroizing;

use super::{Failure, actor::ActorArgs, lists::render_list, opening, target_args::ConfigArgs};

/// Manage dashboard accounts
#[derive(Debug, clap::Subcommand)]
pub(super) enum AccountsCommand {
    /// Create an account, or change its role and password
    #[command(long_about = "Create an account, or change its role and password\n\n\
                      Prompts for the password, or reads it from stdin.")]
    Add {
        /// Account name: letters, digits and . _ @ + -
        #[arg(value_name = "NAME")]
        name: String,
        /// Role of the account [default: the current role; viewer for a new account]
        #[arg(long, value_enum)]
        role: Option<RoleName>,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List accounts
    List {
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Delete an account, its login sessions and its API tokens
    Remove {
        /// Account name
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &AccountsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        AccountsCommand::Add { name, role, actor, config } => {
            let invalid =
                |_| Failure::Usage("an account name has up to 64 letters, digits, and . _ @ + -".into());
            let name = AccountName::parse(name).map_err(invalid)?;
            // Before the store is opened, so that a password that is too short creates nothing.
            let password = PasswordHash::from_password(&read_password()?)?;
            let config = preflight::load_config(config.config.as_deref())?;
            let actor = actor.actor();
            let app = opening::open_app(config, StoreRequirement::CreateIfMissing)?;
            let change = AccountUpdate { name: name.clone(), password, role: role.map(AccountRole::from) };
            let role = super::block_on(async { Ok(accounts::upsert_account(&app, &actor, change).await?) })?;
            format!("Account {}: {}\n", name.as_str(), role.name())
        }
        AccountsCommand::List { config, format } => {
            let app = opening::open_existing_app(config)?;
            let all = super::block_on(async { Ok(accounts::list_accounts(&app).await?) })?;
            render_list(&build_account_table(&all)?, *format, "accounts")
        }
        AccountsCommand::Remove { name, actor, config } => {
            let actor = actor.actor();
            let app = opening::open_existing_app(config)?;
            let deleted =
                super::block_on(async { Ok(accounts::delete_account(&app, &actor, name.clone()).await) })?;
            match deleted {
                Err(AppError::NotFound(_)) => return Err(unknown_account(name)),
                deleted => deleted?,
            }
            format!("Account {name} removed.\n")
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the error for an account that does not exist.
pub(super) fn unknown_account(name: &str) -> Failure {
    Failure::UsageWithHint {
        message: format!("there is no account `{name}`"),
        hint: "`sessionwatch accounts list` shows all accounts".into(),
    }
}

/// Reads the password: prompts twice without echo, or reads a line of stdin if that is no terminal.
fn read_password() -> Result<Secret, Failure> {
    if !std::io::stdin().is_terminal() {
        // Wiped when it is dropped, because a line is not a `Secret` yet.
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

fn build_account_table(all: &[AccountRecord]) -> Result<OutputTable, StoreError> {
    let row = |account: &AccountRecord| {
        vec![account.name.clone(), account.role.name().to_owned(), clock::format_utc(account.created_at)]
    };
    let document =
        |account: &AccountRecord| api_types::to_json_value(api_types::AccountDto::from_record(account));
    Ok(OutputTable {
        json_key: "accounts",
        header: ["name", "role", "created at"].map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
        json_rows: all.iter().map(document).collect::<Result<_, _>>()?,
    })
}
