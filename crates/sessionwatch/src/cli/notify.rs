//! `notify`: does a channel work?

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, target::ConfigArgs};
use crate::{clock, config::Config, daemon::deliver, store::outbox::Due, suggest::nearest};

/// Try a channel
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// Send a marked test message over a channel
    Test {
        /// Name of the channel
        channel: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Args::Test { channel, config } = args;
    let serve = Config::load(config.config.as_deref())?.serve;
    if let Some((name, problem)) = serve.unresolved.iter().find(|(name, _)| name == channel) {
        return Err(Failure::Usage(format!("channel `{name}`: {problem}")));
    }
    if serve.channels.iter().all(|known| known.name != *channel) {
        let hint = nearest(channel, serve.channels.iter().map(|known| known.name.as_str()));
        return Err(Failure::Usage(format!("there is no channel `{channel}`{hint}")));
    }
    let now = clock::now();
    let key = format!("test/{}/{channel}", now.micros());
    let message = json!({
        "schema": 1, "key": key, "notice": "test", "target": "test", "check": "test", "severity": "low",
        "summary": "This is a test of sessionwatch: nothing is wrong.", "since": null, "at": clock::rfc3339(now), "finding": null,
    });
    let due = Due { id: 0, key, channel: channel.clone(), message: message.to_string(), attempts: 0 };
    super::block_on(async {
        let client = deliver::client().map_err(|_| crate::daemon::DaemonError::Https)?;
        Ok(deliver::deliver(&client, &serve.channels, &due, now).await?)
    })?;
    super::print(&format!("{channel} accepted a test message\n"))?;
    Ok(ExitCode::SUCCESS)
}
