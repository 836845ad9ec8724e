//! Prometheus' Alertmanager: alerts of its API v2.

use serde_json::json;
use sessionwatch_core::instant::{DAY, Instant};

use super::{
    Channel, Failure, Post, Told,
    channel::{NoKeys, Service, Source},
    distinct, shortened,
};
use crate::clock;

/// How long an alert stands without being repeated. It is resolved by a message, long before.
const STANDS: i64 = 30 * DAY;
/// The longest value of a label and of an annotation. Alertmanager has no limit, but pages and other programs have.
const LABEL: usize = 1_024;
const ANNOTATION: usize = 8_192;

/// Alerts for Alertmanager.
#[derive(Clone, Copy, Debug)]
pub struct Alertmanager;

impl Service for Alertmanager {
    type Config = NoKeys;
    const KIND: &'static str = "alertmanager";
    const IS_FOR_PROGRAMS: bool = true;

    fn new(_: NoKeys, _: &mut Source<'_, '_, '_>) -> Option<Result<Self, String>> {
        Some(Ok(Self))
    }

    fn post(&self, channel: &Channel, told: &Told<'_>, now: Instant) -> Result<Post, Failure> {
        let alerts: Vec<_> = told
            .messages
            .iter()
            .map(|message| {
                let ends = if message.is_good() { now } else { now.plus(STANDS) };
                json!({
                    "labels": {
                        "alertname": distinct(&message.check, LABEL), "target": distinct(&message.target, LABEL),
                        "severity": message.severity, "service": "sessionwatch",
                    },
                    "annotations": {
                        "summary": shortened(&message.summary, ANNOTATION),
                        "action": shortened(message.action().unwrap_or_default(), ANNOTATION),
                    },
                    "startsAt": message.since.as_ref().unwrap_or(&message.at),
                    "endsAt": clock::rfc3339(ends),
                })
            })
            .collect();
        let url = format!("{}/api/v2/alerts", channel.url.expose().trim_end_matches('/'));
        Ok(Post { url: url.into(), body: json!(alerts).to_string().into(), ..Post::default() })
    }
}
