//! `tokens`: what programs carry to ask the dashboard.

use std::process::ExitCode;

use sessionwatch_app::{
    access_names::ScopeName,
    api_types,
    app::{
        AppError,
        accounts::AccountRole,
        error::StoreError,
        tokens::{
            self, ApiToken, CreateTokenError, DEFAULT_TOKEN_DAYS, MAX_TOKEN_DAYS, NewToken, TokenOwner,
            TokenScope, is_valid_label,
        },
    },
    output::{OutputFormat, table::OutputTable},
};
use sessionwatch_clock as clock;

use super::{Failure, actor::ActorArgs, opening::open_existing_app, target::ConfigArgs};

/// Say which programs may ask the dashboard
#[derive(Debug, clap::Subcommand)]
pub(super) enum TokensCommand {
    /// Make a token, which acts for an account; it is printed once
    Add {
        /// The account
        account: String,
        /// What the token is called
        #[arg(long)]
        label: String,
        /// What it is for; no more than the role of the account allows
        #[arg(long, value_enum, value_delimiter = ',', default_value = "read")]
        scope: Vec<ScopeName>,
        /// For how many days it holds
        #[arg(long, default_value_t = DEFAULT_TOKEN_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKEN_DAYS)))]
        days: u32,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List the tokens
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
    },
    /// Remove a token
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &TokensCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        TokensCommand::Add { account, label, scope, days, actor, config } => {
            if !is_valid_label(label) {
                return Err(Failure::Usage("a token has a name of up to 64 characters".into()));
            }
            let new = NewToken {
                account: account.clone(),
                label: label.clone(),
                scopes: scope.iter().copied().map(TokenScope::from).collect(),
                valid_days: *days,
            };
            let app = open_existing_app(config)?;
            let actor = actor.actor();
            let created = super::block_on(async { Ok(tokens::create_token(&app, &actor, new).await) })?;
            match created {
                Ok(created) => format!("{}\n", created.secret.expose()),
                Err(CreateTokenError::NoAccount) => {
                    return Err(Failure::Usage(format!("there is no account `{account}`")));
                }
                Err(CreateTokenError::BeyondRole { role, scope }) => {
                    return Err(beyond_role(account, role, scope));
                }
                Err(CreateTokenError::App(error)) => return Err(error.into()),
            }
        }
        TokensCommand::List { config, format } => {
            let app = open_existing_app(config)?;
            let all = super::block_on(async { Ok(tokens::list_tokens(&app, None).await?) })?;
            build_token_table(&all)?.render(*format)
        }
        TokensCommand::Remove { id, actor, config } => {
            let app = open_existing_app(config)?;
            let actor = actor.actor();
            let deleted = super::block_on(async {
                Ok(tokens::delete_token(&app, &actor, id.clone(), TokenOwner::Anybody).await)
            })?;
            match deleted {
                Err(AppError::NotFound(_)) => {
                    return Err(Failure::Usage(format!("there is no token `{id}`")));
                }
                deleted => deleted?,
            }
            format!("{id} holds no longer\n")
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Says that an account may do less than a token for it should.
fn beyond_role(account: &str, role: AccountRole, scope: TokenScope) -> Failure {
    Failure::Usage(format!(
        "cannot add a token with the scope `{}`: it needs the role {}, and `{account}` has the role {}",
        scope.name(),
        scope.required_role().name(),
        role.name()
    ))
}

fn build_token_table(all: &[ApiToken]) -> Result<OutputTable, StoreError> {
    let scopes =
        |token: &ApiToken| token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
    let row = |token: &ApiToken| {
        vec![
            token.id.clone(),
            token.account.clone(),
            token.label.clone(),
            scopes(token),
            token.last_used_at.map(clock::format_utc).unwrap_or_default(),
            clock::format_utc(token.expires_at),
        ]
    };
    Ok(OutputTable {
        json_key: "tokens",
        header: ["token", "account", "name", "for", "used last", "ends"].map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
        json_rows: all
            .iter()
            .map(|token| api_types::to_json_value(api_types::TokenDto::from_record(token)))
            .collect::<Result<_, _>>()?,
    })
}
