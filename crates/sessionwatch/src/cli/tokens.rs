//! `tokens`: what programs carry to ask the dashboard.

use std::process::ExitCode;

use super::{Failure, actor::ActorArgs, opening::existing, target::ConfigArgs};
use crate::{
    clock, documents,
    report::{Format, Sheet},
    store::{
        accounts::Role,
        tokens::{self, Scope, Token},
    },
    web::tokens::{LONGEST, Outcome, Wish, add, is_label, made, remove},
};

/// Say which programs may ask the dashboard
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Make a token, which acts for an account; it is printed once
    Add {
        /// The account
        account: String,
        /// What the token is called
        #[arg(long)]
        label: String,
        /// What it is for; no more than the role of the account allows
        #[arg(long, value_enum, value_delimiter = ',', default_value = "read")]
        scope: Vec<Scope>,
        /// For how many days it holds
        #[arg(long, default_value_t = crate::web::tokens::USUAL, value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST)))]
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
        format: Format,
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

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match args {
        Args::Add { account, label, scope, days, actor, config } => {
            if !is_label(label) {
                return Err(Failure::Usage("a token has a name of up to 64 characters".into()));
            }
            let wish =
                Wish { account: account.clone(), label: label.clone(), scopes: scope.clone(), days: *days };
            let (_, store) = existing(config)?;
            let now = store.now()?;
            let (token, secret) = made(wish, now);
            let owner = actor.name();
            match store.write(|db| add(db, &token, (&owner, now)))? {
                Outcome::Added => format!("{}\n", secret.expose()),
                Outcome::NoAccount => {
                    return Err(Failure::Usage(format!("there is no account `{account}`")));
                }
                Outcome::BeyondRole(role, scope) => return Err(beyond_role(account, (role, scope))),
            }
        }
        Args::List { config, format } => {
            sheet(&existing(config)?.1.read(|db| tokens::list(db, None))?).render(*format)
        }
        Args::Remove { id, actor, config } => {
            let ((_, store), owner) = (existing(config)?, actor.name());
            let now = store.now()?;
            if !store.write(|db| remove(db, (None, id), (&owner, now)))? {
                return Err(Failure::Usage(format!("there is no token `{id}`")));
            }
            format!("{id} holds no longer\n")
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Says that an account may do less than a token for it should.
fn beyond_role(account: &str, (role, scope): (Role, Scope)) -> Failure {
    Failure::Usage(format!(
        "cannot add a token with the scope `{}`: it needs the role {}, and `{account}` has the role {}",
        scope.name(),
        scope.role().name(),
        role.name()
    ))
}

fn sheet(all: &[Token]) -> Sheet {
    let scopes = |token: &Token| token.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
    let row = |token: &Token| {
        vec![
            token.id.clone(),
            token.account.clone(),
            token.label.clone(),
            scopes(token),
            token.seen_at.map(clock::readable).unwrap_or_default(),
            clock::readable(token.expires_at),
        ]
    };
    Sheet {
        kind: "tokens",
        header: ["token", "account", "name", "for", "used last", "ends"].map(str::to_owned).to_vec(),
        rows: all.iter().map(row).collect(),
        documents: all.iter().map(|token| documents::json(documents::Token::of(token))).collect(),
    }
}
