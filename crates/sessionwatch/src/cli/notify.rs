//! `notify`: does a channel work, and what did it not take?

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{
    app::channels::{self, FailedMessage, NotificationChannel},
    config::Config,
    output::{OutputFormat, table::OutputTable},
    preflight,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{plural::format_count, suggest::did_you_mean};

use super::{Failure, actor::ActorArgs, opening, target::ConfigArgs};

/// Messages that are listed at most.
const MAX_LISTED_MESSAGES: u32 = 100;

/// Try a channel, or see what it did not take
#[derive(Debug, clap::Subcommand)]
pub(super) enum NotifyCommand {
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
        format: OutputFormat,
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

pub(super) fn run(args: &NotifyCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        NotifyCommand::Test { channel, config } => send_test_message(channel, config)?,
        NotifyCommand::Dead { config, format } => {
            let app = opening::open_existing_app(config)?;
            let failed = super::block_on(async {
                Ok(channels::list_failed_messages(&app, MAX_LISTED_MESSAGES).await?)
            })?;
            if failed.is_empty() && *format == OutputFormat::Table {
                "no message was given up on\n".into()
            } else {
                build_message_table(&failed).render(*format)
            }
        }
        NotifyCommand::Retry { channel, config, actor } => {
            let app = opening::open_existing_app(config)?;
            find_channel(&app.config(), channel)?;
            let actor = actor.actor();
            let retried = channels::retry_failed_messages(&app, &actor, channel.clone());
            let count = super::block_on(async { Ok(retried.await?) })?;
            format!("{} due again\n", format_count(count, "message is", "messages are"))
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The channel of that name.
fn find_channel<'a>(config: &'a Config, name: &str) -> Result<&'a NotificationChannel, Failure> {
    let serve = &config.serve;
    if let Some((name, problem)) = serve.unresolved_channels.iter().find(|(unresolved, _)| unresolved == name)
    {
        return Err(Failure::Usage(format!("channel `{name}`: {problem}")));
    }
    serve.channels.iter().find(|channel| channel.name == name).ok_or_else(|| {
        let hint = did_you_mean(name, serve.channels.iter().map(|known| known.name.as_str()));
        Failure::Usage(format!("there is no channel `{name}`{hint}"))
    })
}

fn send_test_message(name: &str, args: &ConfigArgs) -> Result<String, Failure> {
    let config = preflight::load_config(args.config.as_deref())?;
    let channel = find_channel(&config, name)?;
    let problems = super::block_on(async { Ok(channels::send_test(channel, clock::now()).await) })?;
    if problems.is_empty() {
        return Ok(format!("{name} accepted a test message\n"));
    }
    let problems = problems.join("; ");
    Err(Failure::Delivery(format!("channel `{name}` did not accept a test message: {problems}")))
}

fn build_message_table(failed: &[FailedMessage]) -> OutputTable {
    let row = |FailedMessage { outbox_entry: due, message }: &FailedMessage| {
        vec![
            due.channel.clone(),
            due.recipient.clone().unwrap_or_default(),
            clock::format_utc(due.created_at),
            message.notice.clone(),
            message.target.clone(),
            message.check.clone(),
            due.last_error.clone().unwrap_or_default(),
        ]
    };
    let document = |FailedMessage { outbox_entry: due, message }: &FailedMessage| {
        json!({
            "channel": due.channel, "recipient": due.recipient, "at": clock::format_rfc3339(due.created_at), "attempts": due.attempts,
            "error": due.last_error, "message": message,
        })
    };
    OutputTable {
        json_key: "messages",
        header: ["channel", "recipient", "since", "notice", "target", "check", "why"]
            .map(str::to_owned)
            .to_vec(),
        rows: failed.iter().map(row).collect(),
        json_rows: failed.iter().map(document).collect(),
    }
}
