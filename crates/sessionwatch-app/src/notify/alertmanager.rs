//! Prometheus Alertmanager: posts alerts to its API v2.

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
use crate::config_file::ConfigProblem;

/// `endsAt` of a firing alert, from now. A resolved message normally ends the alert long before; this only bounds how
/// long an alert survives an uninstalled daemon.
const ALERT_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Length limits of label and annotation values. Alertmanager has none, but its receivers and web pages do.
const MAX_LABEL_LEN: usize = 1_024;
const MAX_ANNOTATION_LEN: usize = 8_192;

/// The `alertmanager` channel.
#[derive(Clone, Copy, Debug)]
pub struct Alertmanager;

impl ChannelService for Alertmanager {
    type Config = NoKeys;
    const KIND_NAME: &'static str = "alertmanager";
    const IS_FOR_PROGRAMS: bool = true;

    fn new(_: NoKeys, _: &mut ChannelSource<'_, '_, '_>) -> Option<Result<Self, ConfigProblem>> {
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
                // Alertmanager treats an alert whose `endsAt` has passed as resolved.
                let ends = if message.is_benign() { now } else { now + ALERT_LIFETIME };
                json!({
                    "labels": {
                        "alertname": bounded_key(&message.check, MAX_LABEL_LEN),
                        "target": bounded_key(&message.target, MAX_LABEL_LEN),
                        "severity": message.severity, "service": "sessionwatch",
                    },
                    "annotations": {
                        "summary": truncate_utf16(&message.summary, MAX_ANNOTATION_LEN),
                        "action": truncate_utf16(message.recommended_action().unwrap_or_default(), MAX_ANNOTATION_LEN),
                    },
                    // The start identifies the alert for people; Alertmanager itself goes by the labels.
                    "startsAt": message.since.as_ref().unwrap_or(&message.at),
                    "endsAt": clock::format_rfc3339(ends),
                })
            })
            .collect();
        // The configured URL is that of the server, as in Prometheus' own configuration.
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
    fn an_alert_lasts_a_month_and_ends_when_it_is_resolved() {
        // The test sends at `UtcTimestamp::MIN`, in year 1.
        for (notice, ends) in [
            ("firing", "0001-01-31T00:00:00.000000Z"),
            ("reminder", "0001-01-31T00:00:00.000000Z"),
            ("resolved", "0001-01-01T00:00:00.000000Z"),
        ] {
            let sent = NotificationMessage { notice: notice.into(), ..message("shop") };
            let (url, body) = posted_request("alertmanager", "https://alerts.example.org/base/", &[sent]);
            assert_eq!(url, "https://alerts.example.org/base/api/v2/alerts");
            assert_eq!(body[0]["endsAt"], ends, "{notice}");
            assert_eq!(body[0]["startsAt"], "2026-01-01T00:00:00.000000Z");
        }
    }

    #[test]
    fn each_target_gets_an_alert_with_its_own_labels() {
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
        assert_eq!(body[1]["labels"], labels, "label values are not escaped or sanitized");
        assert_eq!(body[0]["annotations"]["action"], "end <them>");
        assert_eq!(body[1]["annotations"]["action"], "");
        assert_eq!(body[1]["startsAt"], "2026-02-02T00:00:00Z", "without `since`, the time of the check run");
    }
}
