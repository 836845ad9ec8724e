//! The firing alerts: what, who, since when, and the next step.

use maud::{Markup, html};
use sessionwatch_app::{
    app::{
        alerts::{AlertRecord, is_silenced},
        silences::SilenceRecord,
    },
    checks::describe_check,
    report::fix::{incident_severity_for_check, plan_for_check},
};
use sessionwatch_core::{alert::AlertState, severity::Severity};

use crate::{
    alert_parts::{check_path, render_alert_fields},
    components::{Icon, PillTone, render_pill, render_severity_pill},
    format::{render_relative_time, render_sentence, sanitize_text},
    shell::{Shell, render_csrf_field},
};

/// Firing alerts with their next steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionList<'a> {
    pub(crate) shell: &'a Shell,
    pub(crate) firing: &'a [&'a AlertRecord],
    pub(crate) silences: &'a [SilenceRecord],
    /// Path to which the forms return.
    pub(crate) back: &'a str,
    /// `true` if the next step of the first alert is that of the whole page.
    pub(crate) has_primary: bool,
}

impl AttentionList<'_> {
    /// Renders the alerts, the most severe first, and those that are acknowledged or silenced last. Renders nothing if
    /// there are none.
    pub(crate) fn render(self) -> Markup {
        let mut alerts = self.firing.to_vec();
        alerts.sort_by_key(|alert| {
            (!self.is_open(alert), std::cmp::Reverse(alert.severity.parse::<Severity>().ok()))
        });
        html! {
            @if !alerts.is_empty() {
                section.card aria-label="Needs attention" { ul.attn {
                    @for (index, alert) in alerts.into_iter().enumerate() {
                        (self.render_alert(alert, self.has_primary && index == 0))
                    }
                } }
            }
        }
    }

    fn is_open(self, alert: &AlertRecord) -> bool {
        alert.acknowledged_by.is_none() && !is_silenced(alert, self.silences)
    }

    fn render_alert(self, alert: &AlertRecord, is_first: bool) -> Markup {
        let is_open = self.is_open(alert);
        let severity = alert.severity.parse::<Severity>().unwrap_or(Severity::Critical);
        let is_critical = is_open && severity == Severity::Critical;
        let text = describe_check(&alert.check);
        let path = check_path(&alert.target, &alert.check);
        let since = if let AlertState::Firing { since, .. } = alert.alert.state { Some(since) } else { None };
        html! {
            li class=[is_critical.then_some("attn-critical")] {
                span {
                    @if is_open { (render_severity_pill(severity)) }
                    @else if alert.acknowledged_by.is_some() {
                        (render_pill(PillTone::Quiet, Icon::UserRoundCheck, "Acknowledged"))
                    } @else { (render_pill(PillTone::Quiet, Icon::BellOff, "Silenced")) }
                }
                div.attn-main {
                    a.attn-title href=(path) { (text.title) }
                    p.attn-text { b { (alert.target) ": " (render_sentence(&alert.summary)) } ". " (text.impact) }
                }
                div.attn-when {
                    @if let Some(since) = since { b { (render_relative_time(since, self.shell.now)) } }
                    span.owner {
                        @match &alert.acknowledged_by {
                            Some(owner) => { "by " (sanitize_text(owner)) },
                            None if is_open => "Not acknowledged",
                            // The pill says that the alert is silenced.
                            None => "",
                        }
                    }
                }
                (self.render_actions(alert, is_first))
            }
        }
    }

    /// Renders the buttons of an alert. The fix is at the right, so that its column can be scanned.
    ///
    /// Only the first alert has a primary button: one page has one next step.
    fn render_actions(self, alert: &AlertRecord, is_first: bool) -> Markup {
        let (shell, path) = (self.shell, check_path(&alert.target, &alert.check));
        let is_critical = self.is_open(alert) && alert.severity == "critical";
        let plan = plan_for_check(&alert.check);
        let incident = incident_severity_for_check(&alert.check);
        html! {
            div.actions {
                @if !shell.can_respond() { a.btn href=(path) { "Open" } }
                @else {
                    @if alert.acknowledged_by.is_none() {
                        form method="post" action="/alerts/acknowledge" {
                            (render_alert_fields(&shell.user, alert, self.back))
                            button class=(if is_first { "btn btn-primary" } else { "btn" }) { "Acknowledge" }
                        }
                    }
                    @if is_critical {
                        form method="post" action="/incidents" {
                            (render_csrf_field(&shell.user))
                            input type="hidden" name="target" value=(alert.target);
                            input type="hidden" name="severity" value=(incident.name());
                            input type="hidden" name="summary" value=(alert.summary);
                            button.btn { "Open incident" }
                        }
                    } @else if let Some(kind) = plan {
                        form method="post" action="/cleanup" {
                            (render_csrf_field(&shell.user))
                            input type="hidden" name="target" value=(alert.target);
                            input type="hidden" name="kind" value=(kind);
                            button.btn { "Review plan" }
                        }
                    } @else { a.btn href=(path) { "Show fix" } }
                }
            }
        }
    }
}
