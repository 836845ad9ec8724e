//! The menu of revocations, and its dialogs.

use maud::{Markup, html};
use sessionwatch_app::{
    app::{cleanup::CleanupOverview, login_sessions::CurrentUser},
    config::Target,
};
use sessionwatch_core::plural::format_count;

use super::create_plan::DEFAULT_GRACE_HOURS;
use crate::{
    components::{Dialog, Icon, Menu, MenuItem, render_icon},
    shell::render_csrf_field,
};

/// Sessions that a plan keeps per user, if the check names no limit.
const DEFAULT_KEEP: u64 = 5;
/// Label of the button that creates a plan.
const SUBMIT_LABEL: &str = "Review plan";

/// A text field of a dialog.
#[derive(Clone, Copy, Debug, Default)]
struct PlanField<'a> {
    name: &'a str,
    label: &'a str,
    /// Explanation below the field; may be empty.
    hint: &'a str,
    /// Kind of the input: `text`, `number` or `datetime-local`.
    kind: &'a str,
    /// Number from which the field starts, and its maximum; only of numbers.
    number: Option<(u64, u64)>,
    is_required: bool,
}

/// Renders the menu. Each entry opens a dialog.
pub(super) fn render_revoke_menu() -> Markup {
    let item = |dialog: &'static str, icon: Icon, text: &str| MenuItem::OpenDialog {
        dialog,
        text: html! { (render_icon(icon)) (text) },
        is_dangerous: dialog == "revoke-all",
    };
    let items = vec![
        item("revoke-user", Icon::User, "Sessions of one user…"),
        item("revoke-session", Icon::KeyRound, "One session…"),
        item("revoke-where", Icon::ListFilter, "Matching sessions…"),
        MenuItem::Separator,
        item("cleanup-expired", Icon::Clock, "Expired sessions by age…"),
        item("cleanup-excess", Icon::Users, "Sessions above a limit per user…"),
        MenuItem::Separator,
        item("revoke-all", Icon::OctagonAlert, "Revoke everyone…"),
    ];
    let button = html! { "Revoke…" (render_icon(Icon::ChevronDown)) };
    Menu { id: "revoke", button, button_class: "btn", label: "", items }.render()
}

/// Renders the dialogs, closed.
pub(super) fn render_revoke_dialogs(
    user: &CurrentUser,
    target: &Target,
    overview: &CleanupOverview,
) -> Markup {
    let dialog = |id: &str, kind: &str, title: &str, fields: Markup| {
        let body = html! {
            (render_csrf_field(user))
            input type="hidden" name="target" value=(target.name);
            input type="hidden" name="kind" value=(kind);
            (fields)
        };
        let is_dangerous = kind == "all";
        Dialog { id, title, action: "/cleanup", body, submit: SUBMIT_LABEL, is_dangerous }.render()
    };
    let keep = overview.candidates.iter().find_map(|candidate| candidate.user_limit).unwrap_or(DEFAULT_KEEP);
    html! {
        (dialog("revoke-user", "user", "Revoke the sessions of one user", render_user_field()))
        (dialog("revoke-session", "session", "Revoke one session", render_session_field()))
        (dialog("revoke-where", "where", "Revoke matching sessions", render_filter_fields()))
        (dialog("cleanup-expired", "expired", "Delete expired sessions by age", render_age_field()))
        (dialog("cleanup-excess", "excess", "Revoke sessions above a limit per user", render_limit_field(keep)))
        (dialog("revoke-all", "all", "Revoke everyone", render_everyone_fields(target, overview)))
    }
}

impl PlanField<'_> {
    fn render(self) -> Markup {
        let (value, most) = self.number.unzip();
        let hint = (!self.hint.is_empty()).then(|| format!("{}-hint", self.name));
        html! {
            label.field {
                span.label { (self.label) }
                input.input name=(self.name) type=(self.kind) required[self.is_required] autocomplete="off"
                    maxlength=[(self.kind == "text").then_some("200")]
                    min=[most.map(|_| 1)] max=[most] value=[value] aria-describedby=[hint.as_deref()];
                @if let Some(id) = &hint { span.hint id=(id) { (self.hint) } }
            }
        }
    }
}

fn render_user_field() -> Markup {
    let hint = "Search finds a user by name or email, and shows the ID.";
    PlanField {
        name: "user",
        label: "User ID",
        hint,
        kind: "text",
        is_required: true,
        ..PlanField::default()
    }
    .render()
}

fn render_session_field() -> Markup {
    PlanField {
        name: "session",
        label: "Row ID or token prefix",
        hint: "Enter the row ID, or the token prefix exactly as the session list shows it.",
        kind: "text",
        is_required: true,
        ..PlanField::default()
    }
    .render()
}

fn render_age_field() -> Markup {
    PlanField {
        name: "hours",
        label: "Minimum hours since expiry",
        hint: "Sessions that expired more recently are kept.",
        kind: "number",
        number: Some((DEFAULT_GRACE_HOURS.into(), 8_760)),
        is_required: true,
    }
    .render()
}

fn render_limit_field(keep: u64) -> Markup {
    PlanField {
        name: "keep",
        label: "Sessions to keep per user",
        hint: "Those that expire last are kept.",
        kind: "number",
        number: Some((keep.clamp(1, 1_000), 1_000)),
        is_required: true,
    }
    .render()
}

fn render_filter_fields() -> Markup {
    let text = |name, label| PlanField { name, label, kind: "text", ..PlanField::default() }.render();
    let time =
        |name, label| PlanField { name, label, kind: "datetime-local", ..PlanField::default() }.render();
    html! {
        p.muted { "A session must match every condition that you fill in. The plan lists the matching sessions." }
        (text("user_like", "User name, email, handle or ID contains"))
        (time("created_after", "Created after (UTC)"))
        (time("created_before", "Created before (UTC)"))
        (time("expires_before", "Expires before (UTC)"))
        div.grid-2 {
            (text("ip", "IP address"))
            (text("user_agent_like", "User agent contains"))
        }
    }
}

fn render_everyone_fields(target: &Target, overview: &CleanupOverview) -> Markup {
    let stats = overview.report.as_ref().map(|report| &report.document["stats"]);
    let figure = |key: &str| stats.and_then(|stats| stats[key].as_u64());
    html! {
        p {
            "Applying this plan logs out everyone on " (target.name)
            @if let (Some(users), Some(active)) = (figure("users_active"), figure("active")) {
                ": it ends " b { (format_count(active, "active session", "active sessions")) } " of "
                (format_count(users, "user ID", "user IDs"))
            }
            ". Creating the plan changes nothing yet."
        }
        label.field {
            span.label { "Type the target name (" (target.name) ") to continue" }
            input.input name="confirm" required autocomplete="off";
        }
    }
}
