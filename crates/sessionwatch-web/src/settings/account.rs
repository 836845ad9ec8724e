//! The user's own login sessions and password.

use maud::{Markup, html};
use sessionwatch_app::app::{MIN_PASSWORD_LENGTH, accounts::AccountRecord, login_sessions::LoginSession};

use crate::{
    components::{Card, Column, DataTable, Icon, PillTone, render_icon, render_pill},
    device::Device,
    format::{render_relative_time, sanitize_text},
    shell::{Shell, render_csrf_field},
};

const LOGIN_SESSION_COLUMNS: [Column<'_>; 6] = [
    Column::fill("Device"),
    Column::text("IP address"),
    Column::number("Last used"),
    Column::number("Logged in"),
    Column::number("Expires"),
    Column::text(""),
];

/// Renders the user's login sessions, the current one first.
pub(super) fn render_login_sessions(shell: &Shell, logins: &[LoginSession]) -> Markup {
    let is_current = |login: &&LoginSession| login.token_hash == shell.user.login_hash;
    let others = logins.iter().filter(|login| !is_current(login));
    let rows = html! {
        @for login in logins.iter().filter(is_current).chain(others) { (render_login_session(shell, login)) }
    };
    let body = DataTable {
        label: "Your login sessions",
        class: "table-cards",
        columns: &LOGIN_SESSION_COLUMNS,
        rows,
    }
    .render();
    let note = "Browsers in which you are logged in";
    Card { id: "login-sessions", title: "Your login sessions", note, end: html! {}, body }.render()
}

fn render_login_session(shell: &Shell, login: &LoginSession) -> Markup {
    let (icon, name) = describe_device(&login.user_agent);
    html! {
        tr {
            td.fill title=(sanitize_text(&login.user_agent)) {
                span.who { (render_icon(icon)) span.truncate { (name) } }
            }
            td { span.mono { (sanitize_text(&login.client_address)) } }
            td.num data-l="Last used" { (render_relative_time(login.last_used_at, shell.now)) }
            td.num data-l="Logged in" { (render_relative_time(login.created_at, shell.now)) }
            td.num data-l="Expires" { (render_relative_time(login.expires_at, shell.now)) }
            td.end {
                @if login.token_hash == shell.user.login_hash {
                    (render_pill(PillTone::Accent, Icon::Check, "This session"))
                } @else {
                    form method="post" action="/settings/login-sessions/revoke" {
                        (render_csrf_field(&shell.user))
                        input type="hidden" name="login" value=(login.token_hash);
                        button.btn.btn-s { "End session" }
                    }
                }
            }
        }
    }
}

/// Returns the icon and the name of the device of a login session.
fn describe_device(user_agent: &str) -> (Icon, String) {
    if user_agent.trim().is_empty() {
        return (Icon::Globe, "Unknown browser".to_owned());
    }
    let device = Device::from_agent(user_agent);
    (device.icon(), device.name)
}

/// Renders the form that changes the user's password.
pub(super) fn render_password(shell: &Shell, own: Option<&AccountRecord>) -> Markup {
    let has_provider = own.is_some_and(|account| !account.oidc_subject.is_empty());
    let body = html! {
        @if has_provider {
            p { "You log in with the identity provider, so this account has no password." }
        } @else {
            form.form-narrow method="post" action="/settings/password" {
                (render_csrf_field(&shell.user))
                // Lets the browser's password manager know the account.
                input type="text" name="name" value=(shell.user.name) autocomplete="username" hidden;
                div.field {
                    label for="current-password" { "Current password" }
                    input.input id="current-password" type="password" name="password"
                        autocomplete="current-password" required;
                }
                div.field {
                    label for="new-password" { "New password" }
                    input.input id="new-password" type="password" name="new" autocomplete="new-password" required
                        minlength=(MIN_PASSWORD_LENGTH) aria-describedby="new-password-hint";
                    p.hint id="new-password-hint" {
                        "At least " (MIN_PASSWORD_LENGTH) " characters. A sentence works well. "
                        "Changing it ends all your other login sessions."
                    }
                }
                div { button.btn { "Change password" } }
            }
        }
    };
    Card { id: "password", title: "Password", note: "", end: html! {}, body }.render_padded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_also_without_a_user_agent() {
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/26.0 Mobile/15E148 Safari/604.1";
        for (agent, icon, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0",
                Icon::Monitor,
                "Firefox 145 on Linux",
            ),
            (phone, Icon::Smartphone, "Safari 26 on iPhone"),
            ("", Icon::Globe, "Unknown browser"),
            (" ", Icon::Globe, "Unknown browser"),
        ] {
            assert_eq!(describe_device(agent), (icon, name.to_owned()), "{agent}");
        }
    }
}
