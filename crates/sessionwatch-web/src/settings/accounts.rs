//! The accounts of the dashboard, for admins.

use maud::{Markup, html};
use sessionwatch_app::app::{MIN_PASSWORD_LENGTH, accounts::AccountRecord};
use sessionwatch_core::plural::format_count;

use crate::{
    components::{Card, Column, DataTable, Dialog, Icon, render_icon, render_user},
    format::render_relative_time,
    shell::{Shell, render_csrf_field},
};

const ACCOUNT_COLUMNS: [Column<'_>; 5] = [
    Column::fill("Account"),
    Column::text("Role"),
    Column::text("Logs in with"),
    Column::number("Created"),
    Column::text(""),
];
const ROLE_CHOICES: [(&str, &str, &str); 3] = [
    ("viewer", "Viewer", "Read-only"),
    ("responder", "Responder", "Can act on alerts, plans and incidents"),
    ("admin", "Admin", "Also manages accounts and channels"),
];

/// Renders all accounts. Nobody can delete their own.
pub(super) fn render_accounts(shell: &Shell, all: &[AccountRecord]) -> Markup {
    let rows =
        html! { @for (index, account) in all.iter().enumerate() { (render_account(shell, account, index)) } };
    let table = DataTable { label: "Accounts", class: "table-cards", columns: &ACCOUNT_COLUMNS, rows };
    let end = html! {
        button.btn.btn-s type="button" popovertarget="new-account" { (render_icon(Icon::Plus)) "Create account" }
    };
    let body = html! { (table.render()) (render_new_account(shell)) };
    let note = format_count(all.len() as u64, "account", "accounts");
    Card { id: "accounts", title: "Accounts", note: &note, end, body }.render()
}

fn render_account(shell: &Shell, account: &AccountRecord, index: usize) -> Markup {
    let is_own = account.name == shell.user.name;
    let dialog = format!("delete-account-{index}");
    let role =
        ROLE_CHOICES.iter().find(|(name, ..)| *name == account.role.name()).map_or("", |(_, title, _)| title);
    html! {
        tr {
            td.fill { (render_user(&account.name, is_own.then_some("you"), None)) }
            td.up { (role) }
            td.muted { @if account.oidc_subject.is_empty() { "Password" } @else { "Identity provider" } }
            td.num data-l="Created" { (render_relative_time(account.created_at, shell.now)) }
            td.end.span {
                @if !is_own {
                    button.btn.btn-s type="button" popovertarget=(dialog) { "Delete…" }
                    (render_deletion(shell, account, &dialog))
                }
            }
        }
    }
}

fn render_deletion(shell: &Shell, account: &AccountRecord, id: &str) -> Markup {
    let body = html! {
        (render_csrf_field(&shell.user))
        input type="hidden" name="name" value=(account.name);
        p {
            b { (account.name) } " is logged out everywhere, and all of this account's API tokens are revoked. "
            "Past actions stay in the audit log."
        }
    };
    Dialog {
        id,
        title: "Delete this account?",
        action: "/settings/accounts/delete",
        body,
        submit: "Delete account",
        is_dangerous: true,
    }
    .render()
}

fn render_new_account(shell: &Shell) -> Markup {
    let body = html! {
        (render_csrf_field(&shell.user))
        div.field {
            label for="account-name" { "Username" }
            input.input id="account-name" name="name" required pattern="[A-Za-z0-9._@+\\-]{1,64}" autocomplete="off"
                aria-describedby="account-name-hint";
            p.hint id="account-name-hint" { "Letters, digits and . _ @ + -" }
        }
        fieldset.field {
            legend.label { "Role" }
            div.opts {
                @for (value, title, text) in ROLE_CHOICES {
                    label.opt {
                        input type="radio" name="role" value=(value) checked[value == "viewer"];
                        (title) span.muted { (text) }
                    }
                }
            }
        }
        div.field {
            label for="account-password" { "Password" }
            input.input id="account-password" type="password" name="password" autocomplete="new-password" required
                minlength=(MIN_PASSWORD_LENGTH) aria-describedby="account-password-hint";
            p.hint id="account-password-hint" {
                "At least " (MIN_PASSWORD_LENGTH) " characters. The owner can change it after logging in."
            }
        }
    };
    Dialog {
        id: "new-account",
        title: "Create account",
        action: "/settings/accounts",
        body,
        submit: "Create account",
        is_dangerous: false,
    }
    .render()
}
