//! What several pages show of an alert.

use maud::{Markup, html};
use sessionwatch_app::app::{alerts::AlertRecord, login_sessions::CurrentUser};
use sessionwatch_core::alert::AlertState;

use super::{format::percent_encode, shell::render_csrf_field};

/// Returns the path of the page of a check.
pub(super) fn check_path(target: &str, check: &str) -> String {
    format!("/targets/{}/checks/{}", percent_encode(target), percent_encode(check))
}

/// Returns the state of a check in one word. One that cannot be decided here, such as for want of a baseline, is
/// skipped.
pub(super) fn check_state(alert: &AlertRecord) -> &str {
    match (&alert.alert.state, alert.verdict.as_deref()) {
        (AlertState::Firing { .. }, _) if alert.acknowledged_by.is_some() => "acknowledged",
        // An alert keeps firing while its check is unknown, but the state must not claim a current failure.
        (AlertState::Resolved, Some("unknown")) if alert.unknown_reason.is_none() => "skipped",
        (_, Some("unknown")) => "unknown",
        (AlertState::Firing { .. }, _) => "failing",
        (AlertState::Pending { .. }, _) => "pending",
        (AlertState::Resolved, verdict) => verdict.unwrap_or("unknown"),
    }
}

/// Renders the hidden fields of a form about an alert, after which the browser returns to the page `back`.
pub(super) fn render_alert_fields(user: &CurrentUser, alert: &AlertRecord, back: &str) -> Markup {
    html! {
        (render_csrf_field(user))
        input type="hidden" name="target" value=(alert.target);
        input type="hidden" name="check" value=(alert.check);
        input type="hidden" name="back" value=(back);
    }
}
