//! `notify`: does a channel work, and what did it not take?

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{
    app::channels::{self, Channel, FailedMessage},
    config::Config,
    output::{Format, table::Sheet},
    preflight,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::counted, suggest::nearest};

use super::{Failure, actor::ActorArgs, opening, target::ConfigArgs};

/// Messages that are listed at most.
const LISTED: u32 = 100;

/// Try a channel, or see what it did not take
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Send a marked test message over a channel
    Test {
        /// Name of the channel
        channel: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List the messages that were given up on
    Dead {
        #[command(flatten)]
        config: ConfigArgs,
        /// How the list is written
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Deliver the messages of a channel after all that were given up on
    Retry {
        /// Name of the channel
        channel: String,
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        actor: ActorArgs,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match args {
        Args::Test { channel, config } => test(channel, config)?,
        Args::Dead { config, format } => {
            let app = opening::open_existing(config)?;
            let failed = super::block_on(async { Ok(channels::list_failed_messages(&app, LISTED).await?) })?;
            if failed.is_empty() && *format == Format::Table {
                "no message was given up on\n".into()
            } else {
                sheet(&failed).render(*format)
            }
        }
        Args::Retry { channel, config, actor } => {
            let app = opening::open_existing(config)?;
            known(&app.config(), channel)?;
            let actor = actor.actor();
            let retried = channels::retry_failed_messages(&app, &actor, channel.clone());
            let count = super::block_on(async { Ok(retried.await?) })?;
            format!("{} due again\n", counted(count, "message is", "messages are"))
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The channel of that name.
fn known<'a>(config: &'a Config, name: &str) -> Result<&'a Channel, Failure> {
    let serve = &config.serve;
    if let Some((name, problem)) = serve.unresolved.iter().find(|(unresolved, _)| unresolved == name) {
        return Err(Failure::Usage(format!("channel `{name}`: {problem}")));
    }
    serve.channels.iter().find(|channel| channel.name == name).ok_or_else(|| {
        let hint = nearest(name, serve.channels.iter().map(|known| known.name.as_str()));
        Failure::Usage(format!("there is no channel `{name}`{hint}"))
    })
}

fn test(name: &str, args: &ConfigArgs) -> Result<String, Failure> {
    let config = preflight::load(args.config.as_deref())?;
    let channel = known(&config, name)?;
    let problems = super::block_on(async { Ok(channels::send_test(channel, clock::now()).await) })?;
    if problems.is_empty() {
        return Ok(format!("{name} accepted a test message\n"));
    }
    let problems = problems.join("; ");
    Err(Failure::Delivery(format!("channel `{name}` did not accept a test message: {problems}")))
}

fn sheet(failed: &[FailedMessage]) -> Sheet {
    let row = |FailedMessage { due, message }: &FailedMessage| {
        vec![
            due.channel.clone(),
            due.recipient.clone().unwrap_or_default(),
            clock::readable(due.created_at),
            message.notice.clone(),
            message.target.clone(),
            message.check.clone(),
            due.error.clone().unwrap_or_default(),
        ]
    };
    let document = |FailedMessage { due, message }: &FailedMessage| {
        json!({
            "channel": due.channel, "recipient": due.recipient, "at": clock::rfc3339(due.created_at), "attempts": due.attempts,
            "error": due.error, "message": message,
        })
    };
    Sheet {
        kind: "messages",
        header: ["channel", "recipient", "since", "notice", "target", "check", "why"]
            .map(str::to_owned)
            .to_vec(),
        rows: failed.iter().map(row).collect(),
        documents: failed.iter().map(document).collect(),
    }
}
