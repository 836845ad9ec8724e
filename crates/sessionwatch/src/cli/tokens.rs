//! `tokens`: the API tokens of programs.

use std::process::ExitCode;

use jiff::SignedDuration;
use sessionwatch_app::{
    api_types,
    app::{
        AppError,
        accounts::AccountRole,
        error::StoreError,
        tokens::{
            self, ApiToken, CreateTokenError, MAX_TOKEN_DAYS, NewToken, TokenOwner, TokenScope,
            is_valid_label,
        },
    },
    output::{OutputFormat, table::OutputTable},
    roles_and_scopes::ScopeName,
};
use sessionwatch_clock as clock;
use sessionwatch_core::duration::{DAY, from_days};

use super::{
    Failure,
    accounts::unknown_account,
    actor::ActorArgs,
    lists::render_list,
    opening::open_existing_app,
    target_args::ConfigArgs,
    values::{duration_between, whole_days},
};

/// The lifetime of a token for which none is given.
const DEFAULT_EXPIRY: &str = "90d";

/// Manage API tokens
#[derive(Debug, clap::Subcommand)]
pub(super) enum TokensCommand {
    /// Create a token and print it once
    Add {
        /// Account that the token acts for
        #[arg(value_name = "ACCOUNT")]
        account: String,
        /// Name of the token
        #[arg(long, value_name = "TEXT")]
        label: String,
        /// Scopes; the role of the account must allow them
        #[arg(long, value_enum, value_delimiter = ',', default_value = "read")]
        scope: Vec<ScopeName>,
        /// Time until the token expires, in whole days
        #[arg(
            long, default_value = DEFAULT_EXPIRY, value_name = "DURATION",
            value_parser = duration_between(DAY, from_days(MAX_TOKEN_DAYS.into()))
        )]
        expires_in: SignedDuration,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List tokens
    List {
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Revoke a token
    Revoke {
        /// Token ID, as `tokens list` shows it
        #[arg(value_name = "TOKEN")]
        id: String,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &TokensCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        TokensCommand::Add { account, label, scope, expires_in, actor, config } => {
            if !is_valid_label(label) {
                return Err(Failure::Usage("a label has up to 64 characters".into()));
            }
            let valid_days = whole_days(*expires_in)
                .ok_or_else(|| Failure::Usage("--expires-in must be whole days, such as 30d".into()))?;
            let new = NewToken {
                account: account.clone(),
                label: label.clone(),
                scopes: scope.iter().copied().map(TokenScope::from).collect(),
                valid_days,
            };
            let app = open_existing_app(config)?;
            let actor = actor.actor();
            let created = super::block_on(async { Ok(tokens::create_token(&app, &actor, new).await) })?;
            match created {
                Ok(created) => format!("{}\n", created.secret.expose()),
                Err(CreateTokenError::NoAccount) => return Err(unknown_account(account)),
                Err(CreateTokenError::BeyondRole { role, scope }) => {
                    return Err(beyond_role(account, role, scope));
                }
                Err(CreateTokenError::App(error)) => return Err(error.into()),
            }
        }
        TokensCommand::List { config, format } => {
            let app = open_existing_app(config)?;
            let all = super::block_on(async { Ok(tokens::list_tokens(&app, None).await?) })?;
            render_list(&build_token_table(&all)?, *format, "tokens")
        }
        TokensCommand::Revoke { id, actor, config } => {
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
            format!("Token {id} revoked.\n")
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the error for a token with more rights than its account.
fn beyond_role(account: &str, role: AccountRole, scope: TokenScope) -> Failure {
    Failure::Usage(format!(
        "cannot create a token with the scope `{}`: this scope needs the role {}, and `{account}` has the role {}",
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
        header: ["token", "account", "label", "scopes", "last used", "expires"].map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
        json_rows: all
            .iter()
            .map(|token| api_types::to_json_value(api_types::TokenDto::from_record(token)))
            .collect::<Result<_, _>>()?,
    })
}
