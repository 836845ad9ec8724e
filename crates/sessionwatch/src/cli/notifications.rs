//! `notifications`: test channels; show who is notified of what; list and retry failed messages.

use std::process::ExitCode;

use serde_json::json;
use sessionwatch_app::{
    app::channels::{self, FailedMessage, NotificationChannel},
    config::Config,
    notification_preview::{NotificationPreview, preview_notifications},
    output::{OutputFormat, table::OutputTable},
    preflight,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    plural::{ListTotal, format_count},
    suggest::did_you_mean,
};

use super::{
    Failure,
    actor::ActorArgs,
    lists::{RAISE_LIMIT, cut_list, filtered_noun, note_if_cut, render_list},
    opening,
    target_args::{ConfigArgs, require_known_filter},
};

/// Test channels, preview who is notified, and retry failed messages
#[derive(Debug, clap::Subcommand)]
pub(super) enum NotificationsCommand {
    /// Send a test message to a channel
    Test {
        /// Configured channel name
        #[arg(value_name = "CHANNEL")]
        channel: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show which channels each failing check would notify
    Preview {
        /// Only this target
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
        /// Only this check
        #[arg(long, value_name = "ID")]
        check: Option<String>,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// List messages that could not be delivered
    Failed {
        /// Show at most this many messages, the latest ones
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Output format
        #[arg(long, value_enum, default_value = "table")]
        format: OutputFormat,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Retry the failed messages of a channel
    Retry {
        /// Configured channel name
        #[arg(value_name = "CHANNEL")]
        channel: String,
        #[command(flatten)]
        actor: ActorArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &NotificationsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        NotificationsCommand::Test { channel, config } => send_test_message(channel, config)?,
        NotificationsCommand::Preview { target, check, format, config } => {
            let config = preflight::load_config(config.config.as_deref())?;
            config.require_resolved(target.as_deref())?;
            for unusable in &config.serve.unresolved_channels {
                super::print_note(&format!(
                    "channel `{}` receives nothing: {}",
                    unusable.name, unusable.problem.message
                ));
            }
            let mut previews = preview_notifications(&config, clock::now());
            previews.retain(|one| target.as_ref().is_none_or(|name| one.target == *name));
            require_known_filter(&config, target.as_deref(), previews.is_empty())?;
            previews.retain(|one| check.as_ref().is_none_or(|id| one.check == *id));
            let noun = filtered_noun("checks", target.is_some() || check.is_some());
            render_list(&build_preview_table(&previews), *format, &noun)
        }
        NotificationsCommand::Failed { limit, config, format } => {
            let app = opening::open_existing_app(config)?;
            // One more than shown, to learn whether the list is cut.
            let listed = channels::list_failed_messages(&app, *limit + 1);
            let mut failed = super::block_on(async { Ok(listed.await?) })?;
            if cut_list(&mut failed, *limit) {
                let total = super::block_on(async { Ok(channels::count_failed_messages(&app).await?) })?;
                note_if_cut("failed messages", failed.len(), ListTotal::Exactly(total), RAISE_LIMIT);
            }
            render_list(&build_message_table(&failed), *format, "failed messages")
        }
        NotificationsCommand::Retry { channel, config, actor } => {
            let app = opening::open_existing_app(config)?;
            find_channel(&app.config(), channel)?;
            let actor = actor.actor();
            let retried = channels::retry_failed_messages(&app, &actor, channel.clone());
            let count = super::block_on(async { Ok(retried.await?) })?;
            match count {
                0 => "No failed messages to retry.\n".to_owned(),
                count => format!("{} queued again.\n", format_count(count, "message", "messages")),
            }
        }
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the channel of that name.
fn find_channel<'a>(config: &'a Config, name: &str) -> Result<&'a NotificationChannel, Failure> {
    let serve = &config.serve;
    if let Some(channel) = serve.unresolved_channels.iter().find(|channel| channel.name == name) {
        return Err(Failure::Usage(format!("channel `{name}`: {}", channel.problem.message)));
    }
    serve.channels.iter().find(|channel| channel.name == name).ok_or_else(|| {
        let hint = did_you_mean(name, serve.channels.iter().map(|known| known.name.as_str()));
        Failure::Usage({
            let known: Vec<&str> = serve.channels.iter().map(|known| known.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("no channel is named `{name}`{hint}; configured channels: {known}")
        })
    })
}

fn send_test_message(name: &str, args: &ConfigArgs) -> Result<String, Failure> {
    let config = preflight::load_config(args.config.as_deref())?;
    let channel = find_channel(&config, name)?;
    let problems = super::block_on(async { Ok(channels::send_test(channel, clock::now()).await) })?;
    if problems.is_empty() {
        return Ok(format!("Channel {name} accepted the test message.\n"));
    }
    let problems = problems.join("; ");
    Err(Failure::Delivery(format!("cannot send the test message to channel `{name}`: {problems}")))
}

fn build_preview_table(previews: &[NotificationPreview]) -> OutputTable {
    let row = |one: &NotificationPreview| {
        let channels = if one.channels.is_empty() { "nobody".to_owned() } else { one.channels.join(", ") };
        let held_back = if one.is_in_maintenance { "until the maintenance window ends" } else { "" };
        vec![
            one.target.clone(),
            one.check.clone(),
            one.severity.name().to_owned(),
            channels,
            held_back.to_owned(),
        ]
    };
    let document = |one: &NotificationPreview| {
        json!({
            "target": one.target, "check": one.check, "severity": one.severity.name(), "channels": one.channels,
            "in_maintenance": one.is_in_maintenance,
        })
    };
    OutputTable {
        json_key: "notifications",
        header: ["target", "check", "severity", "notifies", "held back"].map(str::to_owned).to_vec(),
        rows: previews.iter().map(row).collect(),
        json_rows: previews.iter().map(document).collect(),
    }
}

fn build_message_table(failed: &[FailedMessage]) -> OutputTable {
    let row = |FailedMessage { outbox_entry, message }: &FailedMessage| {
        vec![
            outbox_entry.channel.clone(),
            outbox_entry.recipient.clone().unwrap_or_default(),
            clock::format_utc(outbox_entry.created_at),
            message.notice.clone(),
            message.target.clone(),
            message.check.clone(),
            outbox_entry.last_error.clone().unwrap_or_default(),
        ]
    };
    let document = |FailedMessage { outbox_entry, message }: &FailedMessage| {
        json!({
            "channel": outbox_entry.channel, "recipient": outbox_entry.recipient,
            "at": clock::format_rfc3339(outbox_entry.created_at), "attempts": outbox_entry.attempts,
            "error": outbox_entry.last_error, "message": message,
        })
    };
    OutputTable {
        json_key: "messages",
        header: ["channel", "recipient", "since", "notice", "target", "check", "error"]
            .map(str::to_owned)
            .to_vec(),
        rows: failed.iter().map(row).collect(),
        json_rows: failed.iter().map(document).collect(),
    }
}
