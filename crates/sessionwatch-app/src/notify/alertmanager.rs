//! Prometheus' Alertmanager: alerts of its API v2.

use credentials::Secret;
use jiff::SignedDuration;
use serde_json::json;
use sessionwatch_clock as clock;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::{
    DeliveryError, HttpRequest, NotificationBatch, bounded_key,
    channel_service::{ChannelService, ChannelSource, NoKeys},
    truncate_utf16,
};

/// How long an alert stands without being repeated. It is resolved by a message, long before.
const ALERT_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The longest value of a label and of an annotation. Alertmanager has no limit, but pages and other programs have.
const MAX_LABEL_LEN: usize = 1_024;
const MAX_ANNOTATION_LEN: usize = 8_192;

/// Alerts for Alertmanager.
#[derive(Clone, Copy, Debug)]
pub struct Alertmanager;

impl ChannelService for Alertmanager {
    type Config = NoKeys;
    const KIND_NAME: &'static str = "alertmanager";
    const IS_FOR_PROGRAMS: bool = true;

    fn new(_: NoKeys, _: &mut ChannelSource<'_, '_, '_>) -> Option<Result<Self, String>> {
        Some(Ok(Self))
    }

    fn build_request(
        &self,
        url: &Secret,
        batch: &NotificationBatch<'_>,
        now: UtcTimestamp,
    ) -> Result<HttpRequest, DeliveryError> {
        let alerts: Vec<_> = batch
            .messages
            .iter()
            .map(|message| {
                let ends = if message.is_benign() { now } else { now + ALERT_LIFETIME };
                json!({
                    "labels": {
                        "alertname": bounded_key(&message.check, MAX_LABEL_LEN), "target": bounded_key(&message.target, MAX_LABEL_LEN),
                        "severity": message.severity, "service": "sessionwatch",
                    },
                    "annotations": {
                        "summary": truncate_utf16(&message.summary, MAX_ANNOTATION_LEN),
                        "action": truncate_utf16(message.recommended_action().unwrap_or_default(), MAX_ANNOTATION_LEN),
                    },
                    "startsAt": message.since.as_ref().unwrap_or(&message.at),
                    "endsAt": clock::format_rfc3339(ends),
                })
            })
            .collect();
        let url = format!("{}/api/v2/alerts", url.expose().trim_end_matches('/'));
        Ok(HttpRequest { url: url.into(), body: json!(alerts).to_string().into(), ..HttpRequest::default() })
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::{
        NotificationMessage,
        tests::{message, posted_request},
    };

    #[test]
    fn an_alert_stands_for_a_month_and_ends_when_it_is_resolved() {
        // The instant of sending is that of the first year.
        for (notice, ends) in [
            ("firing", "0001-01-31T00:00:00.000000Z"),
            ("reminder", "0001-01-31T00:00:00.000000Z"),
            ("resolved", "0001-01-01T00:00:00.000000Z"),
        ] {
            let told = NotificationMessage { notice: notice.into(), ..message("shop") };
            let (url, body) = posted_request("alertmanager", "https://alerts.example.org/base/", &[told]);
            assert_eq!(url, "https://alerts.example.org/base/api/v2/alerts");
            assert_eq!(body[0]["endsAt"], ends, "{notice}");
            assert_eq!(body[0]["startsAt"], "2026-01-01T00:00:00.000000Z");
        }
    }

    #[test]
    fn each_target_has_an_alert_of_its_own_labels() {
        let plain = NotificationMessage {
            finding: None,
            since: None,
            at: "2026-02-02T00:00:00Z".into(),
            ..message("<b>\"x")
        };
        let (_, body) = posted_request("alertmanager", "https://a", &[message("shop"), plain]);
        assert_eq!(body.as_array().map(Vec::len), Some(2));
        let labels = serde_json::json!({
            "alertname": "duplicate-tokens", "target": "<b>\"x", "severity": "critical", "service": "sessionwatch",
        });
        assert_eq!(body[1]["labels"], labels, "what programs read is not changed");
        assert_eq!(body[0]["annotations"]["action"], "end <them>");
        assert_eq!(body[1]["annotations"]["action"], "");
        assert_eq!(body[1]["startsAt"], "2026-02-02T00:00:00Z", "without a begin, the run that is told of");
    }
}
